//! Enrolment: binds a name to a TPM (RFC 9334 "endorsement" by possession; TPM 2.0 Part 1, section 24).
//!
//! Invariants:
//! * The EK identifies the VM. Nothing that an agent says about itself selects a record.
//! * The AK that a VM gets is the AK whose name the credential was made for, taken from the pending enrolment;
//!   the second call carries the secret and nothing else.
//! * A record is never taken over: a name belongs to the EK that has it.
//! * A join token is used in the transaction that makes the VM, so that races for its last use lose cleanly.
//! * Nobody takes room from others: what waits is bounded per EK and per join token, and what a known TPM may do without
//!   a join token has a pace. Only who opened a credential counts against the pace, so that nobody else can use it up.

mod checked;

use std::sync::Arc;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use veriboot_store::{
    Constraint, StoreError, Tx, audit, enrolments, inventory, join_tokens, monitoring, new_id, vms,
};
use veriboot_tpm::make_credential;
use veriboot_wire::{
    ActivateRequest, Blob, EnrollChallenge, EnrollRequest, Enrolled, JoinToken, Monitoring, Time, VmStatus,
};

use crate::attest::text;
use crate::endorsement::EndorsementTrust;
use crate::monitoring::paused;
use crate::problem::{Kind, kinds};
use crate::{ApiError, AppState, attest, auth};
use checked::check;

/// How the bearer token of an agent starts, so that secret scanners find it.
pub const AGENT_TOKEN_PREFIX: &str = "vba_";
/// Seconds that a pending enrolment lives.
pub const ENROLMENT_LIFETIME_S: u32 = 300;

/// Enrolments of one EK that may wait for their activation at the same time.
const MAX_PENDING_OF_EK: u32 = 3;
/// Enrolments by one join token that may wait beyond the uses that it has left, for those that are given up.
const MAX_PENDING_SPARE: u32 = 8;
/// Enrolments by one join token that may wait, whatever uses it has left.
const MAX_PENDING_OF_JOIN_TOKEN: u32 = 5_000;
/// Enrolments by all join tokens that may wait.
const MAX_PENDING: u32 = 20_000;
const SECRET_BYTES: usize = 32;
/// What a VM's status says after its agent enrolled again.
const ENROLLED_AGAIN: &str = "The agent enrolled again and has not attested since.";

/// Starts an enrolment.
///
/// # Errors
/// The refusals of the enrolment section of docs/errors.md; nothing waits then.
pub async fn begin(state: &AppState, request: EnrollRequest) -> Result<EnrollChallenge, ApiError> {
    let checked = check(&request)?;
    let mut secret = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|e| ApiError::internal(e.to_string()))?;
    let now = state.clock.now();
    let row = enrolments::EnrolmentRow {
        id: new_id(now),
        created_at: now,
        expires_at: now.plus_s(i64::from(ENROLMENT_LIFETIME_S)),
        attempts: 0,
        secret_sha256: digest(&SHA256, &secret).as_ref().to_vec(),
        join_token_id: None,
        vm_id: None,
        name: request.name,
        machine: text::machine(&request.machine),
        ek_sha256: checked.ek_sha256,
        ek_public: request.ek_public.0,
        ek_certificate: request.ek_certificate.map(|c| c.0),
        ak_public: request.ak_public.0,
        ak_name: checked.ak_name.clone(),
    };
    let join_secret = request.join_token.map(|token| digest(&SHA256, token.as_bytes()).as_ref().to_vec());
    let enrolment_id = row.id.clone();
    state
        .store
        .write(move |tx| admit(tx, row.clone(), join_secret.as_deref(), now))
        .await
        .map_err(|error| match error {
            StoreError::Limit { what } => {
                ApiError::new(&kinds::ENROLMENTS_BUSY, format!("too many {what} wait for their activation"))
            }
            other => other.into(),
        })?
        .map_err(Refusal::into_api)?;
    // Public-key work only for who is admitted.
    let credential = match make_credential(&checked.ek, &checked.ak_name, &secret) {
        Ok(credential) => credential,
        Err(error) => {
            state.store.write(move |tx| enrolments::take(tx, &enrolment_id)).await?;
            let message = "no credential can be made for these keys";
            return Err(ApiError::new(&kinds::EK_UNSUPPORTED, message).cause(error));
        }
    };
    Ok(EnrollChallenge {
        enrolment_id,
        credential_blob: Blob(credential.blob),
        encrypted_secret: Blob(credential.encrypted_secret),
        expires_in_s: ENROLMENT_LIFETIME_S,
    })
}

/// A refusal that the database decided.
struct Refusal {
    kind: &'static Kind,
    message: String,
    retry_after_s: Option<u32>,
}

