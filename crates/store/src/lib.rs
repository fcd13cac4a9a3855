//! Storage on SQLite and PostgreSQL behind one set of operations.
//!
//! [`Store::open`] takes `sqlite:PATH` or `postgres://…`. Work is a closure over one transaction, run on a thread of
//! the store and answered after the commit:
//!
//! ```no_run
//! # use veriboot_store::{Store, StoreError, logs, vms};
//! # async fn example(store: Store) -> Result<(), StoreError> {
//! let vm = store.read(|tx| vms::by_name(tx, "default", "web-0")).await?;
//! let known = store.write(move |tx| logs::put_if_absent(tx, "00ff", b"log", veriboot_wire::Time::from_unix_ms(0))).await?;
//! # Ok(()) }
//! ```
//! The closure may run more than once (PostgreSQL repeats serialisation failures), so it has no effect but through
//! its transaction. An `Err` undoes everything that the closure did; [`Store::try_write`] does so with an error type
//! of the caller. Nothing reads the clock: times are parameters.
//!
//! | module | operations |
//! |---|---|
//! | [`vms`] | `insert` `by_id` `by_name` `by_name_in_any_group` `by_ek_sha256` `summary` `list` (filter, page) `counts_by_status` `use_challenge` (single use) `update_after_attestation` `touch` `set_status` `set_fault` `set_monitoring` `set_cadence` `reenrol` (new AK and agent token) `reenrolment_wait_ms` `due_for_silence` `delete` (with its history) |
//! | [`enrolments`] | `insert` (bounded per EK and join token) `attempt` (expiry, counts attempts) `take` (single use) `purge_expired` |
//! | [`inventory`] | `sync` (one look at a source, in batches) `list` `by_id` `items_for_vm` `item_for_vm` `unmatched` `absent_since` `unlisted` `changes` `link` `unlink` `match_enrolled` `suggestions_for_item` `put_source` `retire` `claim_configured` |
//! | [`join_tokens`] | `insert` `by_id` `by_secret_sha256` `check` `consume` (atomic) `list` `revoke` |
//! | [`api_tokens`] | `insert` `by_id` `by_secret_sha256` (valid ones) `count_admins` `list` `revoke`; [`api_tokens::Role`] |
//! | [`logs`] | `put_if_absent` `content` `has`, by SHA-256 |
//! | [`boots`] | `record` (upsert by VM, counters and log) `by_id` `list` |
//! | [`attestations`] | `insert` (with evidence) `by_id` `evidence` `latest` `list` |
//! | [`alerts`] | `raise` `raise_all` (one open per VM and reason) `by_id` `open_for` `latest_for` `list` `open_count` `open_counts_by_reason` `change_state` `auto_resolve` `resolve_all` (of many VMs) `forget_dismissals` `forget_all` |
//! | [`baselines`] | `insert_next` (signed) `retire` `current_of` (a scope) `current_for_vm` (VM, else scale set, else image, else group) `current_id_for_vm` `by_id` `by_name` `list` `unsigned` `sign` `note_learned_boot` `learned_boots` `counts_by_scope` |
//! | [`profiles`] | `insert_next` (signed) `current` `by_id` `list` `versions` `assign` `unassign` `assignment` `assignments` `assigned_to` `assigned_for` (a VM) |
//! | [`judges`] | `for_vm`: baseline and profile in one look-up |
//! | [`reappraisals`] | `enqueue` `by_id` `list` `claim` `advance` `vms_after` `ids_after` `pending` |
//! | [`proposals`] | `follow` (a VM is a member of what its last attestation shows) `rejections` `sharing_marks` `by_id` `findings` `list` `members` `close` `reopen` `supersede` `open_count` `open_by_class` |
//! | [`reappraise_queue`] | `queue` `queue_members` `claim` (with a lease) `done` `pending` |
//! | [`scale_sets`] | `set_boot_key` `list` `by_name` `boot_groups` `group_members` `group_boot` `majority` |
//! | [`ages`] | `Old` (what is older than an age, although clocks were set) |
//! | [`heartbeats`] | `beat` (tells the outage that it ends) `replicas` `last_outage` `outages` |
//! | [`deadlines`] | `put_off_after_outage` `pull_in` `put_off` `of` `switch` |
//! | [`monitoring`] | `set` `remove` `of_scope` `for_place` (most specific) `for_scope` `list` `count` `ask` `claim` `advance` `switch_by_id` `open_switch` `pending` |
//! | [`signing_keys`] | `insert` `active` `published` `set_published_until` `of_purpose` |
//! | [`settings`] | `value` `set` `value_or_insert` (replicas agree) `delete` |
//! | [`incidents`] | `by_id` `list` `members` `open_count`; alerts join and leave by themselves |
//! | [`suppressions`] | `matching` `create` `by_id` `end` `list` `simulate` |
//! | [`maintenance`] | `covers` (may a VM be silent now) `declare` `by_id` `end` `list` |
//! | [`events`] | `append` `append_all` (with their deliveries) `list` `after` `bounds` `purge` |
//! | [`assessments`] | `put` (new ones) `turn` (changed ones) `of_resource` `of_resources` `list` `remove` `counts` `counts_by_group` `causes` `set_counts` `inputs_of` `inputs_after` `read_along_indexes` `put_log_facts` `set_keys`; sweeps: `enqueue` `claim` `advance`; `put_points` `points` |
//! | [`targets`] | `insert` (bounded) `update` `by_name` `by_id` `list` `delete` `health` |
//! | [`deliveries`] | `due` `claim` (a target, with a lease) `waiting` `attempted` `release` `hold` `list` `replay` `give_up_old` `give_up_disabled` `purge_dead` `depths` |
//! | [`audit`] | `append` `list` `verify_chain` |
//!
//! PostgreSQL is reached over TCP or a Unix socket (`postgres:///veriboot?host=/run/postgresql`), with or without
//! password (SCRAM, MD5). The connection is **not encrypted**: `sslmode=disable` and `prefer` (which then means
//! plain) are accepted, `sslmode=require` is refused when opening. Use loopback, a Unix socket, a private network or
//! an encrypting proxy.

mod engine;
mod error;
mod hash;
mod id;
mod observe;
mod ops;
mod page;
mod place;
mod query;
mod rows;
mod schema;
mod signature;
mod store;
mod tx;

pub use error::{Constraint, OpenError, StoreError};
pub use id::new_id;
pub use observe::Observe;
pub use ops::{
    ages, alerts, api_tokens, assessments, attestations, audit, baselines, boots, deadlines, deliveries,
    enrolments, events, heartbeats, incidents, inventory, join_tokens, judges, logs, maintenance, monitoring,
    profiles, proposals, reappraisals, reappraise_queue, scale_sets, settings, signing_keys, suppressions,
    targets, vms,
};
pub use place::Place;
pub use signature::{Signature, Signs, Statement};
pub use store::{Options, Store};
pub use tx::{Backend, Columns, Param, Row, Tx, Value};
