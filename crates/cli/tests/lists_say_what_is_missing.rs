//! Lists that are cut off say so, also as CSV, and one in which nothing matches says that, not that there is nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod serve;

use std::process::{Command, Stdio};

use serve::Service;

/// Standard output and standard error of a command that succeeds.
#[track_caller]
fn told(service: &Service, arguments: &[&str]) -> (String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_veriboot"))
        .args(arguments)
        .current_dir(&service.folder)
        .env("VERIBOOT_SERVER", &service.url)
        .env("VERIBOOT_CA", service.ca())
        .env("VERIBOOT_TOKEN", service.admin_token())
        .env("VERIBOOT_CLI_CONFIG", service.folder.join("none"))
        .env("COLUMNS", "200")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", text(&out.stderr));
    (text(&out.stdout), text(&out.stderr))
}

#[test]
fn lists_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let says = |arguments: &[&str], part: &str| {
        let (out, _) = told(&service, arguments);
        assert!(out.contains(part), "{part:?} is missing after {arguments:?}\n{out}");
    };
    says(&["inventory", "list"], "`veriboot inventory sync");
    says(&["inventory", "list", "--all"], "`veriboot inventory sync");
    says(&["inventory", "changes"], "nothing changed yet");
    says(&["posture"], "nothing was assessed yet");

    let vms: String = (0..3).map(|n| format!("[[vms]]\nname = \"vm-{n}\"\ngroup = \"shop\"\n")).collect();
    std::fs::write(folder.path().join("fleet.toml"), format!("format = \"veriboot-inventory/1\"\n{vms}"))
        .unwrap();
    told(&service, &["inventory", "sync", "--source", "lab", "fleet.toml"]);
    says(&["inventory", "list", "--group", "nope"], "no VMs match");
    says(&["inventory", "changes", "--source", "nope"], "no changes match");
    says(&["posture", "--group", "nope"], "nothing was assessed in group nope");

    let show = ["recommendation", "show", "vtpm-enabled", "--group", "nope"];
    says(&show, "it applies to nothing here");
    says(&["inventory", "sources", "add", "lba"], "nothing was synced to it yet");
    says(
        &["inventory", "sources", "set", "lab", "--group", "shop"],
        "source lab is in use: format recognised, group shop",
    );

    let (csv, said) = told(&service, &["inventory", "list", "--csv", "--limit", "2"]);
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert_eq!(said, "… more than 2 VMs: raise --limit or filter\n");
    let (csv, said) = told(&service, &["inventory", "list", "--csv", "--limit", "3"]);
    assert_eq!((csv.lines().count(), said.as_str()), (4, ""), "{csv}");
    let (csv, said) = told(&service, &["alert", "list", "--csv"]);
    assert_eq!((csv.lines().count(), said.as_str()), (1, ""), "{csv}");

    // The audit log by who, what, on what and when.
    says(&["audit", "list", "--actor", "nobody"], "no entries match");
    says(&["audit", "list", "--action", "inventory.*", "--from", "1h"], "inventory.source.put");
    says(&["audit", "list", "--until", "1h"], "no entries match");
    says(&["audit", "list", "--target", "lba", "--actor", "admin"], "inventory.source.put");
    let (csv, said) = told(&service, &["audit", "list", "--csv", "--limit", "1"]);
    assert!(csv.starts_with("sequence,at,actor,action,target,detail,hash\r\n"), "{csv}");
    assert_eq!((csv.lines().count(), said.as_str()), (2, "… more than 1 entry: raise --limit or filter\n"));

    // Every row of every list has the cells of its header.
    told(&service, &["maintenance", "declare", "--group", "shop", "--for", "1h", "-m", "patch, then boot"]);
    told(&service, &["notify", "target", "add", "out", "--kind", "ocsf", "--file", "out.json"]);
    told(&service, &["monitoring", "disable", "--group", "lab"]);
    for (list, rows) in [
        ("audit list", 4),
        ("inventory changes", 3),
        ("inventory list", 3),
        ("inventory unlisted", 0),
        ("maintenance list", 1),
        ("notify deliveries", 0),
        ("proposal list", 0),
        ("recommendation list", 0),
        ("scale-set list", 0),
    ] {
        let (csv, _) = told(&service, &[&list.split(' ').collect::<Vec<_>>()[..], &["--csv"]].concat());
        // Commas of cells are between quotes.
        let cells = |line: &str| {
            let bare: Vec<&str> = line.split('"').step_by(2).collect();
            bare.concat().matches(',').count()
        };
        let counts: Vec<usize> = csv.lines().map(cells).collect();
        assert!(counts.len() > rows, "{list}: {csv}");
        assert!(counts.iter().all(|count| *count == counts[0]), "{list}: {csv}");
    }
}
