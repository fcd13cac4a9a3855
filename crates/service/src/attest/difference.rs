//! The difference of two stored logs in words, remembered by their digests.

use std::sync::Arc;

use veriboot_appraisal::compare;
use veriboot_wire::Finding;

use super::evidence::Log;
use super::examine::examined;
use super::work::{self, LONG_LOG_BYTES};
use super::{bounds, weight};
use crate::{ApiError, AppState};

/// What differs between two logs that are stored, most telling first. `None` when one of them is gone or cannot be read
/// back.
pub(crate) async fn difference(
    state: &AppState,
    from_sha256: &str,
    to_sha256: &str,
) -> Result<Option<Arc<Vec<Finding>>>, ApiError> {
    let key = (from_sha256.to_owned(), to_sha256.to_owned());
    if let Some(known) = state.attest.differences.get(&key) {
        return Ok(Some(known));
    }
    let mut reports = Vec::with_capacity(2);
    for sha256 in [from_sha256, to_sha256] {
        let log = Log { sha256: sha256.to_owned(), content: None };
        match examined(state, Some(&log)).await {
            Ok(Ok(Some(examined))) => {
                examined.keep(state);
                reports.push(examined.report);
            }
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(error)) => {
                tracing::error!(log = sha256, %error, "a stored event log cannot be compared");
                return Ok(None);
            }
            Err(error) if error.code() == crate::problem::kinds::LOG_NEEDED.code => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let long = reports.iter().any(|report| report.bytes > LONG_LOG_BYTES);
    let findings = work::run(&state.attest.long_work, long, move || match reports.as_slice() {
        [from, to] => bounds::findings(compare(from, to)),
        _ => Vec::new(),
    })
    .await
    .map_err(|e| ApiError::internal(e.to_string()))?;
    let findings = Arc::new(findings);
    state.attest.differences.put(key, Arc::clone(&findings), weight::differences(&findings));
    Ok(Some(findings))
}
