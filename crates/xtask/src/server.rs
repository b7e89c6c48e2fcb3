//! A static file server on the loopback interface: what the demo page and the fixtures need, and nothing that writes.
//!
//! `Range`, CORS (any origin may read), right media types, a Content-Security-Policy on pages, no directory listings.
//! A path is refused where its text or, after symbolic links, its target leaves the served folder.

use crate::http::{MAX_HEAD, Method, Range, Request, media_type, parse_range, relative_path};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Connections served at a time; browsers open six per host, workers more.
const MAX_CONNECTIONS: usize = 64;
/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// What is served under which URL prefix.
pub(crate) struct Site {
    routes: Vec<(String, Content)>,
    content_security_policy: Option<String>,
}

enum Content {
    /// A folder, canonical.
    Folder(PathBuf),
    /// One document.
    Document { bytes: Vec<u8>, media_type: &'static str },
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { routes: Vec::new(), content_security_policy: None }
    }

    /// Header sent with every page and script.
    pub(crate) fn with_content_security_policy(mut self, policy: String) -> Self {
        self.content_security_policy = Some(policy);
        self
    }

    /// Serves a folder below `prefix` (which ends in `/`); routes added earlier win.
    pub(crate) fn with_folder(mut self, prefix: &str, folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("cannot serve {}", folder.display()))?;
        self.routes.push((prefix.to_owned(), Content::Folder(folder)));
        Ok(self)
    }

    /// Serves one JSON document at exactly `path`.
    pub(crate) fn with_json(mut self, path: &str, value: &serde_json::Value) -> Self {
        let content =
            Content::Document { bytes: value.to_string().into_bytes(), media_type: "application/json" };
        self.routes.insert(0, (path.to_owned(), content));
        self
    }

    fn find(&self, url_path: &str) -> Option<Body> {
        for (prefix, content) in &self.routes {
            match content {
                Content::Document { bytes, media_type } if prefix == url_path => {
                    return Some(Body { source: Source::Memory(bytes.clone()), media_type });
                }
                Content::Folder(folder) => {
                    let Some(rest) = url_path.strip_prefix(prefix.as_str()) else { continue };
                    if let Some(body) = open_below(folder, rest) {
                        return Some(body);
                    }
                }
                Content::Document { .. } => {}
            }
        }
        None
    }
}

struct Body {
    source: Source,
    media_type: &'static str,
}

enum Source {
    Memory(Vec<u8>),
    File { file: File, length: u64 },
}

fn open_below(folder: &Path, rest: &str) -> Option<Body> {
    let mut path = folder.join(relative_path(rest)?).canonicalize().ok()?;
    if path.is_dir() {
        path = path.join("index.html").canonicalize().ok()?;
    }
    if !path.starts_with(folder) {
        return None;
    }
    let file = File::open(&path).ok()?;
    let metadata = file.metadata().ok()?;
    metadata.is_file().then(|| Body {
        source: Source::File { file, length: metadata.len() },
        media_type: media_type(&path),
    })
}

/// A running server; it ends with the process.
pub(crate) struct Server {
    address: SocketAddr,
}

impl Server {
    /// Binds 127.0.0.1 at `port` (0: any free one) and serves in background threads.
    pub(crate) fn start(site: Site, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("cannot listen on 127.0.0.1:{port}: another program may use it; choose one with --port")
        })?;
        let address = listener.local_addr()?;
        let site = Arc::new(site);
        let open = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if open.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
                    drop(stream);
                    continue;
                }
                open.fetch_add(1, Ordering::Relaxed);
                let (site, open) = (Arc::clone(&site), Arc::clone(&open));
                std::thread::spawn(move || {
                    // The peer going away in the middle is its business: nothing to tell anybody.
                    let _ = converse(stream, &site);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { address })
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn converse(mut stream: TcpStream, site: &Site) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = read_head(&mut reader)? {
        let Some(request) = Request::parse(&head) else {
            return write_status(&mut stream, "400 Bad Request", false);
        };
        answer(&mut stream, site, &request)?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}

/// Reads up to the empty line; `None` at the end of the connection or where the head is too long.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let count = reader.by_ref().take((MAX_HEAD - before) as u64).read_until(b'\n', &mut head)?;
        if count == 0 || (head.len() >= MAX_HEAD && !head.ends_with(b"\r\n\r\n")) {
            return Ok(None);
        }
        if head.ends_with(b"\r\n\r\n") {
            head.truncate(head.len() - 4);
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
    }
}

