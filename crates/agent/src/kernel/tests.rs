//! Logs that kernels wrote (`tests/kmsg`: the lab's machines, Debian 12, `timeout 3 cat /dev/kmsg` as root), and values as
//! they can be.

use std::fs;

use super::*;

const SECURE_BOOT: &str = include_str!("../../tests/kmsg/secure-boot.txt");
const SIG_ENFORCE: &str = include_str!("../../tests/kmsg/sig-enforce.txt");
const SECURE_BOOT_OFF: &str = include_str!("../../tests/kmsg/secure-boot-off.txt");

/// A kernel in a folder, and a state folder.
struct Guest {
    dir: tempfile::TempDir,
    kernel: Kernel,
    state: StateDir,
}

impl Guest {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kernel = Kernel::new(&dir.path().join("root"));
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        Self { dir, kernel, state }
    }

    fn booted(boot_id: &str, kmsg: &str) -> Self {
        let guest = Self::new();
        guest.set("proc/sys/kernel/random/boot_id", boot_id);
        guest.set("dev/kmsg", kmsg);
        guest
    }

    fn set(&self, path: &str, text: &str) {
        let path = self.dir.path().join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn say(&self, sequence: u64, text: &str) {
        let path = self.dir.path().join("root/dev/kmsg");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{before}5,{sequence},99000000,-;{text}\n")).unwrap();
    }

    fn report(&mut self) -> KernelReport {
        self.kernel.report(&self.state).unwrap()
    }

    /// Another process of the agent.
    fn restart(&mut self) {
        self.kernel = Kernel::new(&self.dir.path().join("root"));
    }
}