impl Refusal {
    fn new(kind: &'static Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_s: kind.retry_after_s }
    }

    fn into_api(self) -> ApiError {
        let error = ApiError::new(self.kind, self.message);
        match self.retry_after_s {
            Some(seconds) => error.retry_after_s(seconds),
            None => error,
        }
    }
}

impl From<join_tokens::JoinRefusal> for Refusal {
    fn from(refusal: join_tokens::JoinRefusal) -> Self {
        use join_tokens::JoinRefusal as R;
        let kind = match refusal {
            R::Unknown => &kinds::JOIN_TOKEN_UNKNOWN,
            R::Revoked => &kinds::JOIN_TOKEN_REVOKED,
            R::Expired => &kinds::JOIN_TOKEN_EXPIRED,
            R::UsedUp => &kinds::JOIN_TOKEN_USED_UP,
        };
        Self::new(kind, refusal.to_string())
    }
}

/// Decides admission and keeps the pending enrolment. Decides again at activation, where it counts.
fn admit(
    tx: &mut dyn Tx,
    mut row: enrolments::EnrolmentRow,
    join_secret: Option<&[u8]>,
    now: Time,
) -> Result<Result<(), Refusal>, StoreError> {
    let mut bounds = enrolments::Bounds {
        per_ek: MAX_PENDING_OF_EK,
        per_join_token: MAX_PENDING_OF_JOIN_TOKEN,
        by_join_tokens: MAX_PENDING,
    };
    if let Some(vm) = vms::by_ek_sha256(tx, &row.ek_sha256)? {
        if let Some(refusal) = too_often(tx, &vm.id, now)? {
            return Ok(Err(refusal));
        }
        row.vm_id = Some(vm.id);
    } else {
        let Some(join_secret) = join_secret else {
            let message = "this TPM is not enrolled and no join token was given";
            return Ok(Err(Refusal::new(&kinds::JOIN_TOKEN_REQUIRED, message)));
        };
        let token = match join_tokens::by_secret_sha256(tx, join_secret)? {
            None => return Ok(Err(join_tokens::JoinRefusal::Unknown.into())),
            Some(token) => token,
        };
        if let Err(refusal) = join_tokens::check(&token, now) {
            return Ok(Err(refusal.into()));
        }
        if vms::by_name(tx, &token.group, &row.name)?.is_some() {
            return Ok(Err(name_taken(&row.name, &token.group)));
        }
        bounds.per_join_token =
            token.uses_left.saturating_add(MAX_PENDING_SPARE).min(MAX_PENDING_OF_JOIN_TOKEN);
        row.join_token_id = Some(token.id);
    }
    enrolments::insert(tx, &row, bounds)?;
    Ok(Ok(()))
}

fn name_taken(name: &str, group: &str) -> Refusal {
    Refusal::new(&kinds::NAME_TAKEN, format!("another TPM has enrolled as {name} in group {group}"))
}

/// The refusal of a TPM that is known and enrols faster than anybody needs to.
fn too_often(tx: &mut dyn Tx, vm_id: &str, now: Time) -> Result<Option<Refusal>, StoreError> {
    let wait_ms = vms::reenrolment_wait_ms(tx, vm_id, now)?;
    if wait_ms == 0 {
        return Ok(None);
    }
    let message = "this TPM enrolled again too often";
    let refusal = Refusal::new(&kinds::ENROLMENT_TOO_OFTEN, message);
    let seconds = u32::try_from(wait_ms / 1000 + 1).ok();
    Ok(Some(Refusal { retry_after_s: seconds.or(refusal.retry_after_s), ..refusal }))
}

/// What an activation did.
struct Activated {
    vm_id: String,
    name: String,
    group: String,
    again: bool,
    interval_s: u32,
    challenge_used_us: i64,
}

