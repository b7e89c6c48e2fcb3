//! Reading how many tests passed from what the runners print or write.

use serde_json::Value;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// Counts in one line of output of `cargo test`, of the wasm test runner, of nextest, or of a script that ends
    /// with `N passed, M failed`; `None` for any other line.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let line = without_colours(line);
        // nextest shows the output of a test that failed indented, the summary of its one test included
        let of_cargo = line.starts_with("test result:");
        let line = line.trim();
        let is_summary = of_cargo
            || (line.starts_with("Summary [") && line.contains(" run: "))
            || (line.starts_with(|first: char| first.is_ascii_digit())
                && line.contains(" passed, ")
                && line.contains(" failed"));
        if !is_summary {
            return None;
        }
        let before = |word: &str| {
            let words: Vec<&str> =
                line.split([' ', ',', ';', ':', '.', '(', ')']).filter(|part| !part.is_empty()).collect();
            words
                .windows(2)
                .find(|pair| pair[1] == word)
                .and_then(|pair| pair[0].parse::<u64>().ok())
                .unwrap_or(0)
        };
        Some(Self {
            passed: before("passed"),
            failed: before("failed") + before("timed"),
            skipped: before("ignored") + before("skipped"),
        })
    }

    /// Counts in vitest's JSON report.
    pub(crate) fn of_vitest(report: &Value) -> Option<Self> {
        let number = |key: &str| report.get(key).and_then(Value::as_u64);
        Some(Self {
            passed: number("numPassedTests")?,
            failed: number("numFailedTests")?,
            skipped: number("numPendingTests").unwrap_or(0) + number("numTodoTests").unwrap_or(0),
        })
    }

    /// Counts in Playwright's JSON report; a flaky test counts as failed, since it has failed.
    pub(crate) fn of_playwright(report: &Value) -> Option<Self> {
        let stats = report.get("stats")?;
        let number = |key: &str| stats.get(key).and_then(Value::as_u64);
        let errors = report.get("errors").and_then(Value::as_array).map_or(0, Vec::len) as u64;
        Some(Self {
            passed: number("expected")?,
            failed: number("unexpected")? + number("flaky").unwrap_or(0) + errors,
            skipped: number("skipped").unwrap_or(0),
        })
    }
}

fn without_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn the_summaries_of_all_runners_are_understood() {
        let cases = [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s",
                counts(3, 0, 1),
            ),
            (
                "     Summary [   1.2s] 12 tests run: 11 passed (1 slow), 1 failed, 4 skipped",
                counts(11, 1, 4),
            ),
            (
                "     Summary [   1.2s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped",
                counts(1, 2, 0),
            ),
            ("\u{1b}[32;1m     Summary\u{1b}[0m [   1.2s] 1 test run: 1 passed, 0 skipped", counts(1, 0, 0)),
            ("7 passed, 2 failed", counts(7, 2, 0)),
            ("7 passed, 0 failed, 3 skipped", counts(7, 0, 3)),
        ];
        for (line, expected) in cases {
            assert_eq!(Counts::of_line(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_count_nothing() {
        let of_one_test =
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 44 filtered out";
        assert_eq!(Counts::of_line(of_one_test), None);
        for line in ["", "test a ... ok", "the password passed, nothing failed", "running 3 tests"] {
            assert_eq!(Counts::of_line(line), None, "{line}");
        }
    }

    #[test]
    fn json_reports_are_understood() {
        let vitest =
            json!({"numPassedTests": 5, "numFailedTests": 1, "numPendingTests": 2, "numTodoTests": 0});
        assert_eq!(Counts::of_vitest(&vitest), Some(counts(5, 1, 2)));
        let playwright =
            json!({"stats": {"expected": 4, "unexpected": 0, "flaky": 1, "skipped": 3}, "errors": []});
        assert_eq!(Counts::of_playwright(&playwright), Some(counts(4, 1, 3)));
        assert_eq!(Counts::of_playwright(&json!({})), None);
    }
}
