//! Telling one target something, whatever its kind.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Severity, TargetKind, TargetTest};

use super::alertmanager::{self, Fact};
use super::secrets::Secrets;
use super::{email, ocsf, syslog, webhook, words};
use crate::{AppState, traces};

/// Time for one message, look-up of the name included. Shorter than a claim lasts.
const TIMEOUT: Duration = Duration::from_secs(45);

/// Characters of an error.
const MAX_ERROR_CHARS: usize = 400;
/// Characters that an error is made of.
const LOOK_CHARS: usize = 1024;

/// Why a target was not told. The message may hold what the receiver said until [`tell`] gives it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SendError {
    message: String,
    refused: bool,
    retry_after_s: Option<u32>,
}

impl SendError {
    /// It may work later.
    pub(super) fn failed(message: String) -> Self {
        Self { message, refused: false, retry_after_s: None }
    }

    /// The receiver understood and does not want it: it is tried a few times only.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: true, retry_after_s: None }
    }

    pub(super) fn after(mut self, seconds: Option<u32>) -> Self {
        self.retry_after_s = seconds;
        self
    }

    /// As others may read it: without what the target has of secrets, on one line, bounded. Made from a part of the message
    /// that ends long before what was read of the receiver, so that no secret is cut before it is known.
    fn shown(self, secrets: &Secrets) -> Self {
        let safe: String = secrets.out_of(&self.message).chars().take(LOOK_CHARS).collect();
        Self { message: words::start(&safe, MAX_ERROR_CHARS), ..self }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    pub(super) fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }
}

/// What a target is told.
pub(super) enum Message {
    /// These events; several are a digest or are sent together.
    Events { events: Vec<Event>, digest: bool },
    /// These open alerts, once more (their data).
    Open(Vec<(serde_json::Value, Severity, String)>),
}

/// Where files of targets are.
pub(super) fn export_dir(state: &AppState) -> PathBuf {
    let configured = state.config.notifications.export_dir.clone();
    configured.unwrap_or_else(|| state.config.data_dir.join("export"))
}

/// Tells a target, within a bounded time.
pub(super) async fn tell(state: &AppState, target: &TargetRow, message: Message) -> Result<(), SendError> {
    let secrets = Secrets::of(target);
    let (target, public_url, now) = (target.clone(), state.public_url.clone(), state.clock.now());
    let (folder, clocks) = (export_dir(state), state.notify.clocks.clone());
    let Some(on_its_way) = state.notify.on_its_way(&target.id) else {
        return Err(SendError::failed("earlier messages to it still hang".to_owned()));
    };
    let sending = tokio::task::spawn_blocking(move || {
        // The thread goes on when nobody waits for it any more.
        let _on_its_way = on_its_way;
        let (span, trace) = traces::notification_span(target.kind.as_str());
        let _traced = span.entered();
        match message {
            Message::Open(alerts) => {
                let facts: Vec<Fact<'_>> = alerts
                    .iter()
                    .map(|(data, severity, group)| Fact {
                        data,
                        severity: *severity,
                        group: Some(group),
                        at: now,
                    })
                    .collect();
                alertmanager::send(&target, &facts, &public_url, &clocks, now)
            }
            Message::Events { events, digest } => match target.kind {
                TargetKind::Webhook => webhook::send(&target, &events, digest, &public_url, trace, now),
                TargetKind::Alertmanager => {
                    let facts: Vec<Fact<'_>> = events.iter().map(Fact::of).collect();
                    alertmanager::send(&target, &facts, &public_url, &clocks, now)
                }
                TargetKind::Email => email::send(&target, &events, &public_url, now),
                TargetKind::Syslog => syslog::send(&target, &events, &public_url),
                TargetKind::Ocsf => ocsf::send(&target, &events, &public_url, &folder, now),
            },
        }
    });
    let outcome = match tokio::time::timeout(TIMEOUT, sending).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(SendError::failed(format!("sending ended unexpectedly: {error}"))),
        Err(_) => Err(SendError::failed(format!("no answer within {} s", TIMEOUT.as_secs()))),
    };
    outcome.map_err(|error| error.shown(&secrets))
}

/// Tells a target a message that says that it is a test, now and past the outbox.
pub(crate) async fn test(state: &AppState, target: &TargetRow, by: &str) -> TargetTest {
    let now = state.clock.now();
    let alert_kind = matches!(target.kind, TargetKind::Alertmanager | TargetKind::Ocsf);
    let event = Event {
        sequence: 0,
        at: now,
        kind: if alert_kind { "alert.opened" } else { "notification.test" }.to_owned(),
        severity: Severity::Info,
        group: None,
        scale_set: None,
        vm_id: None,
        vm_name: None,
        subject: None,
        data: json!({
            "kind": "veriboot-test",
            "title": "Test of a notification target",
            "message": format!("This is a test of the notification target {}. Nothing happened.", target.name),
            "state": "active",
            "first_at": now,
            "by": by,
            "test": true,
        }),
    };
    let started = Instant::now();
    let outcome = tell(state, target, Message::Events { events: vec![event], digest: false }).await;
    TargetTest {
        delivered: outcome.is_ok(),
        error: outcome.err().map(|error| error.message),
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
