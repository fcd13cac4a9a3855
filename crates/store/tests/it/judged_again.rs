use std::collections::BTreeMap;

use veriboot_store::{StoreError, Tx, attestations, boots, events, vms};
use veriboot_wire::{FactState, Facts, ScopeKind, Verdict, VmStatus};

use crate::harness::{at, attestation, evidence, on_both, vm};

/// More than one statement takes, and not a multiple of it.
const COUNT: usize = 123;

on_both! {
async fn what_became_of_many_vms_is_written_as_of_one(db) {
    db.store.write(|tx| {
        let kept = vms::VmRow {
            fault: Some("no TPM".into()),
            last_seen_at: Some(at(7)),
            last_attested_at: Some(at(5)),
            monitoring: true,
            ..vm("default", "kept")
        };
        vms::insert(tx, &kept)?;
        let rows: Vec<vms::VmRow> = (0..COUNT).map(|n| vms::VmRow { name: format!("web-{n:03}"), ek_sha256: format!("ek {n}"), ..vm("default", "web") }).collect();
        for row in &rows {
            vms::insert(tx, row)?;
        }
        let components = BTreeMap::from([("kernel".to_owned(), "6.1".to_owned())]);
        let seen: Vec<boots::BootSeen<'_>> = rows.iter().map(|row| boots::BootSeen {
            vm_id: &row.id, reset_count: 1, restart_count: 2, log_sha256: None, at: at(1), verdict: Verdict::Healthy, components: &components,
        }).collect();
        boots::record_all(tx, &seen)?;
        let failed: Vec<boots::BootSeen<'_>> =
            seen.iter().map(|seen| boots::BootSeen { at: at(2), verdict: Verdict::Unhealthy, ..seen.clone() }).collect();
        boots::record_all(tx, &failed)?;
        let third = boots::record(tx, &seen[7])?;
        assert_eq!((third.attestations, third.first_attested_at, third.verdict), (3, at(1), Verdict::Healthy));
        let boot_of = |tx: &mut dyn Tx, id: &str| Ok::<_, StoreError>(boots::list(tx, id, None, None)?.items.remove(0));
        let told: Vec<_> = rows.iter().enumerate().map(|(n, row)| {
            let boot = boot_of(tx, &row.id)?;
            assert_eq!(boot.attestations, if n == 7 { 3 } else { 2 });
            assert_eq!(boot.verdict, if n == 7 { Verdict::Healthy } else { Verdict::Unhealthy });
            let attested = veriboot_wire::Attestation {
                boot_id: Some(boot.id), baseline: (n % 2 == 0).then(|| "b@1".into()), baseline_scope: (n % 2 == 0).then_some(ScopeKind::Image),
                ..attestation(&row.id, at(3))
            };
            Ok((attested, attestations::Evidence { nonce: vec![n as u8], context: None, ..evidence() }))
        }).collect::<Result<_, StoreError>>()?;
        attestations::insert_all(tx, &told.iter().map(|(a, e)| (a, e)).collect::<Vec<_>>())?;
        let facts = Facts { quote: FactState::Valid, ..Facts::UNKNOWN };
        let judged: Vec<vms::JudgedAgain<'_>> = told.iter().zip(&rows).enumerate().map(|(n, ((attested, _), row))| vms::JudgedAgain {
            before: row,
            attestation_id: &attested.id,
            status: if n % 3 == 0 { VmStatus::Unhealthy } else { VmStatus::Healthy },
            status_detail: (n % 3 == 0).then_some("why"),
            facts: &facts,
            baseline: attested.baseline.as_deref(),
            baseline_scope: attested.baseline_scope,
            profile: "p@1",
            boot_key: (n % 5 == 0).then_some("key"),
            posture_key: (n % 7 == 0).then_some("posture"),
        }).collect();
        vms::judged_again(tx, &judged)?;
        let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        ids.push("nobody");
        let mut after = vms::by_ids(tx, &ids)?;
        after.sort_by(|a, b| a.name.cmp(&b.name));
        let expected: Vec<vms::VmRow> = rows.iter().zip(&judged).map(|(row, judged)| vms::VmRow {
            status: judged.status,
            status_detail: judged.status_detail.map(str::to_owned),
            facts,
            last_attestation_id: Some(judged.attestation_id.to_owned()),
            baseline: judged.baseline.map(str::to_owned),
            baseline_scope: judged.baseline_scope,
            profile: Some("p@1".into()),
            boot_key: judged.boot_key.map(str::to_owned),
            posture_key: judged.posture_key.map(str::to_owned),
            ..row.clone()
        }).collect();
        assert_eq!(after, expected);
        // Again, and most of them stay as healthy as they are.
        let other = Facts { log: FactState::Invalid, ..facts };
        let again: Vec<vms::JudgedAgain<'_>> = after.iter().zip(&judged).enumerate().map(|(n, (before, judged))| vms::JudgedAgain {
            before, facts: &other, attestation_id: "again", status_detail: Some("other"), baseline: None, baseline_scope: None,
            profile: "p@2", posture_key: Some("other"), boot_key: if n % 11 == 0 { Some("moved") } else { judged.boot_key },
            ..judged.clone()
        }).collect();
        vms::judged_again(tx, &again)?;
        let mut written = vms::by_ids(tx, &ids)?;
        written.sort_by(|a, b| a.name.cmp(&b.name));
        let expected: Vec<vms::VmRow> = again.iter().map(|judged| vms::VmRow {
            facts: other, last_attestation_id: Some("again".into()), status_detail: Some("other".into()), baseline: None,
            baseline_scope: None, profile: Some("p@2".into()), posture_key: Some("other".into()),
            boot_key: judged.boot_key.map(str::to_owned), ..judged.before.clone()
        }).collect();
        assert_eq!(written, expected);
        assert_eq!(vms::by_id(tx, &kept.id)?, Some(kept.clone()), "the others stay as they are");
        let asked: Vec<&str> = judged.iter().map(|judged| judged.attestation_id).collect();
        let mut stored = attestations::with_evidence(tx, &asked)?;
        stored.sort_by_key(|(attested, _)| asked.iter().position(|id| *id == attested.id));
        assert_eq!(stored, told);
        let none = vms::JudgedAgain { before: &kept, ..judged[1].clone() };
        vms::judged_again(tx, std::slice::from_ref(&none))?;
        let faulty = vms::by_id(tx, &kept.id)?.unwrap();
        assert_eq!((faulty.fault, faulty.last_seen_at, faulty.last_attested_at), (kept.fault.clone(), Some(at(7)), Some(at(5))));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn events_that_are_held_are_lost_with_their_work(db) {
    let kind = "vm.enrolled";
    let failed = db.store.write(move |tx| {
        events::hold(tx, |tx| {
            let data = serde_json::json!({});
            let event = events::NewEvent {
                at: at(0), kind, severity: veriboot_wire::Severity::Info, group: None, scale_set: None, vm_id: None, vm_name: None,
                subject: None, data: &data,
            };
            events::append(tx, &event)?;
            Err::<(), _>(StoreError::BadCursor)
        })
    });
    assert!(failed.await.is_err());
    assert_eq!(db.store.read(events::bounds).await.unwrap().newest, 0);
}
}
