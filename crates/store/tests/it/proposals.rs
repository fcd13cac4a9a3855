use veriboot_store::proposals::{self, Decision, Followed, Showing};
use veriboot_store::{Param, StoreError, Tx, attestations, baselines, boots, new_id, reappraise_queue, vms};
use veriboot_wire::{
    Attestation, ChangeAction, ChangeClass, Finding, ProposalQuery, ProposalState, Scope, ScopeKind,
    Severity, VmStatus,
};

use crate::baselines::new as baseline;
use crate::harness::{TestKey, at, attestation, evidence, on_both, vm};

fn scope() -> Scope {
    Scope { kind: ScopeKind::ScaleSet, group: "default".into(), id: "web".into() }
}

/// A member of the scale set `web`.
fn member(tx: &mut dyn Tx, name: &str) -> Result<String, StoreError> {
    let row = vms::VmRow { scale_set: Some("web".into()), ..vm("default", name) };
    vms::insert(tx, &row)?;
    Ok(row.id)
}

fn next_baseline(tx: &mut dyn Tx, ms: i64) -> Result<String, StoreError> {
    let scope = scope();
    let new = baselines::NewBaseline { created_at: at(ms), ..baseline("scale-set/default/web", &scope) };
    Ok(baselines::insert_next(tx, &new, &TestKey)?.summary.id)
}

/// An attestation of a VM that shows a change, and what follows; `rejected` is a rejection that stands.
fn shows(
    tx: &mut dyn Tx,
    vm_id: &str,
    baseline_id: &str,
    key: Option<&str>,
    rejected: Option<&str>,
    ms: i64,
) -> Result<Followed, StoreError> {
    let finding = Finding {
        action: Some(ChangeAction::Propose),
        change: Some(ChangeClass::KernelUpdate),
        ..Finding::new("component-changed", Severity::Medium, format!("kernel changed, says {vm_id}"))
    };
    let log = format!("log of {vm_id}");
    veriboot_store::logs::put_if_absent(tx, &log, b"log", at(ms))?;
    let seen = boots::BootSeen {
        vm_id,
        reset_count: 1,
        restart_count: 0,
        log_sha256: Some(&log),
        at: at(ms),
        verdict: veriboot_wire::Verdict::Healthy,
        components: &Default::default(),
    };
    let boot = boots::record(tx, &seen)?;
    let last = Attestation {
        boot_id: Some(boot.id.clone()),
        log_sha256: Some(log.clone()),
        findings: vec![finding.clone(), Finding::new("note", Severity::Info, "nothing")],
        ..attestation(vm_id, at(ms))
    };
    attestations::insert(tx, &last, &evidence())?;
    let row = vms::by_id(tx, vm_id)?.unwrap();
    let after = vms::AfterAttestation {
        attestation_id: &last.id,
        at: at(ms),
        status: VmStatus::Healthy,
        status_detail: None,
        facts: &row.facts,
        machine: &row.machine,
        kernel: None,
        baseline: None,
        baseline_scope: None,
        profile: None,
        boot: None,
    };
    vms::update_after_attestation(tx, vm_id, &after)?;
    // "k1+k2" is what has the marks of both.
    let marks: Vec<String> = key.unwrap_or_default().split('+').map(|mark| format!("4 {mark}")).collect();
    let showing = key.map(|change_key| Showing {
        vm_id,
        vm_name: &row.name,
        boot_id: &boot.id,
        attestation_id: &last.id,
        log_sha256: &log,
        baseline_id,
        profile: "secure-boot-required",
        change_key,
        classes: &[ChangeClass::KernelUpdate, ChangeClass::SbatUpdate],
        title: "boot kernel 6.1",
        signer: Some("Debian"),
        pcrs: &[4, 9],
        marks: &marks,
        findings: std::slice::from_ref(&finding),
        at: at(ms),
    });
    proposals::follow(tx, vm_id, row.proposal_id.as_deref(), showing.as_ref(), rejected, at(ms))
}

/// Ids of the rejections of a scale set's baseline that are held against what shows this change.
fn standing(tx: &mut dyn Tx, set: &str, key: &str) -> Result<Vec<String>, StoreError> {
    let rejections = proposals::rejections(tx, &format!("scale-set/default/{set}"), key)?;
    Ok(rejections.into_iter().map(|one| one.rejection.id).collect())
}

