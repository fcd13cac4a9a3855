//! Pages of documentation, run as they stand: each command with the real binary against a real service, and the machines
//! that a page tells of as guests with software TPMs that measure captured boots.
//!
//! Stage directions are comments of the page:
//! `boot NAME…: VARIANT [+ initrd.img]` boots machines and lets them attest; `says: TEXT`, `does not say: TEXT` and
//! `exit N: WHY` are about the block before; `file NAME` and `append NAME` give the next block to a file; any other is the
//! test's own.
#![allow(dead_code)] // each test binary uses its part of this

pub mod exports;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::agent_support::captured::Captured;
use super::agent_support::operator::Operator;
use super::agent_support::{Guest, World};
use veriboot_testkit::corpus;

/// One thing that a page does.
#[derive(Debug)]
enum Step {
    /// Commands.
    Run(Vec<String>),
    /// A block of another language than the shell.
    Text(String),
    Boot(Vec<String>, String),
    Says(String),
    Silent(String),
    Exit(i32),
    File(String),
    Append(String),
    /// A word, and what follows it.
    Own(String, String),
}

/// The steps of a page, with their lines.
fn steps(page: &str) -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").collect();
            let step = match language {
                "sh" => Step::Run(block.iter().map(|line| (*line).to_owned()).collect()),
                _ => Step::Text(block.join("\n")),
            };
            steps.push((at + 1, step));
        } else if let Some(direction) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
            let (word, rest) = direction.split_once(' ').unwrap_or((direction, ""));
            let step = match word {
                "boot" => {
                    let (names, variant) = rest.split_once(": ").unwrap();
                    Step::Boot(names.split(' ').map(str::to_owned).collect(), variant.to_owned())
                }
                "says:" => Step::Says(rest.to_owned()),
                "does" => Step::Silent(rest.strip_prefix("not say: ").unwrap().to_owned()),
                "exit" => Step::Exit(rest.split_once(':').unwrap().0.parse().unwrap()),
                "file" => Step::File(rest.to_owned()),
                "append" => Step::Append(rest.to_owned()),
                other => Step::Own(other.to_owned(), rest.to_owned()),
            };
            steps.push((at + 1, step));
        }
    }
    steps
}

/// What a word in capitals of a command stands for, asked when the command is run.
pub type Meaning<'w> = Box<dyn Fn(&Operator) -> String + 'w>;

/// The machines, the service, and the folder of the operator.
pub struct Stage<'w> {
    pub world: &'w World,
    pub operator: &'w Operator,
    pub guests: BTreeMap<String, Guest>,
    /// For guests that are not enrolled yet.
    pub join_token: Box<dyn Fn(&str) -> String + 'w>,
    /// What a word in capitals of a command stands for.
    pub words: Vec<(&'static str, Meaning<'w>)>,
    pub folder: tempfile::TempDir,
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
        let (world, join_token) = (self.world, &self.join_token);
        let guest = (self.guests.entry(name.to_owned()))
            .or_insert_with(|| world.guest(name, Some(&join_token(name))));
        boot.boot(guest);
        guest.attest();
        std::fs::write(self.folder.path().join(format!("{name}.log")), guest.log()).unwrap();
    }

    fn run(&self, line: &str) -> (i32, String) {
        let out = Command::new("sh")
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env("PATH", path_with(Path::new(env!("CARGO_BIN_EXE_veriboot")).parent().unwrap()))
            .env("COLUMNS", "200")
            .env("VERIBOOT_SERVER", self.world.url())
            .env("VERIBOOT_CA", self.world.ca_file())
            .env("VERIBOOT_TOKEN", self.operator.token())
            .env_remove("VERIBOOT_TOKEN_FILE")
            .env("VERIBOOT_CLI_CONFIG", self.folder.path().join("none.toml"))
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Plays a page and says how many commands it has. `own` does what the directions of this page alone mean.
    pub fn play(&mut self, page: &str, mut own: impl FnMut(&mut Self, &str, &str)) -> usize {
        let steps = steps(page);
        let (mut said, mut commands) = (String::new(), 0);
        let (mut file, mut append) = (None, None);
        for (at, (line, step)) in steps.iter().enumerate() {
            match step {
                Step::Boot(names, variant) => names.iter().for_each(|name| self.boot(name, variant)),
                Step::File(name) => file = Some(name),
                Step::Append(name) => append = Some(name),
                Step::Text(block) => {
                    let (name, before) = match (file.take(), append.take()) {
                        (Some(name), _) => (name, String::new()),
                        (None, Some(name)) => {
                            (name, std::fs::read_to_string(self.folder.path().join(name)).unwrap() + "\n")
                        }
                        (None, None) => continue,
                    };
                    std::fs::write(self.folder.path().join(name), format!("{before}{block}\n")).unwrap();
                }
                Step::Run(block) => {
                    let about = |s: &Step| match s {
                        Step::Exit(code) => Some(*code),
                        _ => None,
                    };
                    let wanted = (steps[at + 1..].iter())
                        .take_while(|(_, s)| !matches!(s, Step::Run(_) | Step::Text(_)))
                        .find_map(|(_, s)| about(s));
                    said.clear();
                    for (n, command) in block.iter().enumerate() {
                        assert!(command.contains("veriboot "), "line {line}: {command}");
                        let last = n + 1 == block.len();
                        let real = self.real(command);
                        let (code, text) = self.run(&real);
                        let expected = if last { wanted.unwrap_or(0) } else { 0 };
                        assert_eq!(code, expected, "line {line}: `{real}`\n{text}");
                        said.push_str(&text);
                        commands += 1;
                    }
                }
                Step::Says(text) => assert!(said.contains(text), "line {line}: {text:?} is not in\n{said}"),
                Step::Silent(text) => assert!(!said.contains(text), "line {line}: {text:?} is in\n{said}"),
                Step::Exit(_) => {}
                Step::Own(word, rest) => own(self, word, rest),
            }
        }
        commands
    }

    fn real(&self, command: &str) -> String {
        let mut real = command.to_owned();
        for (word, meaning) in &self.words {
            if real.split(|c: char| !c.is_ascii_uppercase() && c != '_').any(|w| w == *word) {
                real = real.replace(word, &meaning(self.operator));
            }
        }
        real
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
