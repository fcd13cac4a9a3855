//! Posture of enrolled VMs (captured boots on real software TPMs) and of an inventory, over the API, on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    exactly_the_right_recommendations,
    an_attestation_that_changes_nothing_writes_nothing,
    silence_and_faults_are_assessed_at_once,
    what_nothing_proves_changes_no_assessment,
    a_scale_set_has_assessments_of_its_own,
);
on_sqlite!(the_sweep_finds_what_nobody_told, assessments_are_listed_as_asked, a_forgotten_vm_leaves_nothing);

mod scenario {
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_service::posture;
    use veriboot_store::{assessments, events};
    use veriboot_wire::EventQuery;

    const S: i64 = 1000;

    fn booted(world: &World, name: &str, scale_set: Option<&str>, boot: &str) -> Guest {
        let token = world.join_token(scale_set, 1);
        let mut guest = world.guest(name, Some(&token));
        Captured::named(boot).boot(&guest);
        guest.attest();
        guest
    }

    fn sync(operator: &Operator, vms: &Value) -> Value {
        let document = json!({
            "format": veriboot_wire::INVENTORY_SCHEMA,
            "defaults": { "group": "default", "platform": "azure" },
            "vms": vms,
        });
        operator.post("/v1/inventory/sources/cloud/sync", &document)
    }

