//! Which profile judges a VM, and what it says.

use std::sync::Arc;

use veriboot_appraisal::Profile;
use veriboot_store::profiles::{self, AssignedProfile};
use veriboot_store::{StoreError, Tx};

use super::AttestState;
use super::examine::Broken;
use crate::AppState;

/// Name of the profile of a VM that has none assigned, and of groups in `measured_only_groups`.
const DEFAULTS: [&str; 2] = ["secure-boot-required", "measured-only"];

/// The profile that judges a VM now.
#[derive(Clone, Debug)]
pub(crate) struct JudgingProfile {
    /// What is assigned; `None` leaves it to the configuration.
    pub assigned: Option<AssignedProfile>,
    /// Names its content: caches rest on it.
    pub key: String,
    /// How attestations name it: `name@version`.
    pub reference: String,
    /// One that cannot be read back is a broken appraisal: no other one takes its place.
    pub content: Result<Arc<Profile>, Broken>,
}

impl AttestState {
    /// Name of the profile of a VM of this group that has none assigned.
    pub(crate) fn default_profile(&self, group: &str) -> &'static str {
        let [required, measured_only] = DEFAULTS;
        if self.measured_only_groups.contains(group) { measured_only } else { required }
    }

    /// Groups whose default profile is `measured-only`, by configuration.
    pub(crate) fn measured_only_groups(&self) -> impl Iterator<Item = &str> {
        self.measured_only_groups.iter().map(String::as_str)
    }

    /// A profile that comes with Veriboot.
    fn built_in(&self, name: &str) -> Result<Arc<Profile>, Broken> {
        let key = built_in_key(name);
        if let Some(profile) = self.profiles.get(&key) {
            return Ok(profile);
        }
        let profile = Profile::named(name)
            .map(Arc::new)
            .ok_or_else(|| Broken::Profile(format!("there is no profile {name}")))?;
        self.profiles.put(key, Arc::clone(&profile), 1);
        Ok(profile)
    }

    /// A stored profile, verified and parsed. Versions are immutable, so its id names its content.
    pub(crate) fn stored_profile(&self, row: &profiles::ProfileRow) -> Result<Arc<Profile>, Broken> {
        self.baseline_signer.verify_profile(row).map_err(|e| Broken::Profile(e.to_string()))?;
        let profile =
            Profile::from_json(row.document.as_bytes()).map_err(|e| Broken::Profile(e.to_string()))?;
        let profile = Arc::new(profile);
        self.profiles.put(row.id.clone(), Arc::clone(&profile), 1);
        Ok(profile)
    }
}

fn built_in_key(name: &str) -> String {
    format!("built-in:{name}")
}

/// A built-in profile by its name.
pub(crate) fn built_in(state: &AppState, name: &str) -> JudgingProfile {
    JudgingProfile {
        assigned: None,
        key: built_in_key(name),
        reference: format!("{name}@built-in"),
        content: state.attest.built_in(name),
    }
}

/// Reads what is assigned to a VM of this group, once.
pub(crate) async fn judging_profile(
    state: &AppState,
    assigned: Option<AssignedProfile>,
    group: &str,
) -> Result<JudgingProfile, StoreError> {
    let Some(assigned) = assigned else { return Ok(built_in(state, state.attest.default_profile(group))) };
    let Some((id, version)) = assigned.version.clone() else {
        let profile = built_in(state, &assigned.name);
        return Ok(JudgingProfile { assigned: Some(assigned), ..profile });
    };
    let reference = format!("{}@{version}", assigned.name);
    let content = match state.attest.profiles.get(&id) {
        Some(profile) => Ok(profile),
        None => {
            let wanted = id.clone();
            match state.store.read(move |tx| profiles::by_id(tx, &wanted)).await {
                Ok(Some(row)) => state.attest.stored_profile(&row),
                Ok(None) => Err(Broken::Profile(format!("{reference} is gone"))),
                Err(StoreError::Corrupt { cause }) => Err(Broken::Profile(cause)),
                Err(error) => return Err(error),
            }
        }
    };
    Ok(JudgingProfile { assigned: Some(assigned), key: id, reference, content })
}

/// A profile by `name` or `name@version`, stored or built in; `None` when there is none.
pub(crate) async fn named(state: &AppState, wanted: &str) -> Result<Option<JudgingProfile>, StoreError> {
    let (name, version) = match wanted.rsplit_once('@') {
        Some((name, "built-in")) => (name, None),
        Some((name, version)) => match version.parse::<u32>() {
            Ok(version) => (name, Some(version)),
            Err(_) => return Ok(None),
        },
        None => (wanted, None),
    };
    let owned = name.to_owned();
    let find = move |tx: &mut dyn Tx| match version {
        Some(version) => profiles::by_version(tx, &owned, version),
        None => profiles::current(tx, &owned),
    };
    if let Some(row) = state.store.read(find).await? {
        let content = state.attest.stored_profile(&row);
        return Ok(Some(JudgingProfile { assigned: None, reference: row.reference(), key: row.id, content }));
    }
    Ok(Profile::NAMES.contains(&name).then(|| built_in(state, name)).filter(|_| version.is_none()))
}
