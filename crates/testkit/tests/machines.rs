//! Two real machines end to end: firmware, shim, GRUB, kernel, agent, service. One gets another kernel command line before
//! its second boot and is unhealthy; the other is made to load an unsigned module in its second, which its kernel refuses, and
//! gets revocations before its third, and a person is asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use veriboot_testkit::service::Service;
use veriboot_testkit::vm::{
    AgentSetup, BootChain, GuestFile, Job, Lab, LabOptions, Machine, MachineBuilder, Report, VarsEdit,
};

const LIMIT: Duration = Duration::from_secs(300);

/// The binaries of `cargo xtask build`; `None`, said plainly, where they are not there. `make test` builds them and
/// sets VERIBOOT_MACHINES=required.
fn binaries(root: &Path) -> Option<(PathBuf, PathBuf)> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let service = target.join("release/veriboot");
    let agent = target.join("x86_64-unknown-linux-gnu/agent/veriboot-agent");
    for binary in [&service, &agent] {
        if !binary.exists() {
            assert!(std::env::var_os("VERIBOOT_MACHINES").is_none(), "{} is missing", binary.display());
            println!("skipped: {} is missing, `cargo xtask build` makes it", binary.display());
            return None;
        }
    }
    Some((service, agent))
}

fn boot(machine: &Machine<'_>, setup: &AgentSetup) -> Report {
    machine.run(&Job::new().attest("attest", setup, &[]), LIMIT, &mut |_| true).unwrap()
}

/// A boot in which root tries to load a module that nobody signed, between two attestations.
fn boot_and_load(machine: &Machine<'_>, setup: &AgentSetup) -> Report {
    let job = Job::new().attest("attest", setup, &[]);
    let job = job.step("load", "insmod /lib/test/unsigned.ko").attest("attest-again", setup, &[]);
    let report = machine.run(&job, LIMIT, &mut |_| true).unwrap();
    assert_ne!(report.exit_of("load"), Some(0), "{}", report.describe());
    assert_eq!(report.exit_of("attest-again"), Some(0), "no verdict rests on it: {}", report.describe());
    report
}

/// Status and cause of the check, and what the agent says about the kernel.
fn kernel_of(service: &Service, name: &str) -> (Value, Value, Value) {
    let vm = service.json(&["vm", "show", name]).unwrap();
    let all = vm["assessments"].as_array().unwrap();
    let check = all.iter().find(|a| a["check"] == "kernel-modules-signed").unwrap();
    (check["status"].clone(), check["cause"].clone(), vm["kernel"].clone())
}

