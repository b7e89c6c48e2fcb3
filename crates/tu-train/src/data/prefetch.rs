//! One thread prepares batches while the network works on the one before, through a queue of fixed length.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::DataError;

/// Batches prepared ahead, in step order.
pub struct Prefetcher<T> {
    queue: Option<Receiver<Result<T, DataError>>>,
    worker: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetcher<T> {
    /// Starts preparing what `draw` gives for the steps, in their order, at most `ahead` of them waiting.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn of(
        steps: std::ops::Range<u64>,
        ahead: usize,
        draw: impl Fn(u64) -> Result<T, DataError> + Send + 'static,
    ) -> Result<Self, DataError> {
        let (sender, receiver) = sync_channel(ahead);
        let worker = std::thread::Builder::new()
            .name("prefetch".into())
            .spawn(move || {
                for step in steps {
                    let batch = draw(step);
                    let failed = batch.is_err();
                    // The receiver hangs up when training ends early.
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            })
            .map_err(|source| DataError::Unusable {
                name: "prefetch".into(),
                cause: format!("no thread: {source}"),
            })?;
        Ok(Self { queue: Some(receiver), worker: Some(worker) })
    }

    /// The next batch.
    ///
    /// # Errors
    /// Drawing it failed, or the thread has ended.
    pub fn next_batch(&self) -> Result<T, DataError> {
        match self.queue.as_ref().map(Receiver::recv) {
            Some(Ok(batch)) => batch,
            _ => Err(DataError::PrefetchStopped),
        }
    }
}

impl<T> Drop for Prefetcher<T> {
    fn drop(&mut self) {
        // Hanging up first lets a thread that waits for room in the queue end.
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}