fn all(tx: &mut dyn Tx, query: &ProposalQuery) -> Result<Vec<proposals::ProposalRow>, StoreError> {
    Ok(proposals::list(tx, query)?.items)
}

on_both! {
async fn vms_gather_behind_a_change_and_leave_it(db) {
    db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let (a, b, c) = (member(tx, "web-0")?, member(tx, "web-1")?, member(tx, "web-2")?);
        let first = shows(tx, &a, &baseline, Some("k1"), None, 10)?;
        assert!(first.opened && first.withdrawn.is_none());
        let id = first.member_of.unwrap();
        let second = shows(tx, &b, &baseline, Some("k1"), None, 20)?;
        assert_eq!((second.member_of.as_deref(), second.opened), (Some(id.as_str()), false));
        // Again: nothing changes.
        assert!(!shows(tx, &b, &baseline, Some("k1"), None, 25)?.opened);
        let other = shows(tx, &c, &baseline, Some("k2"), None, 30)?;
        assert!(other.opened && other.member_of.as_deref() != Some(&id));

        let row = proposals::by_id(tx, &id)?.unwrap();
        assert_eq!((row.vms, row.state, row.first_seen_at, row.last_seen_at), (2, ProposalState::Open, at(10), at(20)));
        assert_eq!((row.baseline.as_str(), &row.scope, row.pcrs.as_slice()), ("scale-set/default/web@1", &scope(), &[4, 9][..]));
        assert_eq!(row.classes, [ChangeClass::KernelUpdate, ChangeClass::SbatUpdate]);
        assert_eq!((row.representative.vm_id.as_str(), row.representative.vm_name.as_str()), (a.as_str(), "web-0"));
        let names: Vec<_> = proposals::members(tx, &id, None, None)?.items.into_iter().map(|m| m.vm_name).collect();
        assert_eq!(names, ["web-0", "web-1"]);
        let first_page = proposals::members(tx, &id, Some(1), None)?;
        let second_page = proposals::members(tx, &id, Some(1), first_page.next_cursor.as_deref())?;
        assert_eq!((second_page.items[0].vm_name.as_str(), second_page.next_cursor), ("web-1", None));
        let etag = row.etag();

        // The one that stands for it boots something else: another member does, and it is another content.
        let left = shows(tx, &a, &baseline, None, None, 40)?;
        assert_eq!((left.member_of, left.withdrawn), (None, None));
        let row = proposals::by_id(tx, &id)?.unwrap();
        assert_eq!((row.vms, row.representative.vm_id.as_str()), (1, b.as_str()));
        assert_ne!(row.etag(), etag);
        assert_eq!(proposals::findings(tx, &id)?[0].message, format!("kernel changed, says {b}"));
        assert_eq!(proposals::findings(tx, &id)?.len(), 1, "only what is proposed");

        // The last one leaves for another proposal.
        let moved = shows(tx, &b, &baseline, Some("k2"), None, 50)?;
        assert_eq!((moved.member_of.clone(), moved.withdrawn), (other.member_of, Some(id.clone())));
        let row = proposals::by_id(tx, &id)?.unwrap();
        assert_eq!((row.state, row.vms, row.decided_by.as_deref()), (ProposalState::Withdrawn, 0, Some("service")));

        // Somebody boots it again: the same proposal, open, with what it shows now.
        let again = shows(tx, &c, &baseline, Some("k1"), None, 60)?;
        assert_eq!((again.member_of.as_deref(), again.opened), (Some(id.as_str()), true));
        let row = proposals::by_id(tx, &id)?.unwrap();
        assert_eq!((row.state, row.vms, row.decided_by, row.representative.vm_id), (ProposalState::Open, 1, None, c.clone()));

        // A VM that is forgotten leaves too.
        vms::delete(tx, &c, at(70))?;
        assert_eq!(proposals::by_id(tx, &id)?.unwrap().state, ProposalState::Withdrawn);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_member_whose_log_was_forgotten_stands_for_nothing(db) {
    db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let (a, b, c) = (member(tx, "web-0")?, member(tx, "web-1")?, member(tx, "web-2")?);
        let id = shows(tx, &a, &baseline, Some("k1"), None, 10)?.member_of.unwrap();
        shows(tx, &b, &baseline, Some("k1"), None, 20)?;
        shows(tx, &c, &baseline, Some("k1"), None, 30)?;
        // As `logs::suspect` does with logs of attestations that failed.
        tx.execute(&format!("UPDATE attestations SET log_sha256 = NULL WHERE vm_id = '{b}'"), &[])?;
        shows(tx, &a, &baseline, None, None, 40)?;
        assert_eq!(proposals::by_id(tx, &id)?.unwrap().representative.vm_id, c);
        // Nobody is left that proves it: it is withdrawn until somebody shows it again.
        let last = shows(tx, &c, &baseline, None, None, 50)?;
        assert_eq!(last.withdrawn.as_deref(), Some(id.as_str()));
        let again = shows(tx, &b, &baseline, Some("k1"), None, 60)?;
        assert!(again.member_of.is_some() && again.opened);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn a_decision_is_made_once(db) {
    let (id, a) = db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let (a, b) = (member(tx, "web-0")?, member(tx, "web-1")?);
        let id = shows(tx, &a, &baseline, Some("k1"), None, 10)?.member_of.unwrap();
        shows(tx, &b, &baseline, Some("k1"), None, 20)?;
        Ok::<_, StoreError>((id, a))
    }).await.unwrap();
    let decide = |to: ProposalState, by: &'static str| {
        let (store, id) = (db.store.clone(), id.clone());
        async move {
            store.write(move |tx| {
                let decision = Decision { by, comment: Some("because"), result: None, now: at(100) };
                proposals::close(tx, &id, to, &decision)
            }).await.unwrap()
        }
    };
    let (ann, bob) = tokio::join!(decide(ProposalState::Approved, "ann"), decide(ProposalState::Rejected, "bob"));
    assert!(ann ^ bob, "exactly one wins: {ann} {bob}");
    let (one, a) = (id.clone(), a.clone());
    let row = db.store.read(move |tx| proposals::by_id(tx, &one)).await.unwrap().unwrap();
    assert_eq!(row.decided_by.as_deref(), Some(if ann { "ann" } else { "bob" }));
    assert_eq!(row.vms, 2);
    // Members of what was decided go elsewhere without touching it.
    db.store.write(move |tx| {
        let baseline = row.baseline_id.clone();
        assert_eq!(shows(tx, &a, &baseline, None, None, 200)?.withdrawn, None);
        let again = proposals::by_id(tx, &id)?.unwrap();
        assert_eq!((again.state, again.decided_by), (row.state, row.decided_by.clone()));
        Ok::<_, StoreError>(())
    }).await.unwrap();
}
}

