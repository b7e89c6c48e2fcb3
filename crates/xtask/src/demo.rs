//! `cargo xtask demo`: from a fresh checkout to neurons on the screen.

use crate::server::{Server, Site};
use crate::workspace::Workspace;
use crate::{manifest, shell, tools, web};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Real EM that lies in the repository, and what `tu-train info --json` says of it.
const EM: &str = "web/demo/fib25.zarr";
const EM_DESCRIPTION: &str = "web/demo/fib25.json";
/// Shape of the synthetic volume, voxels zyx.
const PHANTOM_SHAPE_ZYX: &str = "64,512,512";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// EM volume to open instead of the one in the repository: a folder (served read-only on this machine) or a URL.
    #[arg(long)]
    volume: Option<String>,
    /// Open synthetic EM, made by `tu-train phantom`.
    #[arg(long, conflicts_with = "volume")]
    synthetic: bool,
    /// Port on 127.0.0.1.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Do not open a browser window.
    #[arg(long)]
    no_open: bool,
    /// Where the network runs: auto, webgpu or cpu [default: auto; for a picture cpu, which is faster than a software GPU].
    #[arg(long, value_parser = ["auto", "webgpu", "cpu"])]
    device: Option<String>,
    /// Save a picture of the segmented view and exit.
    #[arg(long, value_name = "PNG")]
    screenshot: Option<PathBuf>,
}

/// The EM volume as the page and the server need it.
struct Shown {
    title: String,
    /// The volume as messages name it.
    source: String,
    /// What `tu-train info --json` prints of it.
    description: Value,
    /// For a local volume: the folder that is served, its name below /data/, and the array's path there.
    served: Option<(PathBuf, String, String)>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let screenshot = options.screenshot.as_deref().map(std::path::absolute).transpose()?;
    web::run(workspace)?;
    let (server, shown) = serve(workspace, options, screenshot.is_some())?;
    println!("\nTokenUnify for Neuroglancer: {}/\n{}", server.url(), shown.title);
    if let Some(picture) = screenshot {
        shell::run(&mut screenshot_command(workspace, &server, &picture)?)?;
        println!("Saved {}", picture.display());
        return Ok(());
    }
    println!("Stop with Ctrl-C.");
    if !options.no_open {
        open_browser(&format!("{}/", server.url()));
    }
    loop {
        std::thread::park();
    }
}

/// Opens the demo page of a built site in Chromium on one processor thread, and returns how long the tiles took.
pub(crate) fn measure(workspace: &Workspace, picture: &Path) -> Result<String> {
    let options =
        Options { volume: None, synthetic: false, port: 0, no_open: true, device: None, screenshot: None };
    let (server, shown) = serve(workspace, &options, true)?;
    println!("{}", shown.title);
    shell::printed(&mut screenshot_command(workspace, &server, picture)?)
}

/// Serves the built site with a volume to look at, fewer tiles of it for a picture.
fn serve(workspace: &Workspace, options: &Options, for_picture: bool) -> Result<(Server, Shown)> {
    let manifest = manifest::read(workspace)?;
    let shown = match &options.volume {
        None if options.synthetic => phantom(workspace, &manifest)?,
        None => real(workspace)?,
        Some(volume) => given(volume, |source| describe(workspace, source))?,
    };
    let mut site = Site::new().with_content_security_policy(manifest::content_security_policy(&manifest)?);
    if let Some((folder, name, _)) = &shown.served {
        site = site.with_folder(&format!("/data/{name}/"), folder)?;
    }
    let site = site.with_folder("/", &web::site(workspace))?;
    // Few tiles on the picture: it is usually taken where there is no GPU.
    let scale = if for_picture { 0.25 } else { 0.5 };
    let mut page = page_description(&shown, scale)?;
    if let Some(device) = options.device.as_deref().or(for_picture.then_some("cpu")) {
        page["state"] = json!({ "device": device });
    }
    let server = Server::start(site.with_json("/demo.json", &page), options.port)?;
    Ok((server, shown))
}

/// `tu-train`, built in release mode; the volume in the repository is shown without it.
fn train(workspace: &Workspace) -> Result<Command> {
    let mut build = shell::cargo();
    shell::run(build.args(["build", "--release", "-p", "tu-train"]).current_dir(workspace.root()))?;
    Ok(Command::new(workspace.release_binary("tu-train")))
}

