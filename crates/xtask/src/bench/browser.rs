//! What is measured in Chromium: on its software adapter where `TU_CHROME_FLAGS` says nothing else.

use super::{Benchmark, example};
use crate::server::{Server, Site};
use crate::workspace::Workspace;
use crate::{demo, shell, test, tools, web};
use anyhow::Result;
use std::process::Command;

/// Networks, each with the tile and halo that are timed: that of `base` is small for a software adapter.
const TILES: [(&str, &str, &str); 3] =
    [("tiny", "16,64,64", "4,16,16"), ("small", "16,64,64", "4,16,16"), ("base", "8,32,32", "0,8,8")];

pub(super) fn benchmarks(workspace: &Workspace) -> Vec<Benchmark<'_>> {
    vec![
        ("browser/kernel_speed".to_owned(), Box::new(move || test::browser_kernel_speed(workspace))),
        ("browser/tile_time".to_owned(), Box::new(move || tiles(workspace))),
        ("browser/demo".to_owned(), Box::new(move || demo_page(workspace))),
    ]
}

/// The same random networks as in tu-model's `tile_time`, through the module of the site.
fn tiles(workspace: &Workspace) -> Result<String> {
    let chromium = tools::browser()?.chromium;
    web::install_packages(workspace)?;
    web::build_module(workspace)?;
    let models = workspace.target("bench/models");
    std::fs::create_dir_all(&models)?;
    for (preset, tile, halo) in TILES {
        example(workspace, "tile_time", &[preset, tile, halo, &models.to_string_lossy()])?;
    }
    let module = std::env::var_os("TU_WASM").map_or_else(|| workspace.path("web/src/wasm"), Into::into);
    let site = Site::new().with_folder("/wasm/", &module)?.with_folder("/models/", &models)?;
    let server = Server::start(site, 0)?;
    let mut node = Command::new(tools::node()?);
    node.arg(workspace.path("crates/xtask/src/tile_time.mjs"))
        .arg(server.url())
        .args(TILES.map(|(preset, ..)| preset))
        .env("CHROME", chromium)
        .env("TU_WEB", workspace.path("web"));
    shell::printed(&mut node)
}

/// The demo page with the shipped model, until every visible tile is there.
fn demo_page(workspace: &Workspace) -> Result<String> {
    let mut text = format!("{}\n", web::run(workspace)?);
    let picture = workspace.target("bench/demo.png");
    text += &demo::measure(workspace, &picture)?;
    Ok(text)
}
