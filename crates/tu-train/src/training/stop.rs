//! A wish to stop: the current step is finished and saved, then training returns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Shared flag; clones see the same one.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// The flag that SIGINT, SIGTERM and closing the console raise. A second signal ends the process at once.
    #[must_use]
    pub fn of_process() -> Self {
        static SIGNAL: OnceLock<StopSignal> = OnceLock::new();
        SIGNAL
            .get_or_init(|| {
                let signal = StopSignal::default();
                let raised = signal.clone();
                // Where the system refuses a handler, the signal ends the process and the last checkpoint remains.
                let _ = ctrlc::set_handler(move || {
                    if raised.0.swap(true, Ordering::SeqCst) {
                        std::process::exit(130);
                    }
                });
                signal
            })
            .clone()
    }

    /// Asks to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
