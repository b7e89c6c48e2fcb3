//! Other people's programs beside ours, in one run.

use super::Benchmark;
use crate::shell;
use crate::workspace::Workspace;
use anyhow::Result;
use std::process::Command;

/// PyTorch for the network, waterz for agglomeration.
pub(super) fn benchmarks(workspace: &Workspace) -> Vec<Benchmark<'_>> {
    vec![
        ("peers/pytorch".to_owned(), Box::new(move || script(workspace, "torch_speed.py"))),
        ("peers/waterz".to_owned(), Box::new(move || script(workspace, "waterz_speed.py"))),
    ]
}

fn script(workspace: &Workspace, name: &str) -> Result<String> {
    let Some(interpreter) = workspace.peers_python() else {
        let text = "left out: tests/python/.venv is absent (tests/python/make_env.sh makes it)";
        println!("{text}");
        return Ok(text.to_owned());
    };
    let mut command = Command::new(interpreter);
    command
        .arg(workspace.path("tests/python").join(name))
        .env("TU_TRAIN", workspace.release_binary("tu-train"))
        .current_dir(workspace.root());
    shell::printed(&mut command)
}
