use std::collections::BTreeSet;

use veriboot_store::vms::{self, AfterAttestation, BootPosition, KernelSaid, Reenrolment};
use veriboot_store::{Constraint, StoreError};
use veriboot_wire::{
    Blob, FactState, Facts, KernelReport, MachineInfo, ScopeKind, VmQuery, VmSort, VmStatus,
};

use crate::harness::{add_vm, at, on_both, vm};

on_both! {
async fn a_row_comes_back_as_it_went_in(db) {
    let mut row = vm("default", "web-0");
    row.scale_set = Some("web".into());
    row.status = VmStatus::Unhealthy;
    row.status_detail = Some("kernel command line changed: added `init=/bin/sh` \u{1f525}".into());
    row.facts = Facts { secure_boot: FactState::Invalid, ..Facts::UNKNOWN };
    row.ek_certificate = Some(vec![0x30, 0x82]);
    row.last_attested_at = Some(at(5));
    row.last_seen_at = Some(at(6));
    row.current_boot_id = Some("b".into());
    row.reset_count = Some(u32::MAX);
    row.restart_count = Some(0);
    row.clock_ms = Some(u64::MAX);
    row.firmware_version = Some(1 << 63);
    row.counted_ak_name = Some(vec![0, 11, 9]);
    row.log_sha256 = Some("ab".into());
    row.last_attestation_id = Some("a".into());
    row.fault = Some("tpm-busy".into());
    row.baseline = Some("vm/default/web-0@1".into());
    row.monitoring = false;
    row.endorsement = Some(vms::Endorsement {
        state: FactState::Invalid,
        detail: Some("the certificate of CN=ek was revoked by its issuer".into()),
        trust: "00ff".into(),
        at: at(7),
    });
    let (a, b) = (row.clone(), row.clone());
    db.store.write(move |tx| vms::insert(tx, &a)).await.unwrap();
    let read = db.store.read(move |tx| {
        Ok([
            vms::by_id(tx, &b.id)?,
            vms::by_name(tx, "default", "web-0")?,
            vms::by_ek_sha256(tx, &b.ek_sha256)?,
            vms::by_name_in_any_group(tx, "web-0", 2)?.pop(),
        ])
    }).await.unwrap();
    for found in read {
        assert_eq!(found.as_ref(), Some(&row));
    }
    assert_eq!(db.store.read(|tx| vms::by_id(tx, "nobody")).await.unwrap(), None);
}
}

on_both! {
async fn names_and_tpms_are_unique(db) {
    add_vm(&db.store, "default", "web-0").await;
    let mut same_name = vm("default", "web-0");
    same_name.ek_sha256 = "another".into();
    let error = db.store.write(move |tx| vms::insert(tx, &same_name)).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict { constraint: Constraint::VmName });
    let mut same_tpm = vm("default", "web-1");
    same_tpm.ek_sha256 = vm("default", "web-0").ek_sha256;
    let error = db.store.write(move |tx| vms::insert(tx, &same_tpm)).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict { constraint: Constraint::VmEk });
    let mut same_id = vm("default", "web-2");
    same_id.id = db.store.read(|tx| vms::by_name(tx, "default", "web-0")).await.unwrap().unwrap().id;
    let error = db.store.write(move |tx| vms::insert(tx, &same_id)).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict { constraint: Constraint::Id });
    add_vm(&db.store, "other", "web-0").await;
}
}

on_both! {
async fn a_challenge_is_used_once(db) {
    let id = add_vm(&db.store, "default", "web-0").await;
    let used = db.store.write(move |tx| {
        Ok([
            vms::use_challenge(tx, &id, 100)?,
            vms::use_challenge(tx, &id, 100)?,
            vms::use_challenge(tx, &id, 99)?,
            vms::use_challenge(tx, &id, 101)?,
            vms::use_challenge(tx, "nobody", 1000)?,
        ])
    }).await.unwrap();
    assert_eq!(used, [true, false, false, true, false]);
}
}

