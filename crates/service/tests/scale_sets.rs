//! Members of a uniform scale set are compared with each other: captured boots on real (software) TPMs, on both
//! databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(the_odd_one_is_named_with_what_is_different);
on_sqlite!(
    nobody_is_odd_without_a_majority,
    members_whose_boot_is_not_known_do_not_count,
    a_minority_that_lies_in_its_log_is_odd_all_the_same,
);

mod scenario {
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_service::silence;
    use veriboot_store::{baselines, profiles};
    use veriboot_wire::{Scope, ScopeKind, Verdict, VmStatus};

    /// A scale set whose profile learns nothing: there is no baseline.
    fn without_baseline(world: &World) -> String {
        let now = world.clock.now();
        world.write(move |tx| {
            let web = Scope { kind: ScopeKind::ScaleSet, group: "default".into(), id: "web".into() };
            profiles::assign(tx, &web, "by-authority", "test", None, now)
        });
        world.join_token(Some("web"), 100)
    }

    fn member(world: &World, token: &str, n: usize, boot: &Captured) -> Guest {
        let mut guest = world.guest(&format!("web-{n}"), Some(token));
        boot.boot(&guest);
        guest.attest();
        guest
    }

    fn set(operator: &Operator) -> Value {
        operator.get("/v1/scale-sets/default/web")
    }

    pub fn the_odd_one_is_named_with_what_is_different(world: &World) {
        let token = without_baseline(world);
        let operator = Operator::new(world, "ann");
        let (usual, other) = (Captured::named("secure-boot"), Captured::named("other-kernel"));
        let mut guests: Vec<_> = (0..3).map(|n| member(world, &token, n, &usual)).collect();
        let all = set(&operator);
        assert_eq!((all["majority"].as_str(), all["odd"].as_u64()), (Some("found"), Some(0)));
        assert_eq!(all["summary"], "All 3 compared members booted the same");
        guests.push(member(world, &token, 3, &other));
        assert!(world.read(|tx| baselines::by_name(tx, "scale-set/default/web", None)).is_none());

        let all = set(&operator);
        assert_eq!((all["members"].as_u64(), all["compared"].as_u64()), (Some(4), Some(4)));
        assert_eq!((all["boots"].as_u64(), all["odd"].as_u64()), (Some(2), Some(1)));
        let summary = all["summary"].as_str().unwrap();
        assert!(summary.starts_with("1 of 4 is odd, web-3: ") && summary.contains("kernel"), "{summary}");
        let groups = all["groups"].as_array().unwrap();
        assert_eq!((groups[0]["size"].as_u64(), groups[0]["majority"].as_bool()), (Some(3), Some(true)));
        assert_eq!(groups[0]["differences"], json!([]));
        assert_eq!((groups[1]["size"].as_u64(), groups[1]["majority"].as_bool()), (Some(1), Some(false)));
        assert_eq!(groups[1]["members"][0]["vm_name"], "web-3");
        let differences = groups[1]["differences"].as_array().unwrap();
        let classes: Vec<_> = differences.iter().filter_map(|f| f["change"].as_str()).collect();
        assert!(classes.contains(&"kernel-update") && classes.contains(&"initrd-change"), "{classes:?}");

        // In the list of sets, and on the page of the VM.
        let list = operator.get("/v1/scale-sets?group=default");
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        assert_eq!(list["items"][0]["odd"], 1);
        assert_eq!(operator.get("/v1/scale-sets?group=nowhere")["items"], json!([]));
        let vm = operator.get(&format!("/v1/vms/{}", guests[3].vm_id()));
        let message = vm["odd_one_out"]["message"].as_str().unwrap();
        assert!(message.starts_with("odd one out of web: ") && message.contains("kernel"), "{message}");
        assert_eq!(
            (vm["odd_one_out"]["like_it"].as_u64(), vm["odd_one_out"]["compared"].as_u64()),
            (Some(1), Some(4))
        );
        assert_eq!(operator.get(&format!("/v1/vms/{}", guests[0].vm_id()))["odd_one_out"], Value::Null);
        assert_eq!(operator.send("GET", "/v1/scale-sets/default/nowhere", "", None).status, 404);

        // It follows what members boot.
        usual.boot(&guests[3]);
        guests[3].attest();
        assert_eq!(set(&operator)["odd"], 0);
        for guest in &mut guests[..3] {
            other.boot(guest);
            guest.attest();
        }
        let all = set(&operator);
        assert!(all["summary"].as_str().unwrap().starts_with("1 of 4 is odd, web-3"), "{}", all["summary"]);
    }

