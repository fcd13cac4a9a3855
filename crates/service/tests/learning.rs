//! A baseline that is learned from more than one boot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use agent_support::boot::{Boot, Measured, encode, hashed, measure};
use agent_support::*;
use veriboot_store::baselines;
use veriboot_wire::{BaselineOrigin, VmStatus};

const EV_EFI_VARIABLE_BOOT: u32 = 0x8000_0002;
const EFI_GLOBAL_VARIABLE: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];

/// UEFI_VARIABLE_DATA of BootOrder.
fn boot_order(entries: &[u16]) -> Measured {
    let name: Vec<u16> = "BootOrder".encode_utf16().collect();
    let value: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let mut data = EFI_GLOBAL_VARIABLE.to_vec();
    data.extend((name.len() as u64).to_le_bytes());
    data.extend((value.len() as u64).to_le_bytes());
    data.extend(name.into_iter().flat_map(u16::to_le_bytes));
    data.extend(value);
    hashed(1, EV_EFI_VARIABLE_BOOT, data)
}

/// Boots with this boot order before everything else.
fn boot(guest: &Guest, boot: &Boot, order: &[u16]) {
    let mut events = boot.events();
    events.insert(0, boot_order(order));
    guest.tpm.reboot().unwrap();
    measure(&guest.tpm, &events);
    guest.set_log(&encode(&events));
}

fn world(learn_boots: u32) -> World {
    World::sqlite_with(|config| config.learn_boots = learn_boots)
}

fn versions(world: &World, name: &'static str) -> Vec<baselines::BaselineRow> {
    world.read(move |tx| {
        let mut rows = Vec::new();
        while let Some(row) = baselines::by_name(tx, name, Some(u32::try_from(rows.len()).unwrap() + 1))? {
            rows.push(row);
        }
        Ok(rows)
    })
}

/// A profile that minds the boot order, so that what is merged shows.
fn strict(world: &World) {
    let operator = agent_support::operator::Operator::new(world, "ann");
    let document = serde_json::json!({
        "name": "strict", "secure_boot": "required",
        "components": { "boot-order": "enforce" },
    });
    operator.put(
        "/v1/profiles/strict",
        &serde_json::json!({ "document": document.to_string(), "format": "json", "expected_version": null }),
    );
    operator.put(
        "/v1/profile-assignments",
        &serde_json::json!({ "scope": { "kind": "group", "group": "default" }, "profile": "strict" }),
    );
}

#[test]
fn what_varies_harmlessly_between_the_first_boots_is_merged() {
    let world = world(3);
    strict(&world);
    let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
    boot(&guest, &Boot::default(), &[0, 1]);
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    assert_eq!(guest.attest().status, VmStatus::Healthy, "the same boot counts once");

    // Another order of what is tried: learned, as a version of its own.
    boot(&guest, &Boot::default(), &[1, 0]);
    let receipt = guest.attest();
    assert_eq!(receipt.status, VmStatus::Healthy, "{:#?}", receipt.findings);
    let learned = versions(&world, "vm/default/db-0");
    assert_eq!(learned.len(), 2);
    assert_eq!(learned[1].summary.origin, BaselineOrigin::Learned);
    assert_eq!(learned[1].summary.comment.as_deref(), Some("learned from healthy boot 2 of 3"));
    let second = veriboot_appraisal::Baseline::from_json(learned[1].document.as_bytes()).unwrap();
    assert_eq!(second.boots.len(), 1);
    assert!(!second.merged.is_empty(), "it says what it lets vary");
    let entry = world.audit().into_iter().find(|e| e.action == "baseline.learn").unwrap();
    assert_eq!(entry.detail["boots"], 2);

    // What runs is not learned, however young the baseline is.
    boot(&guest, &Boot { kernel: "vmlinuz-evil".into(), ..Boot::default() }, &[0, 1]);
    assert_caught(&guest.attest(), "component-changed");
    boot(&guest, &Boot { cmdline: "init=/bin/sh".into(), ..Boot::default() }, &[5, 1]);
    assert_caught(&guest.attest(), "component-changed");
    assert_eq!(versions(&world, "vm/default/db-0").len(), 2);

    // The third healthy boot ends it.
    boot(&guest, &Boot::default(), &[0, 1]);
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    assert_eq!(versions(&world, "vm/default/db-0").len(), 2, "it added nothing");
    world.read(|tx| {
        assert_eq!(baselines::learned_boots(tx, "vm/default/db-0", 10)?.len(), 3);
        Ok(())
    });
}

#[test]
fn one_boot_is_enough_unless_asked_otherwise() {
    let world = world(1);
    strict(&world);
    let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
    boot(&guest, &Boot::default(), &[0, 1]);
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    boot(&guest, &Boot::default(), &[1, 0]);
    assert_eq!(guest.attest().status, VmStatus::Unhealthy);
    let learned = versions(&world, "vm/default/db-0");
    assert_eq!(learned.len(), 1);
    assert_eq!(learned[0].summary.comment.as_deref(), Some("learned from the first healthy boot"));
}

#[test]
fn what_an_operator_gave_is_not_learned_further() {
    let world = world(3);
    strict(&world);
    let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
    boot(&guest, &Boot::default(), &[0, 1]);
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    let operator = agent_support::operator::Operator::new(&world, "bob");
    let booted = world.vm(&guest.vm_id()).current_boot_id.unwrap();
    operator.post("/v1/baselines/accept", &serde_json::json!({ "vm": "db-0", "boot_id": booted }));
    boot(&guest, &Boot::default(), &[1, 0]);
    assert_eq!(guest.attest().status, VmStatus::Unhealthy);
    assert_eq!(versions(&world, "vm/default/db-0").len(), 2);
}
