//! A baseline of a group changes: what becomes of its VMs, which are judged many in one transaction.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use std::collections::BTreeMap;

use agent_support::baselines::{apply, learned, other};
use agent_support::copies::copies;
use agent_support::operator::Operator;
use agent_support::{Guest, World};
use serde_json::{Value, json};
use veriboot_store::{Tx, events, incidents, reappraisals};
use veriboot_wire::{AlertState, Event, IncidentQuery, Reappraisal, VmStatus};

/// More than are judged in one transaction.
const COUNT: usize = 450;
const SETS: usize = 3;

/// The VM that the others are copies of. Its scale set has a baseline of its own.
fn original(world: &World) -> Guest {
    let token = world.join_token(Some("web"), 1);
    let mut guest = world.guest("original", Some(&token));
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    guest
}

/// Applies a baseline to the group and waits until everybody is judged.
fn change(world: &World, operator: &Operator, document: &str, expected: Option<u32>) -> Reappraisal {
    let scope = json!({ "kind": "group", "group": "default", "id": "" });
    let answer: Value = operator.post("/v1/baselines", &apply(&scope, document, expected));
    let id = answer["reappraisal"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    loop {
        let asked = id.clone();
        let now = world.read(move |tx| reappraisals::by_id(tx, &asked)).unwrap();
        if now.finished_at.is_some() {
            return now;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        // The clock of tests stands still, and claims end by it.
        world.pass_ms(50);
    }
}

fn events_after(world: &World, sequence: u64) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let after = all.last().map_or(sequence, |event| event.sequence);
        let some = world.read(move |tx| events::after(tx, after, 1000));
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn kinds(events: &[Event]) -> BTreeMap<&str, usize> {
    events.iter().fold(BTreeMap::new(), |mut kinds, event| {
        *kinds.entry(event.kind.as_str()).or_default() += 1;
        kinds
    })
}

fn copy(world: &World, n: usize) -> veriboot_store::vms::VmRow {
    world.vm_named(&format!("copy-{n:07}")).unwrap()
}

fn a_group_turns_and_turns_back(world: &World) {
    let operator = Operator::new(world, "ann");
    let mut guest = original(world);
    let good = learned(&guest);
    copies(world, &world.vm(&guest.vm_id()), COUNT, SETS);
    guest.boot(&other());
    let bad = learned(&guest);
    // Among all the others: one whose agent reports a fault, one that nobody watches, one with another key since.
    world.write(|tx: &mut dyn Tx| {
        let rows = [
            ("0000010", "fault = 'no TPM', status = 'error', status_detail = 'no TPM'"),
            ("0000020", "monitoring = 0, status = 'unmonitored'"),
            ("0000030", "ak_name = ak_public, ak_public = ak_name"),
        ];
        rows.iter().try_for_each(|(n, what)| {
            tx.execute(&format!("UPDATE vms SET {what} WHERE name = 'copy-{n}'"), &[]).map(drop)
        })
    });

    let first = change(world, &operator, &good, None);
    assert_eq!((first.turned, first.failed, first.done, first.vms), (0, 0, 451, 451));
    let newest = world.read(events::bounds).newest;

    let turned = change(world, &operator, &bad, Some(1));
    assert_eq!((turned.turned, turned.failed, turned.done), (449, 0, 451));
    let told = events_after(world, newest);
    let sequences: Vec<u64> = told.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (newest + 1..=newest + told.len() as u64).collect::<Vec<_>>(), "no gaps");
    let counted = kinds(&told);
    // Whose status follows its evidence: all but the one that nobody watches and the one without evidence.
    assert_eq!(counted["alert.opened"], 448, "{counted:?}");
    assert_eq!(counted["incident.opened"], SETS);
    assert_eq!(counted["vm.status-changed"], 447, "{counted:?}");
    for n in [0, 299, 300, 449] {
        let vm = copy(world, n);
        assert_eq!(vm.status, VmStatus::Unhealthy, "{}", vm.name);
        assert_eq!(vm.baseline.as_deref(), Some("group/default@2"));
        let open = world.open_alerts(&vm.id);
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].attestation_id, vm.last_attestation_id);
        let last = world
            .attestations(&vm.id)
            .into_iter()
            .find(|a| Some(&a.id) == vm.last_attestation_id.as_ref())
            .unwrap();
        assert_eq!((last.at, last.baseline), (vm.last_attested_at.unwrap(), vm.baseline));
        let mine: Vec<&str> =
            told.iter().filter(|e| e.vm_id.as_ref() == Some(&vm.id)).map(|e| e.kind.as_str()).collect();
        assert_eq!(&mine[..2], ["vm.status-changed", "alert.opened"]);
        assert!(mine[2..].iter().all(|kind| *kind == "assessment.changed"), "{mine:?}");
    }
    let faulty = copy(world, 10);
    assert_eq!((faulty.status, faulty.fault.as_deref()), (VmStatus::Error, Some("no TPM")));
    assert_eq!(world.open_alerts(&faulty.id).len(), 1, "its evidence is bad all the same");
    let unwatched = copy(world, 20);
    assert_eq!(unwatched.status, VmStatus::Unmonitored);
    assert!(world.open_alerts(&unwatched.id).is_empty());
    assert_eq!(copy(world, 30).baseline.as_deref(), world.vm(&guest.vm_id()).baseline.as_deref());
    let found = world.read(|tx| incidents::list(tx, &IncidentQuery::default())).items;
    let mut members: Vec<u64> = found.iter().map(|incident| incident.open).collect();
    members.sort_unstable();
    // The one that nobody watches and the one without evidence are of one set, as names are given.
    assert_eq!(copy(world, 20).scale_set, copy(world, 30).scale_set);
    assert_eq!(members, [148, 150, 150], "the members of each scale set");

    let newest = world.read(events::bounds).newest;
    let back = change(world, &operator, &good, Some(2));
    assert_eq!((back.turned, back.failed), (449, 0));
    let told = events_after(world, newest);
    let counted = kinds(&told);
    // What the agent with the fault has to end by attesting stays open, and the incident of its scale set with it.
    assert_eq!(counted["incident.closed"], SETS - 1, "{counted:?}");
    assert_eq!(counted["alert.resolved"], 447);
    assert_eq!(world.open_alerts(&copy(world, 10).id).len(), 1);
    assert_eq!(counted["vm.status-changed"], 447);
    for n in [0, 299, 300, 449] {
        let vm = copy(world, n);
        assert_eq!((vm.status, vm.baseline.as_deref()), (VmStatus::Healthy, Some("group/default@3")));
        let alerts = world.alerts(&vm.id);
        assert_eq!((alerts.len(), alerts[0].state), (1, AlertState::Resolved));
        // As often as it was judged, and all of the same time.
        assert_eq!(world.attestations(&vm.id).len(), 4);
        assert_eq!(world.boots(&vm.id).len(), 1);
    }
}

