//! The plugin manifest says what is true: it follows its schema, and its models are the files that are there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]

use serde_json::Value;
use std::path::PathBuf;

fn repository() -> PathBuf {
    tu_tests::repository().to_path_buf()
}

fn json(relative: &str) -> Value {
    let path = repository().join(relative);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest() -> Value {
    json("plugin-manifest/manifest.json")
}

fn models() -> Vec<Value> {
    manifest()["models"].as_array().expect("models is a list").clone()
}

/// Bytes of a model that the manifest gives by a relative URL.
fn local_model(model: &Value) -> Option<(PathBuf, Vec<u8>)> {
    let url = model["url"].as_str().expect("url is a string");
    if url.contains("://") {
        return None;
    }
    let path = repository().join("plugin-manifest").join(url);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some((path, bytes))
}

fn violations(instance: &Value) -> Vec<String> {
    let schema = json("plugin-manifest/manifest.schema.json");
    tu_tests::schema::violations(&schema, instance)
}

#[test]
fn the_manifest_follows_its_schema() {
    let found = violations(&manifest());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_schema_refuses_what_the_page_could_not_use() {
    let broken: [(&str, Value); 7] = [
        ("/models", serde_json::json!([])),
        ("/models/0/sha256", "1234".into()),
        ("/models/0/tile_zyx", serde_json::json!([16, 64])),
        ("/models/0/voxel_nm", serde_json::json!([0, 10, 10])),
        ("/models/0/licence", "".into()),
        ("/scheme", "http".into()),
        ("/content_security_policy", serde_json::json!({})),
    ];
    for (place, value) in broken {
        let mut instance = manifest();
        *instance.pointer_mut(place).expect("the place exists") = value;
        assert!(!violations(&instance).is_empty(), "{place} was accepted");
    }
}

#[test]
fn every_local_model_is_there_with_the_size_and_hash_that_the_manifest_says() {
    for model in models() {
        let Some((path, bytes)) = local_model(&model) else { continue };
        let advice = "run `cargo xtask manifest`";
        assert_eq!(model["bytes"], bytes.len(), "{}: size; {advice}", path.display());
        assert_eq!(model["sha256"], tu_model::sha256_hex(&bytes), "{}: hash; {advice}", path.display());
    }
}

#[test]
fn every_local_model_loads_and_is_what_the_manifest_describes() {
    for model in models() {
        let Some((path, bytes)) = local_model(&model) else { continue };
        let device = burn::tensor::Device::flex();
        let (network, metadata) =
            tu_model::load(&bytes, &device).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parameters: usize =
            tu_model::named_tensors(&network).iter().map(|tensor| tensor.values.len()).sum();
        assert_eq!(model["parameters"], parameters, "{}", path.display());
        assert_eq!(model["tile_zyx"], serde_json::json!(metadata.tile_zyx), "{}", path.display());
        assert_eq!(model["halo_zyx"], serde_json::json!(metadata.halo_zyx), "{}", path.display());
        assert_eq!(model["voxel_nm"], serde_json::json!(metadata.voxel_nm_zyx), "{}", path.display());
        assert_eq!(model["licence"], serde_json::json!(metadata.licence), "{}", path.display());
        let card = path.with_extension("md");
        assert!(card.is_file(), "{} has no model card {}", path.display(), card.display());
    }
}

#[test]
fn the_manifest_and_the_package_agree() {
    let (manifest, package) = (manifest(), json("web/package.json"));
    assert_eq!(manifest["name"], package["name"]);
    assert_eq!(manifest["version"], package["version"]);
    assert_eq!(manifest["licence"], package["license"]);
    let exports = package["exports"].as_object().expect("the package has exports");
    let name = package["name"].as_str().expect("the package has a name");
    for (role, specifier) in manifest["entry_points"].as_object().expect("entry_points is an object") {
        let specifier = specifier.as_str().expect("a specifier is a string");
        let export =
            specifier.strip_prefix(name).unwrap_or_else(|| panic!("{role}: {specifier} is not in {name}"));
        assert!(
            exports.contains_key(&format!(".{export}")),
            "{role}: the package does not export {specifier}"
        );
    }
    let built_with =
        package["dependencies"]["neuroglancer"].as_str().expect("the package names Neuroglancer");
    let range = manifest["neuroglancer"].as_str().expect("a range is a string");
    assert!(range.starts_with(&format!(">={built_with} ")), "{range} does not begin at {built_with}");
}
