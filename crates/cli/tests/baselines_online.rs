//! The commands that change what judges, against a real service: scripts that run one after the other in one shell.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod serve;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use serve::Service;
use veriboot_agent::{Agent, AgentConfig, Trust};
use veriboot_eventlog::{HashAlg, parse};
use veriboot_testkit::corpus;
use veriboot_testkit::swtpm::Swtpm;

/// Scripts that run where the service is.
trait Scripts {
    fn try_run(&self, script: &str) -> (i32, String);
    fn run(&self, script: &str, says: &[&str]) -> String;
    fn ends(&self, script: &str, code: i32, says: &str);
}

impl Scripts for Service {
    /// Exit code and output of a script, both streams.
    fn try_run(&self, script: &str) -> (i32, String) {
        let binary = Path::new(env!("CARGO_BIN_EXE_veriboot")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let out = Command::new("bash")
            .args(["-c", &format!("set -euo pipefail; exec 2>&1; {script}")])
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("VERIBOOT_SERVER", &self.url)
            .env("VERIBOOT_CA", self.ca())
            .env("VERIBOOT_TOKEN", self.admin_token())
            .env("VERIBOOT_CLI_CONFIG", self.folder.join("none"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (out.status.code().unwrap(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Output of a script that succeeds and says this.
    #[track_caller]
    fn run(&self, script: &str, says: &[&str]) -> String {
        let (code, said) = self.try_run(script);
        assert_eq!(code, 0, "{script}\n{said}");
        for part in says {
            assert!(said.contains(part), "{part:?} is missing after {script}\n{said}");
        }
        said
    }

    /// A script that ends with this code and says this.
    #[track_caller]
    fn ends(&self, script: &str, code: i32, says: &str) {
        let (ended, said) = self.try_run(script);
        assert!(ended == code && said.contains(says), "{ended}: {script}\n{said}");
    }
}

/// One VM.
struct Guest {
    tpm: Swtpm,
    agent: Agent,
    log: PathBuf,
}

impl Guest {
    fn join(service: &Service, name: &str, token: &str) -> Self {
        let tpm = Swtpm::start().unwrap();
        let log = service.folder.join(format!("{name}.log"));
        let config = AgentConfig {
            join_token: Some(token.to_owned()),
            trust: Trust::CaFile(service.ca()),
            tpm: tpm.tpm_address().parse().unwrap(),
            event_log: log.clone(),
            kernel_root: service.folder.join(format!("{name}.root")),
            name: Some(name.to_owned()),
            ..AgentConfig::new(&service.url, service.folder.join(format!("{name}.state")))
        };
        Self { tpm, agent: Agent::new(config).unwrap(), log }
    }

    /// Measures a captured boot once more, and attests.
    fn boot(&mut self, variant: &str) {
        let log = corpus::golden(variant).unwrap().event_log;
        self.tpm.reboot().unwrap();
        for event in parse(&log).unwrap().events.iter().filter(|event| event.extends()) {
            self.tpm.extend(event.pcr, "sha256", event.digest(HashAlg::Sha256).unwrap()).unwrap();
        }
        std::fs::write(&self.log, log).unwrap();
        self.agent.attest_once().unwrap();
    }
}

#[test]
fn baselines_and_profiles_are_changed_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let s = &service;
    let made =
        s.run("veriboot token create --scale-set web --image debian-12 --uses 2 --json", &["debian-12"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let token = made["secret"].as_str().unwrap();
    s.run("veriboot token list", &["IMAGE", "debian-12"]);
    let mut guests = ["web-0", "web-1"].map(|name| Guest::join(s, name, token));
    guests[0].boot("secure-boot");
    guests[1].boot("cmdline");
    s.run(
        "veriboot vm show web-0",
        &["scale-set/default/web@1 (of its scale set)", "secure-boot-required@built-in", "debian-12"],
    );
    s.run("veriboot vm list --image debian-12 --status unhealthy", &["web-1"]);

    // A document by hand: asked about, checked, applied.
    s.run("veriboot baseline export scale-set/default/web --format toml -o web.toml", &[]);
    s.run("veriboot baseline as-of --document web.toml --scale-set web", &["stay healthy", "turn unhealthy"]);
    s.ends("veriboot baseline apply web.toml --scale-set web --replaces 0", 4, "version-conflict");
    s.ends("veriboot baseline apply web.toml --scale-set web --replaces 7", 4, "version-conflict");
    s.ends("veriboot baseline apply web.toml --scale-set web --etag 7", 4, "precondition-failed");
    s.ends("veriboot baseline retire --scale-set web --etag 7", 4, "precondition-failed");
    for other in ["7", "1", "vm/default/web-0@1"] {
        s.ends(&format!("veriboot baseline accept web-0 --etag {other}"), 4, "precondition-failed");
    }
    s.run("veriboot baseline accept web-0 --dry-run", &["would follow scale-set/default/web@1"]);
    s.run("veriboot baseline apply web.toml --scale-set web --etag 1", &["nothing changed"]);
    s.run("veriboot baseline apply web.toml --scale-set web", &["web@1 judges already: nothing changed"]);
    s.run("sed -i '1i description = \"by hand\"' web.toml", &[]);
    let applied = s.run(
        "veriboot baseline apply web.toml --scale-set web -m 'by hand'",
        &["scale-set/default/web@2 judges from now on"],
    );
    assert!(applied.contains("2 of 2 VMs are judged again, 0 turned"), "{applied}");
    s.run("printf 'schema = \"veriboot-baseline/2\"\\nbank = \"sha256\"\\n' > empty.toml", &[]);
    s.ends("veriboot baseline apply empty.toml --scale-set web", 4, "baseline-empty");
    s.ends("veriboot baseline apply none.toml --scale-set web", 2, "cannot-read-file");
    s.ends("veriboot baseline apply web.toml", 2, "--group");
    // A member's boot is trusted for all of its set: that is said before and after.
    s.run("veriboot baseline accept web-1 --dry-run", &["would judge the 2 VMs of scale set web"]);
    s.run(
        "veriboot baseline accept web-1 --etag scale-set/default/web@2",
        &["scale-set/default/web@3 judges from now on: the 2 VMs of scale set web"],
    );
    s.run("veriboot baseline history scale-set/default/web", &["learned", "applied", "accepted"]);
    s.run("veriboot baseline show scale-set/default/web@2", &["applied", "signed by key", "by hand"]);
    s.ends("veriboot baseline show scale-set/default/web@9", 2, "baseline-unknown");
    s.ends(
        "veriboot baseline diff scale-set/default/web@1 scale-set/default/web@3",
        1,
        "kernel command line",
    );
    s.run("veriboot baseline diff scale-set/default/web@1 web.toml", &["accept the same"]);
    // Back to version 1 would turn web-1.
    s.ends("veriboot baseline as-of scale-set/default/web@1 --scale-set web", 1, "turn unhealthy");
    let asked = s.try_run("veriboot baseline as-of scale-set/default/web@1 --scale-set web --json").1;
    let asked: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(
        (&asked["counts"]["turn_unhealthy"], &asked["counts"]["turn_healthy"]),
        (&1.into(), &1.into())
    );
    assert_eq!(asked["vms"].as_array().unwrap().len(), 2);
    s.run("veriboot baseline progress", &["done", "baseline scale-set/default/web@3 accepted"]);

    // Signed exchange, and less specific scopes.
    s.run("veriboot baseline export scale-set/default/web@1 -o web.dsse", &[]);
    s.run("veriboot baseline keys --pem > key.pem; veriboot baseline check --key key.pem --log web-0.log --baseline web.dsse", &[]);
    s.run("veriboot baseline keys", &["this service", "ES256"]);
    s.run(
        "veriboot baseline import web.dsse --image debian-12 -m tried",
        &["image/default/debian-12@1 judges from now on"],
    );
    s.run("sed 's/\"payload\":\"ey/\"payload\":\"ez/' web.dsse > edited.dsse", &[]);
    s.ends("veriboot baseline import edited.dsse --group default", 4, "signature-invalid");
    s.ends("veriboot baseline retire --scale-set web --only 1", 2, "version-conflict");
    s.run(
        "veriboot baseline retire --scale-set web -m 'the image is enough'",
        &["scale-set/default/web@3 judges no more", "2 turned"],
    );
    s.run("veriboot vm show web-0", &["image/default/debian-12@1 (of its image)", "healthy"]);
    s.ends("veriboot baseline retire --scale-set web", 2, "baseline-unknown");

    // Profiles.
    s.run("veriboot profile list", &["by-authority", "built-in", "secure-boot-required"]);
    s.run("veriboot profile show secure-boot-required --toml > strict.toml; sed -i 's/^name = .*/name = \"strict\"/' strict.toml", &[]);
    s.run(
        "veriboot profile set strict strict.toml -m ours",
        &["strict@1 judges where the profile is assigned"],
    );
    s.run(
        "veriboot profile assign strict --scale-set web -m why",
        &["strict judges scale set web in group default", "2 of 2"],
    );
    s.run("veriboot profile assign", &["strict", "scale set web", "why"]);
    s.run("veriboot profile show strict", &["strict@1", "scale set web"]);
    s.run(
        "sed -i 's/\"required\"/\"not-required\"/' strict.toml; veriboot profile set strict strict.toml",
        &["strict@2", "2 of 2"],
    );
    s.run("veriboot profile show strict --history", &["judges", "ours"]);
    s.run("veriboot profile show strict@1 --json", &["\"required\""]);
    s.ends("veriboot profile show strict@x", 2, "bad-version");
    s.run("veriboot profile show own-keys@built-in", &["own-keys"]);
    s.run("veriboot vm show web-0", &["strict@2"]);
    s.ends("veriboot profile set strict strict.toml --replaces 1", 4, "version-conflict");
    // What somebody looked at is not what there is any more: nothing of two operators at once gets lost.
    s.ends("veriboot profile set strict strict.toml --etag 1", 4, "precondition-failed");
    s.ends("veriboot profile set strict strict.toml --etag 1", 4, "--etag");
    s.ends("veriboot profile set strict strict.toml --etag 1 --replaces 1", 2, "cannot be used with");
    s.ends("veriboot inventory link --suggested --etag 1", 2, "cannot be used with");
    s.run("veriboot profile set strict strict.toml --etag 2", &["strict@2 is that already"]);
    s.ends("veriboot profile assign own-keys --scale-set web --etag 0", 4, "precondition-failed");
    s.run(
        "tag=$(veriboot profile assign --json | sed -n 's/.*\"etag\": \"\\(.*\\)\"/\\1/p' | head -1); \
         veriboot profile assign strict --scale-set web --etag $tag -m again; \
         ! veriboot profile unassign --scale-set web --etag $tag",
        &["strict judges scale set web", "precondition-failed"],
    );
    s.ends("veriboot profile set by-authority strict.toml", 4, "built-in");
    s.ends("veriboot profile assign strict", 2, "no-scope");
    s.ends(
        "veriboot profile assign measured-only --scale-set web --replaces own-keys",
        4,
        "version-conflict",
    );
    s.run("veriboot profile unassign --scale-set web", &["has no profile of its own", "judged again"]);
    let again = s.run("veriboot profile unassign --scale-set web", &["nothing is changed"]);
    assert!(!again.contains("judged again"), "{again}");
    s.run(
        "veriboot profile assign measured-only --vm web-0",
        &["measured-only judges VM web-0 in group default"],
    );
    s.run("veriboot profile assign", &["VM web-0 in group default"]);
    s.run("veriboot profile unassign --vm web-0", &["VM web-0 in group default has no profile of its own"]);
    s.run("veriboot monitoring disable --vm web-0", &["of VM web-0 in group default", "1 of 1 VM switched"]);
    s.run("veriboot monitoring list", &["VM web-0 in group default"]);
    s.run("veriboot monitoring clear --vm web-0", &["of VM web-0 in group default"]);
    s.ends("veriboot monitoring enable --vm web-9", 4, "not-found");

    // A source is made once, changed in what is named, and not by a name that is misspelt.
    s.run("veriboot inventory sources add lab --group shop -m 'the lab'", &["lab is in use", "group shop"]);
    s.ends("veriboot inventory sources add lab", 4, "inventory sources set");
    s.ends("veriboot inventory sources set lap --group x", 4, "no such inventory source");
    s.run("veriboot inventory sources set lab --format az-vm", &["format az-vm, group shop"]);
    s.run("veriboot inventory sources show lab", &["the lab", "format az-vm, group shop"]);
    s.ends("veriboot inventory sources set lab --own-groups --etag 1", 4, "precondition-failed");
    s.run("veriboot inventory sources set lab --own-groups --etag 2", &["group as exported"]);
    s.ends("veriboot inventory sources retire lab --etag 2", 4, "precondition-failed");
    s.run("veriboot inventory sources retire lab --etag 3", &["no longer used"]);
    let made = s.run("veriboot maintenance declare --group default --for 1h -m patch --json", &[]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let window = made["id"].as_str().unwrap();
    s.run(&format!("veriboot maintenance show {window}"), &["patch", "active"]);
    s.ends(&format!("veriboot maintenance end {window} --etag 2"), 4, "precondition-failed");
    s.run(&format!("veriboot maintenance end {window} --etag {}", made["revision"]), &["ended"]);
    let made =
        s.run("veriboot suppression create --class dbx-update --vm web-0 --until 1d -m why --json", &[]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let rule = made["id"].as_str().unwrap();
    s.ends(&format!("veriboot suppression end {rule} --etag 2"), 4, "precondition-failed");
    s.run(&format!("veriboot suppression end {rule} --etag {}", made["revision"]), &["is ended"]);
    s.run("veriboot notify target add file --kind ocsf --file out.json", &[]);
    s.ends("veriboot notify target remove file --etag 7", 4, "precondition-failed");
    s.run("veriboot notify target remove file --etag 1", &["is removed"]);
    s.run(
        "veriboot audit list --limit 50",
        &["baseline.import", "baseline.retire", "profile.assign", "profile.put"],
    );
    s.run("veriboot audit verify", &[]);

    // Evidence that is not believed cannot be accepted, and the dry run says so.
    std::fs::write(&guests[0].log, corpus::golden("cmdline").unwrap().event_log).unwrap();
    guests[0].agent.attest_once().unwrap();
    let said = s.run("veriboot baseline accept web-0 --dry-run", &["would be refused: the last attestation"]);
    assert!(!said.contains("Would be trusted"), "{said}");
    s.ends("veriboot baseline accept web-0", 4, "not-learnable");
}