on_both! {
async fn a_rejection_stands_until_it_is_taken_back(db) {
    db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let (a, b) = (member(tx, "web-0")?, member(tx, "web-1")?);
        let id = shows(tx, &a, &baseline, Some("k1"), None, 10)?.member_of.unwrap();
        assert_eq!(standing(tx, "web", "k1")?, [""; 0]);
        let decision = Decision { by: "ann", comment: Some("not ours"), result: None, now: at(20) };
        assert!(proposals::close(tx, &id, ProposalState::Rejected, &decision)?);
        let stands = proposals::rejections(tx, "scale-set/default/web", "k1")?.remove(0);
        let rejection = &stands.rejection;
        assert_eq!((rejection.id.as_str(), rejection.by.as_str(), rejection.comment.as_str()), (id.as_str(), "ann", "not ours"));
        assert_eq!((stands.change_key.as_str(), stands.marks.as_slice()), ("k1", &["4 k1".to_owned()][..]));
        assert_eq!(standing(tx, "web", "k2")?, [id.as_str()], "it may be part of any other change");
        assert_eq!(standing(tx, "db", "k1")?, [""; 0], "of this baseline only");

        // Others that show it are members of what was rejected.
        let followed = shows(tx, &b, &baseline, Some("k1"), Some(&id), 30)?;
        assert_eq!((followed.member_of.as_deref(), followed.opened), (Some(id.as_str()), false));
        assert_eq!(proposals::by_id(tx, &id)?.unwrap().vms, 2);

        // Another version of the baseline does not end it.
        let newer = next_baseline(tx, 40)?;
        assert_eq!(standing(tx, "web", "k1")?, [id.as_str()]);
        assert_eq!(proposals::by_id(tx, &id)?.unwrap().state, ProposalState::Rejected);
        assert_eq!(proposals::reopen(tx, &id, at(50))?, Some(ProposalState::Superseded), "its version is gone");
        assert_eq!(standing(tx, "web", "k1")?, [""; 0]);
        assert_eq!(proposals::reopen(tx, &id, at(50))?, None);

        let id = shows(tx, &a, &newer, Some("k1"), None, 60)?.member_of.unwrap();
        assert!(proposals::close(tx, &id, ProposalState::Rejected, &decision)?);
        assert_eq!(proposals::reopen(tx, &id, at(70))?, Some(ProposalState::Open));
        let row = proposals::by_id(tx, &id)?.unwrap();
        assert_eq!((row.state, row.decided_by, row.comment), (ProposalState::Open, None, None));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn rejections_that_are_held_against_boots_are_bounded(db) {
    db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let vm = member(tx, "web-0")?;
        let mut ids = Vec::new();
        for n in 0..=i64::from(proposals::MAX_REJECTIONS) {
            let id = shows(tx, &vm, &baseline, Some(&format!("k{n}")), None, n)?.member_of.unwrap();
            let decision = Decision { by: "ann", comment: None, result: None, now: at(1000 + n) };
            assert!(proposals::close(tx, &id, ProposalState::Rejected, &decision)?);
            ids.push(id);
        }
        ids.reverse();
        let oldest = ids.pop().unwrap();
        assert_eq!(standing(tx, "web", "another")?, ids, "newest first");
        ids.push(oldest);
        assert_eq!(standing(tx, "web", "k0")?, ids, "exactly what was rejected is never forgotten");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn what_has_a_mark_of_a_rejected_one_is_looked_at_again(db) {
    db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let (a, b, c, d) = (member(tx, "web-0")?, member(tx, "web-1")?, member(tx, "web-2")?, member(tx, "web-3")?);
        let id = shows(tx, &a, &baseline, Some("k1"), None, 10)?.member_of.unwrap();
        let both = shows(tx, &b, &baseline, Some("k1+k2"), None, 11)?.member_of.unwrap();
        shows(tx, &c, &baseline, Some("k2"), None, 12)?;
        assert_eq!(proposals::sharing_marks(tx, &id)?, [both.as_str()]);
        assert_eq!(proposals::sharing_marks(tx, &both)?.len(), 2);
        // From before marks were kept: it may have any, and its rejection stands for exactly its change.
        let old = shows(tx, &d, &baseline, Some("k9"), None, 13)?.member_of.unwrap();
        tx.execute("UPDATE proposals SET marks = NULL WHERE id = $1", &[Param::Text(&old)])?;
        assert_eq!(proposals::sharing_marks(tx, &id)?, [both, old.clone()]);
        let decision = Decision { by: "ann", comment: None, result: None, now: at(20) };
        assert!(proposals::close(tx, &old, ProposalState::Rejected, &decision)?);
        assert_eq!(standing(tx, "web", "k1")?, [""; 0]);
        assert_eq!(standing(tx, "web", "k9")?, [old.as_str()]);
        // Shown again while it is open, it gets them.
        proposals::reopen(tx, &old, at(30))?;
        shows(tx, &d, &baseline, Some("k9"), None, 31)?;
        assert!(proposals::close(tx, &old, ProposalState::Rejected, &decision)?);
        assert_eq!(standing(tx, "web", "k1")?, [old.as_str()]);
        assert_eq!(proposals::sharing_marks(tx, "nobody")?, [""; 0]);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn another_version_supersedes_and_asks_for_the_members(db) {
    db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let (a, b, c) = (member(tx, "web-0")?, member(tx, "web-1")?, member(tx, "web-2")?);
        let id = shows(tx, &a, &baseline, Some("k1"), None, 10)?.member_of.unwrap();
        shows(tx, &b, &baseline, Some("k1"), None, 11)?;
        shows(tx, &c, &baseline, None, None, 12)?;
        assert_eq!(reappraise_queue::pending(tx)?, 0);
        let newer = next_baseline(tx, 20)?;
        let row = proposals::by_id(tx, &id)?.unwrap();
        assert_eq!((row.state, row.vms), (ProposalState::Superseded, 2));
        let claimed = reappraise_queue::claim(tx, 9, at(30), at(60))?;
        let mut asked: Vec<_> = claimed.iter().map(|one| one.vm_id.clone()).collect();
        asked.sort();
        let mut wanted = [a.clone(), b];
        wanted.sort();
        assert_eq!(asked, wanted);
        assert!(reappraise_queue::claim(tx, 9, at(40), at(70))?.is_empty(), "claimed by one at a time");
        // Asked for once more meanwhile: it is not forgotten.
        reappraise_queue::queue(tx, &a, at(45))?;
        for one in &claimed {
            reappraise_queue::done(tx, one)?;
        }
        assert_eq!(reappraise_queue::pending(tx)?, 1);
        // A claim of somebody who died ends.
        assert_eq!(reappraise_queue::claim(tx, 9, at(50), at(80))?.len(), 1);
        assert_eq!(reappraise_queue::claim(tx, 9, at(81), at(90))?.len(), 1);

        let again = shows(tx, &a, &newer, Some("k1"), None, 100)?;
        assert!(again.opened && again.member_of.as_deref() != Some(&id), "a proposal of its own");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn proposals_are_filtered_and_paged(db) {
    db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let mut ids = Vec::new();
        for n in 0..5 {
            let vm_id = member(tx, &format!("web-{n}"))?;
            ids.push(shows(tx, &vm_id, &baseline, Some(&format!("k{n}")), None, 10 + n)?.member_of.unwrap());
        }
        ids.reverse();
        let decision = Decision { by: "ann", comment: None, result: None, now: at(50) };
        proposals::close(tx, &ids[0], ProposalState::Rejected, &decision)?;
        let query = ProposalQuery::default();
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = proposals::list(tx, &ProposalQuery { limit: Some(2), cursor, ..query.clone() })?;
            seen.extend(page.items.into_iter().map(|p| p.id));
            cursor = page.next_cursor;
            if cursor.is_none() { break }
        }
        assert_eq!(seen, ids, "newest first, none twice");
        let count = |tx: &mut dyn Tx, query: ProposalQuery| all(tx, &query).map(|rows| rows.len());
        let some = |word: &str| Some(word.to_owned());
        for (query, expected) in [
            (ProposalQuery { state: Some(ProposalState::Open), ..query.clone() }, 4),
            (ProposalQuery { state: Some(ProposalState::Approved), ..query.clone() }, 0),
            (ProposalQuery { class: Some(ChangeClass::SbatUpdate), ..query.clone() }, 5),
            (ProposalQuery { class: Some(ChangeClass::DbxUpdate), ..query.clone() }, 0),
            (ProposalQuery { group: some("default"), ..query.clone() }, 5),
            (ProposalQuery { group: some("other"), ..query.clone() }, 0),
            (ProposalQuery { scale_set: some("web"), ..query.clone() }, 5),
            (ProposalQuery { scale_set: some("db"), ..query.clone() }, 0),
            (ProposalQuery { baseline: some("scale-set/default/web"), ..query.clone() }, 5),
            (ProposalQuery { baseline: some("scale-set/default/web@1"), ..query.clone() }, 0),
        ] {
            assert_eq!(count(tx, query.clone())?, expected, "{query:?}");
        }
        let classes = proposals::open_by_class(tx)?;
        assert!(classes.contains(&(ChangeClass::KernelUpdate, 4)) && classes.contains(&(ChangeClass::SbatUpdate, 4)));
        assert!(classes.contains(&(ChangeClass::DbxUpdate, 0)) && classes.len() == ChangeClass::ALL.len());
        let bad = ProposalQuery { cursor: some("00"), ..query };
        assert_eq!(all(tx, &bad).unwrap_err().code(), "cursor-invalid");
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn vms_that_show_a_change_at_once_share_a_proposal(db) {
    let (baseline, vms) = db.store.write(|tx| {
        let baseline = next_baseline(tx, 0)?;
        let vms = (0..8).map(|n| member(tx, &format!("web-{n}"))).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, StoreError>((baseline, vms))
    }).await.unwrap();
    let mut work = tokio::task::JoinSet::new();
    for vm_id in vms {
        let (store, baseline) = (db.store.clone(), baseline.clone());
        work.spawn(async move {
            store.write(move |tx| shows(tx, &vm_id, &baseline, Some("k1"), None, 10)).await
        });
    }
    let mut opened = 0;
    while let Some(done) = work.join_next().await {
        opened += usize::from(done.unwrap().unwrap().opened);
    }
    assert_eq!(opened, 1);
    let rows = db.store.read(|tx| all(tx, &ProposalQuery::default())).await.unwrap();
    assert_eq!((rows.len(), rows[0].vms), (1, 8));
    assert_ne!(rows[0].id, new_id(at(0)));
}
}
