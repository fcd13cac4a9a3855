//! Work that is looked for again and again beside the requests, until the service stops; at once when a request leaves some.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use veriboot_store::StoreError;

/// Has this replica look at once for what a request left to do after it did its own part, instead of after a pause.
#[derive(Debug, Default)]
pub struct Wakes {
    pub(crate) reappraisals: Notify,
    pub(crate) monitoring: Notify,
    pub(crate) members: Notify,
}

/// Calls `work` with a pause in between, or none when it is woken, until `stop` turns true, which ends it where it stands.
/// One call that fails loses time only: what it had claimed is there again when the claim ends. `failed` says what could
/// not be done.
pub(crate) async fn repeat<W, F>(
    mut stop: watch::Receiver<bool>,
    pause: Duration,
    wake: &Notify,
    failed: &'static str,
    mut work: W,
) where
    W: FnMut() -> F,
    F: Future<Output = Result<(), StoreError>>,
{
    loop {
        let done = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            done = work() => done,
        };
        if let Err(error) = done {
            tracing::warn!(code = error.code(), %error, "{failed}");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
            () = wake.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_a_request_leaves_is_looked_for_without_a_pause() {
        let (stop, stopped) = watch::channel(false);
        let wakes = Arc::new(Wakes::default());
        let looks = Arc::new(AtomicU32::new(0));
        let (woken, counted) = (Arc::clone(&wakes), Arc::clone(&looks));
        let background = tokio::spawn(async move {
            repeat(stopped, Duration::from_secs(3600), &woken.members, "no", || async {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .await;
        });
        let looked = async {
            for expected in 1..=3 {
                while looks.load(Ordering::Relaxed) < expected {
                    tokio::task::yield_now().await;
                }
                wakes.members.notify_one();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), looked).await.expect("nobody waits an hour");
        stop.send(true).unwrap();
        background.await.unwrap();
    }
}
