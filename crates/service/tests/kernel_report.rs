//! What agents say about the running kernel, from the machine to the assessment: real agents on software TPMs with captured
//! boots, and kernels that are folders. On both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    a_refused_module_is_seen_until_the_next_boot,
    an_agent_that_says_nothing_is_judged_by_its_boot,
    what_was_said_is_not_taken_back_within_a_boot,
    only_believed_quotes_say_it,
    what_a_boot_said_is_not_of_the_next_one_that_an_older_replica_saw,
    what_was_said_outlasts_a_suspension_and_another_key,
);
on_sqlite!(a_report_that_stays_the_same_writes_nothing, a_hostile_report_is_kept_small);

mod scenario {
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_agent::Agent;
    use veriboot_store::events;
    use veriboot_wire::{EventQuery, KernelReport, LockdownLevel, ModuleEvents, Verdict};

    const CHECK: &str = "kernel-modules-signed";
    const LOCKED: &str = "none [integrity] confidentiality\n";
    const REFUSED: &str = "nvidia: loading of unsigned module is rejected";

    fn set(guest: &Guest, path: &str, text: &str) {
        let path = guest.config.kernel_root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Boots the captured machine with a kernel of its own.
    fn boot(guest: &mut Guest, variant: &str, boot_id: &str) {
        Captured::named(variant).boot(guest);
        set(guest, "proc/sys/kernel/random/boot_id", boot_id);
        set(guest, "sys/kernel/security/lockdown", LOCKED);
        set(guest, "sys/module/module/parameters/sig_enforce", "Y\n");
        set(guest, "proc/sys/kernel/tainted", "0\n");
        set(guest, "dev/kmsg", "5,0,0,-;Linux version 6.1\n");
        guest.agent = Agent::new(guest.config.clone()).unwrap();
    }

    /// The kernel logs something more.
    fn log(guest: &Guest, sequence: u64, message: &str) {
        let path = guest.config.kernel_root.join("dev/kmsg");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{before}5,{sequence},77000000,-;{message}\n")).unwrap();
    }

    fn booted(world: &World, name: &str) -> Guest {
        let token = world.join_token(None, 1);
        let mut guest = world.guest(name, Some(&token));
        boot(&mut guest, "secure-boot", "first");
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        guest
    }

    /// Status, cause and description of the check.
    fn check(operator: &Operator, vm: &str) -> (String, Value, String) {
        let vm = operator.get(&format!("/v1/vms/{vm}"));
        let all = vm["assessments"].as_array().unwrap();
        let found = all.iter().find(|a| a["check"] == CHECK).unwrap();
        let text = |member: &str| found[member].as_str().unwrap().to_owned();
        (text("status"), found["cause"].clone(), text("description"))
    }

    fn told(world: &World) -> Vec<Value> {
        let list = world.read(|tx| {
            let query = EventQuery { kind: Some("assessment.changed".into()), ..EventQuery::default() };
            events::list(tx, &query)
        });
        let of_check = list.items.into_iter().filter(|e| e.subject.as_deref() == Some(CHECK));
        of_check.map(|event| event.data).collect()
    }

    pub fn a_refused_module_is_seen_until_the_next_boot(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0");
        let (status, cause, description) = check(&operator, "web-0");
        assert_eq!((status.as_str(), cause), ("healthy", Value::Null));
        assert!(description.contains("locked down (integrity)"), "{description}");
        let kernel = operator.get("/v1/vms/web-0")["kernel"].clone();
        let expected = json!({
            "lockdown": "integrity", "module_signatures_enforced": true, "taint": 0, "log": "whole",
        });
        assert_eq!(kernel, expected);

        // The same attestation that says it turns the check; the verdict is another matter.
        log(&guest, 1, REFUSED);
        let receipt = guest.attest();
        assert_eq!((receipt.verdict, receipt.status), (Verdict::Healthy, veriboot_wire::VmStatus::Healthy));
        let (status, cause, description) = check(&operator, "web-0");
        assert_eq!((status.as_str(), cause), ("unhealthy", json!("module-refused")));
        for part in ["modules nvidia", "77 seconds", "Secure Boot is on"] {
            assert!(description.contains(part), "{description}");
        }
        assert_eq!(operator.get("/v1/vms/web-0")["kernel"]["refused"]["modules"], json!(["nvidia"]));
        // The first one is of the first attestation.
        let events = told(world);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!((&events[1]["before"], &events[1]["status"]), (&json!("healthy"), &json!("unhealthy")));
        assert!(events[1]["message"].as_str().unwrap().contains("nvidia"));
        let recommended = operator.get("/v1/recommendations/kernel-modules-signed");
        assert_eq!(recommended["resources"]["items"].as_array().unwrap().len(), 1);

        // One more is another number, and no other event.
        log(&guest, 2, REFUSED);
        guest.attest();
        assert!(check(&operator, "web-0").2.contains("2 times"));
        assert_eq!(told(world).len(), 2);

        boot(&mut guest, "secure-boot", "second");
        guest.attest();
        assert_eq!(check(&operator, "web-0").0, "healthy");
        assert_eq!(told(world).len(), 3);
        assert_eq!(operator.get("/v1/vms/web-0")["kernel"], expected);
    }

    pub fn an_agent_that_says_nothing_is_judged_by_its_boot(world: &World) {
        let operator = Operator::new(world, "ann");
        let token = world.join_token(None, 1);
        let mut guest = world.guest("old", Some(&token));
        for (variant, status, cause) in [
            ("secure-boot", "healthy", Value::Null),
            ("secure-boot-off", "unhealthy", json!("module-signatures-not-enforced")),
            ("mok-validation-off", "unhealthy", json!("shim-validation-off")),
        ] {
            Captured::named(variant).boot(&guest);
            guest.attest();
            let found = check(&operator, "old");
            assert_eq!((found.0.as_str(), found.1), (status, cause), "{variant}");
            assert!(found.2.contains("rests on the boot alone"), "{}", found.2);
            assert_eq!(operator.get("/v1/vms/old").get("kernel"), None);
        }
        // What a kernel says that enforces is nothing that the boot proves.
        boot(&mut guest, "secure-boot-off", "later");
        guest.attest();
        let found = check(&operator, "old");
        assert_eq!(
            (found.0.as_str(), found.1),
            ("unhealthy", json!("module-signatures-not-enforced")),
            "{}",
            found.2
        );
    }

    pub fn what_was_said_is_not_taken_back_within_a_boot(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0");
        log(&guest, 1, REFUSED);
        guest.attest();
        let before = world.vm(&guest.vm_id()).kernel.unwrap();
        assert_eq!(before.report.refused.count, 1);
        // Whoever took the machine replaces the agent's words, says nothing at all, and enrols again.
        let mut evidence = guest.evidence();
        evidence.kernel = Some(KernelReport::default());
        guest.submit(&evidence).unwrap();
        let mut evidence = guest.evidence();
        evidence.kernel = None;
        guest.submit(&evidence).unwrap();
        guest.agent.state().forget_enrolment().unwrap();
        guest.attest();
        assert_eq!(check(&operator, "web-0").1, json!("module-refused"));
        assert_eq!(world.vm(&guest.vm_id()).kernel, Some(before));
        // The kernel does not untaint either.
        let mut evidence = guest.evidence();
        evidence.kernel = Some(KernelReport { taint: Some(1 << 13), ..KernelReport::default() });
        guest.submit(&evidence).unwrap();
        guest.attest();
        assert_eq!(check(&operator, "web-0").1, json!("unsigned-module-loaded"));
        // In the next boot nothing is left of it, also where nothing is said.
        Captured::named("secure-boot").boot(&guest);
        let mut evidence = guest.evidence();
        evidence.kernel = None;
        guest.submit(&evidence).unwrap();
        assert_eq!(check(&operator, "web-0").0, "healthy");
        assert_eq!(world.vm(&guest.vm_id()).kernel, None);
    }

    /// A replica of a release that knew no report writes the counters of the next boot beside the report of the one before.
    pub fn what_a_boot_said_is_not_of_the_next_one_that_an_older_replica_saw(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0");
        log(&guest, 1, REFUSED);
        guest.attest();
        let id = guest.vm_id();
        let of_first = world.vm(&id).kernel.unwrap();
        boot(&mut guest, "secure-boot", "second");
        guest.attest();
        let text = serde_json::to_string(&of_first).unwrap();
        world.write(move |tx| {
            tx.execute(
                "UPDATE vms SET kernel = $1 WHERE id = $2",
                &[text.as_str().into(), id.as_str().into()],
            )
        });
        guest.attest();
        assert_eq!(check(&operator, "web-0").0, "healthy");
        assert!(operator.get("/v1/vms/web-0")["kernel"].get("refused").is_none());
    }

    pub fn what_was_said_outlasts_a_suspension_and_another_key(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0");
        log(&guest, 1, REFUSED);
        guest.attest();
        let id = guest.vm_id();
        let silent = |guest: &mut Guest| {
            let mut evidence = guest.evidence();
            evidence.kernel = None;
            guest.submit(&evidence).unwrap();
            let (_, cause, _) = check(&operator, "web-0");
            cause
        };
        // The machine is suspended: restartCount grows, and the kernel goes on.
        let restarts = world.vm(&id).restart_count;
        guest.tpm.suspend().unwrap();
        assert_eq!(silent(&mut guest), json!("module-refused"));
        assert!(world.vm(&id).restart_count > restarts);
        // Another key shows another count.
        let before = world.vm(&id).ak_name;
        guest.lose_state();
        guest.attest();
        assert_ne!(world.vm(&id).ak_name, before);
        world.write({
            let mut said = world.vm(&id).kernel.unwrap();
            said.ak_name.0 = before;
            said.reset_count ^= 0x5a5a_0000;
            let (text, id) = (serde_json::to_string(&said).unwrap(), id.clone());
            move |tx| {
                tx.execute(
                    "UPDATE vms SET kernel = $1 WHERE id = $2",
                    &[text.as_str().into(), id.as_str().into()],
                )
            }
        });
        assert_eq!(silent(&mut guest), json!("module-refused"));
        Captured::named("secure-boot").boot(&guest);
        assert_eq!(silent(&mut guest), Value::Null, "a boot that the new key shows");
        assert_eq!(world.vm(&id).kernel, None);
    }

    /// Whoever got hold of the agent token says nothing about the kernel.
    pub fn only_believed_quotes_say_it(world: &World) {
        let mut guest = booted(world, "web-0");
        let before = world.vm(&guest.vm_id()).kernel;
        let mut evidence = guest.evidence();
        evidence.quote.0[40] ^= 1;
        evidence.kernel = Some(KernelReport { taint: Some(1 << 13), ..KernelReport::default() });
        assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        assert_eq!(world.vm(&guest.vm_id()).kernel, before);
    }

    pub fn a_report_that_stays_the_same_writes_nothing(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0");
        log(&guest, 1, REFUSED);
        guest.attest();
        let key = world.vm(&guest.vm_id()).posture_key;
        let all = operator.get("/v1/assessments");
        let newest = world.read(events::bounds).newest;
        for sequence in 2..4 {
            // What is not about modules is none of our business.
            log(&guest, sequence, "IPv6: eth0: link becomes ready");
            set(&guest, "proc/sys/kernel/tainted", "512\n");
            world.clock.advance_ms(300_000);
            guest.attest();
        }
        assert_eq!(world.vm(&guest.vm_id()).posture_key, key);
        assert_eq!(operator.get("/v1/assessments"), all);
        assert_eq!(world.read(events::bounds).newest, newest);
    }

    pub fn a_hostile_report_is_kept_small(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0");
        let huge = ModuleEvents {
            count: u32::MAX,
            modules: (0..500).map(|n| format!("\u{1b}[2J{n}{}", "x".repeat(500))).collect(),
            processes: vec!["\u{202e}".repeat(500); 500],
            first_s: Some(u32::MAX),
            last_s: Some(0),
        };
        let mut evidence = guest.evidence();
        evidence.kernel = Some(KernelReport {
            lockdown: Some(LockdownLevel::Confidentiality),
            refused: huge.clone(),
            unsigned: huge,
            taint: Some(u32::MAX),
            ..KernelReport::default()
        });
        guest.submit(&evidence).unwrap();
        let stored = serde_json::to_string(&world.vm(&guest.vm_id()).kernel).unwrap();
        assert!(stored.len() < 8192 && !stored.contains("\\u001b"), "{}", stored.len());
        let (status, cause, description) = check(&operator, "web-0");
        assert_eq!((status.as_str(), cause), ("unhealthy", json!("unsigned-module-loaded")));
        assert!(
            description.len() < 4096 && !description.contains(['\u{1b}', '\u{202e}']),
            "{}",
            description.len()
        );
    }
}
