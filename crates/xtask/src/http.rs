//! The few pieces of HTTP/1.1 that serving files needs: request line, `Range`, percent encoding, media types.

use std::path::{Component, Path, PathBuf};

/// Longest request head that is read, in bytes.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Decoded path without query, beginning with `/`.
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) keep_alive: bool,
}

/// Methods that reading needs; every other one is answered with 405.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Method {
    Get,
    Head,
    Options,
    Other,
}

impl Request {
    /// Parses a request head (without the empty line); `None` where it is not HTTP/1.x.
    pub(crate) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let method = match words.next()? {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        };
        let target = words.next()?;
        let version = words.next()?;
        if !version.starts_with("HTTP/1.") || !target.starts_with('/') || words.next().is_some() {
            return None;
        }
        let path = percent_decode(target.split(['?', '#']).next()?)?;
        let mut request = Self { method, path, range: None, keep_alive: version == "HTTP/1.1" };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "range" => request.range = Some(value.trim().to_owned()),
                "connection" => request.keep_alive &= !value.trim().eq_ignore_ascii_case("close"),
                // Nothing we answer has a body in the request; one that does would be read as the next request.
                "content-length" if value.trim() != "0" => request.keep_alive = false,
                "transfer-encoding" => request.keep_alive = false,
                _ => {}
            }
        }
        Some(request)
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let [high, low, tail @ ..] = tail else { return None };
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The decoded URL path as a path below a folder; `None` where it could leave that folder.
pub(crate) fn relative_path(url_path: &str) -> Option<PathBuf> {
    if url_path.contains(['\\', '\0']) {
        return None;
    }
    let path = Path::new(url_path.trim_start_matches('/'));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // A drive letter (`c:`) is a prefix on Windows and an ordinary name elsewhere: refused everywhere.
    (plain && !url_path.contains(':')).then(|| path.to_path_buf())
}

/// Outcome of a `Range` header on a file of `length` bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Range {
    /// No range, or one that RFC 9110 lets a server ignore (several ranges, another unit, nonsense).
    Whole,
    /// First byte and number of bytes.
    Part { start: u64, count: u64 },
    /// Answered with 416.
    Unsatisfiable,
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n`.
pub(crate) fn parse_range(header: Option<&str>, length: u64) -> Range {
    let Some(spec) = header.and_then(|text| text.strip_prefix("bytes=")) else { return Range::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Range::Whole };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return match last.parse::<u64>() {
            Ok(0) => Range::Unsatisfiable,
            Ok(_) if length == 0 => Range::Unsatisfiable,
            Ok(count) => Range::Part { start: length.saturating_sub(count), count: count.min(length) },
            Err(_) => Range::Whole,
        };
    }
    let Ok(start) = first.parse::<u64>() else { return Range::Whole };
    let last = if last.is_empty() { Ok(u64::MAX) } else { last.parse::<u64>() };
    match last {
        Ok(last) if last < start => Range::Whole,
        Ok(_) if start >= length => Range::Unsatisfiable,
        Ok(last) => Range::Part { start, count: last.min(length - 1) - start + 1 },
        Err(_) => Range::Whole,
    }
}

/// Media type by file name.
pub(crate) fn media_type(path: &Path) -> &'static str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if matches!(name, "info" | ".zarray" | ".zgroup" | ".zattrs" | ".zmetadata") {
        return "application/json";
    }
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "md" | "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_decoded_and_its_query_dropped() {
        let head = "GET /data/a%20b.zarr/c/0/0?x=%2e%2e HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9";
        let request = Request::parse(head).unwrap();
        assert_eq!(request.path, "/data/a b.zarr/c/0/0");
        assert_eq!(request.range.as_deref(), Some("bytes=0-9"));
        assert!(request.keep_alive);
    }

    #[test]
    fn nonsense_is_not_a_request() {
        for head in [
            "",
            "GET",
            "GET /",
            "GET / HTTP/2",
            "GET http://x/ HTTP/1.1",
            "GET /%zz HTTP/1.1",
            "GET /%f HTTP/1.1",
        ] {
            assert_eq!(Request::parse(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_path_never_leaves_its_folder() {
        for path in ["/../x", "/a/../../x", "/a/..", "/..\\x", "/c:/x", "//../x", "/a\0b", "/./../x"] {
            assert_eq!(relative_path(path), None, "{path:?}");
        }
        assert_eq!(relative_path("/a/b.json"), Some(PathBuf::from("a/b.json")));
        assert_eq!(relative_path("//etc/passwd"), Some(PathBuf::from("etc/passwd")));
        assert_eq!(relative_path("/"), Some(PathBuf::new()));
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        let part = |start, count| Range::Part { start, count };
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 4)),
            ("bytes=2-", part(2, 8)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("bytes=5-500", part(5, 5)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("lines=0-1", Range::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(parse_range(Some(header), 10), expected, "{header}");
        }
        assert_eq!(parse_range(None, 10), Range::Whole);
        assert_eq!(parse_range(Some("bytes=-1"), 0), Range::Unsatisfiable);
    }
}
