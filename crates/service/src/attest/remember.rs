//! What a service that just started knows of event logs: events of boots that were accepted before.
//!
//! Their logs are in the database, and the memo learns from them as from those that agents send. Beside the requests and
//! once: what comes later is learned as it comes.

use std::time::Duration;

use tokio::sync::watch;
use veriboot_store::{StoreError, logs};

use super::examine::learn_stored;
use super::work::LONG_LOG_BYTES;
use super::{AppState, MEMO_BYTES};

/// Boots that are looked at, the newest first.
const MAX_BOOTS: u32 = 4096;
/// Logs that are read: thousands of machines that are alike have few.
const MAX_LOGS: usize = 512;
/// How long it may take. Logs that were not read by then are learned when machines boot.
const MAX_TIME: Duration = Duration::from_secs(30);
/// A part of the memo is left for what comes.
const MAX_BYTES: usize = MEMO_BYTES / 2;
/// How often one log is tried while attestations have the memo, and the pause in between.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(2);

/// Fills the memo from what the database has, until `stop` turns true.
pub(crate) async fn run(state: AppState, mut stop: watch::Receiver<bool>) {
    let filled = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => return,
        filled = tokio::time::timeout(MAX_TIME, fill(&state)) => filled,
    };
    match filled {
        Ok(Ok(logs)) => tracing::debug!(logs, "learned events of boots that were accepted before"),
        Ok(Err(error)) => {
            tracing::warn!(code = error.code(), %error, "the first logs will take longer: earlier ones cannot be read");
        }
        Err(_) => tracing::debug!("not all earlier logs were learned in time"),
    }
}

/// Gives the number of logs that were read.
async fn fill(state: &AppState) -> Result<usize, StoreError> {
    let newest = state.store.read(|tx| logs::of_newest_boots(tx, MAX_BOOTS)).await?;
    let longest = u32::try_from(LONG_LOG_BYTES).unwrap_or(u32::MAX);
    let mut read = 0;
    for sha256 in newest.into_iter().take(MAX_LOGS) {
        if state.attest.memo_bytes() > MAX_BYTES {
            break;
        }
        let wanted = sha256.clone();
        let content = state.store.read(move |tx| logs::content_up_to(tx, &wanted, longest)).await?;
        let Some(content) = content else { continue };
        read += 1;
        for _ in 0..TRIES {
            if learn_stored(state, &sha256, &content) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // Requests first.
        tokio::task::yield_now().await;
    }
    Ok(read)
}
