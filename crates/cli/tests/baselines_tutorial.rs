//! docs/baselines.md, run as it stands: each command of the page with the real binary, against a real service, and the
//! machines that it tells of as guests with software TPMs that measure captured boots.
//!
//! Stage directions are comments of the page:
//! `boot NAME…: VARIANT [+ initrd.img]` boots members and lets them attest; `says: TEXT` and `exit N: WHY` are about the
//! block before; `append FILE` gives the next block of TOML to a file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "../../service/tests/agent_support/mod.rs"]
mod agent_support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use agent_support::captured::Captured;
use agent_support::operator::Operator;
use agent_support::{Guest, World};
use veriboot_store::api_tokens::Role;
use veriboot_testkit::corpus;

/// One thing that the page does, with its line.
#[derive(Debug)]
enum Step {
    Run(Vec<String>),
    Toml(String),
    Boot(Vec<String>, String),
    Says(String),
    Exit(i32),
    Append(String),
}

fn steps(page: &str) -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").collect();
            let step = match language {
                "sh" => Step::Run(block.iter().map(|line| (*line).to_owned()).collect()),
                "toml" => Step::Toml(block.join("\n")),
                other => panic!("line {}: a block of {other:?}", at + 1),
            };
            steps.push((at + 1, step));
        } else if let Some(direction) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
            let step = match direction.split_once(' ').unwrap() {
                ("boot", rest) => {
                    let (names, variant) = rest.split_once(": ").unwrap();
                    Step::Boot(names.split(' ').map(str::to_owned).collect(), variant.to_owned())
                }
                ("says:", text) => Step::Says(text.to_owned()),
                ("exit", rest) => Step::Exit(rest.split_once(':').unwrap().0.parse().unwrap()),
                ("append", file) => Step::Append(file.to_owned()),
                (other, _) => panic!("line {}: {other:?}", at + 1),
            };
            steps.push((at + 1, step));
        }
    }
    steps
}

/// The machines, the service, and the folder of the operator.
struct Stage<'w> {
    world: &'w World,
    guests: BTreeMap<String, Guest>,
    join_token: String,
    folder: tempfile::TempDir,
}

impl Stage<'_> {
    fn boot(&mut self, name: &str, variant: &str) {
        let (variant, initrd) = match variant.split_once(" + ") {
            Some((variant, file)) => (variant, Some(file)),
            None => (variant, None),
        };
        let mut boot = Captured::named(variant);
        if let Some(file) = initrd {
            let before =
                hex::decode(corpus::golden(variant).unwrap().meta["sha256"]["initrd"].as_str().unwrap());
            let (before, after) = (before.unwrap(), sha256sum(&self.folder.path().join(file)));
            boot = boot.with(|event| {
                if event.digest == before {
                    event.digest.clone_from(&after);
                }
            });
        }
        let guest = self
            .guests
            .entry(name.to_owned())
            .or_insert_with(|| self.world.guest(name, Some(&self.join_token)));
        boot.boot(guest);
        guest.attest();
        std::fs::write(self.folder.path().join(format!("{name}.log")), guest.log()).unwrap();
    }

    fn run(&self, operator: &Operator, line: &str) -> (i32, String) {
        let out = Command::new("sh")
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env("PATH", path_with(Path::new(env!("CARGO_BIN_EXE_veriboot")).parent().unwrap()))
            .env("COLUMNS", "200")
            .env("VERIBOOT_SERVER", self.world.url())
            .env("VERIBOOT_CA", self.world.ca_file())
            .env("VERIBOOT_TOKEN", operator.token())
            .env_remove("VERIBOOT_TOKEN_FILE")
            .env("VERIBOOT_CLI_CONFIG", self.folder.path().join("none.toml"))
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The only open proposal.
    fn proposal(operator: &Operator) -> String {
        let open = operator.get("/v1/proposals?state=open");
        let open = open["items"].as_array().unwrap();
        assert_eq!(open.len(), 1, "{open:#?}");
        open[0]["id"].as_str().unwrap().to_owned()
    }
}

/// By coreutils: what GRUB would measure, and not by our own code.
fn sha256sum(file: &Path) -> Vec<u8> {
    let out = Command::new("sha256sum").arg(file).output().unwrap();
    hex::decode(&out.stdout[..64]).unwrap()
}

fn path_with(folder: &Path) -> std::ffi::OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&others))).unwrap()
}

#[test]
fn the_page_is_true() {
    let page = include_str!("../../../docs/baselines.md");
    let world = World::sqlite();
    let operator = Operator::with_role(&world, "ann", Role::Admin);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("initrd.img"), b"a newer initrd, made by a pipeline").unwrap();
    let join_token = world.join_token(Some("web"), 3);
    let mut stage = Stage { world: &world, guests: BTreeMap::new(), join_token, folder };
    let steps = steps(page);
    let (mut said, mut commands, mut append) = (String::new(), 0, None);
    for (at, (line, step)) in steps.iter().enumerate() {
        match step {
            Step::Boot(names, variant) => names.iter().for_each(|name| stage.boot(name, variant)),
            Step::Append(file) => append = Some(file),
            Step::Toml(block) => {
                let file = stage.folder.path().join(append.take().expect("a file for this block"));
                let before = std::fs::read_to_string(&file).unwrap();
                std::fs::write(file, format!("{before}\n{block}\n")).unwrap();
            }
            Step::Run(block) => {
                let wanted = steps[at + 1..]
                    .iter()
                    .take_while(|(_, s)| !matches!(s, Step::Run(_) | Step::Toml(_)))
                    .find_map(|(_, s)| if let Step::Exit(code) = s { Some(*code) } else { None });
                said.clear();
                for (n, command) in block.iter().enumerate() {
                    assert!(command.starts_with("veriboot "), "line {line}: {command}");
                    let last = n + 1 == block.len();
                    let real = match command.contains("PROPOSAL") {
                        true => command.replace("PROPOSAL", &Stage::proposal(&operator)),
                        false => command.clone(),
                    };
                    let (code, text) = stage.run(&operator, &real);
                    let expected = if last { wanted.unwrap_or(0) } else { 0 };
                    assert_eq!(code, expected, "line {line}: `{real}`\n{text}");
                    said.push_str(&text);
                    commands += 1;
                }
            }
            Step::Says(text) => assert!(said.contains(text), "line {line}: {text:?} is not in\n{said}"),
            Step::Exit(_) => {}
        }
    }
    assert!(commands > 30, "the page has {commands} commands only");
}