fn answer(stream: &mut TcpStream, site: &Site, request: &Request) -> std::io::Result<()> {
    match request.method {
        Method::Options => return write_status(stream, "204 No Content", request.keep_alive),
        Method::Other => return write_status(stream, "405 Method Not Allowed", request.keep_alive),
        Method::Get | Method::Head => {}
    }
    let Some(body) = site.find(&request.path) else {
        return write_status(stream, "404 Not Found", request.keep_alive);
    };
    let length = match &body.source {
        Source::Memory(bytes) => bytes.len() as u64,
        Source::File { length, .. } => *length,
    };
    let (status, start, count) = match parse_range(request.range.as_deref(), length) {
        Range::Whole => ("200 OK", 0, length),
        Range::Part { start, count } => ("206 Partial Content", start, count),
        Range::Unsatisfiable => {
            let extra = format!("Content-Range: bytes */{length}\r\n");
            return write_head(stream, "416 Range Not Satisfiable", &extra, 0, request.keep_alive);
        }
    };
    let mut extra = format!("Content-Type: {}\r\nAccept-Ranges: bytes\r\n", body.media_type);
    if status.starts_with("206") {
        extra += &format!("Content-Range: bytes {start}-{}/{length}\r\n", start + count - 1);
    }
    // Scripts too: a worker has the policy of its own script.
    let is_governed =
        body.media_type.starts_with("text/html") || body.media_type.starts_with("text/javascript");
    if let Some(policy) = site.content_security_policy.as_ref().filter(|_| is_governed) {
        extra += &format!("Content-Security-Policy: {policy}\r\n");
    }
    write_head(stream, status, &extra, count, request.keep_alive)?;
    if request.method == Method::Head {
        return Ok(());
    }
    match body.source {
        Source::Memory(bytes) => {
            let part = bytes.iter().skip(start as usize).take(count as usize).copied().collect::<Vec<u8>>();
            stream.write_all(&part)
        }
        Source::File { mut file, .. } => {
            file.seek(SeekFrom::Start(start))?;
            let sent = std::io::copy(&mut file.take(count), stream)?;
            if sent == count { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        }
    }
}

fn write_status(stream: &mut TcpStream, status: &str, keep_alive: bool) -> std::io::Result<()> {
    write_head(stream, status, "", 0, keep_alive)
}

fn write_head(
    stream: &mut TcpStream,
    status: &str,
    extra: &str,
    length: u64,
    keep_alive: bool,
) -> std::io::Result<()> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    // A status without a body says so by its number, all others by their length.
    let length =
        if status.starts_with("204") { String::new() } else { format!("Content-Length: {length}\r\n") };
    stream.write_all(
        format!(
            "HTTP/1.1 {status}\r\n{length}{extra}Connection: {connection}\r\nCache-Control: no-cache\r\n\
             X-Content-Type-Options: nosniff\r\nAccess-Control-Allow-Origin: *\r\n\
             Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\nAccess-Control-Allow-Headers: Range\r\n\
             Access-Control-Expose-Headers: Content-Length, Content-Range, Accept-Ranges\r\n\r\n"
        )
        .as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(url: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        let mut answer = Vec::new();
        // A refused request may end in a reset connection at any point; what came before it counts.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn get(url: &str, path: &str, headers: &str) -> String {
        exchange(url, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}Connection: close\r\n\r\n"))
    }

    fn served() -> (tempfile::TempDir, Server) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("site")).unwrap();
        std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(folder.path().join("site/index.html"), "<p>page</p>").unwrap();
        std::fs::write(folder.path().join("site/chunk"), "0123456789").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("secret.txt"), folder.path().join("site/link"))
            .unwrap();
        let site = Site::new()
            .with_content_security_policy("default-src 'self'".to_owned())
            .with_folder("/", &folder.path().join("site"))
            .unwrap()
            .with_json("/demo.json", &serde_json::json!({"a": 1}));
        (folder, Server::start(site, 0).unwrap())
    }

    #[test]
    fn a_page_comes_with_its_policy_and_a_chunk_without() {
        let (_folder, server) = served();
        let page = get(&server.url(), "/", "");
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.ends_with("<p>page</p>"), "{page}");
        assert!(page.contains("Content-Security-Policy: default-src 'self'") && page.contains("text/html"));
        let chunk = get(&server.url(), "/chunk", "");
        assert!(chunk.contains("octet-stream") && !chunk.contains("Content-Security-Policy"), "{chunk}");
        assert!(chunk.contains("Access-Control-Allow-Origin: *"), "{chunk}");
        assert!(get(&server.url(), "/demo.json", "").ends_with("{\"a\":1}"));
    }

    #[test]
    fn a_range_of_a_file_is_served_exactly() {
        let (_folder, server) = served();
        let part = get(&server.url(), "/chunk", "Range: bytes=2-4\r\n");
        assert!(part.starts_with("HTTP/1.1 206") && part.contains("Content-Range: bytes 2-4/10"), "{part}");
        assert!(part.contains("Content-Length: 3\r\n") && part.ends_with("\r\n\r\n234"), "{part}");
        assert!(get(&server.url(), "/chunk", "Range: bytes=10-\r\n").starts_with("HTTP/1.1 416"));
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let (_folder, server) = served();
        for path in
            ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/link", "//secret.txt", "/no/such"]
        {
            let answer = get(&server.url(), path, "");
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
            assert!(!answer.contains("secret"), "{path}: {answer}");
        }
    }

    #[test]
    fn reading_is_all_one_can_do() {
        let (folder, server) = served();
        let put = exchange(&server.url(), "PUT /chunk HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
        assert!(put.starts_with("HTTP/1.1 405"), "{put}");
        assert_eq!(std::fs::read_to_string(folder.path().join("site/chunk")).unwrap(), "0123456789");
        assert!(exchange(&server.url(), "OPTIONS /chunk HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 204"));
        assert!(exchange(&server.url(), "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
        let endless = "GET / HTTP/1.1\r\n".to_owned() + &"x".repeat(MAX_HEAD);
        assert!(exchange(&server.url(), &endless).is_empty());
    }

    #[test]
    fn one_connection_carries_many_requests() {
        let (_folder, server) = served();
        let both = exchange(
            &server.url(),
            "HEAD /chunk HTTP/1.1\r\n\r\nGET /chunk HTTP/1.1\r\nRange: bytes=-1\r\n\r\n",
        );
        assert!(
            both.contains("HTTP/1.1 200 OK") && both.contains("HTTP/1.1 206") && both.ends_with('9'),
            "{both}"
        );
    }
}
