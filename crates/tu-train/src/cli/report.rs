//! What a command came to, for people and for programs.

use std::io::Write;

use serde_json::Value;

/// Text for people and one JSON object for programs.
pub(super) struct Report {
    text: String,
    json: Value,
    failure: Option<String>,
}

impl Report {
    pub(super) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, failure: None }
    }

    /// What a command found out although it did not do what was asked for; the message names input, cause and remedy.
    pub(super) fn failed(text: impl Into<String>, json: Value, failure: String) -> Self {
        Self { failure: Some(failure), ..Self::new(text, json) }
    }

    /// Why what was asked for was not done; `None` if it was.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The object for programs.
    pub(super) fn into_json(self) -> Value {
        self.json
    }

    /// Prints one of the two to standard output.
    pub(super) fn print(&self, as_json: bool) {
        let mut out = std::io::stdout().lock();
        // Whoever closed the pipe does not want the rest.
        let _ =
            if as_json { writeln!(out, "{}", self.json) } else { writeln!(out, "{}", self.text.trim_end()) };
    }
}