#[test]
fn healthy_tampered_and_updated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let Some((service_binary, agent)) = binaries(&root) else { return };
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::prepare(&root.join(".cache/lab"), LabOptions::default(), &mut |_| {}).unwrap();
    let service = Service::start(&service_binary, &folder.path().join("service"), &[]).unwrap();
    let token = service.join_token(&["--scale-set", "web", "--uses", "2"]).unwrap();
    let unsigned = folder.path().join("unsigned.ko");
    std::fs::write(&unsigned, lab.kernel.unsigned_module("dummy").unwrap().unwrap()).unwrap();
    let files = [
        GuestFile { path: "bin/veriboot-agent".to_owned(), source: agent },
        GuestFile { path: "lib/test/unsigned.ko".to_owned(), source: unsigned },
    ];
    let initrd = lab.initramfs(&lab.kernel, &files, "").unwrap();
    let machine = |name: &str| {
        let chain = BootChain::ShimGrub { kernel: lab.kernel.image.clone(), initrd: initrd.clone() };
        MachineBuilder::new(&lab, name, chain).build(&folder.path().join(name)).unwrap()
    };
    let setup = |name: &str| AgentSetup {
        port: service.port(),
        ca_fingerprint: service.ca_fingerprint(),
        join_token: token.clone(),
        name: name.to_owned(),
    };
    let healthy = machine("web-0");
    let mut tampered = machine("web-1");

    // First boots: the scale set learns its baseline from whichever is first.
    std::thread::scope(|scope| {
        let both = [(&healthy, "web-0"), (&tampered, "web-1")]
            .map(|(machine, name)| scope.spawn(move || boot(machine, &setup(name))));
        for report in both.map(|boot| boot.join().unwrap()) {
            assert_eq!(report.exit_of("attest"), Some(0), "{}", report.describe());
        }
    });
    let (status, _, said) = kernel_of(&service, "web-0");
    assert_eq!(
        (&status, &said["lockdown"], &said["log"]),
        (&"healthy".into(), &"integrity".into(), &"whole".into())
    );
    // Second boots: one as before, one with another command line. Both are known by their state disks and TPMs.
    tampered.rewrite_cmdline("init=/bin/sh").unwrap();
    std::thread::scope(|scope| {
        let as_before = scope.spawn(|| boot_and_load(&healthy, &setup("web-0")));
        let other = scope.spawn(|| boot(&tampered, &setup("web-1")));
        for (exit, boot) in [(0, as_before), (1, other)] {
            let report = boot.join().unwrap();
            assert_eq!(report.exit_of("attest"), Some(exit), "{}", report.describe());
        }
    });
    let (status, cause, said) = kernel_of(&service, "web-0");
    assert_eq!((&status, &cause), (&"unhealthy".into(), &"module-refused".into()), "{said}");
    assert!(said["refused"]["count"].as_u64().unwrap() >= 1, "{said}");
    assert_eq!(kernel_of(&service, "web-1").0, "healthy", "its kernel refused nothing");

    let vm = |name: &str| service.json(&["vm", "show", name]).unwrap();
    assert_eq!(vm("web-0")["status"], "healthy");
    let judged = vm("web-1");
    assert_eq!(judged["status"], "unhealthy");
    assert_eq!(judged["facts"]["secure_boot"], "valid", "Secure Boot is still on");
    assert_eq!(judged["facts"]["quote"], "valid");
    assert_eq!(judged["facts"]["log"], "valid");
    assert_eq!(judged["facts"]["baseline"], "invalid");
    let alerts = service.json(&["alert", "list"]).unwrap();
    let alerts: Vec<&Value> = alerts.as_array().unwrap().iter().filter(|a| a["state"] == "active").collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["vm_name"], "web-1");
    assert_eq!(alerts[0]["reason"], "baseline-deviation");
    assert_eq!(alerts[0]["component"], "kernel command line");
    assert!(alerts[0]["message"].as_str().unwrap().contains("init=/bin/sh"), "{}", alerts[0]["message"]);
    let boots = service.json(&["boot", "list", "web-1"]).unwrap();
    assert_eq!(boots.as_array().unwrap().len(), 2, "one boot per resetCount: {boots}");

    revocations_are_proposed(&service, &healthy, &setup("web-0"));
    service.stop().unwrap();
}

/// A revocation update, as a distribution makes it: more in dbx and the next SBAT level. The machine stays healthy, and
/// approving what it shows makes the next version of the baseline, which accepts it.
fn revocations_are_proposed(service: &Service, machine: &Machine<'_>, setup: &AgentSetup) {
    let level = "sbat,1,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2\n";
    let edits = [VarsEdit::RevokeHash("ab".repeat(32)), VarsEdit::SbatLevel(level.to_owned())];
    machine.edit_vars(&edits).unwrap();
    let report = boot(machine, setup);
    assert_eq!(report.exit_of("attest"), Some(0), "{}", report.describe());
    assert_eq!(service.json(&["vm", "show", "web-0"]).unwrap()["status"], "healthy");
    assert_eq!(kernel_of(service, "web-0").0, "healthy", "another boot, in which nothing was refused");
    let proposals = service.json(&["proposal", "list"]).unwrap();
    let proposals = proposals.as_array().unwrap();
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    let proposal = &proposals[0];
    let mut classes: Vec<&str> =
        proposal["classes"].as_array().unwrap().iter().map(|class| class.as_str().unwrap()).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["dbx-update", "sbat-update"], "{proposal}");
    assert_eq!(
        (&proposal["pcrs"], &proposal["vms"]),
        (&serde_json::json!([7]), &serde_json::json!(1)),
        "{proposal}"
    );

    let id = proposal["id"].as_str().unwrap();
    service.json(&["proposal", "approve", id, "--yes", "--comment", "revocations of May"]).unwrap();
    assert_eq!(service.json(&["proposal", "list"]).unwrap(), serde_json::json!([]));
    let vm = service.json(&["vm", "show", "web-0"]).unwrap();
    assert_eq!(
        (&vm["status"], &vm["facts"]["baseline"]),
        (&Value::from("healthy"), &Value::from("valid")),
        "{vm}"
    );
}
