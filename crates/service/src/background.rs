//! Work that is looked for again and again beside the requests, until the service stops.

use std::time::Duration;

use tokio::sync::watch;
use veriboot_store::StoreError;

/// Calls `work` with a pause in between until `stop` turns true, which ends it where it stands. One call that fails loses
/// time only: what it had claimed is there again when the claim ends. `failed` says what could not be done.
pub(crate) async fn repeat<W, F>(
    mut stop: watch::Receiver<bool>,
    pause: Duration,
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
        }
    }
}
