//! What evidence is held against: of this release, as the configuration changes it, kept in the database.

use veriboot_posture::references;
use veriboot_store::{StoreError, Tx, settings};
use veriboot_wire::PostureReferences;

use crate::config::PostureConfig;

/// Its name among the settings of the database.
const NAME: &str = "posture-references";
/// Version that agents have at least, unless configured.
const SERVICE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The references of a configuration.
pub(super) fn configured(config: &PostureConfig) -> PostureReferences {
    let known = references(SERVICE_VERSION);
    PostureReferences {
        dbx_revision: config.dbx_revision.clone().unwrap_or(known.dbx_revision),
        dbx_entries_aarch64: config.dbx_entries_aarch64.unwrap_or(known.dbx_entries_aarch64),
        sbat_level: config.sbat_level.unwrap_or(known.sbat_level),
        agent_version: config.agent_version.clone().unwrap_or(known.agent_version),
        ca_warning_days: config.ca_warning_days,
    }
}

/// The references that all replicas use: those of the replica that started last.
pub(crate) fn current(tx: &mut dyn Tx) -> Result<PostureReferences, StoreError> {
    let stored = settings::value(tx, NAME)?.and_then(|json| serde_json::from_slice(&json).ok());
    Ok(stored.unwrap_or_else(|| references(SERVICE_VERSION)))
}

/// Keeps the references of this replica's configuration. `true` when they are others than before.
pub(crate) fn keep(tx: &mut dyn Tx, config: &PostureConfig) -> Result<bool, StoreError> {
    let json = serde_json::to_vec(&configured(config)).unwrap_or_default();
    if settings::value(tx, NAME)?.as_ref() == Some(&json) {
        return Ok(false);
    }
    settings::set(tx, NAME, &json)?;
    Ok(true)
}
