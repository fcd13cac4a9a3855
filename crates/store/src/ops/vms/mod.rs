//! VMs: who is enrolled, and how each one is.
//!
//! `current_boot_id`, `last_attestation_id` and `log_sha256` name rows of other tables without a foreign key: the
//! history refers to the VM, and the VM only points at its newest entry.

mod attested;
mod delete;
mod endorsement;
mod judged_again;
mod kernel_said;
mod list;
mod reenrol;

use veriboot_wire::{Facts, MachineInfo, ScopeKind, SecurityType, Time, VmStatus};

pub use attested::{AfterAttestation, BootPosition, update_after_attestation, use_challenge};
pub use delete::delete;
pub use endorsement::{Endorsement, set_endorsement};
pub use judged_again::{JudgedAgain, judged_again};
pub use kernel_said::KernelSaid;
pub use list::{counts_by_status, list, summary};
pub use reenrol::{REENROLMENT_PACE_MS, REENROLMENTS_AT_ONCE, Reenrolment, reenrol, reenrolment_wait_ms};

use crate::rows::query_in;
use crate::tx::{Param, Row, Tx, json, params, query_one};
use crate::{Place, StoreError};

/// One VM.
#[derive(Clone, Debug, PartialEq)]
pub struct VmRow {
    /// UUIDv7.
    pub id: String,
    /// Unique within its group.
    pub name: String,
    /// Group.
    pub group: String,
    /// Uniform scale set that it is a member of.
    pub scale_set: Option<String>,
    /// Image that it was made from, in the words of its join token.
    pub image: Option<String>,
    /// Health.
    pub status: VmStatus,
    /// One sentence that explains the status.
    pub status_detail: Option<String>,
    /// The separate facts.
    pub facts: Facts,
    /// What its evidence shows; what is configured is the inventory's to say.
    pub security_type: SecurityType,
    /// What the agent says about the machine (advisory).
    pub machine: MachineInfo,
    /// SHA-256 of the EK's public area, hex. Unique: one TPM is one VM.
    pub ek_sha256: String,
    /// Endorsement key, TPM2B_PUBLIC.
    pub ek_public: Vec<u8>,
    /// Endorsement certificate, DER.
    pub ek_certificate: Option<Vec<u8>>,
    /// Attestation key, TPM2B_PUBLIC.
    pub ak_public: Vec<u8>,
    /// TPM name of the attestation key.
    pub ak_name: Vec<u8>,
    /// SHA-256 of the agent's bearer token.
    pub agent_token_sha256: Vec<u8>,
    /// Issue time, in microseconds, of the last challenge that was used. Only newer challenges are accepted.
    pub challenge_used_us: i64,
    /// Seconds between two attestations.
    pub interval_s: u32,
    /// Seconds of silence after which the VM is stale.
    pub silence_limit_s: u32,
    /// First enrolment.
    pub enrolled_at: Time,
    /// Last attestation, whatever its verdict.
    pub last_attested_at: Option<Time>,
    /// Last sign of life of the agent.
    pub last_seen_at: Option<Time>,
    /// Boot that the last trusted quote belongs to.
    pub current_boot_id: Option<String>,
    /// TPM resetCount of the last trusted quote.
    pub reset_count: Option<u32>,
    /// TPM restartCount of the last trusted quote.
    pub restart_count: Option<u32>,
    /// TPM clock of the last trusted quote, in milliseconds.
    pub clock_ms: Option<u64>,
    /// TPM firmware version of the last trusted quote.
    pub firmware_version: Option<u64>,
    /// TPM name of the attestation key that signed the last trusted quote. Another one than `ak_name` when the VM
    /// enrolled with another key since.
    pub counted_ak_name: Option<Vec<u8>>,
    /// SHA-256 of the log of the last trusted quote, hex.
    pub log_sha256: Option<String>,
    /// Last attestation.
    pub last_attestation_id: Option<String>,
    /// Platform fault that the agent reported after the last attestation.
    pub fault: Option<String>,
    /// Baseline that judged last, as `name@version`.
    pub baseline: Option<String>,
    /// What that baseline applies to.
    pub baseline_scope: Option<ScopeKind>,
    /// Profile that judged last, as `name@version`.
    pub profile: Option<String>,
    /// Whether integrity monitoring is on.
    pub monitoring: bool,
    /// The proposal that its last attestation shows.
    pub proposal_id: Option<String>,
    /// SHA-256 over everything that is enforced of its present boot, hex; absent while that boot is not believed.
    pub boot_key: Option<String>,
    /// Hash over what its last assessment rested on.
    pub posture_key: Option<String>,
    /// What the agent said about the running kernel (advisory), and in which boot.
    pub kernel: Option<KernelSaid>,
    /// What came of the endorsement certificate; absent before the first attestation.
    pub endorsement: Option<Endorsement>,
}

