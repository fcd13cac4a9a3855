//! What a service stored is exported and judged offline, with the same verdict and the same failing findings: the real
//! binary, a service on either database, machines with real (software) TPMs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "../../service/tests/agent_support/mod.rs"]
mod agent_support;

on_both!(every_verdict_is_the_same_offline, proposals_and_conditions_are_the_same_offline,);

mod scenario {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    use serde_json::{Value, json};
    use veriboot_store::vms;
    use veriboot_wire::{Attestation, FactState, Verdict};

    use crate::agent_support::boot::Boot;
    use crate::agent_support::captured::Captured;
    use crate::agent_support::operator::Operator;
    use crate::agent_support::{Guest, World, failing};

    /// The binary, a token for it, and a folder for bundles.
    struct Offline<'w> {
        world: &'w World,
        operator: Operator,
        folder: tempfile::TempDir,
    }

    impl<'w> Offline<'w> {
        fn new(world: &'w World) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let operator = Operator::new(world, "ann");
            std::fs::write(folder.path().join("token"), operator.token()).unwrap();
            Self { world, operator, folder }
        }

        fn veriboot(&self, arguments: &[&str]) -> Output {
            Command::new(env!("CARGO_BIN_EXE_veriboot")).args(arguments).output().unwrap()
        }

        /// What the service stored of a machine last.
        fn last(&self, guest: &Guest) -> Attestation {
            let id = self.world.vm(&guest.vm_id()).last_attestation_id.unwrap();
            self.world.attestations(&guest.vm_id()).into_iter().find(|a| a.id == id).unwrap()
        }

        fn export(&self, which: &[&str]) -> PathBuf {
            let file = self.folder.path().join("bundle.json");
            let token = self.folder.path().join("token");
            let mut arguments = vec!["evidence", "export"];
            arguments.extend(which);
            let (url, ca) = (self.world.url(), self.world.ca_file());
            arguments.extend(["--server", &url, "--ca", ca.to_str().unwrap()]);
            arguments.extend(["--token-file", token.to_str().unwrap(), "-o", file.to_str().unwrap()]);
            let done = self.veriboot(&arguments);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            file
        }

        fn verify(&self, bundle: &Path, more: &[&str]) -> (Option<i32>, Value) {
            let mut arguments = vec!["evidence", "verify", "--json", bundle.to_str().unwrap()];
            arguments.extend(more);
            let done = self.veriboot(&arguments);
            let report = serde_json::from_slice(&done.stdout)
                .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&done.stderr)));
            (done.status.code(), report)
        }

        /// Exports the last attestation and judges it offline: verdict and failing codes are the stored ones.
        #[track_caller]
        fn same(&self, guest: &Guest, code: Option<&str>) -> (PathBuf, Value) {
            let stored = self.last(guest);
            let bundle = self.export(&[&stored.id]);
            let (exit, report) = self.verify(&bundle, &[]);
            let codes = |findings: &mut dyn Iterator<Item = String>| {
                let mut codes: Vec<String> = findings.collect();
                codes.sort();
                codes.dedup();
                codes
            };
            let expected = codes(&mut stored.findings.iter().filter(|f| f.fails()).map(|f| f.code.clone()));
            let fails = |f: &&Value| matches!(f["severity"].as_str(), Some("high" | "critical"));
            let findings = report["findings"].as_array().unwrap();
            let text = |f: &Value| f["code"].as_str().unwrap().to_owned();
            let offline = codes(&mut findings.iter().filter(fails).map(text));
            assert_eq!(offline, expected, "{report:#}");
            assert_eq!(report["verdict"], json!(stored.verdict), "{report:#}");
            assert_eq!(exit, Some(i32::from(stored.verdict != Verdict::Healthy)));
            assert_eq!(report["stored"]["same"], true);
            assert_eq!(report["stored"]["attestation"], *stored.id);
            match code {
                Some(code) => assert!(expected.iter().any(|c| c == code), "{code} is not in {expected:?}"),
                None => assert_eq!(expected, [""; 0]),
            }
            (bundle, report)
        }
    }

    pub fn every_verdict_is_the_same_offline(world: &World) {
        let offline = Offline::new(world);
        let mut guest = world.healthy_guest("web-0");
        let (bundle, report) = offline.same(&guest, None);
        assert_eq!(report["facts"]["baseline"], "valid");
        // The same by name, and not the same without what judged it.
        assert_eq!(
            std::fs::read(offline.export(&["--vm", "web-0"])).unwrap(),
            std::fs::read(&bundle).unwrap()
        );
        let (exit, report) = offline.verify(&bundle, &["--evidence-only"]);
        assert_eq!((exit, report["facts"]["baseline"].as_str()), (Some(0), Some("unknown")));
        signed_baselines(&offline, &bundle);

        // Another boot that is as it should be: what the TPM counted before matters.
        guest.boot(&Boot::default());
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        let (bundle, _) = offline.same(&guest, None);
        let read: Value = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
        assert!(read["judged_with"]["previous"]["reset_count"].is_u64(), "{read:#}");

        guest.boot(&Boot { cmdline: "root=/dev/vda1 ro init=/bin/sh".into(), ..Boot::default() });
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        let code = offline.last(&guest).findings.iter().find(|f| f.fails()).unwrap().code.clone();
        let (bundle, _) = offline.same(&guest, Some(&code));
        // With the baseline of somebody else's choice it is another verdict, and that is said.
        let (_, report) = offline.verify(&bundle, &["--evidence-only"]);
        assert_eq!(report["stored"]["same"], false);

        guest.boot(&Boot { secure_boot: false, ..Boot::default() });
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        offline.same(&guest, Some("secure-boot-disabled"));

        // The endorsement of the TPM was lost: nothing in the evidence shows it.
        guest.boot(&Boot::default());
        let id = guest.vm_id();
        let endorsement = |state, detail: Option<&str>| {
            let known = world.vm(&id).endorsement.expect("noted with an attestation");
            let noted = vms::Endorsement { state, detail: detail.map(str::to_owned), ..known };
            let id = id.clone();
            world.write(move |tx| vms::set_endorsement(tx, &id, &noted));
        };
        endorsement(FactState::Invalid, Some("revoked"));
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        let (bundle, report) = offline.same(&guest, Some("endorsement-invalid"));
        assert_eq!(report["facts"]["endorsement"], "invalid");
        assert_eq!(offline.verify(&bundle, &["--evidence-only"]).1["facts"]["endorsement"], "unknown");
        endorsement(FactState::Unknown, None);

        // The log of another boot than the registers hold.
        guest.boot(&Boot::default());
        let genuine = guest.log();
        guest.boot(&Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() });
        guest.set_log(&genuine);
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        offline.same(&guest, Some("log-mismatch"));

        guest.boot(&Boot::default());
        guest.remove_log();
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        let (bundle, _) = offline.same(&guest, Some("log-missing"));
        // A bundle that says that the log was not kept is believed no more than one without a log.
        let mut bent: Value = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
        bent["judged_with"]["missing"] = json!(["event-log"]);
        std::fs::write(&bundle, bent.to_string()).unwrap();
        assert_eq!(offline.verify(&bundle, &[]).0, Some(1));

        // A quote that another key signed, one of other registers, one of another challenge.
        guest.boot(&Boot::default());
        let mut evidence = guest.evidence();
        let last = evidence.signature.0.len() - 1;
        evidence.signature.0[last] ^= 1;
        assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        offline.same(&guest, Some("quote-signature-invalid"));
        let old = guest.evidence();
        let mut evidence = guest.evidence();
        (evidence.quote, evidence.signature) = (old.quote, old.signature);
        assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        offline.same(&guest, Some("quote-nonce-mismatch"));

        // Advisory registers that are not those of the quote change nothing.
        let mut evidence = guest.evidence();
        for value in evidence.pcrs.get_mut("sha256").unwrap().values_mut() {
            *value = "11".repeat(32);
        }
        assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Healthy);
        offline.same(&guest, None);

        // A TPM that was set back: the record says that it counted further.
        let id = guest.vm_id();
        world.write(move |tx| {
            tx.execute("UPDATE vms SET reset_count = reset_count + 7 WHERE id = $1", &[id.as_str().into()])
        });
        let receipt = guest.attest();
        assert!(failing(&receipt).contains(&"reset-count-went-back"), "{:?}", failing(&receipt));
        offline.same(&guest, Some("reset-count-went-back"));
    }

    /// The service signs the baseline of a bundle: its key is enough, another one is not.
    fn signed_baselines(offline: &Offline<'_>, bundle: &Path) {
        let keys = offline.operator.get("/v1/baseline-keys");
        let key = offline.folder.path().join("key.pem");
        std::fs::write(&key, keys[0]["pem"].as_str().unwrap()).unwrap();
        let (exit, report) = offline.verify(bundle, &["--baseline-key", key.to_str().unwrap()]);
        assert_eq!((exit, report["facts"]["baseline"].as_str()), (Some(0), Some("valid")), "{report:#}");
        let mut bent: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
        // The bare document beside the envelope is not looked at then.
        bent["judged_with"]["baseline"]["document"] = json!({});
        let altered = offline.folder.path().join("altered.json");
        std::fs::write(&altered, bent.to_string()).unwrap();
        assert_eq!(offline.verify(&altered, &["--baseline-key", key.to_str().unwrap()]).0, Some(0));
        let signature = &mut bent["judged_with"]["baseline"]["envelope"]["signatures"][0]["sig"];
        let text = signature.as_str().unwrap();
        let other = if text.starts_with('A') { "B" } else { "A" };
        *signature = json!(format!("{other}{}", &text[1..]));
        std::fs::write(&altered, bent.to_string()).unwrap();
        let (exit, report) = offline.verify(&altered, &["--baseline-key", key.to_str().unwrap()]);
        assert_eq!(exit, Some(1));
        assert!(report.to_string().contains("bundle-baseline-unsigned"), "{report:#}");
    }

    pub fn proposals_and_conditions_are_the_same_offline(world: &World) {
        let offline = Offline::new(world);
        let token = world.join_token(Some("web"), 8);
        let mut guest = world.guest("web-0", Some(&token));
        Captured::named("secure-boot").boot(&guest);
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        offline.same(&guest, None);

        // A kernel of the same vendor with the initrd of before is proposed; rejected, it fails.
        let initrd = |variant: &str| {
            let meta = veriboot_testkit::corpus::golden(variant).unwrap().meta;
            hex::decode(meta["sha256"]["initrd"].as_str().unwrap()).unwrap()
        };
        let (old, new) = (initrd("secure-boot"), initrd("other-kernel"));
        let update = Captured::named("other-kernel").with(|event| {
            if event.digest == new {
                event.digest = old.clone();
            }
        });
        update.boot(&guest);
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        let (_, report) = offline.same(&guest, None);
        assert!(
            report["findings"].as_array().unwrap().iter().any(|f| f["action"] == "propose"),
            "{report:#}"
        );
        let open = offline.operator.get("/v1/proposals?state=open");
        let proposal =
            offline.operator.get(&format!("/v1/proposals/{}", open["items"][0]["id"].as_str().unwrap()));
        let body = json!({ "expected_etag": proposal["etag"], "comment": "not on Saturdays" });
        offline.operator.post(&format!("/v1/proposals/{}/reject", proposal["id"].as_str().unwrap()), &body);
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        let stored = offline.last(&guest);
        let code = stored.findings.iter().find(|f| f.fails()).unwrap().code.clone();
        let (_, report) = offline.same(&guest, Some(&code));
        assert!(report.to_string().contains("not on Saturdays"), "{report:#}");

        // A condition that asks for the machine's name.
        let conditions = json!([
            { "id": "named", "expression": "vm.name == 'db-0'", "severity": "high", "message": "only db-0" },
        ]);
        let document =
            json!({ "name": "house", "secure_boot": "required", "conditions": conditions }).to_string();
        offline.operator.done(
            "PUT",
            "/v1/profiles/house",
            Some(&json!({ "document": document, "format": "json" })),
        );
        let scope = json!({ "kind": "group", "group": "default", "id": "" });
        let assign = json!({ "scope": scope, "profile": "house" });
        offline.operator.done("PUT", "/v1/profile-assignments", Some(&assign));
        Captured::named("secure-boot").boot(&guest);
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        let (_, report) = offline.same(&guest, Some("policy-condition"));
        assert!(report.to_string().contains("only db-0"), "{report:#}");
    }
}