    pub fn nobody_is_odd_without_a_majority(world: &World) {
        let token = without_baseline(world);
        let operator = Operator::new(world, "ann");
        let (a, b) = (Captured::named("secure-boot"), Captured::named("dbx-updated"));
        let _first = member(world, &token, 0, &a);
        let _second = member(world, &token, 1, &b);
        let two = set(&operator);
        assert_eq!((two["majority"].as_str(), two["odd"].as_u64()), (Some("too-few"), Some(0)));
        assert!(two["summary"].as_str().unwrap().contains("it takes three"), "{}", two["summary"]);
        let _third = member(world, &token, 2, &a);
        let _fourth = member(world, &token, 3, &b);
        let tie = set(&operator);
        assert_eq!((tie["majority"].as_str(), tie["odd"].as_u64()), (Some("none"), Some(0)));
        assert!(tie["groups"].as_array().unwrap().iter().all(|g| g["majority"] == false));
        assert!(tie["groups"].as_array().unwrap().iter().all(|g| g["differences"] == json!([])));
        assert!(tie["summary"].as_str().unwrap().starts_with("Nobody is called odd"), "{}", tie["summary"]);
    }

    pub fn members_whose_boot_is_not_known_do_not_count(world: &World) {
        let token = without_baseline(world);
        let operator = Operator::new(world, "ann");
        let (usual, other) = (Captured::named("secure-boot"), Captured::named("other-kernel"));
        let mut guests: Vec<_> = (0..3).map(|n| member(world, &token, n, &usual)).collect();
        let mut odd: Vec<_> = (3..5).map(|n| member(world, &token, n, &other)).collect();
        assert_eq!((set(&operator)["compared"].as_u64(), set(&operator)["odd"].as_u64()), (Some(5), Some(2)));
        // Its evidence is not believed: nothing is known about what it booted.
        let mut evidence = odd[0].evidence();
        let last = evidence.signature.0.len() - 1;
        evidence.signature.0[last] ^= 1;
        assert_eq!(odd[0].submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        assert_eq!(world.vm(&odd[0].vm_id()).boot_key, None);
        let all = set(&operator);
        assert_eq!(
            (all["members"].as_u64(), all["compared"].as_u64(), all["odd"].as_u64()),
            (Some(5), Some(4), Some(1))
        );
        assert_eq!(operator.get(&format!("/v1/vms/{}", odd[0].vm_id()))["odd_one_out"], Value::Null);
        // Silent ones.
        world.pass_ms(901_000);
        for guest in &mut guests {
            guest.attest();
        }
        world.block_on(silence::sweep(world.state())).unwrap();
        assert_eq!(world.vm(&odd[1].vm_id()).status, VmStatus::Stale);
        let all = set(&operator);
        assert_eq!(
            (all["compared"].as_u64(), all["odd"].as_u64(), all["worst"].as_str()),
            (Some(3), Some(0), Some("stale"))
        );
        assert_eq!(operator.get(&format!("/v1/vms/{}", odd[1].vm_id()))["odd_one_out"], Value::Null);
        odd[1].attest();
        assert_eq!(set(&operator)["odd"], 1);
    }

    /// What is different is told in the words of a log whose owner may lie in everything that no digest covers; that it
    /// is different is not.
    pub fn a_minority_that_lies_in_its_log_is_odd_all_the_same(world: &World) {
        let token = without_baseline(world);
        let operator = Operator::new(world, "ann");
        let usual = Captured::named("secure-boot");
        let _guests: Vec<_> = (0..3).map(|n| member(world, &token, n, &usual)).collect();
        let initrd = Captured::named("initrd");
        let _liar = member(world, &token, 3, &initrd);
        let plain = set(&operator);
        assert_eq!(plain["odd"], 1);
        let lie = initrd.relabelled(b"\x0c\0\0\0/initrd.img\0", b"\x0c\0\0\0/vmlinuz.x\0\0");
        let _other_liar = member(world, &token, 4, &lie);
        let all = set(&operator);
        assert_eq!(
            (all["compared"].as_u64(), all["odd"].as_u64(), all["boots"].as_u64()),
            (Some(5), Some(2), Some(2))
        );
    }
}
