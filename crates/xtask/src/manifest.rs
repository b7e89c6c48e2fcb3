//! `plugin-manifest/manifest.json`: what it says about files, recomputed from the files.
//!
//! `cargo xtask manifest` refreshes the models of the checked-in manifest. `cargo xtask web` writes a copy into the site
//! that also names the WebAssembly module with its size and integrity.

use crate::digest;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Largest safetensors header that is read, in bytes.
const MAX_HEADER: u64 = 8 << 20;

/// Keys in the order in which they are written; others follow alphabetically.
const ORDER: [&str; 34] = [
    "$schema",
    "manifest_version",
    "id",
    "name",
    "title",
    "version",
    "description",
    "scheme",
    "licence",
    "homepage",
    "neuroglancer",
    "entry_points",
    "frontend",
    "backend",
    "segmentation_worker",
    "vite_plugin",
    "wasm",
    "models",
    "url",
    "sha256",
    "bytes",
    "gzip_bytes",
    "integrity",
    "parameters",
    "voxel_nm",
    "tile_zyx",
    "halo_zyx",
    "training_data",
    "webgpu",
    "required_features",
    "optional_features",
    "required_limits",
    "headers",
    "content_security_policy",
];

/// The checked-in manifest.
pub(crate) fn path(workspace: &Workspace) -> PathBuf {
    workspace.path("plugin-manifest/manifest.json")
}

/// Reads the checked-in manifest.
pub(crate) fn read(workspace: &Workspace) -> Result<Value> {
    let path = path(workspace);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// `cargo xtask manifest`.
pub(crate) fn refresh_source(workspace: &Workspace) -> Result<()> {
    let mut manifest = read(workspace)?;
    let path = path(workspace);
    let folder = path.parent().unwrap_or(Path::new("."));
    let models =
        manifest.get_mut("models").and_then(Value::as_array_mut).context("the manifest has no `models`")?;
    for model in models {
        let Some(url) = model.get("url").and_then(Value::as_str).map(str::to_owned) else {
            bail!("a model of {} has no `url`", path.display());
        };
        if url.contains("://") {
            println!("{url}: elsewhere, left as it is");
            continue;
        }
        let file = folder.join(&url);
        let bytes =
            std::fs::read(&file).with_context(|| format!("cannot read the model {}", file.display()))?;
        let found =
            describe(&bytes).with_context(|| format!("{} is not a usable model file", file.display()))?;
        let entry = model.as_object_mut().context("a model is not an object")?;
        entry.extend(found);
        println!("{url}: {} bytes, sha256 {}", bytes.len(), digest::sha256_hex(&bytes));
    }
    write(&path, &manifest)
}

/// The part of the content security policy that a page needs, joined as the header's value.
pub(crate) fn content_security_policy(manifest: &Value) -> Result<String> {
    let directives = manifest
        .get("content_security_policy")
        .and_then(Value::as_object)
        .context("no `content_security_policy`")?;
    let mut parts = Vec::new();
    for (name, sources) in directives {
        let sources: Option<Vec<&str>> =
            sources.as_array().context("not a list")?.iter().map(Value::as_str).collect();
        parts.push(format!("{name} {}", sources.context("a source is not a string")?.join(" ")));
    }
    Ok(parts.join("; "))
}

/// Writes the site's copy with the module's size and integrity.
pub(crate) fn write_site_copy(workspace: &Workspace, site: &Path, module: &Path) -> Result<()> {
    let mut manifest = read(workspace)?;
    let bytes = std::fs::read(module)?;
    let relative = module.strip_prefix(site).unwrap_or(module).to_string_lossy().replace('\\', "/");
    manifest["wasm"] = json!({
        "url": format!("../{relative}"),
        "bytes": bytes.len(),
        "gzip_bytes": digest::gzip_size(&bytes)?,
        "integrity": digest::integrity(&bytes),
    });
    let folder = site.join("plugin-manifest");
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(
        workspace.path("plugin-manifest/manifest.schema.json"),
        folder.join("manifest.schema.json"),
    )?;
    write(&folder.join("manifest.json"), &manifest)
}

/// What a manifest says of a model file, from the file alone.
fn describe(bytes: &[u8]) -> Result<Map<String, Value>> {
    let header = header(bytes)?;
    let metadata = header
        .get("__metadata__")
        .and_then(|metadata| metadata.get("tokenunify"))
        .and_then(Value::as_str)
        .context("it has no metadata `tokenunify`")?;
    let metadata: Value = serde_json::from_str(metadata).context("its metadata `tokenunify` is not JSON")?;
    let mut found = Map::new();
    for (key, source) in [
        ("voxel_nm", metadata.get("voxel_nm_zyx")),
        ("tile_zyx", metadata.get("tile_zyx")),
        ("halo_zyx", metadata.get("halo_zyx")),
        ("licence", metadata.get("licence")),
        ("training_data", metadata.pointer("/provenance/training_data")),
    ] {
        found.insert(key.to_owned(), source.with_context(|| format!("its metadata has no {key}"))?.clone());
    }
    found.insert("bytes".to_owned(), bytes.len().into());
    found.insert("sha256".to_owned(), digest::sha256_hex(bytes).into());
    found.insert("parameters".to_owned(), parameters(&header).into());
    Ok(found)
}

fn header(bytes: &[u8]) -> Result<Map<String, Value>> {
    let (length, rest) = bytes.split_first_chunk::<8>().context("it is shorter than a safetensors header")?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        bail!("its header claims {length} bytes, more than the {MAX_HEADER} allowed");
    }
    let header = rest.get(..usize::try_from(length)?).context("it ends within its header")?;
    serde_json::from_slice(header).context("its header is not a JSON object")
}

