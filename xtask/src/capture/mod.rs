//! `cargo xtask capture`: boots variants of a machine and saves what firmware, TPM and agent say as golden
//! files. PCR values come from the TPM, digests of files from coreutils and virt-firmware: nothing here is our own
//! opinion.

mod parts;
mod program;
mod uboot;
mod variants;
mod windows;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use veriboot_testkit::vm::{Capture, Job, Lab, LabOptions, Report, tool_version};

use self::parts::Parts;
use self::variants::{Chain, RunTime, VARIANTS, Variant};
use crate::build;
use crate::steps::Steps;

const LIMIT: Duration = Duration::from_secs(300);
/// PCR that a process of the guest extends in the variant `runtime-extend`.
const EXTENDED_PCR: u8 = 9;

/// Arguments of `capture`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these variants, with the keys of the capture before
    variants: Vec<String>,
    /// Folder of the golden files
    #[arg(long, default_value = "crates/testkit/corpus")]
    output: PathBuf,
    /// Save logs and PCR values only, without the agent
    #[arg(long)]
    no_quotes: bool,
    /// This static agent instead of one that is built now
    #[arg(long, conflicts_with = "no_quotes")]
    agent: Option<PathBuf>,
    /// Machines that run at once
    #[arg(long, default_value_t = 2)]
    at_once: usize,
    /// Show the variants and end
    #[arg(long)]
    list: bool,
}

