//! Sources of the configuration: read every so often, by one replica at a time.
//!
//! A source that cannot be read says so at the source, and what it listed before stays: a folder that is not mounted
//! makes no fleet disappear.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::watch;
use veriboot_store::StoreError;
use veriboot_store::inventory::{self, Claimed};
use veriboot_wire::{InventoryFormat, Time};

use super::files::{self, Document, FileError};
use super::{Look, apply, made};
use crate::config::InventorySetting;
use crate::{ApiError, AppState};

/// How often is looked whether a source is due.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a failed look waits at least before the next.
const RETRY_S: i64 = 30;

/// Reads sources when they are due, until `stop` turns true.
pub(crate) async fn run(state: AppState, mut stop: watch::Receiver<bool>) {
    if let Err(error) = declare(&state).await {
        tracing::warn!(code = error.code(), %error, "cannot note the sources of the inventory");
    }
    loop {
        let done = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            done = look(&state) => done,
        };
        if let Err(error) = done {
            tracing::warn!(code = error.code(), %error, "cannot look at the sources of the inventory");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Notes what is configured, and what no longer is.
async fn declare(state: &AppState) -> Result<(), StoreError> {
    let settings = state.config.inventory_settings();
    let now = state.clock.now();
    state
        .store
        .write(move |tx| {
            let mut cursor = None;
            loop {
                let page = inventory::list_sources(tx, true, Some(1000), cursor.as_deref())?;
                for known in page.items.iter().filter(|s| s.path.is_some()) {
                    if !settings.iter().any(|s| s.name == known.name) {
                        inventory::configure(tx, &known.name, None, None, now)?;
                    }
                }
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            for setting in &settings {
                let path = setting.path.display().to_string();
                inventory::configure(tx, &setting.name, Some(&path), setting.format, now)?;
            }
            Ok(())
        })
        .await
}

/// Reads every configured source that is due and that nobody else reads, and says how many.
///
/// # Errors
/// [`StoreError`]; what was written before it stays.
pub async fn look(state: &AppState) -> Result<usize, StoreError> {
    let mut looked = 0;
    for setting in state.config.inventory_settings() {
        let (now, name) = (state.clock.now(), setting.name.clone());
        let until = now.plus_s(i64::from(state.config.inventory.interval_s));
        let claimed = state.store.write(move |tx| inventory::claim_configured(tx, &name, now, until)).await?;
        let Some(claimed) = claimed else { continue };
        looked += 1;
        if let Err(message) = one(state, &setting, claimed).await {
            let (source, at) = (setting.name.clone(), state.clock.now());
            tracing::warn!(source, error = message, "a source of the inventory cannot be read");
            state
                .store
                .write(move |tx| {
                    inventory::failed(tx, &source, &message, at)?;
                    // Sooner than the interval, when that is long.
                    inventory::claim_again(tx, &source, until.min(at.plus_s(RETRY_S)))
                })
                .await?;
        }
    }
    Ok(looked)
}

/// What reading a source gave.
enum Read {
    Same(String),
    Listing(veriboot_inventory::Listing, String),
}

/// SHA-256 over what is read, and whether it is known when it was made: what is known at last is read once more.
fn digest(documents: &[Document], group: Option<&str>, dated: bool) -> String {
    let mut context = Context::new(&SHA256);
    context.update(group.unwrap_or_default().as_bytes());
    context.update(&[u8::from(dated)]);
    for Document { path, bytes, .. } in documents {
        context.update(&[0]);
        context.update(path.to_string_lossy().as_bytes());
        context.update(&[0]);
        context.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(bytes);
    }
    hex::encode(context.finish())
}

async fn one(state: &AppState, setting: &InventorySetting, claimed: Claimed) -> Result<(), String> {
    let (path, format): (_, Option<InventoryFormat>) = (setting.path.clone(), setting.format);
    let (group, known) = (claimed.source.group.clone(), claimed.document_sha256);
    let now = state.clock.now();
    let read = move || -> Result<(Read, Option<Time>), FileError> {
        let documents = files::documents(&path)?;
        let exported_at = files::exported_at(&documents).filter(|at| !made::is_ahead(*at, now));
        let sha256 = digest(&documents, group.as_deref(), exported_at.is_some());
        if known.as_ref() == Some(&sha256) {
            return Ok((Read::Same(sha256), exported_at));
        }
        let listing = files::of_documents(&documents, format, group.as_deref())?;
        Ok((Read::Listing(listing, sha256), exported_at))
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
    let source = setting.name.clone();
    let (read, exported_at) = read.map_err(|error| format!("{error} [{}]", error.code()))?;
    if exported_at.is_none() {
        // Whoever set the clock of the files hears why their machines are called silent.
        tracing::warn!(
            source,
            "a source of the inventory was made in the future, by its files: it excuses no silence"
        );
    }
    match read {
        Read::Same(sha256) => {
            let now = state.clock.now();
            let made = exported_at.map(|at| at.min(now));
            let done =
                state.store.write(move |tx| inventory::synced(tx, &source, Some(&sha256), made, now)).await;
            done.map_err(|error| error.to_string())
        }
        Read::Listing(listing, sha256) => {
            let look = Look {
                source,
                listing,
                complete: true,
                dry_run: false,
                allow_shrink: false,
                by: "configuration".to_owned(),
                exported_at,
                document_sha256: Some(sha256),
            };
            apply(state, look).await.map(drop).map_err(|error: ApiError| error.told())
        }
    }
}
