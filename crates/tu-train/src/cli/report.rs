//! What a command came to, for people and for programs.

use std::io::Write;

use serde_json::Value;

/// Text for people and one JSON object for programs.
pub(super) struct Report {
    text: String,
    json: Value,
}

impl Report {
    pub(super) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json }
    }

    /// Prints one of the two to standard output.
    pub(super) fn print(&self, as_json: bool) {
        let mut out = std::io::stdout().lock();
        // Whoever closed the pipe does not want the rest.
        let _ =
            if as_json { writeln!(out, "{}", self.json) } else { writeln!(out, "{}", self.text.trim_end()) };
    }
}
