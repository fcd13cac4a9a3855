//! The failures of many VMs at once, with a number of statements that is that of few.

use super::{AlertRaise, Raised, raise};
use crate::StoreError;
use crate::tx::Tx;

/// [`raise`] for many failures, in their order: distinct pairs of VM and reason.
pub fn raise_all(tx: &mut dyn Tx, alerts: &[AlertRaise<'_>]) -> Result<Vec<Raised>, StoreError> {
    alerts.iter().map(|alert| raise(tx, alert)).collect()
}