impl VmRow {
    /// A VM of a trusted launch that enrols now and has not attested: whoever enrols it fills in its name, group, keys and limits.
    pub fn enrolling(id: String, now: Time) -> Self {
        Self {
            id,
            name: String::new(),
            group: String::new(),
            scale_set: None,
            image: None,
            status: VmStatus::Pending,
            status_detail: None,
            facts: Facts::UNKNOWN,
            security_type: SecurityType::TrustedLaunch,
            machine: MachineInfo::default(),
            ek_sha256: String::new(),
            ek_public: Vec::new(),
            ek_certificate: None,
            ak_public: Vec::new(),
            ak_name: Vec::new(),
            agent_token_sha256: Vec::new(),
            challenge_used_us: 0,
            interval_s: 0,
            silence_limit_s: 0,
            enrolled_at: now,
            last_attested_at: None,
            last_seen_at: None,
            current_boot_id: None,
            reset_count: None,
            restart_count: None,
            clock_ms: None,
            firmware_version: None,
            counted_ak_name: None,
            log_sha256: None,
            last_attestation_id: None,
            fault: None,
            baseline: None,
            baseline_scope: None,
            profile: None,
            monitoring: true,
            proposal_id: None,
            boot_key: None,
            posture_key: None,
            kernel: None,
            endorsement: None,
        }
    }

    /// The scopes that it is in.
    pub fn place(&self) -> Place<'_> {
        Place {
            vm_id: &self.id,
            group: &self.group,
            scale_set: self.scale_set.as_deref(),
            image: self.image.as_deref(),
        }
    }
}

const COLUMNS: &str = "id, name, group_name, scale_set, image, status, status_detail, facts, security_type, machine, \
     ek_sha256, ek_public, ek_certificate, ak_public, ak_name, agent_token_sha256, challenge_used_us, interval_s, \
     silence_limit_s, enrolled_at, last_attested_at, last_seen_at, current_boot_id, reset_count, restart_count, \
     clock_ms, firmware_version, counted_ak_name, log_sha256, last_attestation_id, fault, baseline, baseline_scope, \
     profile, monitoring, proposal_id, boot_key, posture_key, kernel, endorsement";

fn read(row: Row) -> Result<VmRow, StoreError> {
    let mut c = row.columns();
    Ok(VmRow {
        id: c.text()?,
        name: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        image: c.opt_text()?,
        status: c.word()?,
        status_detail: c.opt_text()?,
        facts: c.json()?,
        security_type: c.word()?,
        machine: c.json()?,
        ek_sha256: c.text()?,
        ek_public: c.bytes()?,
        ek_certificate: c.opt_bytes()?,
        ak_public: c.bytes()?,
        ak_name: c.bytes()?,
        agent_token_sha256: c.bytes()?,
        challenge_used_us: c.int()?,
        interval_s: c.u32()?,
        silence_limit_s: c.u32()?,
        enrolled_at: c.time()?,
        last_attested_at: c.opt_time()?,
        last_seen_at: c.opt_time()?,
        current_boot_id: c.opt_text()?,
        reset_count: c.opt_u32()?,
        restart_count: c.opt_u32()?,
        clock_ms: c.opt_u64()?,
        firmware_version: c.opt_u64()?,
        counted_ak_name: c.opt_bytes()?,
        log_sha256: c.opt_text()?,
        last_attestation_id: c.opt_text()?,
        fault: c.opt_text()?,
        baseline: c.opt_text()?,
        baseline_scope: c.opt_word()?,
        profile: c.opt_text()?,
        monitoring: c.bool()?,
        proposal_id: c.opt_text()?,
        boot_key: c.opt_text()?,
        posture_key: c.opt_text()?,
        kernel: c.opt_json()?,
        endorsement: c.opt_json()?,
    })
}