/// Ends an enrolment: the secret shows that EK and AK live in one TPM.
///
/// # Errors
/// The refusals of the enrolment section of docs/errors.md. The VM's record, if there is one, is as it was.
pub async fn activate(
    state: &AppState,
    enrolment_id: &str,
    request: ActivateRequest,
) -> Result<Enrolled, ApiError> {
    let now = state.clock.now();
    let made_at = made_at(enrolment_id)
        .ok_or_else(|| ApiError::new(&kinds::ENROLMENT_UNKNOWN, "there is no such enrolment"))?;
    let agent_token = auth::new_secret(AGENT_TOKEN_PREFIX).map_err(|e| ApiError::internal(e.to_string()))?;
    let newcomer = Newcomer {
        endorsement: Arc::clone(&state.attest.endorsement),
        enrolment_id: enrolment_id.to_owned(),
        secret_sha256: digest(&SHA256, &request.secret).as_ref().to_vec(),
        agent_token_sha256: digest(&SHA256, agent_token.as_bytes()).as_ref().to_vec(),
        interval_s: state.config.interval_s,
        silence_limit_s: state.config.silence_limit_s(),
        now,
    };
    let activated = state
        .store
        .write(move |tx| newcomer.settle(tx))
        .await
        .map_err(|error| match error {
            StoreError::Conflict { constraint: Constraint::VmName | Constraint::VmEk } => {
                ApiError::new(&kinds::NAME_TAKEN, "another enrolment was faster")
            }
            other => other.into(),
        })?
        .map_err(|refusal| match refusal {
            Refusal { kind, .. }
                if kind == &kinds::ENROLMENT_UNKNOWN
                    && made_at.plus_s(i64::from(ENROLMENT_LIFETIME_S)) <= now =>
            {
                ApiError::new(&kinds::ENROLMENT_EXPIRED, "the enrolment has expired")
            }
            refusal => refusal.into_api(),
        })?;
    let Activated { vm_id: vm, name, group, again, .. } = &activated;
    let what = if *again { "VM enrolled again" } else { "VM enrolled" };
    tracing::info!(vm, name, group, "{what}");
    let directions =
        attest::directions(state, &activated.vm_id, activated.challenge_used_us, activated.interval_s, now)?;
    Ok(Enrolled { vm_id: activated.vm_id, name: activated.name, agent_token, directions })
}

/// Time in a UUIDv7; `None` for what is no such id. Only tells two refusals apart.
fn made_at(enrolment_id: &str) -> Option<Time> {
    let (seconds, nanos) = uuid::Uuid::try_parse(enrolment_id).ok()?.get_timestamp()?.to_unix();
    let ms = i64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?;
    Some(Time::from_unix_ms(ms))
}

/// What the transaction of an activation needs.
struct Newcomer {
    endorsement: Arc<EndorsementTrust>,
    enrolment_id: String,
    secret_sha256: Vec<u8>,
    agent_token_sha256: Vec<u8>,
    interval_s: u32,
    silence_limit_s: u32,
    now: Time,
}

impl Newcomer {
    /// A refusal is `Ok(Err)`: the attempt counts. Nothing else was written then.
    fn settle(&self, tx: &mut dyn Tx) -> Result<Result<Activated, Refusal>, StoreError> {
        let Some(pending) = enrolments::attempt(tx, &self.enrolment_id, self.now)? else {
            return Ok(Err(Refusal::new(&kinds::ENROLMENT_UNKNOWN, "there is no such enrolment")));
        };
        // Both are digests of secrets with 256 random bits, compared in constant time.
        if constant_time::verify_slices_are_equal(&pending.secret_sha256, &self.secret_sha256).is_err() {
            let message = "the secret is not the one in the credential";
            return Ok(Err(Refusal::new(&kinds::CREDENTIAL_WRONG, message)));
        }
        match vms::by_ek_sha256(tx, &pending.ek_sha256)? {
            Some(vm) => match too_often(tx, &vm.id, self.now)? {
                Some(refusal) => Ok(Err(refusal)),
                None => self.renew(tx, &pending, vm).map(Ok),
            },
            None => self.join(tx, &pending),
        }
    }

    /// A TPM that is known: its record stays.
    fn renew(
        &self,
        tx: &mut dyn Tx,
        pending: &enrolments::EnrolmentRow,
        vm: vms::VmRow,
    ) -> Result<Activated, StoreError> {
        enrolments::take(tx, &pending.id)?;
        let certificate = pending.ek_certificate.as_deref();
        let certificate = certificate.filter(|new| self.endorsement.may_replace(&vm, new, self.now));
        vms::reenrol(
            tx,
            &vm.id,
            &vms::Reenrolment {
                ak_public: &pending.ak_public,
                ak_name: &pending.ak_name,
                agent_token_sha256: &self.agent_token_sha256,
                ek_certificate: certificate,
                machine: &pending.machine,
                now: self.now,
            },
        )?;
        inventory::note_machine(tx, &vm.id, &pending.machine.machine_uuid)?;
        // Enrolling is no attestation: an agent that only ever enrols must not keep its VM looking healthy.
        if matches!(vm.status, VmStatus::Healthy | VmStatus::Pending) {
            crate::status::set(tx, &vm, VmStatus::Pending, Some(ENROLLED_AGAIN), self.now)?;
        }
        audit::append(
            tx,
            &audit::NewEntry {
                at: self.now,
                actor: &format!("vm:{}", vm.id),
                action: "vm.reenroll",
                target: &format!("vm:{}", vm.id),
                detail: &json!({
                    "name": vm.name,
                    "group": vm.group,
                    "ak_replaced": vm.ak_name != pending.ak_name,
                    "ak_name": hex::encode(&pending.ak_name),
                    "ek_certificate_replaced": certificate.is_some_and(|new| vm.ek_certificate.as_deref() != Some(new)),
                }),
            },
        )?;
        let replaced = vm.ak_name != pending.ak_name;
        let message = match replaced {
            true => "the VM enrolled again, with another attestation key",
            false => "the VM enrolled again",
        };
        let data = json!({ "message": message, "ak_replaced": replaced });
        crate::status::tell(tx, &vm, "vm.reenrolled", &data, self.now)?;
        crate::posture::refresh(tx, &vm.id, self.now)?;
        Ok(Activated {
            vm_id: vm.id,
            name: vm.name,
            group: vm.group,
            again: true,
            interval_s: vm.interval_s,
            challenge_used_us: vm.challenge_used_us,
        })
    }

