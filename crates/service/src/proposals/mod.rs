//! Proposals: changes of trusted classes that VMs booted, gathered until somebody decides.
//!
//! [`follow`] is part of the transaction of every attestation; [`approve()`], [`reject`] and [`reopen`] are decisions of an
//! operator. Each decision queues the VMs that it concerns, in its own transaction ([`crate::members`]).

mod approve;
mod decide;
mod follow;
pub(crate) mod words;

pub(crate) use approve::approve;
pub(crate) use decide::{reject, reopen};
pub(crate) use follow::{Attested, Proposing, Shown, follow, refused, rejection_for_a_bundle};

use veriboot_store::proposals::ProposalRow;
use veriboot_store::reappraisals;
use veriboot_store::{StoreError, Tx};
use veriboot_wire::Proposal;

use crate::ApiError;
use crate::problem::kinds;

/// One proposal as the API shows it.
pub(crate) fn shown(tx: &mut dyn Tx, row: ProposalRow) -> Result<Proposal, StoreError> {
    let of_vms = reappraisals::count(tx, &row.scope)?;
    Ok(words::shown(row, of_vms))
}

/// What was looked at is not there any more.
fn changed(what: &str) -> ApiError {
    ApiError::new(&kinds::PROPOSAL_CHANGED, what.to_owned())
}