/// When a VM that attested or enrolled at `at` has been silent for too long.
fn silent_after(at: Time, silence_limit_s: u32) -> i64 {
    at.plus_s(i64::from(silence_limit_s)).unix_ms()
}

/// SQL: when a VM whose agent shows at the time in parameter `now` that it lives, without evidence, has been silent for
/// too long. Without evidence an agent puts the end off once: never further than two limits after the last attestation,
/// or the first enrolment.
fn put_off(now: &str) -> String {
    let limit = "silence_limit_s * 1000";
    let end = format!("COALESCE(last_attested_at, enrolled_at) + {limit}");
    format!("CASE WHEN {now} < {end} THEN {now} ELSE {end} END + {limit}")
}

/// Adds a VM. [`crate::Constraint::VmName`] when the name is taken in the group, [`crate::Constraint::VmEk`] when
/// the TPM is enrolled already.
pub fn insert(tx: &mut dyn Tx, vm: &VmRow) -> Result<(), StoreError> {
    let (facts, machine) = (json(&vm.facts)?, json(&vm.machine)?);
    let kernel = vm.kernel.as_ref().map(json).transpose()?;
    let endorsement = vm.endorsement.as_ref().map(json).transpose()?;
    let silent_after = silent_after(vm.last_attested_at.unwrap_or(vm.enrolled_at), vm.silence_limit_s);
    let sql = format!(
        "INSERT INTO vms ({COLUMNS}, silent_after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
         $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, \
         $37, $38, $39, $40, $41)"
    );
    tx.execute(
        &sql,
        params![
            &vm.id,
            &vm.name,
            &vm.group,
            vm.scale_set.as_deref(),
            vm.image.as_deref(),
            vm.status.as_str(),
            vm.status_detail.as_deref(),
            &facts,
            vm.security_type.as_str(),
            &machine,
            &vm.ek_sha256,
            &vm.ek_public,
            vm.ek_certificate.as_ref(),
            &vm.ak_public,
            &vm.ak_name,
            &vm.agent_token_sha256,
            vm.challenge_used_us,
            vm.interval_s,
            vm.silence_limit_s,
            vm.enrolled_at,
            vm.last_attested_at,
            vm.last_seen_at,
            vm.current_boot_id.as_deref(),
            vm.reset_count,
            vm.restart_count,
            vm.clock_ms,
            vm.firmware_version,
            vm.counted_ak_name.as_ref(),
            vm.log_sha256.as_deref(),
            vm.last_attestation_id.as_deref(),
            vm.fault.as_deref(),
            vm.baseline.as_deref(),
            vm.baseline_scope.map(ScopeKind::as_str),
            vm.profile.as_deref(),
            vm.monitoring,
            vm.proposal_id.as_deref(),
            vm.boot_key.as_deref(),
            vm.posture_key.as_deref(),
            kernel.as_deref(),
            endorsement.as_deref(),
            silent_after,
        ],
    )?;
    Ok(())
}

/// The VM with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<VmRow>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM vms WHERE id = $1"), params![id])?.map(read).transpose()
}

/// The VMs with these ids, as far as there are any, in no order.
pub fn by_ids(tx: &mut dyn Tx, ids: &[&str]) -> Result<Vec<VmRow>, StoreError> {
    let head = format!("SELECT {COLUMNS} FROM vms WHERE id");
    query_in(tx, &head, "", &[], ids)?.into_iter().map(read).collect()
}