#[test]
fn a_group_turns_and_turns_back_on_sqlite() {
    a_group_turns_and_turns_back(&World::sqlite());
}

#[test]
fn a_group_turns_and_turns_back_on_postgresql() {
    if let Some(world) = World::postgres() {
        a_group_turns_and_turns_back(&world);
    }
}

/// A record that cannot be read is counted as failed; the others are judged.
#[test]
fn one_record_that_cannot_be_read_stops_nobody() {
    let world = World::sqlite();
    let operator = Operator::new(&world, "ann");
    let guest = original(&world);
    copies(&world, &world.vm(&guest.vm_id()), 5, 1);
    world.write(|tx: &mut dyn Tx| {
        tx.execute("UPDATE vms SET facts = 'nothing' WHERE name = 'copy-0000002'", &[])
    });
    let done = change(&world, &operator, &learned(&guest), None);
    assert_eq!((done.done, done.failed), (6, 1));
    for n in [0, 1, 3, 4] {
        assert_eq!(copy(&world, n).baseline.as_deref(), Some("group/default@1"));
    }
}

/// What the alert of one VM fails at keeps nobody else unhealthy.
#[test]
fn one_alert_that_cannot_be_read_stops_nobody() {
    let world = World::sqlite();
    let operator = Operator::new(&world, "ann");
    let mut guest = original(&world);
    let good = learned(&guest);
    copies(&world, &world.vm(&guest.vm_id()), 5, 1);
    guest.boot(&other());
    let bad = learned(&guest);
    assert_eq!(change(&world, &operator, &bad, None).turned, 5);
    let spoil = "UPDATE alerts SET timeline = 'nothing' WHERE vm_id IN (SELECT id FROM vms WHERE name = 'copy-0000002')";
    world.write(move |tx: &mut dyn Tx| tx.execute(spoil, &[]));
    let done = change(&world, &operator, &good, Some(1));
    assert_eq!((done.done, done.failed, done.turned), (6, 1, 4));
    for n in [0, 1, 3, 4] {
        let vm = copy(&world, n);
        assert_eq!((vm.status, world.open_alerts(&vm.id).len()), (VmStatus::Healthy, 0));
    }
    assert_eq!(copy(&world, 2).status, VmStatus::Unhealthy);
}