    /// A check, how many do not fulfil it, and why.
    type Recommended = (String, u64, Vec<(String, u64)>);
    type Wanted<'a> = (&'a str, u64, &'a [(&'a str, u64)]);

    /// Check, how many are unhealthy, and the causes with their counts.
    fn recommended(operator: &Operator, query: &str) -> Vec<Recommended> {
        let list = operator.get(&format!("/v1/recommendations{query}"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.as_array()
            .unwrap()
            .iter()
            .map(|r| {
                let causes = r["causes"].as_array().unwrap().iter();
                let causes = causes.map(|c| (text(&c["cause"]), c["count"].as_u64().unwrap())).collect();
                (text(&r["check"]), r["unhealthy"].as_u64().unwrap(), causes)
            })
            .collect()
    }

    fn assessment(operator: &Operator, vm: &str, check: &str) -> Value {
        let page = operator.get(&format!("/v1/assessments?vm={vm}&check={check}"));
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
        page["items"][0].clone()
    }

    fn events(world: &World) -> u64 {
        world.read(events::bounds).newest
    }

    fn expect(list: &[Wanted<'_>]) -> Vec<Recommended> {
        list.iter()
            .map(|(check, count, causes)| {
                let causes = causes.iter().map(|(cause, n)| ((*cause).to_owned(), *n)).collect();
                ((*check).to_owned(), *count, causes)
            })
            .collect()
    }

    pub fn exactly_the_right_recommendations(world: &World) {
        let operator = Operator::new(world, "ann");
        assert_eq!(recommended(&operator, ""), []);
        let web: Vec<_> =
            (0..2).map(|n| booted(world, &format!("web-{n}"), Some("web"), "secure-boot")).collect();
        let off = booted(world, "off", None, "secure-boot-off");
        let mut items = vec![
            json!({ "name": "web-0", "ek_sha256": world.vm(&web[0].vm_id()).ek_sha256, "secure_boot": "on", "vtpm": "on" }),
            json!({ "name": "off", "ek_sha256": world.vm(&off.vm_id()).ek_sha256, "secure_boot": "on", "vtpm": "on" }),
            json!({ "name": "bare", "secure_boot": "on", "vtpm": "on" }),
            json!({ "name": "half", "secure_boot": "on", "vtpm": "off" }),
            json!({ "name": "none", "secure_boot": "off", "vtpm": "off", "scale_set": "web" }),
            json!({ "name": "old", "secure_boot": "unsupported", "vtpm": "unsupported" }),
        ];
        sync(&operator, &json!(items));

        let ends = if world.clock.now().unix_ms() < 1_782_334_289_000 {
            "ca-2011-expiring"
        } else {
            "ca-2011-expired"
        };
        assert_eq!(
            recommended(&operator, ""),
            expect(&[
                ("attestation-healthy", 1, &[("attestation-failed", 1)]),
                (
                    "secure-boot-enabled",
                    2,
                    &[("secure-boot-off", 1), ("secure-boot-off-although-configured", 1)]
                ),
                ("vtpm-enabled", 2, &[("vtpm-off", 2)]),
                ("agent-installed", 1, &[("agent-not-enrolled", 1)]),
                ("endorsement-verified", 3, &[("no-certificate", 3)]),
                ("kernel-modules-signed", 1, &[("module-signatures-not-enforced", 1)]),
                ("dbx-current", 2, &[("dbx-empty", 2)]),
                ("sbat-current", 1, &[("sbat-old", 1)]),
                ("secure-boot-ca-2023", 2, &[(ends, 2)]),
            ])
        );
        assert_eq!(recommended(&operator, "?group=elsewhere"), []);
        let of_web = recommended(&operator, "?group=default&scale_set=web");
        assert!(of_web.contains(&("vtpm-enabled".into(), 1, vec![("vtpm-off".into(), 1)])), "{of_web:?}");

        // Without keys in the firmware there is nothing to say about them, and shim keeps its first level.
        let cause = |vm, check| assessment(&operator, vm, check)["cause"].clone();
        assert_eq!(
            (cause("off", "dbx-current"), cause("off", "sbat-current")),
            (json!("own-keys"), json!("sbat-old"))
        );
        assert_eq!(cause("web-0", "sbat-current"), Value::Null);

        // What a VM of the inventory is told, and why the rest is not about it.
        let detail = operator.get("/v1/recommendations/agent-installed");
        let affected = detail["resources"]["items"].as_array().unwrap();
        assert_eq!((affected.len(), affected[0]["name"].as_str()), (1, Some("bare")));
        assert_eq!(affected[0]["resource_kind"], "inventory-item");
        assert_eq!((detail["healthy"].as_u64(), detail["not_applicable"].as_u64()), (Some(3), Some(3)));
        assert!(detail["document"]["remediation"]["commands"].as_array().unwrap().len() > 1);
        assert_eq!(operator.refused("GET", "/v1/recommendations/no-such", &json!(null)).0, 404);

        // Configured and attested values disagree.
        let said = assessment(&operator, "off", "secure-boot-enabled");
        assert_eq!(said["cause"], "secure-boot-off-although-configured");
        assert!(said["description"].as_str().unwrap().contains("cloud"));

        // The page of the VM, most important check first.
        let vm = operator.get(&format!("/v1/vms/{}", off.vm_id()));
        let first = &vm["assessments"][0];
        assert_eq!((&first["check"], &first["status"]), (&json!("attestation-healthy"), &json!("unhealthy")));
        assert!(first["description"].as_str().unwrap().contains("unhealthy"), "{first}");
        assert_eq!(vm["assessments"].as_array().unwrap().len(), 10);

        // The fleet: seven resources in one group, and the set as a whole.
        let fleet = operator.get("/v1/posture");
        assert_eq!(fleet["resources"], 7);
        let (healthy, applicable) =
            (fleet["healthy_weight"].as_u64().unwrap(), fleet["applicable_weight"].as_u64().unwrap());
        let score = fleet["score"].as_f64().unwrap();
        assert!((score - (healthy * 1000 / applicable) as f64 / 10.0).abs() < 1e-9, "{score}");
        assert_eq!(fleet["groups"].as_array().unwrap().len(), 1);
        assert_eq!(operator.get("/v1/posture?group=default")["score"], fleet["score"]);
        assert_eq!(operator.get("/v1/posture?group=elsewhere")["score"], Value::Null);
        let sets = operator.get("/v1/posture/scale-sets");
        let set = &sets["items"][0];
        assert_eq!((&set["name"], &set["members"]), (&json!("web"), &json!(3)));
        let check =
            |id: &str| set["checks"].as_array().unwrap().iter().find(|c| c["check"] == id).unwrap().clone();
        assert_eq!(check("attestation-healthy")["status"], "healthy");
        assert_eq!(check("attestation-healthy")["healthy"], 2);
        assert_eq!(
            (&check("vtpm-enabled")["status"], &check("vtpm-enabled")["unhealthy"]),
            (&json!("unhealthy"), &json!(1))
        );

        // Configured right, and one is gone.
        items[2]["vtpm"] = json!("off");
        items.remove(4);
        sync(&operator, &json!(items));
        let now: Vec<_> = recommended(&operator, "").into_iter().map(|(check, n, _)| (check, n)).collect();
        let count = |check: &str| now.iter().find(|(c, _)| c == check).map(|(_, n)| *n);
        assert_eq!(
            (count("agent-installed"), count("vtpm-enabled"), count("secure-boot-enabled")),
            (None, Some(2), Some(1))
        );
        assert_eq!(operator.get("/v1/posture")["resources"], 6);
    }

    pub fn an_attestation_that_changes_nothing_writes_nothing(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0", None, "secure-boot");
        let (before, key) = (events(world), world.vm(&guest.vm_id()).posture_key);
        assert!(key.is_some());
        let all = operator.get("/v1/assessments");
        world.clock.advance_ms(300 * S);
        guest.attest();
        world.clock.advance_ms(300 * S);
        guest.attest();
        assert_eq!((events(world), world.vm(&guest.vm_id()).posture_key), (before, key));
        assert_eq!(operator.get("/v1/assessments"), all);

        // Another boot: only what is different about it is another assessment.
        Captured::named("secure-boot-off").boot(&guest);
        guest.attest();
        let after = operator.get("/v1/assessments");
        let time = |list: &Value, check: &str| {
            let of = list["items"].as_array().unwrap().iter().find(|a| a["check"] == check).unwrap().clone();
            (of["status"].clone(), of["last_status_change_at"].clone(), of["first_evaluated_at"].clone())
        };
        for check in ["secure-boot-enabled", "attestation-healthy", "kernel-modules-signed"] {
            let (was, is) = (time(&all, check), time(&after, check));
            assert_eq!((&was.0, &is.0), (&json!("healthy"), &json!("unhealthy")), "{check}");
            assert!(was.1 != is.1 && was.2 == is.2, "{check}: {was:?} {is:?}");
        }
        assert_eq!(time(&all, "endorsement-verified"), time(&after, "endorsement-verified"));
        let told = world.read(|tx| {
            let query = EventQuery { kind: Some("assessment.changed".into()), ..EventQuery::default() };
            events::list(tx, &query)
        });
        let subjects: Vec<_> = told.items.iter().filter_map(|e| e.subject.clone()).collect();
        for check in ["secure-boot-enabled", "attestation-healthy", "kernel-modules-signed"] {
            assert!(subjects.contains(&check.to_owned()), "{subjects:?}");
        }
    }

    pub fn a_scale_set_has_assessments_of_its_own(world: &World) {
        let operator = Operator::new(world, "ann");
        let [mut one, mut two] =
            ["web-0", "web-1"].map(|name| booted(world, name, Some("web"), "secure-boot"));
        let evaluate = || world.block_on(posture::drain(world.state())).unwrap();
        let check = || {
            let sets = operator.get("/v1/posture/scale-sets");
            let checks = sets["items"][0]["checks"].as_array().unwrap().clone();
            checks.into_iter().find(|one| one["check"] == "secure-boot-enabled").unwrap()
        };
        let told = || {
            let query = EventQuery { kind: Some("scale-set.changed".into()), ..EventQuery::default() };
            let events = world.read(move |tx| events::list(tx, &query)).items;
            let of =
                events.into_iter().filter(|event| event.subject.as_deref() == Some("secure-boot-enabled"));
            of.map(|event| event.data["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(check()["first_evaluated_at"].is_null(), "its members changed, and it was not looked at yet");
        evaluate();
        let first = check();
        assert_eq!((&first["status"], &first["cause"]), (&json!("healthy"), &Value::Null));
        assert_eq!(first["first_evaluated_at"], first["last_status_change_at"]);
        assert!(first["first_evaluated_at"].is_string());

        world.clock.advance_ms(300 * S);
        Captured::named("secure-boot-off").boot(&one);
        one.attest();
        evaluate();
        let turned = check();
        assert_eq!(
            (&turned["status"], &turned["cause"], &turned["unhealthy"]),
            (&json!("unhealthy"), &json!("secure-boot-off"), &json!(1))
        );
        assert_eq!(turned["first_evaluated_at"], first["first_evaluated_at"]);
        assert!(turned["last_status_change_at"].as_str() > first["last_status_change_at"].as_str());
        let off = "secure-boot-enabled of scale set web: unhealthy on 1 of 2 members";
        assert_eq!(told(), [off]);

        // A second member changes nothing about the set but the count.
        world.clock.advance_ms(300 * S);
        Captured::named("secure-boot-off").boot(&two);
        two.attest();
        evaluate();
        let both = check();
        assert_eq!(
            (&both["unhealthy"], &both["last_status_change_at"]),
            (&json!(2), &turned["last_status_change_at"])
        );
        assert_eq!(told(), [off]);

        // One is removed, the other is mended.
        assert_eq!(operator.send("DELETE", &format!("/v1/vms/{}", two.vm_id()), "", None).status, 204);
        Captured::named("secure-boot").boot(&one);
        one.attest();
        world.clock.advance_ms(300 * S);
        evaluate();
        assert_eq!((&check()["status"], &check()["healthy"]), (&json!("healthy"), &json!(1)));
        assert_eq!(
            told().last().unwrap(),
            "secure-boot-enabled of scale set web: healthy on 1 member, unhealthy on none"
        );
        assert_eq!(operator.send("DELETE", &format!("/v1/vms/{}", one.vm_id()), "", None).status, 204);
        evaluate();
        assert_eq!(operator.get("/v1/posture/scale-sets")["items"], json!([]));
        let left = || {
            let all = world.read(|tx| assessments::set_assessments(tx, ("", ""), ("zz", "zz")));
            let mut sets: Vec<String> = all.into_iter().map(|one| one.scale_set).collect();
            sets.dedup();
            sets
        };
        assert_eq!(left(), [""; 0]);
        // What moves to another set leaves nothing behind in the one that it was in.
        for set in ["blue", "green"] {
            sync(
                &operator,
                &json!([{ "name": "item", "scale_set": set, "secure_boot": "off", "vtpm": "on" }]),
            );
            evaluate();
            assert_eq!(left(), [set]);
        }
    }

    pub fn silence_and_faults_are_assessed_at_once(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = booted(world, "web-0", None, "secure-boot");
        let cause =
            |operator: &Operator| assessment(operator, "web-0", "attestation-healthy")["cause"].clone();
        assert_eq!(cause(&operator), Value::Null);
        guest.agent.report_fault("tpm-busy", "The TPM is busy").unwrap();
        assert_eq!(cause(&operator), "platform-fault");
        guest.attest();
        assert_eq!(cause(&operator), Value::Null);
        world.pass_ms(901 * S);
        world.block_on(veriboot_service::silence::sweep(world.state())).unwrap();
        assert_eq!(cause(&operator), "agent-silent");
        let said = assessment(&operator, "web-0", "attestation-healthy");
        assert!(said["description"].as_str().unwrap().contains("stale"), "{said}");
    }

    /// With the agent token alone anybody can say what the machine is, as often as reports are taken.
    pub fn what_nothing_proves_changes_no_assessment(world: &World) {
        let mut guest = booted(world, "web-0", None, "secure-boot");
        let id = guest.vm_id();
        let token = guest.agent_token();
        let machine = |n: usize| veriboot_wire::MachineInfo {
            os: ["windows", "linux"][n % 2].into(),
            arch: ["aarch64", "x86_64"][n % 2].into(),
            agent_version: ["0.0.1", "999.0.0"][n % 2].into(),
            ..Default::default()
        };
        let fault = |guest: &mut Guest, n| {
            let report = veriboot_wire::FaultReport {
                code: "tpm-busy".into(),
                message: "The TPM is busy".into(),
                machine: machine(n),
            };
            guest.agent.client().unwrap().fault(&id, &token, &report).unwrap();
        };
        fault(&mut guest, 0);
        let before = events(world);
        (0..6).for_each(|n| fault(&mut guest, n));
        assert_eq!(events(world), before, "the status is told once, and nothing else");
        assert_eq!(world.vm(&id).machine.os, "linux");
        // Evidence whose quote is not believed is no better.
        let tell = |guest: &mut Guest, n| {
            let mut evidence = guest.evidence();
            evidence.quote.0[40] ^= 1;
            evidence.machine = machine(n);
            assert_eq!(guest.submit(&evidence).unwrap().verdict, veriboot_wire::Verdict::Unhealthy);
        };
        tell(&mut guest, 0);
        let before = events(world);
        (0..4).for_each(|n| tell(&mut guest, n));
        assert_eq!(events(world), before);
        assert_eq!(world.vm(&id).machine.os, "linux");
        // A quote that is believed says it.
        let mut evidence = guest.evidence();
        evidence.machine = machine(0);
        guest.submit(&evidence).unwrap();
        assert_eq!(world.vm(&id).machine.os, "windows");
    }

    /// A sweep at its end, whoever did it: the service looks by itself too.
    fn swept(world: &World) -> assessments::Sweep {
        world.pass_ms(2);
        let now = world.clock.now();
        world.write(move |tx| assessments::enqueue(tx, "test", now));
        loop {
            world.block_on(posture::drain(world.state())).unwrap();
            match world.read(assessments::latest) {
                Some(sweep) if sweep.finished_at.is_some() => return sweep,
                _ => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
    }

    pub fn the_sweep_finds_what_nobody_told(world: &World) {
        let operator = Operator::new(world, "ann");
        let guest = booted(world, "web-0", None, "secure-boot");
        let id = guest.vm_id();
        // As a release before this one left it.
        let vm = id.clone();
        world.write(move |tx| {
            assessments::remove(tx, &vm)?;
            assessments::put_log_facts(tx, &vm, "of another log", "{}")
        });
        let sweep = swept(world);
        assert_eq!(assessment(&operator, "web-0", "dbx-current")["cause"], "dbx-empty");
        assert!(sweep.finished_at.is_some() && sweep.looked_at == 1 && sweep.changed == 1, "{sweep:?}");
        // A point of the trend; the same hour has one.
        swept(world);
        let last = swept(world);
        let posture = operator.get("/v1/posture");
        assert_eq!(posture["trend"].as_array().unwrap().len(), 1, "{posture}");
        assert_eq!(posture["trend"][0]["score"], posture["score"]);
        assert_eq!(last.changed, 0);
    }

    pub fn assessments_are_listed_as_asked(world: &World) {
        let operator = Operator::new(world, "ann");
        for n in 0..3 {
            booted(world, &format!("web-{n}"), Some("web"), "secure-boot");
        }
        let all = operator.get("/v1/assessments?limit=1000");
        let all = all["items"].as_array().unwrap();
        assert_eq!(all.len(), 30);
        for sort in ["name", "changed"] {
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = operator.get(&format!("/v1/assessments?sort={sort}&limit=7{cursor}"));
                paged.extend(page["items"].as_array().unwrap().clone());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(paged.len(), 30, "{sort}");
            let mut sorted = paged.clone();
            let key = |a: &Value| (a["name"].to_string(), a["check"].to_string());
            sorted.sort_by_key(key);
            sorted.dedup_by_key(|a| key(a));
            assert_eq!(sorted.len(), 30, "{sort}");
            if sort == "name" {
                assert_eq!(&paged, all);
            } else {
                let times: Vec<_> = paged.iter().map(|a| a["last_status_change_at"].to_string()).collect();
                assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{times:?}");
            }
        }
        let count = |query: &str| {
            operator.get(&format!("/v1/assessments?{query}"))["items"].as_array().unwrap().len()
        };
        assert_eq!(count("status=unhealthy&check=dbx-current"), 3);
        assert_eq!(count("status=unhealthy&scale_set=web&severity=medium"), 0);
        assert_eq!(count("severity=medium&status=healthy"), 3);
        assert_eq!(count("vm=web-1"), 10);
        assert_eq!(count("changed_since=2100-01-01T00:00:00Z"), 0);
        assert_eq!(count("changed_since=2000-01-01T00:00:00Z"), 30);
        for bad in ["check=nothing", "status=fine", "vm=nobody", "cursor=zz", "limit=0"] {
            let (status, _) = operator.refused("GET", &format!("/v1/assessments?{bad}"), &json!(null));
            assert!((400..500).contains(&status), "{bad}: {status}");
        }
        let csv = operator.send("GET", "/v1/assessments.csv?status=unhealthy&check=dbx-current", "", None);
        assert_eq!(csv.status, 200);
    }

    pub fn a_forgotten_vm_leaves_nothing(world: &World) {
        let operator = Operator::new(world, "ann");
        let guest = booted(world, "web-0", None, "secure-boot");
        let gone = operator.send("DELETE", &format!("/v1/vms/{}", guest.vm_id()), "", None);
        assert_eq!(gone.status, 204);
        assert_eq!(operator.get("/v1/assessments")["items"], json!([]));
        assert_eq!(operator.get("/v1/posture")["resources"], 0);
    }
}