on_both! {
async fn an_untrusted_quote_does_not_move_the_tpm_position(db) {
    let id = add_vm(&db.store, "default", "web-0").await;
    let (a, b) = (id.clone(), id.clone());
    let position = BootPosition {
        boot_id: "boot-1", reset_count: 7, restart_count: 1, clock_ms: 5000, firmware_version: 9, log_sha256: Some("ab"),
    };
    let machine = MachineInfo { kernel: "6.1".into(), ..MachineInfo::default() };
    let report = KernelReport { taint: Some(8192), ..KernelReport::default() };
    let kernel = KernelSaid { ak_name: Blob(vec![0, 11, 7]), reset_count: 7, report };
    let said = kernel.clone();
    let first_ak = vm("default", "web-0").ak_name;
    let row = db.store.write(move |tx| {
        let after = |attestation_id: &'static str, ms, status, boot| AfterAttestation {
            attestation_id, at: at(ms), status, status_detail: Some("why"), facts: &Facts::UNKNOWN, machine: &machine,
            kernel: Some(&kernel), baseline: Some("n@1"), baseline_scope: Some(ScopeKind::Image), profile: Some("p@2"), boot,
        };
        vms::set_fault(tx, &a, "tpm-busy: wait", at(1))?;
        assert_eq!(vms::by_id(tx, &a)?.unwrap().status, VmStatus::Error);
        assert!(vms::update_after_attestation(tx, &a, &after("a1", 10, VmStatus::Healthy, Some(position)))?);
        assert!(vms::update_after_attestation(tx, &a, &after("a2", 20, VmStatus::Unhealthy, None))?);
        assert!(!vms::update_after_attestation(tx, "nobody", &after("a2", 20, VmStatus::Unhealthy, None))?);
        vms::by_id(tx, &a)
    }).await.unwrap().unwrap();
    assert_eq!((row.status, row.last_attestation_id.as_deref()), (VmStatus::Unhealthy, Some("a2")));
    assert_eq!(
        (row.baseline.as_deref(), row.baseline_scope, row.profile.as_deref()),
        (Some("n@1"), Some(ScopeKind::Image), Some("p@2"))
    );
    assert_eq!((row.reset_count, row.clock_ms, row.current_boot_id.as_deref()), (Some(7), Some(5000), Some("boot-1")));
    assert_eq!((row.fault, row.last_seen_at, row.machine.kernel.as_str()), (None, Some(at(20)), "6.1"));

    let row = db.store.write(move |tx| {
        let machine = MachineInfo::default();
        let mut new = Reenrolment {
            ak_public: &[4, 5, 6], ak_name: &[0, 11, 7], agent_token_sha256: &[1; 32], ek_certificate: None,
            machine: &machine, now: at(30),
        };
        assert!(vms::reenrol(tx, &b, &new)?);
        assert_eq!(vms::by_id(tx, &b)?.unwrap().reset_count, Some(7), "the same key keeps the counters");
        new.ak_name = &[0, 11, 8];
        new.ek_certificate = Some(&[0x30]);
        assert!(vms::reenrol(tx, &b, &new)?);
        vms::by_id(tx, &b)
    }).await.unwrap().unwrap();
    assert_eq!((row.reset_count, row.clock_ms, row.firmware_version), (Some(7), Some(5000), Some(9)));
    assert_eq!(row.kernel, Some(said), "an enrolment is no boot");
    assert_eq!((row.log_sha256.as_deref(), row.ak_name), (Some("ab"), vec![0, 11, 8]), "another key keeps them too");
    assert_eq!(row.counted_ak_name, Some(first_ak), "and it is known which key they were read with");
    assert_eq!((row.ek_certificate, row.agent_token_sha256), (Some(vec![0x30]), vec![1; 32]));
}
}