/// The EM in the repository.
fn real(workspace: &Workspace) -> Result<Shown> {
    let described = workspace.path(EM_DESCRIPTION);
    let text = std::fs::read_to_string(&described).with_context(|| described.display().to_string())?;
    Ok(Shown {
        title: "FIB-25, fly medulla, FIB-SEM at 10 nm (Janelia FlyEM, CC BY-SA)".to_owned(),
        source: EM.to_owned(),
        description: serde_json::from_str(&text).with_context(|| described.display().to_string())?,
        served: Some((workspace.path(EM), "fib25.zarr".to_owned(), "fib25.zarr".to_owned())),
    })
}

fn phantom(workspace: &Workspace, manifest: &Value) -> Result<Shown> {
    let voxel_nm = manifest
        .pointer("/models/0/voxel_nm")
        .and_then(Value::as_array)
        .context("the manifest's first model has no voxel_nm")?
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let folder = workspace.target("demo");
    let volume = folder.join("phantom.zarr");
    let stamp = folder.join("phantom.txt");
    let settings = format!("{PHANTOM_SHAPE_ZYX} {voxel_nm}");
    if !std::fs::read_to_string(&stamp).is_ok_and(|text| text == settings) {
        println!("Making a synthetic EM volume of {PHANTOM_SHAPE_ZYX} voxels of {voxel_nm} nm (z,y,x)");
        std::fs::create_dir_all(&folder)?;
        if volume.exists() {
            std::fs::remove_dir_all(&volume)?;
        }
        let mut command = train(workspace)?;
        command.arg("phantom").arg("--out").arg(&volume);
        shell::run(command.args(["--shape", PHANTOM_SHAPE_ZYX, "--voxel-nm", &voxel_nm]))?;
        std::fs::write(&stamp, settings)?;
    }
    let source = volume.join("raw").to_string_lossy().into_owned();
    Ok(Shown {
        title: "Synthetic EM".to_owned(),
        description: describe(workspace, &source)?,
        source,
        served: Some((volume, "phantom.zarr".to_owned(), "phantom.zarr/raw".to_owned())),
    })
}

/// Somebody's own volume; `describe` asks for its description.
fn given(volume: &str, describe: impl FnOnce(&str) -> Result<Value>) -> Result<Shown> {
    let place = volume.split('|').next().unwrap_or(volume);
    if place.contains("://") {
        let (title, source) = (volume.to_owned(), volume.to_owned());
        return Ok(Shown { title, source, description: describe(volume)?, served: None });
    }
    let folder = Path::new(place).canonicalize().with_context(|| {
        format!("--volume {volume}: no such folder; give a zarr or precomputed folder, or a URL")
    })?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // `a.zarr|zarr3:raw` names an array inside of the folder.
    let inside =
        volume.split_once('|').and_then(|(_, format)| format.split_once(':')).map_or("", |(_, path)| path);
    let inside = inside.split('|').next().unwrap_or_default().trim_matches('/');
    let shown = if inside.is_empty() { name.clone() } else { format!("{name}/{inside}") };
    Ok(Shown {
        title: shown.clone(),
        source: volume.to_owned(),
        description: describe(volume)?,
        served: Some((folder, name, shown)),
    })
}

/// Shape, voxel size and format of a volume, from `tu-train info`.
fn describe(workspace: &Workspace, source: &str) -> Result<Value> {
    let mut info = train(workspace)?;
    let text = shell::capture(info.args(["info", source, "--json"]))?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("`tu-train info {source} --json` printed {last:?}"))
}

/// What the page reads from /demo.json; positions and dimensions in Neuroglancer's order x, y, z; `scale` in voxels per
/// screen pixel.
fn page_description(shown: &Shown, scale: f64) -> Result<Value> {
    let description = &shown.description;
    let triple = |key: &str| -> Option<[f64; 3]> {
        let list = description.get(key)?.as_array()?;
        match list.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()?.as_slice() {
            [z, y, x] => Some([*z, *y, *x]),
            _ => None,
        }
    };
    let Some([depth, height, width]) = triple("shape_zyx") else {
        bail!("{}: `tu-train info` gives no shape; the demo needs an image of three axes", shown.source);
    };
    let [nm_z, nm_y, nm_x] = triple("voxel_nm_zyx").unwrap_or([1.0; 3]);
    let metres = |nm: f64| json!([nm * 1e-9, "m"]);
    let volume_url = match &shown.served {
        None => shown.source.clone(),
        Some((_, _, path)) => {
            let suffix = match description.get("format").and_then(Value::as_str) {
                Some("zarr2") => "|zarr2:",
                Some("zarr3") => "|zarr3:",
                _ => "|neuroglancer-precomputed:",
            };
            format!("/data/{path}/{suffix}")
        }
    };
    Ok(json!({
        "volume_url": volume_url,
        "title": shown.title,
        "position": [width / 2.0, height / 2.0, depth / 2.0],
        "dimensions": { "x": metres(nm_x), "y": metres(nm_y), "z": metres(nm_z) },
        "crossSectionScale": scale,
    }))
}