/// Boots all variants and writes their golden files.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for variant in VARIANTS {
            println!("{:<22} {}", variant.name, variant.about);
        }
        println!("{:<22} {}", uboot::NAME, uboot::ABOUT);
        return Ok(());
    }
    let root = crate::root()?;
    let steps = Steps::start();
    for name in &arguments.variants {
        if name != uboot::NAME && !VARIANTS.iter().any(|variant| variant.name == name) {
            bail!("no variant {name}; `cargo xtask capture --list` shows them");
        }
    }
    let all = arguments.variants.is_empty();
    let chosen = VARIANTS.iter().filter(|v| all || arguments.variants.iter().any(|name| name == v.name));
    let agent = match &arguments.agent {
        _ if arguments.no_quotes => None,
        Some(agent) => Some(agent.clone()),
        None => Some(build::agent(&root, &|what| steps.say("build", what))?),
    };
    let lab = Lab::prepare(&root.join(".cache/lab"), LabOptions { variants: true }, &mut |what| {
        steps.say("lab", what);
    })?;
    let session =
        Session { lab, agent, work: root.join(".cache/capture"), output: root.join(&arguments.output) };
    if all && session.work.exists() {
        fs::remove_dir_all(&session.work)?;
    }
    let queue = Mutex::new(chosen);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.at_once.max(1) {
            scope.spawn(|| {
                while let Some(variant) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                    steps.say(variant.name, "boots");
                    match session.capture(variant) {
                        Ok(summary) => steps.say(variant.name, &summary),
                        Err(error) => {
                            steps.say(variant.name, "FAILED");
                            if let Ok(mut failures) = failures.lock() {
                                failures.push(format!("{}: {error:#}", variant.name));
                            }
                        }
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_default();
    if (all || arguments.variants.iter().any(|name| name == uboot::NAME))
        && let Err(error) = session.capture_uboot(&steps)
    {
        failures.push(format!("{}: {error:#}", uboot::NAME));
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n\n"));
    }
    Ok(())
}

struct Session {
    lab: Lab,
    agent: Option<PathBuf>,
    work: PathBuf,
    output: PathBuf,
}

impl Session {
    fn capture(&self, variant: &Variant) -> Result<String> {
        let mut parts = Parts::new(&self.lab, variant, &self.work)?;
        let mut builder = parts.machine()?;
        if let Some(agent) = &self.agent {
            builder = builder.state_file(agent.clone());
        }
        let machine = builder.build(&self.work.join(variant.name))?;
        let report = machine.run(&self.job(variant), LIMIT, &mut |_| true)?;
        let capture = Capture::of(&report)?;
        for program in ["qemu-system-x86_64", "swtpm"] {
            parts.packages.insert(program.to_owned(), tool_version(program).unwrap_or_default());
        }
        let meta = json!({
            "variant": variant.name,
            "about": variant.about,
            "secure_boot": variant.keys && !variant.edits.contains(&variants::Edit::SecureBootOff),
            "cmdline": if variant.chain == Chain::SystemdBoot {
                veriboot_testkit::vm::cmdline_with(variant.cmdline)
            } else {
                machine.cmdline().to_owned()
            },
            "banks": variant.banks.split(',').collect::<Vec<_>>(),
            "nonce": nonce(variant.name),
            "sha256": parts.sha256,
            "authenticode": parts.authenticode,
            "packages": parts.packages,
        });
        let folder = self.output.join(variant.name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("eventlog.bin"), &capture.event_log)?;
        write_json(&folder.join("pcrs.json"), &serde_json::to_value(&capture.pcrs)?)?;
        write_json(&folder.join("meta.json"), &meta)?;
        if self.agent.is_some() {
            write_json(&folder.join("bundle.json"), &evidence(&report, "evidence")?)?;
        }
        match variant.run_time {
            RunTime::Quiet => {}
            RunTime::Extend => {
                let later = Capture::of_step(&report, "-later")?;
                if later.event_log != capture.event_log {
                    bail!("the event log changed within one boot");
                }
                write_json(&folder.join("pcrs-later.json"), &serde_json::to_value(&later.pcrs)?)?;
                if self.agent.is_some() {
                    write_json(&folder.join("bundle-later.json"), &evidence(&report, "evidence-later")?)?;
                }
            }
            RunTime::Ima => {
                for file in ["ima.bin", "ima.ascii"] {
                    fs::write(folder.join(file), report.file(file)?)?;
                }
            }
        }
        Ok(format!("event log of {} bytes", capture.event_log.len()))
    }

    fn capture_uboot(&self, steps: &Steps) -> Result<()> {
        let place = uboot::Place {
            lab: &self.lab,
            agent: self.agent.as_deref(),
            work: &self.work,
            output: &self.output,
            nonce: &nonce(uboot::NAME),
        };
        let summary = place.capture(&|what| steps.say(uboot::NAME, what))?;
        steps.say(uboot::NAME, &summary);
        Ok(())
    }

    fn job(&self, variant: &Variant) -> Job {
        let quote = |job: Job, step: &str, nonce: &str| {
            if self.agent.is_none() {
                return job;
            }
            job.step(step, &format!("/state/veriboot-agent evidence --state-dir /tmp/agent --nonce {nonce}"))
        };
        let nonce = |suffix: &str| nonce(&format!("{}{suffix}", variant.name));
        match variant.run_time {
            RunTime::Quiet => quote(Job::new().capture(), "evidence", &nonce("")),
            RunTime::Extend => {
                let job = quote(Job::new().capture(), "evidence", &nonce(""));
                let job = job.extend(EXTENDED_PCR).capture_as("-later");
                quote(job, "evidence-later", &nonce("-later"))
            }
            // IMA measures the agent too: the list and the PCR values are read after it ran.
            RunTime::Ima => {
                quote(Job::new().busy_under_ima(), "evidence", &nonce("")).capture().capture_ima()
            }
        }
    }
}

/// What the agent wrote in a step.
fn evidence(report: &Report, step: &str) -> Result<Value> {
    if report.exit_of(step) != Some(0) {
        bail!("the agent gave no evidence\n{}", report.describe());
    }
    serde_json::from_slice(report.file(&format!("{step}.out"))?).context("the agent's evidence is not JSON")
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A recognisable nonce of 32 bytes, in hex.
fn nonce(variant: &str) -> String {
    let mut bytes = format!("veriboot capture {variant}").into_bytes();
    bytes.resize(32, b'.');
    hex::encode(bytes)
}