on_both! {
async fn silence_is_noticed_once(db) {
    let (a, b, c) = (
        add_vm(&db.store, "default", "a").await,
        add_vm(&db.store, "default", "b").await,
        add_vm(&db.store, "default", "c").await,
    );
    let due = db.store.write(move |tx| {
        let due = |tx: &mut dyn veriboot_store::Tx, ms| -> Result<Vec<String>, StoreError> {
            Ok(vms::due_for_silence(tx, at(ms), 10)?.into_iter().map(|vm| vm.name).collect())
        };
        vms::touch(tx, &a, at(10_000))?;
        vms::set_monitoring(tx, &c, false, VmStatus::Unmonitored)?;
        let before = due(tx, 900_000)?;
        let first = due(tx, 900_001)?;
        vms::set_status(tx, &b, VmStatus::Stale, Some("silent"))?;
        let second = due(tx, 900_001)?;
        let later = due(tx, 910_001)?;
        vms::set_cadence(tx, &a, 600, 4_000_000)?;
        let relaxed = due(tx, 910_001)?;
        vms::touch(tx, &b, at(910_001))?;
        Ok([before, first, second, later, relaxed])
    }).await.unwrap();
    assert_eq!(due, [vec![], vec!["b".to_owned()], vec![], vec!["a".to_owned()], vec![]]);
}
}

on_both! {
async fn only_evidence_ends_silence(db) {
    let id = add_vm(&db.store, "default", "a").await;
    let due = db.store.write(move |tx| {
        let due = |tx: &mut dyn veriboot_store::Tx, s: i64| -> Result<bool, StoreError> {
            Ok(!vms::due_for_silence(tx, at(s * 1000), 10)?.is_empty())
        };
        let machine = MachineInfo::default();
        let mut answers = Vec::new();
        // Enrolled at 0, limit 900 s. Faults and enrolments put the end off, to 1800 s and no further.
        for s in [100, 800, 1000, 1700] {
            vms::set_fault(tx, &id, "tpm-busy: wait", at(s * 1000))?;
            answers.push((s, due(tx, s)?));
        }
        let again = Reenrolment {
            ak_public: &[4, 5, 6], ak_name: &[0, 11, 7], agent_token_sha256: &[1; 32], ek_certificate: None,
            machine: &machine, now: at(1_790_000),
        };
        vms::reenrol(tx, &id, &again)?;
        vms::touch(tx, &id, at(1_795_000))?;
        answers.push((1800, due(tx, 1800)?));
        answers.push((1801, due(tx, 1801)?));
        // An attestation starts the count again.
        let after = AfterAttestation {
            attestation_id: "a1", at: at(2_000_000), status: VmStatus::Healthy, status_detail: None,
            facts: &Facts::UNKNOWN, machine: &machine, kernel: None, baseline: None, baseline_scope: None, profile: None,
            boot: None,
        };
        vms::update_after_attestation(tx, &id, &after)?;
        answers.push((2900, due(tx, 2900)?));
        answers.push((2901, due(tx, 2901)?));
        vms::set_fault(tx, &id, "tpm-busy: wait", at(2_100_000))?;
        answers.push((3000, due(tx, 3000)?));
        answers.push((3001, due(tx, 3001)?));
        Ok(answers)
    }).await.unwrap();
    let late = [1801, 2901, 3001];
    let wanted: Vec<_> = [100, 800, 1000, 1700, 1800, 1801, 2900, 2901, 3000, 3001].map(|s| (s, late.contains(&s))).into();
    assert_eq!(due, wanted);
}
}