/// The VM with this name in this group.
pub fn by_name(tx: &mut dyn Tx, group: &str, name: &str) -> Result<Option<VmRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM vms WHERE group_name = $1 AND name = $2");
    query_one(tx, &sql, params![group, name])?.map(read).transpose()
}

/// VMs with this name in any group, at most `limit`.
pub fn by_name_in_any_group(tx: &mut dyn Tx, name: &str, limit: u32) -> Result<Vec<VmRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM vms WHERE name = $1 ORDER BY group_name LIMIT $2");
    tx.query(&sql, params![name, limit])?.into_iter().map(read).collect()
}

/// The VM of this TPM; `ek_sha256` in hex.
pub fn by_ek_sha256(tx: &mut dyn Tx, ek_sha256: &str) -> Result<Option<VmRow>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM vms WHERE ek_sha256 = $1"), params![ek_sha256])?
        .map(read)
        .transpose()
}

/// Notes a sign of life of the agent that is no evidence. Does not change the status.
pub fn touch(tx: &mut dyn Tx, id: &str, now: Time) -> Result<bool, StoreError> {
    let sql = format!("UPDATE vms SET last_seen_at = $2, silent_after = {} WHERE id = $1", put_off("$2"));
    Ok(tx.execute(&sql, params![id, now])? == 1)
}

/// Changes the status alone.
pub fn set_status(
    tx: &mut dyn Tx,
    id: &str,
    status: VmStatus,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    let sql = "UPDATE vms SET status = $2, status_detail = $3 WHERE id = $1";
    Ok(tx.execute(sql, params![id, status.as_str(), detail])? == 1)
}

/// Notes a platform fault and a sign of life. The status becomes `error`, unless it says something that no report of
/// the agent takes back: `unhealthy` and `stale` end with evidence, `unmonitored` with an operator.
pub fn set_fault(tx: &mut dyn Tx, id: &str, fault: &str, now: Time) -> Result<bool, StoreError> {
    let stays = "status IN ('unhealthy', 'stale', 'unmonitored')";
    let sql = format!(
        "UPDATE vms SET status = CASE WHEN {stays} THEN status ELSE 'error' END, \
         status_detail = CASE WHEN {stays} THEN status_detail ELSE $2 END, fault = $2, \
         last_seen_at = $3, silent_after = {} WHERE id = $1",
        put_off("$3")
    );
    Ok(tx.execute(&sql, params![id, fault, now])? == 1)
}

/// Turns integrity monitoring on or off and sets the status that goes with it.
pub fn set_monitoring(tx: &mut dyn Tx, id: &str, on: bool, status: VmStatus) -> Result<bool, StoreError> {
    let sql = "UPDATE vms SET monitoring = $2, status = $3, status_detail = NULL WHERE id = $1";
    Ok(tx.execute(sql, params![id, on, status.as_str()])? == 1)
}

/// Sets how often the VM attests and for how long it may be silent.
pub fn set_cadence(
    tx: &mut dyn Tx,
    id: &str,
    interval_s: u32,
    silence_limit_s: u32,
) -> Result<bool, StoreError> {
    let sql = "UPDATE vms SET interval_s = $2, silence_limit_s = $3, \
               silent_after = COALESCE(last_attested_at, enrolled_at) + CAST($3 AS BIGINT) * 1000 WHERE id = $1";
    Ok(tx.execute(sql, params![id, interval_s, silence_limit_s])? == 1)
}

/// Monitored VMs that have been silent for longer than they may and are not stale yet, longest silence first.
pub fn due_for_silence(tx: &mut dyn Tx, now: Time, limit: u32) -> Result<Vec<VmRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM vms WHERE monitoring = 1 AND status <> 'stale' AND silent_after < $1 \
         ORDER BY silent_after LIMIT $2"
    );
    tx.query(&sql, &[Param::from(now), Param::from(limit)])?.into_iter().map(read).collect()
}
