//! Where work on evidence is done: short work on the thread that asks, long work on one that the network does not
//! need, and never on all cores at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::examine::{Broken, guarded};

/// Event logs above this are long work.
pub(super) const LONG_LOG_BYTES: usize = 64 * 1024;
/// Baselines with more measurements are long work.
pub(super) const LONG_BASELINE: usize = 1024;

/// How much long work is done at once: a core is left for everything else.
pub(super) fn slots() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1)).max(1)
}

/// Runs pure code; a panic in it is a fault of this service and never a pass. Long work waits for a slot, which it
/// keeps until it is done, also when nobody waits for it any more.
pub(super) async fn run<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Broken> {
    if !long {
        return guarded(work);
    }
    let slot = Arc::clone(slots).acquire_owned().await.map_err(|_| Broken::Panicked)?;
    // Its spans belong to the request that waits for it.
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        span.in_scope(|| guarded(work))
    });
    done.await.unwrap_or(Err(Broken::Panicked))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn block_on<F: Future>(work: F) -> F::Output {
        // One thread for everything, as when all of the network's threads are busy.
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    #[test]
    fn long_work_leaves_the_network_alone() {
        block_on(async {
            let slots = Arc::new(Semaphore::new(1));
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let long = run(&slots, true, move || stopped.recv().is_ok());
            let other = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                stop.send(()).unwrap();
            };
            let (done, ()) =
                tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(long, other) })
                    .await
                    .expect("the thread of the network went on while the work was waiting for it");
            assert!(done.unwrap());
        });
    }

    #[test]
    fn abandoned_work_keeps_its_slot() {
        block_on(async {
            let slots = Arc::new(Semaphore::new(1));
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let abandoned = run(&slots, true, move || stopped.recv().is_ok());
            assert!(tokio::time::timeout(Duration::from_millis(20), abandoned).await.is_err());
            assert_eq!(slots.available_permits(), 0);
            stop.send(()).unwrap();
            assert_eq!(run(&slots, true, || 7).await.unwrap(), 7);
        });
    }

    #[test]
    fn a_panic_is_no_answer() {
        block_on(async {
            let slots = Arc::new(Semaphore::new(1));
            for long in [false, true] {
                let work: fn() -> u32 = || panic!("on purpose");
                assert!(matches!(run(&slots, long, work).await, Err(Broken::Panicked)));
            }
            assert_eq!(slots.available_permits(), 1);
        });
    }
}