#[test]
fn a_debian_kernel_under_secure_boot_refuses_and_says_so() {
    let mut guest = Guest::booted("a", SECURE_BOOT);
    guest.set("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    guest.set("sys/module/module/parameters/sig_enforce", "Y\n");
    guest.set("proc/sys/kernel/tainted", "0\n");
    let report = guest.report();
    assert_eq!(report.enforces(), Some(true));
    assert_eq!(report.taint, Some(0));
    assert_eq!(report.log, KernelLogRead::Whole);
    // Two calls of busybox's insmod, which tries both system calls. The last record was written by a process.
    let refused = ModuleEvents { count: 4, first_s: Some(6), last_s: Some(6), ..ModuleEvents::default() };
    assert_eq!((report.refused, report.unsigned), (refused, ModuleEvents::default()));
    let last = SECURE_BOOT.lines().last().unwrap();
    assert!(
        last.starts_with("13,") && last.contains("Lockdown: insmod: unsigned module loading is restricted")
    );
}

#[test]
fn so_does_one_that_only_enforces_signatures() {
    let report = Guest::booted("a", SIG_ENFORCE).report();
    assert_eq!((report.refused.count, report.log), (4, KernelLogRead::Whole));
}

#[test]
fn one_that_enforces_nothing_names_what_it_loaded() {
    let mut guest = Guest::booted("a", SECURE_BOOT_OFF);
    guest.set("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    guest.set("sys/module/module/parameters/sig_enforce", "N\n");
    guest.set("proc/sys/kernel/tainted", "8192\n");
    let report = guest.report();
    assert_eq!((report.enforces(), report.taint), (Some(false), Some(8192)));
    assert_eq!((report.refused.count, report.unsigned.count), (0, 1));
    assert_eq!(report.unsigned.modules, ["dummy"]);
    assert_eq!(report.unsigned.first_s, Some(8));
}

#[test]
fn what_was_seen_stays_until_the_next_boot() {
    let mut guest = Guest::booted("a", "6,0,0,-;Linux version 6.1\n");
    assert_eq!((guest.report().refused.count, guest.report().log), (0, KernelLogRead::Whole));
    guest.say(1, "rootkit: loading of unsigned module is rejected");
    guest.say(2, "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7");
    let report = guest.report();
    assert_eq!((report.refused.count, report.log), (2, KernelLogRead::Whole));
    assert_eq!(
        (&report.refused.modules[..], &report.refused.processes[..]),
        (&["rootkit".to_owned()][..], &["modprobe".to_owned()][..])
    );
    assert_eq!(report.refused.last_s, Some(99));
    assert_eq!(guest.report(), report, "nothing new, nothing else");

    // The agent is started again and finds the same records: they are not counted twice.
    guest.restart();
    assert_eq!(guest.report(), report);
    // The ring turned over: what was seen is known, and that something may be missing too.
    guest.restart();
    guest.set("dev/kmsg", "6,900,0,-;later\n");
    let turned = guest.report();
    assert_eq!(turned, KernelReport { log: KernelLogRead::Partial, ..report.clone() });
    // The log may not be read any more.
    guest.restart();
    fs::remove_file(guest.dir.path().join("root/dev/kmsg")).unwrap();
    assert_eq!(guest.report(), KernelReport { log: KernelLogRead::Unreadable, ..report });

    // Another boot begins with nothing.
    guest.restart();
    guest.set("proc/sys/kernel/random/boot_id", "b");
    guest.set("dev/kmsg", "6,0,0,-;Linux version 6.1\n");
    let next = guest.report();
    assert_eq!((next.refused.count, next.log), (0, KernelLogRead::Whole));
}

#[test]
fn a_log_whose_start_is_gone_is_a_part() {
    let report = Guest::booted("a", "6,7,0,-;x\n5,8,0,-;Loading of unsigned module is rejected\n").report();
    assert_eq!((report.refused.count, report.log), (1, KernelLogRead::Partial));
    let report = Guest::booted("a", "6,0,0,-;x\n5,2,0,-;y\n").report();
    assert_eq!(report.log, KernelLogRead::Partial);
}

#[test]
fn without_the_name_of_the_boot_nothing_is_carried_over() {
    let mut guest = Guest::new();
    guest.set("dev/kmsg", "5,0,0,-;Loading of unsigned module is rejected\n");
    assert_eq!(guest.report().refused.count, 1);
    assert_eq!(guest.report().refused.count, 1, "the same process goes on");
    guest.restart();
    guest.set("dev/kmsg", "5,0,0,-;nothing\n");
    assert_eq!(guest.report().refused.count, 0);
}

#[test]
fn what_cannot_be_read_is_not_known() {
    let mut guest = Guest::new();
    assert_eq!(guest.kernel.report(&guest.state), None, "another system");
    guest.set("proc/sys/kernel/tainted", "12288\n");
    let report = guest.report();
    assert_eq!((report.lockdown, report.module_signatures_enforced, report.enforces()), (None, None, None));
    assert_eq!((report.taint, report.log), (Some(12288), KernelLogRead::Unreadable));
    for (text, bits) in
        [("18446744073709551615", Some(0x3002)), ("-1", None), ("", None), ("x", None), ("1", Some(0))]
    {
        assert_eq!(taint(text), bits, "{text}");
    }
    for (text, level) in [
        ("none [integrity] confidentiality", Some(LockdownLevel::Integrity)),
        ("[none] integrity confidentiality", Some(LockdownLevel::None)),
        ("none integrity [confidentiality]", Some(LockdownLevel::Confidentiality)),
        ("none integrity confidentiality", None),
        ("[none] [integrity]", None),
        ("[other]", None),
        ("[integrity", None),
        ("integrity", None),
        ("[]", None),
        ("", None),
    ] {
        assert_eq!(lockdown(text), level, "{text}");
    }
    assert_eq!((flag("Y"), flag("N"), flag("1"), flag("")), (Some(true), Some(false), None, None));
}

#[test]
fn a_broken_state_file_and_a_hostile_log_are_no_trouble() {
    let mut guest = Guest::booted("a", "");
    fs::write(guest.dir.path().join("state/kernel.json"), "{\"next\":").unwrap();
    assert_eq!(guest.kernel.report(&guest.state).map(|r| r.log), Some(KernelLogRead::Whole));
    let mut text = String::new();
    for n in 0..10_000 {
        text.push_str(&format!("5,{n},0,-;m\\x1b{n}: loading of unsigned module is rejected\n"));
    }
    text.push_str("5,18446744073709551615,0,-;Loading of unsigned module is rejected\n");
    guest.set("dev/kmsg", &text);
    let report = guest.report();
    assert_eq!((report.refused.count, report.refused.modules.len()), (10_001, 8));
    assert!(serde_json::to_string(&report).unwrap().len() < 2048);
}
