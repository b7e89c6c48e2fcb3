//! A folder on a web server, through a blocking client: ranges, time limits, patience with busy servers.
//!
//! A missing object is a 404 and nothing else: a 403 or a broken connection must not turn into fill values.

use super::{Part, refused, retry, too_large};
use crate::{VolumeError, limits::MAX_METADATA_BYTES};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    io::Read,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};
use ureq::{Agent, Body, http::Response};

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(Duration::from_secs(10)))
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_recv_body(Some(Duration::from_secs(120)))
        .max_idle_connections_per_host(16)
        .user_agent(concat!("tokenunify/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
});

/// Small pieces that are read again and again: the indices of shards.
const REMEMBERED_PIECE: usize = 128 << 10;
const REMEMBERED_TOTAL: usize = 32 << 20;

#[derive(Debug, Default)]
struct Remembered {
    pieces: HashMap<(String, Part), Bytes>,
    order: VecDeque<(String, Part)>,
    total: usize,
}

impl Remembered {
    fn insert(&mut self, key: (String, Part), bytes: Bytes) {
        self.total += bytes.len();
        if let Some(old) = self.pieces.insert(key.clone(), bytes) {
            self.total -= old.len();
        } else {
            self.order.push_back(key);
        }
        while self.total > REMEMBERED_TOTAL {
            let Some(oldest) = self.order.pop_front() else { break };
            self.total -= self.pieces.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

/// A web folder.
#[derive(Debug, Clone)]
pub(crate) struct HttpSource {
    base: String,
    query: String,
    remembered: Arc<Mutex<Remembered>>,
}

impl HttpSource {
    pub(crate) fn new(base: String, query: String) -> Self {
        Self { base, query, remembered: Arc::default() }
    }

    pub(crate) fn child(&self, path: &str) -> Self {
        Self::new(format!("{}/{path}", self.base), self.query.clone())
    }

    pub(crate) fn describe(&self, key: &str) -> String {
        // Without the query: it may hold a token.
        if key.is_empty() { self.base.clone() } else { format!("{}/{key}", self.base) }
    }

    fn url(&self, key: &str) -> String {
        format!("{}{}", self.describe(key), self.query)
    }

    /// A metadata document. Some stores answer 403 for what is not there, so while a format is being detected it
    /// counts as absent.
    pub(crate) fn document(&self, key: &str) -> Result<Option<Bytes>, VolumeError> {
        let response = self.request(key, Part::Whole, false)?;
        match response.status().as_u16() {
            403 | 404 => Ok(None),
            200 => self.body(key, response, MAX_METADATA_BYTES).map(Some),
            status => Err(self.refused(key, status)),
        }
    }

    pub(crate) fn read(&self, key: &str, part: Part, limit: u64) -> Result<Option<Bytes>, VolumeError> {
        let piece = (key.to_owned(), part);
        if let Some(bytes) = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).pieces.get(&piece)
        {
            return Ok(Some(bytes.clone()));
        }
        let response = self.request(key, part, false)?;
        let bytes = match response.status().as_u16() {
            404 => return Ok(None),
            206 => {
                let bytes = self.body(key, response, limit)?;
                let wanted = match part {
                    Part::From { length, .. } | Part::Last { length } => length,
                    Part::Whole | Part::Rest { .. } => bytes.len() as u64,
                };
                if bytes.len() as u64 != wanted {
                    return Err(self.damaged(key, format!("{} of {wanted} bytes came", bytes.len())));
                }
                bytes
            }
            // The server ignored the range.
            200 => {
                let bytes = self.body(key, response, limit)?;
                let range = part.within(bytes.len() as u64).map_err(|cause| self.damaged(key, cause))?;
                bytes.slice(range.start as usize..range.end as usize)
            }
            416 => return Err(self.damaged(key, "it ends before the part that its index names".to_owned())),
            status => return Err(self.refused(key, status)),
        };
        if part != Part::Whole && bytes.len() <= REMEMBERED_PIECE {
            self.remembered.lock().unwrap_or_else(PoisonError::into_inner).insert(piece, bytes.clone());
        }
        Ok(Some(bytes))
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>, VolumeError> {
        let response = self.request(key, Part::Whole, true)?;
        match response.status().as_u16() {
            404 => Ok(None),
            200 => Ok(response
                .headers()
                .get("content-length")
                .and_then(|v| v.to_str().ok())
                .and_then(|v| v.parse().ok())),
            status => Err(self.refused(key, status)),
        }
    }

    /// One request, repeated while the server is busy or the connection fails in a way that may pass.
    fn request(&self, key: &str, part: Part, head: bool) -> Result<Response<Body>, VolumeError> {
        let url = self.url(key);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request = if head { AGENT.head(&url) } else { AGENT.get(&url) };
            if let Some(range) = part.header() {
                // A range of a compressed transfer would be a range of something else.
                request = request.header("Range", range).header("Accept-Encoding", "identity");
            }
            let asked = match request.call() {
                Ok(response) if !retry::is_transient(response.status().as_u16()) => return Ok(response),
                Ok(response) if attempt >= retry::ATTEMPTS => {
                    return Err(self.refused(key, response.status().as_u16()));
                }
                Ok(response) => response
                    .headers()
                    .get("retry-after")
                    .and_then(|v| v.to_str().ok()?.parse().ok())
                    .map(Duration::from_secs),
                Err(error) if attempt >= 3 || !may_pass(&error) => return Err(self.unreachable(key, &error)),
                Err(_) => None,
            };
            std::thread::sleep(retry::wait(attempt, asked));
        }
    }

    fn body(&self, key: &str, response: Response<Body>, limit: u64) -> Result<Bytes, VolumeError> {
        let announced = response.body().content_length();
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(&self.describe(key), limit));
        }
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0) as usize);
        response.into_body().into_reader().take(limit + 1).read_to_end(&mut bytes).map_err(|e| {
            VolumeError::Http {
                input: self.describe(key),
                cause: format!("the transfer broke off: {e}"),
                remedy: "try again, and check the network if it happens often".to_owned(),
                retryable: true,
            }
        })?;
        if bytes.len() as u64 > limit {
            return Err(too_large(&self.describe(key), limit));
        }
        Ok(bytes.into())
    }

    fn damaged(&self, key: &str, cause: String) -> VolumeError {
        VolumeError::Chunk { input: self.base.clone(), chunk: key.to_owned(), cause }
    }

    fn refused(&self, key: &str, status: u16) -> VolumeError {
        refused(self.describe(key), status)
    }

    fn unreachable(&self, key: &str, error: &ureq::Error) -> VolumeError {
        VolumeError::Http {
            input: self.describe(key),
            cause: format!("the server could not be reached: {error}"),
            remedy: "check the host name, the network and the proxy".to_owned(),
            retryable: true,
        }
    }
}

/// Whether a transport error is worth another attempt: a name that does not resolve and a port that nobody
/// listens on are not.
fn may_pass(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(e) => e.kind() != std::io::ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(_) => true,
        _ => false,
    }
}
