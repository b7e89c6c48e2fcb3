//! A folder on a web server, through the browser's `fetch`; works in pages and in workers.
//!
//! Bodies are read piece by piece, so that one that is larger than it may be is cut off and not collected.

use super::{MetadataSource, Part, refused, retry, too_large};
use crate::{Place, VolumeError, limits::MAX_METADATA_BYTES};
use bytes::Bytes;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStreamDefaultReader, Request, RequestInit, Response};

/// A web folder.
#[derive(Debug, Clone)]
pub(crate) struct FetchSource {
    base: String,
    query: String,
    signal: Option<AbortSignal>,
}

impl FetchSource {
    pub(crate) fn new(url: &str, place: &Place, signal: Option<AbortSignal>) -> Result<Self, VolumeError> {
        match place {
            Place::Http { base, query } => Ok(Self { base: base.clone(), query: query.clone(), signal }),
            Place::File(_) => Err(VolumeError::Url {
                input: url.to_owned(),
                cause: "a page cannot read files by their path".to_owned(),
                remedy: "serve the folder over HTTP and give its URL".to_owned(),
            }),
        }
    }

    /// The same folder under another abort signal.
    pub(crate) fn with_signal(&self, signal: Option<AbortSignal>) -> Self {
        Self { signal, ..self.clone() }
    }

    /// Part of the object `key`, or `None` if the server says that there is none (404).
    pub(crate) async fn read(&self, key: &str, part: Part, limit: u64) -> Result<Option<Bytes>, VolumeError> {
        let response = self.request(key, part, "GET").await?;
        let damaged =
            |cause: String| VolumeError::Chunk { input: self.base.clone(), chunk: key.to_owned(), cause };
        match response.status() {
            404 => Ok(None),
            206 => {
                let bytes = self.body(key, &response, limit).await?;
                let wanted = match part {
                    Part::From { length, .. } | Part::Last { length } => length,
                    Part::Whole | Part::Rest { .. } => bytes.len() as u64,
                };
                if bytes.len() as u64 != wanted {
                    return Err(damaged(format!("{} of {wanted} bytes came", bytes.len())));
                }
                Ok(Some(bytes.into()))
            }
            // The server ignored the range.
            200 => {
                let bytes = Bytes::from(self.body(key, &response, limit).await?);
                let range = part.within(bytes.len() as u64).map_err(damaged)?;
                Ok(Some(bytes.slice(range.start as usize..range.end as usize)))
            }
            416 => Err(damaged("it ends before the part that its index names".to_owned())),
            status => Err(refused(self.describe(key), status)),
        }
    }

    /// The object's size, or `None` if there is no such object.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>, VolumeError> {
        let response = self.request(key, Part::Whole, "HEAD").await?;
        match response.status() {
            404 => Ok(None),
            200 => Ok(response.headers().get("content-length").ok().flatten().and_then(|v| v.parse().ok())),
            status => Err(refused(self.describe(key), status)),
        }
    }

    async fn request(&self, key: &str, part: Part, method: &str) -> Result<Response, VolumeError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let response = self.fetch(key, part, method).await.map_err(|e| self.unreachable(key, &e))?;
            if !retry::is_transient(response.status()) {
                return Ok(response);
            }
            if attempt >= retry::ATTEMPTS {
                return Err(refused(self.describe(key), response.status()));
            }
            let asked = response.headers().get("retry-after").ok().flatten().and_then(|v| v.parse().ok());
            sleep(retry::wait(attempt, asked.map(Duration::from_secs)))
                .await
                .map_err(|e| self.unreachable(key, &e))?;
            if self.aborted() {
                return Err(VolumeError::Aborted { input: self.describe(key) });
            }
        }
    }

    async fn fetch(&self, key: &str, part: Part, method: &str) -> Result<Response, JsValue> {
        let init = RequestInit::new();
        init.set_method(method);
        init.set_signal(self.signal.as_ref());
        let url = format!("{}{}", self.describe(key), self.query);
        let request = Request::new_with_str_and_init(&url, &init)?;
        if let Some(range) = part.header() {
            request.headers().set("Range", &range)?;
        }
        // Windows and workers have different types but the same function.
        let fetch: Function = Reflect::get(&js_sys::global(), &"fetch".into())?.dyn_into()?;
        let promise: Promise = fetch.call1(&JsValue::UNDEFINED, &request)?.dyn_into()?;
        JsFuture::from(promise).await?.dyn_into()
    }

    async fn body(&self, key: &str, response: &Response, limit: u64) -> Result<Vec<u8>, VolumeError> {
        let Some(stream) = response.body() else { return Ok(Vec::new()) };
        let failed = |e: JsValue| self.unreachable(key, &e);
        let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
        let mut bytes = Vec::new();
        loop {
            let piece = JsFuture::from(reader.read()).await.map_err(failed)?;
            if Reflect::get(&piece, &"done".into()).map_err(failed)?.is_truthy() {
                return Ok(bytes);
            }
            let value: Uint8Array = Reflect::get(&piece, &"value".into()).map_err(failed)?.unchecked_into();
            if bytes.len() as u64 + u64::from(value.length()) > limit {
                // Whether the server notices makes no difference to us.
                let _ = reader.cancel();
                return Err(too_large(&self.describe(key), limit));
            }
            let start = bytes.len();
            bytes.resize(start + value.length() as usize, 0);
            value.copy_to(&mut bytes[start..]);
        }
    }

    fn aborted(&self) -> bool {
        self.signal.as_ref().is_some_and(AbortSignal::aborted)
    }

    fn unreachable(&self, key: &str, error: &JsValue) -> VolumeError {
        if self.aborted() {
            return VolumeError::Aborted { input: self.describe(key) };
        }
        let message = error
            .dyn_ref::<js_sys::Error>()
            .map_or_else(|| format!("{error:?}"), |e| String::from(e.message()));
        VolumeError::Http {
            input: self.describe(key),
            cause: format!("the browser could not fetch it: {message}"),
            remedy: "check the URL and the network, and that the server allows this page to read (CORS)"
                .to_owned(),
            retryable: true,
        }
    }
}

impl MetadataSource for FetchSource {
    async fn document(&self, key: &str) -> Result<Option<Bytes>, VolumeError> {
        // Some stores answer 403 for what is not there, so while a format is being detected it counts as absent.
        let response = self.request(key, Part::Whole, "GET").await?;
        match response.status() {
            403 | 404 => Ok(None),
            200 => Ok(Some(self.body(key, &response, MAX_METADATA_BYTES).await?.into())),
            status => Err(refused(self.describe(key), status)),
        }
    }

    fn folders(&self) -> Option<Vec<String>> {
        None
    }

    fn child(&self, path: &str) -> Self {
        Self { base: format!("{}/{path}", self.base), ..self.clone() }
    }

    fn describe(&self, key: &str) -> String {
        // Without the query: it may hold a token.
        if key.is_empty() { self.base.clone() } else { format!("{}/{key}", self.base) }
    }
}

async fn sleep(time: Duration) -> Result<(), JsValue> {
    let set_timeout: Function = Reflect::get(&js_sys::global(), &"setTimeout".into())?.dyn_into()?;
    let promise = Promise::new(&mut |resolve, _| {
        // Should there be no timer, the promise stays open and the caller's abort signal ends the wait.
        let _ = set_timeout.call2(&JsValue::UNDEFINED, &resolve, &JsValue::from_f64(time.as_millis() as f64));
    });
    JsFuture::from(promise).await.map(|_| ())
}
