use veriboot_store::{StoreError, Tx, scale_sets, vms};
use veriboot_wire::{Majority, ScaleSetQuery, VmStatus};

use crate::harness::{at, on_both, vm};

fn add(
    tx: &mut dyn Tx,
    group: &str,
    set: &str,
    n: u32,
    status: VmStatus,
    key: Option<&str>,
) -> Result<String, StoreError> {
    let row = vms::VmRow {
        scale_set: Some(set.into()),
        status,
        boot_key: key.map(str::to_owned),
        current_boot_id: key.map(|key| format!("boot of {key}")),
        log_sha256: key.map(|key| format!("log of {key}")),
        ..vm(group, &format!("{set}-{n:03}"))
    };
    vms::insert(tx, &row)?;
    Ok(row.id)
}

on_both! {
async fn members_are_grouped_by_what_they_booted(db) {
    db.store.write(|tx| {
        for n in 0..6 {
            add(tx, "default", "web", n, VmStatus::Healthy, Some("a"))?;
        }
        let odd = add(tx, "default", "web", 6, VmStatus::Unhealthy, Some("b"))?;
        // None of these counts: silent, at fault, never attested, not believed.
        add(tx, "default", "web", 7, VmStatus::Stale, Some("b"))?;
        add(tx, "default", "web", 8, VmStatus::Error, Some("b"))?;
        add(tx, "default", "web", 9, VmStatus::Pending, None)?;
        add(tx, "default", "web", 10, VmStatus::Unhealthy, None)?;
        let web = scale_sets::by_name(tx, "default", "web")?.unwrap();
        assert_eq!((web.members, web.healthy, web.worst), (11, 6, VmStatus::Unhealthy));
        assert_eq!((web.compared, web.boots, web.majority, web.odd), (7, 2, Majority::Found, 1));
        let groups = scale_sets::boot_groups(tx, "default", "web", 10)?;
        let sizes: Vec<_> = groups.iter().map(|g| (g.boot_key.as_str(), g.size)).collect();
        assert_eq!(sizes, [("a", 6), ("b", 1)]);
        assert_eq!(scale_sets::boot_groups(tx, "default", "web", 1)?.len(), 1);
        let members = scale_sets::group_members(tx, "default", "web", "b", 5)?;
        assert_eq!((members.len(), members[0].vm_id.as_str(), members[0].status), (1, odd.as_str(), VmStatus::Unhealthy));
        assert_eq!(scale_sets::group_members(tx, "default", "web", "a", 5)?.len(), 5);
        assert_eq!(scale_sets::group_size(tx, "default", "web", "a")?, 6);
        assert_eq!(scale_sets::group_boot(tx, "default", "web", "b")?.unwrap().log_sha256, "log of b");
        // Its present boot is not believed any more.
        scale_sets::set_boot_key(tx, &odd, None)?;
        assert_eq!(scale_sets::by_name(tx, "default", "web")?.unwrap().odd, 0);
        assert_eq!(scale_sets::by_name(tx, "default", "nowhere")?, None);
        assert_eq!(scale_sets::by_name(tx, "other", "web")?, None);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn nobody_is_odd_without_a_majority(db) {
    db.store.write(|tx| {
        let of = |tx: &mut dyn Tx, set: &str, keys: &[&str]| {
            for (n, key) in (0..).zip(keys) {
                add(tx, "default", set, n, VmStatus::Healthy, Some(key))?;
            }
            let set = scale_sets::by_name(tx, "default", set)?.unwrap();
            Ok::<_, StoreError>((set.majority, set.odd, set.boots))
        };
        assert_eq!(of(tx, "one", &["a"])?, (Majority::TooFew, 0, 1));
        assert_eq!(of(tx, "two", &["a", "b"])?, (Majority::TooFew, 0, 2));
        assert_eq!(of(tx, "three", &["a", "b", "a"])?, (Majority::Found, 1, 2));
        assert_eq!(of(tx, "tie", &["a", "a", "b", "b"])?, (Majority::None, 0, 2));
        assert_eq!(of(tx, "plural", &["a", "a", "b", "c"])?, (Majority::None, 0, 3));
        assert_eq!(of(tx, "all", &["a", "a", "a"])?, (Majority::Found, 0, 1));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn scale_sets_are_paged_by_group_and_name(db) {
    db.store.write(|tx| {
        for (group, set) in [("b", "x"), ("a", "web"), ("a", "db"), ("a", "web-2"), ("c", "db")] {
            for n in 0..3 {
                add(tx, group, set, n, VmStatus::Healthy, Some("k"))?;
            }
        }
        vms::insert(tx, &vm("a", "alone"))?;
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = scale_sets::list(tx, &ScaleSetQuery { limit: Some(2), cursor, ..ScaleSetQuery::default() })?;
            seen.extend(page.items.into_iter().map(|s| (s.group, s.name, s.members, s.healthy, s.boots)));
            cursor = page.next_cursor;
            if cursor.is_none() { break }
        }
        let row = |group: &str, name: &str| (group.to_owned(), name.to_owned(), 3, 3, 1);
        assert_eq!(seen, [row("a", "db"), row("a", "web"), row("a", "web-2"), row("b", "x"), row("c", "db")]);
        let of_a = ScaleSetQuery { group: Some("a".into()), ..ScaleSetQuery::default() };
        assert_eq!(scale_sets::list(tx, &of_a)?.items.len(), 3);
        let nowhere = ScaleSetQuery { group: Some("z".into()), ..ScaleSetQuery::default() };
        assert_eq!(scale_sets::list(tx, &nowhere)?.items, []);
        let bad = ScaleSetQuery { cursor: Some("zz".into()), ..ScaleSetQuery::default() };
        assert_eq!(scale_sets::list(tx, &bad).unwrap_err().code(), "cursor-invalid");
        assert!(at(0) < at(1));
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn ten_thousand_members_are_cheap(db) {
    db.store.write(|tx| {
        for n in 0..10_000_u32 {
            let key = if n % 100 == 7 { "b" } else { "a" };
            let row = vms::VmRow {
                scale_set: Some("web".into()),
                status: VmStatus::Healthy,
                boot_key: Some(key.into()),
                ..vm("default", &format!("web-{n:05}"))
            };
            vms::insert(tx, &row)?;
        }
        Ok::<_, StoreError>(())
    }).await.unwrap();
    let started = std::time::Instant::now();
    let (set, groups) = db.store.read(|tx| {
        Ok::<_, StoreError>((scale_sets::by_name(tx, "default", "web")?.unwrap(), scale_sets::boot_groups(tx, "default", "web", 50)?))
    }).await.unwrap();
    let took = started.elapsed();
    assert_eq!((set.members, set.odd, groups.len()), (10_000, 100, 2));
    eprintln!("10,000 members: {took:?}");
    // Generous: other tests share the machine.
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}
}