on_both! {
async fn enrolling_again_has_a_pace(db) {
    let (id, other) = (add_vm(&db.store, "default", "a").await, add_vm(&db.store, "default", "b").await);
    let waits = db.store.write(move |tx| {
        let machine = MachineInfo::default();
        let mut waits = Vec::new();
        // Six at once, the sixth although it should have waited; then later, and after a clock that was set back.
        for s in [0, 0, 0, 0, 0, 0, 1000, 1900] {
            waits.push(vms::reenrolment_wait_ms(tx, &id, at(s * 1000))? / 1000);
            let again = Reenrolment {
                ak_public: &[4, 5, 6], ak_name: &[0, 11, 7], agent_token_sha256: &[1; 32], ek_certificate: None,
                machine: &machine, now: at(s * 1000),
            };
            if s < 1000 { vms::reenrol(tx, &id, &again)?; }
        }
        waits.push(vms::reenrolment_wait_ms(tx, &id, at(-86_400_000))? / 1000);
        waits.push(vms::reenrolment_wait_ms(tx, &other, at(0))?);
        waits.push(vms::reenrolment_wait_ms(tx, "nobody", at(0))?);
        Ok(waits)
    }).await.unwrap();
    // 6 * 720 s of debt, of which 4 * 720 s may stand open.
    assert_eq!(waits, [0, 0, 0, 0, 0, 720, 440, 0, 720, 0, 0]);
}
}

on_both! {
async fn a_fault_hides_nothing(db) {
    let id = add_vm(&db.store, "default", "a").await;
    for (before, after) in [
        (VmStatus::Healthy, VmStatus::Error),
        (VmStatus::Pending, VmStatus::Error),
        (VmStatus::Unhealthy, VmStatus::Unhealthy),
        (VmStatus::Stale, VmStatus::Stale),
        (VmStatus::Unmonitored, VmStatus::Unmonitored),
    ] {
        let id = id.clone();
        let row = db.store.write(move |tx| {
            vms::set_status(tx, &id, before, Some("why"))?;
            vms::set_fault(tx, &id, "tpm-busy: wait", at(1))?;
            vms::by_id(tx, &id)
        }).await.unwrap().unwrap();
        assert_eq!((row.status, row.fault.as_deref()), (after, Some("tpm-busy: wait")));
        let detail = if after == before { "why" } else { "tpm-busy: wait" };
        assert_eq!(row.status_detail.as_deref(), Some(detail), "{before}");
    }
}
}

