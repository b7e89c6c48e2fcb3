//! `cargo xtask check`: what can be said about the tree without running its tests.

use crate::counts::Counts;
use crate::report::{Report, Stage};
use crate::workspace::Workspace;
use crate::{shell, tools, web};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut report = Report::default();
    let mut step = |name: &str, work: &dyn Fn() -> Result<()>| {
        println!("── {name}");
        let start = Instant::now();
        let outcome = work();
        let (passed, note) = match &outcome {
            Ok(()) => (1, String::new()),
            Err(error) => (0, format!("{error:#}")),
        };
        let counts = Counts { passed, failed: 1 - passed, skipped: 0 };
        report.add(Stage { name: name.to_owned(), counts, wall: start.elapsed(), note });
    };

    step("format", &|| cargo(workspace, &["fmt", "--all", "--check"], &[]));
    step("lints", &|| {
        let arguments =
            ["clippy", "--workspace", "--exclude", "tu-web", "--all-targets", "--", "-D", "warnings"];
        cargo(workspace, &arguments, &[])
    });
    step("lints of wasm", &|| {
        tools::wasm_target()?;
        let arguments = [
            "clippy",
            "--target",
            "wasm32-unknown-unknown",
            "-p",
            "tu-web",
            "-p",
            "tu-volume",
            "--",
            "-D",
            "warnings",
        ];
        let mut command = shell::cargo();
        command.args(arguments).current_dir(workspace.root());
        shell::run(&mut command)
    });
    step("documentation", &|| {
        let arguments = ["doc", "--no-deps", "--workspace", "--exclude", "tu-web"];
        cargo(workspace, &arguments, &[("RUSTDOCFLAGS", "-D warnings")])
    });
    step("manifest and architecture", &|| {
        let arguments =
            ["test", "--release", "-p", "tu-tests", "--test", "manifest", "--test", "architecture"];
        cargo(workspace, &arguments, &[])
    });
    step("web types", &|| {
        let npm = web::install_packages(workspace)?;
        if !workspace.path("web/src/wasm/tu_web.d.ts").is_file() {
            web::build_module(workspace)?;
        }
        shell::run(Command::new(npm).args(["run", "check"]).current_dir(workspace.path("web")))
    });
    step("web format", &|| {
        let npm = web::install_packages(workspace)?;
        shell::run(Command::new(npm).args(["run", "format:check"]).current_dir(workspace.path("web")))
    });

    report.print();
    match report.total().failed {
        0 => Ok(()),
        failed => bail!("{failed} checks failed"),
    }
}

fn cargo(workspace: &Workspace, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = shell::cargo();
    command.args(arguments).envs(environment.iter().copied()).current_dir(workspace.root());
    shell::run(&mut command)
}
