//! What approves nothing: somebody was faster, what was shown is not what there is, evidence is gone, or a member lies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

mod agent_support;

on_both!(of_two_operators_exactly_one_decides, approving_accepts_no_more_than_was_shown);
on_sqlite!(
    what_changed_meanwhile_is_a_conflict,
    evidence_that_is_gone_or_altered_approves_nothing,
    a_hostile_member_proposes_nothing,
);

/// Two replicas share the database and nothing else.
#[test]
fn of_two_replicas_exactly_one_decides() {
    if let Some(world) = agent_support::World::postgres() {
        scenario::two_replicas(&world);
    }
}

mod scenario {
    use super::agent_support::boot::{EV_IPL, Measured, sha256};
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::proposals::*;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_service::members;
    use veriboot_store::{Param, attestations, baselines};
    use veriboot_wire::Verdict;

    pub fn of_two_operators_exactly_one_decides(world: &World) {
        let mut guests = fleet(world, 2);
        let (ann, bob) = (Operator::new(world, "ann"), Operator::new(world, "bob"));
        let update = kernel_update();
        healthy(&mut guests[0], &update);
        let proposal = ann.only();
        let answers: Vec<raw::Answer> = std::thread::scope(|scope| {
            let work: Vec<_> = (0..6)
                .map(|n| {
                    let (proposal, by) = (&proposal, if n % 2 == 0 { &ann } else { &bob });
                    scope.spawn(move || match n {
                        5 => by.reject(proposal, "no"),
                        _ => by.approve(proposal, json!({ "comment": format!("attempt {n}") })),
                    })
                })
                .collect();
            work.into_iter().map(|w| w.join().unwrap()).collect()
        });
        let won = answers.iter().filter(|a| a.status == 200).count();
        assert_eq!(
            won,
            1,
            "{:?}",
            answers.iter().map(|a| (a.status, a.code().to_owned())).collect::<Vec<_>>()
        );
        for lost in answers.iter().filter(|a| a.status != 200) {
            assert_eq!(lost.status, 409, "{}", lost.body);
            assert!(["wrong-state", "proposal-changed"].contains(&lost.code()), "{}", lost.body);
        }
        let decisions = world.audit().into_iter().filter(|e| e.action.starts_with("proposal.")).count();
        let versions =
            world.read(|tx| baselines::by_name(tx, "scale-set/default/web", None)).unwrap().summary.version;
        let approved = answers.iter().any(|a| a.status == 200 && a.body["baselines"].is_array());
        assert_eq!((decisions, versions), (1, if approved { 2 } else { 1 }));
    }

