//! When to ask a server again, and how long to wait before it: Neuroglancer's table (429, 503 and 504; waits
//! that double from half a second to ten seconds, jittered), with an end to it.

use std::time::Duration;

/// Attempts in all, the first included.
pub(crate) const ATTEMPTS: u32 = 6;
const FIRST_WAIT_MS: u64 = 500;
const LONGEST_WAIT_MS: u64 = 10_000;

/// Whether a status asks for patience.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 429 | 503 | 504)
}

/// The wait before attempt `attempt` (1 is the first repetition): between half and all of the doubled wait, or
/// what the server asked for.
pub(crate) fn wait(attempt: u32, retry_after: Option<Duration>) -> Duration {
    let longest = Duration::from_millis(LONGEST_WAIT_MS);
    if let Some(asked) = retry_after {
        return asked.min(longest);
    }
    let full = (FIRST_WAIT_MS << attempt.saturating_sub(1).min(10)).min(LONGEST_WAIT_MS);
    Duration::from_millis(full / 2 + random() % (full / 2 + 1))
}

/// A fresh hasher's keys are the standard library's only randomness, and jitter needs no more.
#[cfg(not(target_arch = "wasm32"))]
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(target_arch = "wasm32")]
fn random() -> u64 {
    (js_sys::Math::random() * 4_294_967_296.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_and_never_exceed_ten_seconds() {
        for (attempt, full) in [(1, 500), (2, 1_000), (3, 2_000), (5, 8_000), (6, 10_000), (60, 10_000)] {
            for _ in 0..50 {
                let wait = wait(attempt, None).as_millis();
                assert!((full / 2..=full).contains(&wait), "attempt {attempt}: {wait} ms");
            }
        }
        assert_eq!(wait(1, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(wait(1, Some(Duration::from_secs(3_600))), Duration::from_secs(10));
    }
}