on_both! {
async fn pages_are_stable_while_rows_come_and_go(db) {
    for group in ["a", "b"] {
        for n in 0..10 {
            add_vm(&db.store, group, &format!("vm-{n:02}")).await;
        }
    }
    let mut seen = Vec::new();
    let mut query = VmQuery { limit: Some(3), ..VmQuery::default() };
    loop {
        let q = query.clone();
        let page = db.store.read(move |tx| vms::list(tx, &q)).await.unwrap();
        seen.extend(page.items.iter().map(|vm| format!("{}/{}", vm.group, vm.name)));
        // Behind and before the cursor: a row that goes, a row that comes.
        let n = seen.len();
        let row = vm("a", &format!("aa-{n}"));
        let gone = db.store.read(move |tx| vms::by_name(tx, "a", &format!("vm-{:02}", n / 4))).await.unwrap();
        db.store.write(move |tx| {
            if let Some(gone) = &gone {
                vms::delete(tx, &gone.id, at(0))?;
            }
            vms::insert(tx, &row)
        }).await.unwrap();
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    let all: Vec<String> = ["a", "b"].iter().flat_map(|g| (0..10).map(move |n| format!("{g}/vm-{n:02}"))).collect();
    assert_eq!(seen, all, "each row once, in order, whatever happened behind the cursor");
}
}

on_both! {
async fn filters_count_and_summaries(db) {
    for (name, set, status) in [
        ("web-0", Some("web"), VmStatus::Healthy),
        ("web-1", Some("web"), VmStatus::Stale),
        ("Web-2", None, VmStatus::Healthy),
        ("db_0", None, VmStatus::Healthy),
        ("webx", None, VmStatus::Pending),
    ] {
        let mut row = vm("default", name);
        row.scale_set = set.map(Into::into);
        row.status = status;
        db.store.write(move |tx| vms::insert(tx, &row)).await.unwrap();
    }
    add_vm(&db.store, "other", "web-0").await;
    let names = async |query: VmQuery| -> Vec<String> {
        let page = db.store.read(move |tx| vms::list(tx, &query)).await.unwrap();
        page.items.into_iter().map(|vm| format!("{}/{}", vm.group, vm.name)).collect()
    };
    // Byte order on both databases: capitals before lower case.
    let q = VmQuery::default();
    assert_eq!(
        names(q.clone()).await,
        ["default/Web-2", "default/db_0", "default/web-0", "default/web-1", "default/webx", "other/web-0"]
    );
    let prefix = VmQuery { name_prefix: Some("web-".into()), ..q.clone() };
    assert_eq!(names(prefix).await, ["default/web-0", "default/web-1", "other/web-0"]);
    let wild = VmQuery { name_prefix: Some("%".into()), ..q.clone() };
    assert_eq!(names(wild).await, Vec::<String>::new());
    let set = VmQuery { scale_set: Some("web".into()), group: Some("default".into()), ..q.clone() };
    assert_eq!(names(set).await, ["default/web-0", "default/web-1"]);
    let healthy = VmQuery { status: Some(VmStatus::Healthy), ..q.clone() };
    assert_eq!(names(healthy).await, ["default/Web-2", "default/db_0", "default/web-0"]);
    // By enrolment, newest first, in pages.
    let mut newest = Vec::new();
    let mut query = VmQuery { sort: Some(VmSort::Enrolled), limit: Some(2), ..q.clone() };
    loop {
        let asked = query.clone();
        let page = db.store.read(move |tx| vms::list(tx, &asked)).await.unwrap();
        newest.extend(page.items.into_iter().map(|vm| vm.id));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(newest.len(), 6);
    assert!(newest.is_sorted_by(|a, b| a > b), "{newest:?}");
    for cursor in ["", "zz", "00", &hex::encode("alerts\u{1f}1\u{1f}2"), &"ab".repeat(5000)] {
        let query = VmQuery { cursor: Some(cursor.into()), ..q.clone() };
        let error = db.store.read(move |tx| vms::list(tx, &query)).await.unwrap_err();
        assert_eq!(error, StoreError::BadCursor, "{cursor}");
    }
    let (one, all) = db.store.read(|tx| {
        Ok((vms::counts_by_status(tx, Some("default"))?, vms::counts_by_status(tx, None)?))
    }).await.unwrap();
    assert_eq!(one, [(VmStatus::Healthy, 3), (VmStatus::Pending, 1), (VmStatus::Stale, 1)]);
    assert_eq!(all, [(VmStatus::Healthy, 3), (VmStatus::Pending, 2), (VmStatus::Stale, 1)]);
    let listed = db.store.read(|tx| vms::list(tx, &VmQuery::default())).await.unwrap().items;
    let ids: BTreeSet<_> = listed.iter().map(|vm| vm.id.clone()).collect();
    assert_eq!(ids.len(), 6);
    let id = listed[0].id.clone();
    assert_eq!(db.store.read(move |tx| vms::summary(tx, &id)).await.unwrap().as_ref(), Some(&listed[0]));
}
}

on_both! {
async fn hostile_text_is_only_text(db) {
    let nasty = "'; DROP TABLE vms; -- \" \\ $1 ?1 \u{1b}[31m\n\0 \u{202e} <b>";
    let mut row = vm("default", "x");
    row.status_detail = Some(nasty.into());
    row.machine.hostname = nasty.into();
    let stored = row.clone();
    db.store.write(move |tx| vms::insert(tx, &stored)).await.unwrap();
    let read = db.store.read(|tx| vms::by_name(tx, "default", "x")).await.unwrap().unwrap();
    assert_eq!(read.status_detail.unwrap(), nasty.replace('\0', "\u{fffd}"), "NUL cannot be stored on PostgreSQL");
    assert_eq!(read.machine.hostname, nasty, "JSON escapes it");
    assert_eq!(db.store.read(move |tx| vms::by_name(tx, "default", "x' OR '1'='1")).await.unwrap(), None);
}
}