    pub fn two_replicas(world: &World) {
        let mut guests = fleet(world, 3);
        let replica = world.replica();
        let here = Operator::new(world, "ann");
        let there = here.at(&replica.url());
        healthy(&mut guests[0], &kernel_update());
        healthy(&mut guests[1], &kernel_update());
        let proposal = here.only();
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| here.approve(&proposal, json!({ "comment": "here" })));
            let b = scope.spawn(|| there.approve(&proposal, json!({ "comment": "there" })));
            (a.join().unwrap(), b.join().unwrap())
        });
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", a.body, b.body);
        let row = world.read(|tx| baselines::by_name(tx, "scale-set/default/web", None)).unwrap();
        assert_eq!(row.summary.version, 2);
        let won = if a.status == 200 { "here" } else { "there" };
        assert_eq!(row.summary.comment.as_deref(), Some(won));
        for _ in 0..100 {
            if world.block_on(members::waiting(world.state())).unwrap() == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        for guest in &guests[..2] {
            let vm = world.vm(&guest.vm_id());
            assert_eq!((vm.proposal_id, vm.baseline.as_deref()), (None, Some("scale-set/default/web@2")));
        }
    }

    /// Something in PCR 9 that no boot of the baseline has.
    fn further() -> Measured {
        let data = b"/boot/extra.bin\0".to_vec();
        Measured { pcr: 9, kind: EV_IPL, digest: sha256(b"something else"), data }
    }

    pub fn approving_accepts_no_more_than_was_shown(world: &World) {
        let mut guests = fleet(world, 3);
        let operator = Operator::new(world, "ann");
        let update = kernel_update();
        healthy(&mut guests[0], &update);
        // The same update and one difference more: it fails, and is no member.
        let more = update.clone().and(further());
        more.boot(&guests[1]);
        assert_caught(&guests[1].attest(), "component-added");
        let proposal = operator.only();
        assert_eq!(proposal["vms"], 1);
        assert_eq!(operator.approve(&proposal, json!({})).status, 200);
        assert_eq!(world.block_on(members::waiting(world.state())).unwrap(), 0);
        assert_caught(&guests[1].attest(), "component-added");
        // And so does the difference alone, in the boot that was accepted before.
        let old = Captured::named("secure-boot").and(further());
        old.boot(&guests[2]);
        assert_caught(&guests[2].attest(), "component-added");
        assert_eq!(operator.open().len(), 0);
        // The new version is the old one and these two registers of that boot.
        let row = world.read(|tx| baselines::by_name(tx, "scale-set/default/web", None)).unwrap();
        let document: Value = serde_json::from_str(&row.document).unwrap();
        let boots = document["boots"].as_array().unwrap();
        assert_eq!(boots.len(), 2);
        assert_eq!(boots[1]["pcrs"], json!([4, 9]));
        let mut measured: Vec<u64> =
            boots[1]["measurements"].as_array().unwrap().iter().map(|m| m["pcr"].as_u64().unwrap()).collect();
        measured.dedup();
        assert!(measured.iter().all(|pcr| [4, 9].contains(pcr)), "{measured:?}");
    }

    pub fn what_changed_meanwhile_is_a_conflict(world: &World) {
        let mut guests = fleet(world, 2);
        let operator = Operator::new(world, "ann");
        healthy(&mut guests[0], &kernel_update());
        let proposal = operator.only();
        // The baseline gets another version by another way: what was looked at is superseded.
        let vm = vm_shown(&operator, &guests[1]);
        let boot = operator.get(&format!("/v1/vms/{}/boots", text(&vm, "id")))["items"][0]["id"].clone();
        let accept = json!({ "vm": vm["id"], "boot_id": boot, "comment": "once more" });
        let answer = operator.try_post("/v1/baselines/accept", &accept);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let stale = operator.approve(&proposal, json!({}));
        assert_eq!((stale.status, stale.code()), (409, "wrong-state"), "{}", stale.body);
        let old = operator.get(&format!("/v1/proposals/{}", text(&proposal, "id")));
        assert_eq!(text(&old, "state"), "superseded");
        // Its VM is judged by the new version without attesting, and proposes against that.
        for _ in 0..100 {
            if operator.open().len() == 1 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let proposal = operator.only();
        assert_eq!(text(&proposal, "baseline"), "scale-set/default/web@2");
        assert_eq!(proposal["vms"], 1);
        assert_eq!(operator.approve(&proposal, json!({})).status, 200);
        let missing = operator.try_post("/v1/proposals/nothing/approve", &json!({ "expected_etag": "x" }));
        assert_eq!((missing.status, missing.code()), (404, "not-found"));
    }

    pub fn evidence_that_is_gone_or_altered_approves_nothing(world: &World) {
        let mut guests = fleet(world, 1);
        let operator = Operator::new(world, "ann");
        healthy(&mut guests[0], &kernel_update());
        let proposal = operator.only();
        let attestation = text(&proposal["representative"], "attestation_id").to_owned();
        let meddle = |sql: &'static str, bytes: Option<Vec<u8>>| {
            let id = attestation.clone();
            world.write(move |tx| {
                let bytes = bytes.as_ref().map(|b| Param::Bytes(b));
                let params: Vec<_> = [Param::Text(&id)].into_iter().chain(bytes).collect();
                tx.execute(sql, &params)
            });
            world.state().attest.forget();
        };
        let refused = |what: &str| {
            let refused = operator.approve(&proposal, json!({}));
            assert_eq!(
                (refused.status, refused.code()),
                (409, "proposal-not-proven"),
                "{what}: {}",
                refused.body
            );
        };
        let id = attestation.clone();
        let evidence = world.read(move |tx| attestations::evidence(tx, &id)).unwrap();
        let flipped = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        };
        for (column, bytes) in
            [("signature", &evidence.signature), ("quote", &evidence.quote), ("nonce", &evidence.nonce)]
        {
            let sql = match column {
                "signature" => "UPDATE attestations SET signature = $2 WHERE id = $1",
                "quote" => "UPDATE attestations SET quote = $2 WHERE id = $1",
                _ => "UPDATE attestations SET nonce = $2 WHERE id = $1",
            };
            meddle(sql, Some(flipped(bytes)));
            refused(column);
            meddle(sql, Some(bytes.clone()));
        }
        meddle("UPDATE attestations SET verdict = 'unhealthy' WHERE id = $1", None);
        refused("verdict");
        meddle("UPDATE attestations SET verdict = 'healthy' WHERE id = $1", None);
        let log = guests[0].log();
        let sql =
            "UPDATE logs SET content = $2 WHERE sha256 = (SELECT log_sha256 FROM attestations WHERE id = $1)";
        meddle(sql, Some(flipped(&log)));
        refused("log");
        meddle(sql, Some(log));
        meddle("UPDATE attestations SET log_sha256 = NULL WHERE id = $1", None);
        refused("no log");
        let version = world.read(|tx| baselines::by_name(tx, "scale-set/default/web", None)).unwrap();
        assert_eq!(version.summary.version, 1);
        assert!(world.audit().iter().all(|e| e.action != "proposal.approve"));
    }

    /// What whoever owns the guest writes into the log decides nothing: only what digests prove is proposed.
    pub fn a_hostile_member_proposes_nothing(world: &World) {
        let mut guests = fleet(world, 1);
        let operator = Operator::new(world, "ann");
        let initrd = Captured::named("initrd");
        let cmdline = Captured::named("cmdline");
        let evil = |pcr: u32, data: &[u8]| Measured {
            pcr,
            kind: EV_IPL,
            digest: sha256(b"evil"),
            data: data.to_vec(),
        };
        let good = || Captured::named("secure-boot");
        let hostile = [
            (
                "an initrd that calls itself the kernel's file",
                initrd.relabelled(b"\x0c\0\0\0/initrd.img\0", b"\x0c\0\0\0/vmlinuz.x\0\0"),
            ),
            ("another command line", cmdline),
            ("another program, called a kernel", good().and(evil(9, b"/vmlinuz\0"))),
            ("another program among the images", good().and(Measured { kind: 0x8000_0003, ..evil(4, b"") })),
            ("a kernel update with an initrd that nobody signed", Captured::named("other-kernel")),
            ("a kernel update with something more", kernel_update().and(evil(9, b"/initrd.img\0"))),
            ("a dbx that lost what it had", Captured::named("dbx-emptied")),
            (
                "a level of SBAT that nobody set",
                good().with(|event| {
                    if event.pcr == 7
                        && event.data.windows(16).any(|w| {
                            w == "SbatLeve".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()
                        })
                    {
                        event.digest = sha256(b"sbat,1,2099010100");
                    }
                }),
            ),
            ("keys of somebody else", Captured::named("own-keys")),
            ("no Secure Boot", Captured::named("secure-boot-off")),
        ];
        for (what, boot) in hostile {
            boot.boot(&guests[0]);
            let receipt = guests[0].attest();
            assert_eq!(receipt.verdict, Verdict::Unhealthy, "{what}: {:#?}", receipt.findings);
            assert_eq!(receipt.token, None, "{what}");
            assert_eq!(operator.get("/v1/proposals")["items"].as_array().unwrap().len(), 0, "{what}");
            assert_eq!(world.vm(&guests[0].vm_id()).proposal_id, None, "{what}");
        }
        // A log of the update beside a quote of something else.
        good().boot(&guests[0]);
        let update = veriboot_testkit::corpus::golden("other-kernel").unwrap().event_log;
        guests[0].set_log(&update);
        assert_eq!(guests[0].attest().verdict, Verdict::Unhealthy);
        assert_eq!(operator.open().len(), 0);
    }
}
