//! Lists at 3 a.m.: on a narrow terminal nothing is wider than it and no id is cut; in a pipe a row is a line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../../service/tests/agent_support/mod.rs"]
mod agent_support;

use std::process::{Command, Output, Stdio};

use agent_support::World;
use agent_support::boot::Boot;
use agent_support::operator::Operator;
use serde_json::Value;
use veriboot_store::api_tokens::Role;

/// Every command that lists.
const LISTS: [&str; 32] = [
    "vm list",
    "vm show a-database-with-a-very-long-name-for-a-machine-0",
    "boot list a-database-with-a-very-long-name-for-a-machine-0",
    "alert list",
    "alert list --all",
    "alert list --suppressed",
    "incident list --all",
    "suppression list --all",
    "suppression simulate --alert-reason baseline-deviation",
    "maintenance list --all",
    "monitoring list",
    "posture",
    "posture --scale-sets",
    "recommendation list",
    "recommendation show secure-boot-enabled",
    "assessment list",
    "baseline list --all",
    "baseline history scale-set/default/the-shop-of-the-north-west-of-the-country",
    "baseline progress",
    "profile list",
    "profile assign",
    "profile show secure-boot-required --history",
    "proposal list --all",
    "scale-set list",
    "notify target list",
    "notify deliveries",
    "inventory list --all",
    "inventory unlisted",
    "inventory changes",
    "inventory sources list --all",
    "token list",
    "audit list",
];

struct Person<'w> {
    world: &'w World,
    token: String,
    folder: tempfile::TempDir,
}

impl Person<'_> {
    fn call(&self, columns: Option<usize>, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veriboot"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("VERIBOOT_SERVER", format!("https://{}", self.world.address()))
            .env("VERIBOOT_CA", self.world.ca_file())
            .env("VERIBOOT_TOKEN", &self.token)
            .env("VERIBOOT_CLI_CONFIG", self.folder.path().join("none"))
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        if let Some(columns) = columns {
            command.env("COLUMNS", columns.to_string());
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn says(&self, columns: Option<usize>, line: &str) -> String {
        let arguments: Vec<&str> = line.split(' ').collect();
        let out = self.call(columns, &arguments);
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The rows of a list, as programs see them.
    fn rows(&self, line: &str) -> Vec<Value> {
        match serde_json::from_str(&self.says(None, &format!("{line} --json"))).unwrap() {
            Value::Array(rows) => rows,
            other => panic!("{line}: {other}"),
        }
    }
}

/// Something of everything, with names as long as they may be.
fn a_bad_night(person: &Person<'_>) {
    let world = person.world;
    let set = "the-shop-of-the-north-west-of-the-country";
    let mut machines = Vec::new();
    for (name, set) in [
        ("a-database-with-a-very-long-name-for-a-machine-0", None),
        ("web-000123", Some(set)),
        ("web-000124", Some(set)),
    ] {
        let mut guest = world.guest(name, Some(&world.join_token(set, 1)));
        guest.boot(&Boot::default());
        guest.attest();
        guest.boot(&Boot { secure_boot: false, ..Boot::default() });
        guest.attest();
        machines.push(guest);
    }
    let vms: String = (0..3)
        .map(|n| format!("[[vms]]\nname = \"vm-of-the-inventory-{n}\"\ngroup = \"shop-of-the-north\"\nsecure_boot = \"off\"\n"))
        .collect();
    let fleet = format!("format = \"veriboot-inventory/1\"\n{vms}");
    std::fs::write(person.folder.path().join("fleet.toml"), fleet).unwrap();
    for line in [
        "inventory sync --source the-laboratory-of-the-north fleet.toml",
        "suppression create --vm web-000124 --alert-reason agent-silent --until 7d -m its-disk-is-replaced-on-tuesday",
        "maintenance declare --scale-set the-shop-of-the-north-west-of-the-country --for 2h -m kernel-updates-of-november",
        "monitoring disable --vm web-000124 -m its-disk-is-replaced-on-tuesday",
        "profile assign own-keys --vm web-000123 -m it-has-keys-of-its-own-since-it-was-made",
        "profile assign measured-only --vm web-000124",
        "token create --group shop-of-the-north --uses 3 -m for-the-machines-of-the-next-building",
        "notify target add the-pager-of-the-night-shift --kind webhook --url https://hooks.example.com/services/of/the/night",
    ] {
        person.says(None, line);
    }
}

/// The widest names of values.
const BESIDE: usize = 22;

fn is_command(line: &str) -> bool {
    let commands = veriboot_posture::checks().iter().flat_map(|check| &check.remediation.commands);
    commands.into_iter().any(|command| line.ends_with(&command.command))
}

#[test]
fn tables_fit_and_ids_stay_whole() {
    let world = World::sqlite();
    let operator = Operator::with_role(&world, "ann", Role::Admin);
    let token = operator.token().to_owned();
    let person = Person { world: &world, token, folder: tempfile::tempdir().unwrap() };
    a_bad_night(&person);
    let mut wide = Vec::new();
    for list in LISTS {
        for columns in [80, 120] {
            let said = person.says(Some(columns), list);
            println!("$ COLUMNS={columns} veriboot {list}\n{said}");
            for line in said.lines() {
                // A digest beside its name may be wider, and a command is not broken: both are copied.
                let last = line.rsplit(' ').next().unwrap_or_default();
                let whole = last.chars().count() + BESIDE > columns || is_command(line);
                if line.chars().count() > columns && !whole {
                    wide.push(format!("{list} at {columns}: {line}"));
                }
            }
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));

    for (list, id) in [
        ("alert list", "id"),
        ("suppression list", "id"),
        ("maintenance list", "id"),
        ("token list", "id"),
        ("incident list --all", "id"),
        ("proposal list --all", "id"),
        ("notify target list", "name"),
        ("vm list", "name"),
        ("baseline list", "name"),
        ("inventory sources list", "name"),
    ] {
        let rows = person.rows(list);
        for columns in [Some(44), Some(80), None] {
            let said = person.says(columns, list);
            for row in &rows {
                let id = row[id].as_str().unwrap();
                assert!(said.contains(id), "{id} is cut at {columns:?} in {list}\n{said}");
            }
            if columns.is_none() && !rows.is_empty() {
                let lines = said.lines().skip(2).filter(|line| !line.contains('`'));
                assert_eq!(lines.count(), rows.len(), "a row of {list} is a line\n{said}");
            }
        }
    }
}