fn parameters(header: &Map<String, Value>) -> u64 {
    let size = |tensor: &Value| -> Option<u64> {
        tensor
            .get("shape")?
            .as_array()?
            .iter()
            .map(Value::as_u64)
            .try_fold(1, |size, length| Some(size * length?))
    };
    header.iter().filter(|(name, _)| *name != "__metadata__").filter_map(|(_, tensor)| size(tensor)).sum()
}

fn write(path: &Path, manifest: &Value) -> Result<()> {
    let mut text = String::new();
    print(manifest, 0, &mut text);
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Pretty-prints with [`ORDER`] and with lists of numbers or words on one line.
fn print(value: &Value, depth: usize, text: &mut String) {
    let indent = |depth: usize| format!("\n{}", "  ".repeat(depth));
    match value {
        Value::Object(object) if !object.is_empty() => {
            let mut keys: Vec<&String> = object.keys().collect();
            let rank = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
            keys.sort_by_key(|key| (rank(key), (*key).clone()));
            for (number, key) in keys.into_iter().enumerate() {
                text.push_str(if number == 0 { "{" } else { "," });
                text.push_str(&indent(depth + 1));
                text.push_str(&format!("{}: ", Value::from(key.as_str())));
                print(&object[key.as_str()], depth + 1, text);
            }
            text.push_str(&indent(depth));
            text.push('}');
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (number, item) in list.iter().enumerate() {
                text.push_str(if number == 0 { "[" } else { "," });
                text.push_str(&indent(depth + 1));
                print(item, depth + 1, text);
            }
            text.push_str(&indent(depth));
            text.push(']');
        }
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(Value::to_string).collect();
            text.push_str(&format!("[{}]", items.join(", ")));
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(header: &Value, declared: Option<u64>) -> Vec<u8> {
        let header = header.to_string();
        let length = declared.unwrap_or(header.len() as u64);
        [&length.to_le_bytes()[..], header.as_bytes()].concat()
    }

    #[test]
    fn a_model_is_described_from_its_own_header() {
        let metadata = json!({
            "voxel_nm_zyx": [10.0, 10.0, 10.0], "tile_zyx": [16, 64, 64], "halo_zyx": [4, 16, 16], "licence": "MIT",
            "provenance": {"training_data": ["fib25"]},
        });
        let header = json!({
            "__metadata__": {"tokenunify": metadata.to_string()},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]},
        });
        let found = describe(&model(&header, None)).unwrap();
        assert_eq!(found["parameters"], 10);
        assert_eq!(found["tile_zyx"], json!([16, 64, 64]));
        assert_eq!(found["training_data"], json!(["fib25"]));
    }

    #[test]
    fn a_broken_model_is_refused_with_a_reason() {
        let header = json!({"a": {"shape": [2]}});
        for (bytes, reason) in [
            (Vec::new(), "shorter"),
            (model(&header, Some(u64::MAX)), "claims"),
            (model(&header, Some(1000)), "ends within"),
            (model(&json!([1]), None), "not a JSON object"),
            (model(&header, None), "tokenunify"),
        ] {
            let error = describe(&bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn printing_keeps_the_content_and_the_order() {
        let value = json!({"models": [{"url": "u", "id": "x", "tile_zyx": [1, 2]}], "name": "n", "other": null, "e": {}});
        let mut text = String::new();
        print(&value, 0, &mut text);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.find("\"name\"") < text.find("\"models\"") && text.contains("[1, 2]"), "{text}");
    }
}
