//! The life of the agent: attest, wait, attest again, until it is told to stop.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use veriboot_wire::{Receipt, Verdict};

use crate::agent::Agent;
use crate::error::AgentError;
use crate::pace;
use crate::text::printable;

/// Ends the wait between two attestations.
#[derive(Debug)]
pub struct Stop {
    stopped: Receiver<()>,
}

impl Stop {
    /// A stop and the handle that triggers it; dropping the handle triggers it too.
    pub fn new() -> (Sender<()>, Self) {
        let (trigger, stopped) = channel();
        (trigger, Self { stopped })
    }

    /// Waits; true when the agent was told to stop meanwhile.
    pub fn wait(&self, time: Duration) -> bool {
        !matches!(self.stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

/// Attests at once and then at the service's interval. Errors are logged and tried again with back-off.
pub fn attest_forever(agent: &mut Agent, stop: &Stop) {
    let mut failures = 0u32;
    loop {
        let wait = match agent.attest_once() {
            Ok(receipt) => {
                failures = 0;
                report(&receipt);
                pace::interval(receipt.directions.interval_s, pace::random())
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let wait = pace::back_off(failures, error.retry_after(), pace::random());
                complain(&error, wait);
                wait
            }
        };
        if stop.wait(wait) {
            tracing::info!("stopping");
            return;
        }
    }
}

fn report(receipt: &Receipt) {
    let attestation = printable(&receipt.attestation_id, 64);
    match receipt.verdict {
        Verdict::Healthy => tracing::info!(%attestation, status = %receipt.status, "healthy"),
        Verdict::Unhealthy => {
            tracing::warn!(%attestation, status = %receipt.status, "unhealthy");
            for finding in receipt.findings.iter().filter(|finding| finding.fails()).take(16) {
                tracing::warn!(code = %printable(&finding.code, 64), "{}", printable(&finding.message, 512));
            }
        }
    }
}

fn complain(error: &AgentError, wait: Duration) {
    let hint = error.hint().unwrap_or_default();
    let (fault, message) = (error.blame().as_str(), printable(&error.to_string(), 1024));
    tracing::error!(code = error.code(), fault, %hint, retry_in_s = wait.as_secs(), "{message}");
}