/// Asks the desktop to show the page; where there is none, the printed URL has to do.
fn open_browser(url: &str) {
    let (program, arguments): (&str, &[&str]) = match std::env::consts::OS {
        "macos" => ("open", &[]),
        "windows" => ("cmd", &["/C", "start", ""]),
        _ => ("xdg-open", &[]),
    };
    let started = shell::find_on_path(&[program])
        .is_some_and(|found| Command::new(found).args(arguments).arg(url).spawn().is_ok());
    if !started {
        println!("Open this address in a browser with WebGPU (Chrome, Edge or Chromium 121 or later).");
    }
}

fn screenshot_command(workspace: &Workspace, server: &Server, picture: &Path) -> Result<Command> {
    let browser = tools::browser()?;
    let mut node = Command::new(tools::node()?);
    node.arg(workspace.path("crates/xtask/src/screenshot.mjs"))
        .arg(format!("{}/", server.url()))
        .arg(picture)
        .env("CHROME", browser.chromium)
        .env("TU_WEB", workspace.path("web"));
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_volume_is_served_under_its_own_name_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("em.zarr");
        std::fs::create_dir_all(volume.join("raw")).unwrap();
        let description =
            json!({"shape_zyx": [10, 20, 30], "voxel_nm_zyx": [30.0, 8.0, 4.0], "format": "zarr3"});
        let shown = given(&format!("{}|zarr3:raw/", volume.display()), |_| Ok(description)).unwrap();
        let (served, name, path) = shown.served.clone().unwrap();
        assert_eq!(
            (served, name.as_str(), path.as_str()),
            (volume.canonicalize().unwrap(), "em.zarr", "em.zarr/raw")
        );
        let page = page_description(&shown, 0.5).unwrap();
        assert_eq!(page["volume_url"], "/data/em.zarr/raw/|zarr3:");
        assert_eq!(page["position"], json!([15.0, 10.0, 5.0]));
        assert_eq!(page["dimensions"]["x"], json!([4e-9, "m"]));
    }

    #[test]
    fn a_remote_volume_is_passed_on_as_it_is() {
        let description = json!({"shape_zyx": [1, 2, 3], "voxel_nm_zyx": null});
        let shown = given("https://host/em.zarr/|zarr3:", |_| Ok(description)).unwrap();
        assert!(shown.served.is_none());
        let page = page_description(&shown, 1.0).unwrap();
        assert_eq!(page["volume_url"], "https://host/em.zarr/|zarr3:");
    }

    #[test]
    fn a_volume_that_is_not_there_is_an_error_that_says_what_to_give() {
        let error =
            given("/no/such/volume.zarr", |_| unreachable!("it is not there")).err().unwrap().to_string();
        assert!(error.contains("/no/such/volume.zarr") && error.contains("URL"), "{error}");
    }

    #[test]
    fn the_volume_in_the_repository_is_what_its_description_says_and_small_enough_to_be_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let read = |path: &str| -> Value {
            serde_json::from_str(&std::fs::read_to_string(root.join(path)).unwrap()).unwrap()
        };
        let (described, array) = (read(EM_DESCRIPTION), read(&format!("{EM}/raw/zarr.json")));
        assert_eq!(described["shape_zyx"], array["shape"]);
        assert_eq!((&described["format"], &array["data_type"]), (&json!("zarr3"), &json!("uint8")));
        assert_eq!(described["voxel_nm_zyx"], json!([10.0, 10.0, 10.0]));
        fn bytes(folder: &Path) -> u64 {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            entries
                .map(|entry| {
                    if entry.path().is_dir() { bytes(&entry.path()) } else { entry.metadata().unwrap().len() }
                })
                .sum()
        }
        assert!(bytes(&root.join(EM)) <= 5_000_000);
    }
}
