//! Volume URLs: the strings that Neuroglancer accepts.
//!
//! A URL is a place followed by adapters: `place|zarr3:path/in/the/hierarchy`, `place|zarr2:`, `place|zarr:`,
//! `place|neuroglancer-precomputed:`; or an older form with a scheme in front, `zarr://place`,
//! `precomputed://place`; or a bare place whose format is detected. A place is a path, `file://`, `http(s)://`,
//! `gs://bucket/…` or `s3://bucket/…` (both read anonymously over HTTPS).

use crate::VolumeError;
use std::{fmt, str::FromStr};

/// How a volume is stored, as far as its URL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlFormat {
    /// Detected from what is there.
    Auto,
    /// zarr of either version.
    Zarr,
    /// zarr version 2.
    Zarr2,
    /// zarr version 3.
    Zarr3,
    /// Neuroglancer precomputed.
    Precomputed,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    File(std::path::PathBuf),
    /// A web folder: `base` without a trailing slash; `query` (with its `?`) follows every key.
    Http {
        /// `https://host/path`
        base: String,
        /// Empty, or `?key=value…`
        query: String,
    },
}

/// A parsed volume URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUrl {
    text: String,
    place: Place,
    format: UrlFormat,
}

impl VolumeUrl {
    /// Where the bytes are; a path inside a hierarchy is already joined.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The format that the URL names.
    #[must_use]
    pub fn format(&self) -> UrlFormat {
        self.format
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text without its query, which may hold a token: this is what messages show.
    pub(crate) fn shown(&self) -> String {
        let Some(start) = self.text.find('?') else { return self.text.clone() };
        let end = self.text[start..].find('|').map_or(self.text.len(), |i| start + i);
        format!("{}{}", &self.text[..start], &self.text[end..])
    }

    /// The error for when none of the documents that the format asks for exists.
    pub(crate) fn nothing_there(&self) -> VolumeError {
        let looked_for = match self.format {
            UrlFormat::Auto => "neither zarr.json, .zarray, .zgroup nor info is there",
            UrlFormat::Zarr => "neither zarr.json, .zarray nor .zgroup is there",
            UrlFormat::Zarr2 => "neither .zarray nor .zgroup is there",
            UrlFormat::Zarr3 => "no zarr.json is there",
            UrlFormat::Precomputed => "no info is there",
        };
        let remedy = match self.place {
            Place::File(_) => "check the path",
            Place::Http { .. } => "check the URL and that the server lets everybody read",
        };
        VolumeError::NotFound { input: self.shown(), cause: looked_for.to_owned(), remedy: remedy.to_owned() }
    }
}

impl fmt::Display for VolumeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for VolumeUrl {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let text = text.trim();
        let mut parts = text.split('|');
        let (mut format, place) = scheme_in_front(text, parts.next().unwrap_or_default())?;
        let mut inner = String::new();
        for adapter in parts {
            let (name, path) = adapter.split_once(':').unwrap_or((adapter, ""));
            format = match name {
                "zarr" => UrlFormat::Zarr,
                "zarr2" => UrlFormat::Zarr2,
                "zarr3" => UrlFormat::Zarr3,
                "neuroglancer-precomputed" | "precomputed" => UrlFormat::Precomputed,
                "tokenunify" => continue,
                other => return Err(refuse_format(text, other)),
            };
            let path = path.trim_matches('/');
            if !path.is_empty() {
                check_relative(text, path)?;
                inner.push('/');
                inner.push_str(path);
            }
        }
        if place.is_empty() {
            return Err(bad(text, "it is empty", "give a path or a URL"));
        }
        Ok(Self { text: text.to_owned(), place: parse_place(text, place, &inner)?, format })
    }
}

/// Splits `zarr://…` and its like off the place.
fn scheme_in_front<'a>(text: &str, mut place: &'a str) -> Result<(UrlFormat, &'a str), VolumeError> {
    place = place.strip_prefix("tokenunify://").unwrap_or(place);
    for (prefix, format) in [
        ("zarr://", UrlFormat::Zarr),
        ("zarr2://", UrlFormat::Zarr2),
        ("zarr3://", UrlFormat::Zarr3),
        ("precomputed://", UrlFormat::Precomputed),
    ] {
        if let Some(rest) = place.strip_prefix(prefix) {
            return Ok((format, rest));
        }
    }
    if place.starts_with("n5://") {
        return Err(refuse_format(text, "n5"));
    }
    Ok((UrlFormat::Auto, place))
}

fn parse_place(text: &str, place: &str, inner: &str) -> Result<Place, VolumeError> {
    let http = |url: String| -> Result<Place, VolumeError> {
        let url = url.split('#').next().unwrap_or_default();
        let (base, query) = match url.split_once('?') {
            Some((base, query)) if !query.is_empty() => (base, format!("?{query}")),
            Some((base, _)) => (base, String::new()),
            None => (url, String::new()),
        };
        let host = base.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
        if host.is_empty() {
            return Err(bad(text, "it names no host", "write https://host/path"));
        }
        if host.contains('@') {
            return Err(bad(
                text,
                "it carries a user name or password",
                "remove them: credentials in URLs end up in logs and shared links",
            ));
        }
        Ok(Place::Http { base: format!("{}{inner}", base.trim_end_matches('/')), query })
    };
    if place.starts_with("http://") || place.starts_with("https://") {
        return http(place.to_owned());
    }
    if let Some(rest) = place.strip_prefix("gs://") {
        return http(format!("https://storage.googleapis.com/{rest}"));
    }
    if let Some(rest) = place.strip_prefix("s3://") {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        return http(format!("https://{bucket}.s3.amazonaws.com/{key}"));
    }
    let path = place.strip_prefix("file://").unwrap_or(place);
    if let Some((scheme, _)) = path.split_once("://") {
        return Err(bad(
            text,
            &format!("{scheme}:// is unknown"),
            "use a path, file://, http(s)://, gs:// or s3://",
        ));
    }
    let trimmed = path.trim_end_matches('/');
    let path = if trimmed.is_empty() { path } else { trimmed };
    Ok(Place::File(format!("{path}{inner}").into()))
}

/// Refuses paths that would leave the volume's folder; also applied to paths found in metadata.
pub(crate) fn check_relative(input: &str, path: &str) -> Result<(), VolumeError> {
    let escapes = path.starts_with('/') || path.contains("://") || path.contains('\\');
    if escapes || path.split('/').any(|part| part == "..") {
        return Err(VolumeError::metadata(
            input,
            format!("the path {path:?} leads outside the volume's own folder"),
        ));
    }
    Ok(())
}

fn bad(text: &str, cause: &str, remedy: &str) -> VolumeError {
    VolumeError::Url { input: text.to_owned(), cause: cause.to_owned(), remedy: remedy.to_owned() }
}

fn refuse_format(text: &str, name: &str) -> VolumeError {
    VolumeError::unsupported(
        text,
        format!("the format {name:?}"),
        "convert the volume to zarr v3 or precomputed (tensorstore and zarr-python do it), or check the spelling: zarr, zarr2, zarr3, neuroglancer-precomputed",
    )
}