    /// A new TPM: needs a join token and a free name.
    fn join(
        &self,
        tx: &mut dyn Tx,
        pending: &enrolments::EnrolmentRow,
    ) -> Result<Result<Activated, Refusal>, StoreError> {
        let Some(join_token_id) = &pending.join_token_id else {
            let message = "the VM's record is gone and no join token was given";
            return Ok(Err(Refusal::new(&kinds::JOIN_TOKEN_REQUIRED, message)));
        };
        let Some(token) = join_tokens::by_id(tx, join_token_id)? else {
            return Ok(Err(join_tokens::JoinRefusal::Unknown.into()));
        };
        if vms::by_name(tx, &token.group, &pending.name)?.is_some() {
            return Ok(Err(name_taken(&pending.name, &token.group)));
        }
        let token = match join_tokens::consume(tx, join_token_id, self.now)? {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        enrolments::take(tx, &pending.id)?;
        let mut vm = self.new_vm(pending, &token);
        let monitoring = Monitoring::of(monitoring::for_place(tx, vm.place())?.as_ref());
        if !monitoring.enabled {
            vm.monitoring = false;
            (vm.status, vm.status_detail) = paused(&monitoring);
        }
        vms::insert(tx, &vm)?;
        let items = inventory::match_enrolled(tx, &vm.id, &vm.ek_sha256, self.now)?;
        crate::posture::refresh_items(tx, &items, self.now)?;
        inventory::note_machine(tx, &vm.id, &pending.machine.machine_uuid)?;
        audit::append(
            tx,
            &audit::NewEntry {
                at: self.now,
                actor: &format!("vm:{}", vm.id),
                action: "vm.enroll",
                target: &format!("vm:{}", vm.id),
                detail: &json!({
                    "name": vm.name,
                    "group": vm.group,
                    "scale_set": vm.scale_set,
                    "image": vm.image,
                    "join_token": token.id,
                    "ek_sha256": vm.ek_sha256,
                    "ek_certificate": vm.ek_certificate.is_some(),
                    "ak_name": hex::encode(&vm.ak_name),
                }),
            },
        )?;
        let data = json!({
            "message": "the VM enrolled",
            "image": vm.image,
            "join_token": token.id,
            "ek_certificate": vm.ek_certificate.is_some(),
        });
        crate::status::tell(tx, &vm, "vm.enrolled", &data, self.now)?;
        crate::posture::refresh(tx, &vm.id, self.now)?;
        Ok(Ok(Activated {
            vm_id: vm.id,
            name: vm.name,
            group: vm.group,
            again: false,
            interval_s: vm.interval_s,
            challenge_used_us: 0,
        }))
    }

    fn new_vm(&self, pending: &enrolments::EnrolmentRow, token: &JoinToken) -> vms::VmRow {
        vms::VmRow {
            name: pending.name.clone(),
            group: token.group.clone(),
            scale_set: token.scale_set.clone(),
            image: token.image.clone(),
            machine: pending.machine.clone(),
            ek_sha256: pending.ek_sha256.clone(),
            ek_public: pending.ek_public.clone(),
            ek_certificate: pending.ek_certificate.clone(),
            ak_public: pending.ak_public.clone(),
            ak_name: pending.ak_name.clone(),
            agent_token_sha256: self.agent_token_sha256.clone(),
            interval_s: self.interval_s,
            silence_limit_s: self.silence_limit_s,
            last_seen_at: Some(self.now),
            ..vms::VmRow::enrolling(new_id(self.now), self.now)
        }
    }
}
