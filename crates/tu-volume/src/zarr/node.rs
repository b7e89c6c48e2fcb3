//! Nodes of a zarr hierarchy: what a folder's metadata documents say it is.

use crate::{
    UrlFormat, VolumeError,
    source::{MetadataSource, parse_json},
};
use serde_json::{Map, Value};

/// A folder that is part of a zarr hierarchy.
#[derive(Debug)]
pub(crate) enum Node {
    /// An array: its metadata document (for version 2 with the attributes put in).
    Array { version: u8, document: Value },
    /// A group.
    Group { attributes: Map<String, Value>, known_children: Vec<String> },
}

/// Reads the node at the root of a source; `None` if it is no zarr node of the format asked for.
pub(crate) async fn read<S: MetadataSource>(
    source: &S,
    format: UrlFormat,
) -> Result<Option<Node>, VolumeError> {
    if format != UrlFormat::Zarr2
        && let Some(bytes) = source.document("zarr.json").await?
    {
        return version_3(&source.describe("zarr.json"), &bytes).map(Some);
    }
    if format != UrlFormat::Zarr3 {
        return version_2(source).await;
    }
    Ok(None)
}

fn version_3(input: &str, bytes: &[u8]) -> Result<Node, VolumeError> {
    let document: Value = parse_json(input, bytes)?;
    match document.get("node_type").and_then(Value::as_str) {
        Some("array") => Ok(Node::Array { version: 3, document }),
        Some("group") => {
            let mut known_children: Vec<String> = document
                .pointer("/consolidated_metadata/metadata")
                .and_then(Value::as_object)
                .map(|nodes| nodes.keys().filter(|k| !k.is_empty() && !k.contains('/')).cloned().collect())
                .unwrap_or_default();
            known_children.sort();
            Ok(Node::Group { attributes: object(document.get("attributes")), known_children })
        }
        _ => Err(VolumeError::metadata(input, "node_type is neither \"array\" nor \"group\"")),
    }
}

async fn version_2<S: MetadataSource>(source: &S) -> Result<Option<Node>, VolumeError> {
    if let Some(bytes) = source.document(".zarray").await? {
        let mut document: Value = parse_json(&source.describe(".zarray"), &bytes)?;
        let attributes = attributes_2(source).await?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("attributes".to_owned(), Value::Object(attributes));
        }
        return Ok(Some(Node::Array { version: 2, document }));
    }
    if source.document(".zgroup").await?.is_none() {
        return Ok(None);
    }
    let mut known_children: Vec<String> = match source.document(".zmetadata").await? {
        Some(bytes) => {
            let document: Value = parse_json(&source.describe(".zmetadata"), &bytes)?;
            object(document.get("metadata"))
                .keys()
                .filter_map(|key| key.strip_suffix("/.zarray").or_else(|| key.strip_suffix("/.zgroup")))
                .filter(|name| !name.contains('/'))
                .map(str::to_owned)
                .collect()
        }
        None => Vec::new(),
    };
    known_children.sort();
    Ok(Some(Node::Group { attributes: attributes_2(source).await?, known_children }))
}

async fn attributes_2<S: MetadataSource>(source: &S) -> Result<Map<String, Value>, VolumeError> {
    match source.document(".zattrs").await? {
        Some(bytes) => Ok(object(Some(&parse_json(&source.describe(".zattrs"), &bytes)?))),
        None => Ok(Map::new()),
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}
