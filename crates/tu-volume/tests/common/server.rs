//! A small threaded HTTP/1.1 server with ranges, and with the faults that a test asks for.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// What the server does with a request for a path.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Serve the file, with ranges.
    File,
    /// Serve the file as a whole whatever range is asked for.
    WithoutRanges,
    /// Nothing but this status.
    Status(u16),
    /// Announce the whole file and hang up half-way.
    HangUp,
    /// A body that never ends.
    Endless,
}

type Policy = dyn Fn(&str, usize) -> Answer + Send + Sync;

/// A server on a free port of this machine; stops with the process.
pub(crate) struct Server {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves a folder.
    pub(crate) fn serving(root: impl Into<PathBuf>) -> Self {
        Self::with_policy(root, |_, _| Answer::File)
    }

    /// Serves a folder with a policy: path and how often it was asked for before → answer.
    pub(crate) fn with_policy(
        root: impl Into<PathBuf>,
        policy: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (root, policy, requests): (PathBuf, Arc<Policy>, _) =
            (root.into(), Arc::new(policy), log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, policy, log) = (root.clone(), policy.clone(), requests.clone());
                std::thread::spawn(move || serve(&stream, &root, &*policy, &log));
            }
        });
        Self { url, log }
    }

    /// `METHOD path range` of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }
}

fn serve(stream: &TcpStream, root: &std::path::Path, policy: &Policy, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
        let mut range = None;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("range")
            {
                range = Some(value.trim().to_owned());
            }
        }
        let before = {
            let mut log = log.lock().expect("the log");
            let before = log.iter().filter(|entry| entry.split(' ').nth(1) == Some(path.as_str())).count();
            log.push(format!("{method} {path} {}", range.as_deref().unwrap_or("-")));
            before
        };
        if !respond(stream, root, &method, &path, range.as_deref(), &policy(&path, before)) {
            return;
        }
    }
}

/// Returns whether the connection lives on.
fn respond(
    mut stream: &TcpStream,
    root: &std::path::Path,
    method: &str,
    path: &str,
    range: Option<&str>,
    answer: &Answer,
) -> bool {
    let mut send = |status: u16, extra: &str, length: usize, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nAccess-Control-Allow-Origin: *\r\n{extra}\r\n"
        );
        let body = if method == "HEAD" { &[][..] } else { body };
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_ok()
    };
    if let Answer::Status(status) = answer {
        return send(*status, "Retry-After: 0\r\n", 0, &[]);
    }
    if let Answer::Endless = answer {
        let head = "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n";
        let mut alive = stream.write_all(head.as_bytes()).is_ok();
        while alive {
            alive = stream.write_all(&[0; 1 << 16]).is_ok();
        }
        return false;
    }
    let mut bytes = Vec::new();
    let file = root.join(path.trim_start_matches('/'));
    let opened = std::fs::File::open(&file).and_then(|mut f| f.read_to_end(&mut bytes));
    if opened.is_err() {
        return send(404, "", 0, &[]);
    }
    match (answer, range.and_then(|r| parse_range(r, bytes.len()))) {
        (Answer::HangUp, _) => {
            send(200, "", bytes.len(), &bytes[..bytes.len() / 2]);
            false
        }
        (Answer::File, Some(Some((begin, end)))) => {
            let extra = format!("Content-Range: bytes {begin}-{}/{}\r\n", end - 1, bytes.len());
            send(206, &extra, end - begin, &bytes[begin..end])
        }
        (Answer::File, Some(None)) => send(416, "", 0, &[]),
        _ => send(200, "", bytes.len(), &bytes),
    }
}

/// `Some(None)` if the range cannot be satisfied.
fn parse_range(header: &str, size: usize) -> Option<Option<(usize, usize)>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some(match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first < size => Some((first, (last + 1).min(size))),
        (Ok(first), Err(_)) if first < size => Some((first, size)),
        (Err(_), Ok(suffix)) => Some((size.saturating_sub(suffix), size)),
        _ => None,
    })
}
