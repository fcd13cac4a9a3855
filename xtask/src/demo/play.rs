//! Boots the cast, two machines at a time.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use veriboot_testkit::service::Service;
use veriboot_testkit::swtpm::Swtpm;
use veriboot_testkit::vm::{AgentSetup, BootChain, Job, Lab, MachineBuilder, Report};

use super::cast::{Act, Place, Role};
use crate::steps::Steps;

/// Machines that run at once.
const AT_ONCE: usize = 2;
/// Longest time of one boot with its attestations.
const LIMIT: Duration = Duration::from_secs(240);

/// Everything that the machines share.
pub struct Stage<'a> {
    pub lab: &'a Lab,
    pub service: &'a Service,
    pub steps: &'a Steps,
    pub interrupted: &'a AtomicBool,
    pub initrd: PathBuf,
    pub machines: PathBuf,
    pub stranger: Swtpm,
    pub web_token: String,
    pub single_token: String,
}

impl Stage<'_> {
    /// Plays all roles; the first failure ends the demo.
    pub fn run(&self, cast: &[Role]) -> Result<()> {
        let queue = Mutex::new(cast.iter());
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(role) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                        if failure.lock().is_ok_and(|failure| failure.is_some()) {
                            return;
                        }
                        if let Err(error) = self.play(role)
                            && let Ok(mut failure) = failure.lock()
                        {
                            failure.get_or_insert(error);
                        }
                    }
                });
            }
        });
        failure.into_inner().ok().flatten().map_or(Ok(()), Err)
    }

    fn play(&self, role: &Role) -> Result<()> {
        let chain =
            BootChain::ShimGrub { kernel: self.lab.kernel.image.clone(), initrd: self.initrd.clone() };
        let mut machine = MachineBuilder::new(self.lab, role.name, chain)
            .secure_boot(role.secure_boot)
            .build(&self.machines.join(role.name))?;
        let setup = AgentSetup {
            port: self.service.port(),
            ca_fingerprint: self.service.ca_fingerprint(),
            join_token: match role.place {
                Place::Web => self.web_token.clone(),
                Place::Single => self.single_token.clone(),
            },
            name: role.name.to_owned(),
        };
        for act in role.acts {
            let secure_boot = if role.secure_boot { "on" } else { "off" };
            let how = match act {
                Act::Cmdline(words) => {
                    machine.rewrite_cmdline(words)?;
                    format!("boots again; its GRUB configuration now adds `{words}`")
                }
                _ => format!("boots, Secure Boot {secure_boot}"),
            };
            self.steps.say(role.name, &how);
            let mut told = 0;
            let report = machine.run(&self.job(*act, &setup), LIMIT, &mut |report| {
                told = self.tell(role.name, report, told);
                !self.interrupted.load(Ordering::Relaxed)
            })?;
            // 0 and 1 are verdicts; everything else means that there is none.
            for step in report.steps.iter().filter(|step| step.name.starts_with("attest")) {
                if !matches!(step.exit, Some(0 | 1)) {
                    bail!("the agent on {} gave no verdict\n{}", role.name, report.describe());
                }
            }
        }
        Ok(())
    }

    fn job(&self, act: Act, setup: &AgentSetup) -> Job {
        match act {
            Act::Honest | Act::Cmdline(_) => Job::new().attest("attest", setup, &[]),
            Act::EditedLog => {
                Job::new().edit_log().attest("attest-edited-log", setup, &["--event-log", "/tmp/edited-log"])
            }
            Act::OtherTpm => Job::new()
                .attest("attest", setup, &[])
                .interpose(self.stranger.addr().port())
                .attest("attest-other-tpm", setup, &["--tpm", "tcp:127.0.0.1:2321"]),
        }
    }

    /// Says what is new in a report; `told` counts what was said before.
    fn tell(&self, name: &str, report: &Report, told: usize) -> usize {
        let mut lines = Vec::new();
        if report.started {
            lines.push("Linux is up, the agent starts".to_owned());
        }
        for step in &report.steps {
            let Some(exit) = step.exit else { break };
            let what = match step.name.as_str() {
                "attest" => "attested",
                "attest-edited-log" => "attested with one byte of its event log changed",
                "attest-other-tpm" => "attested with quotes of another TPM",
                _ => continue,
            };
            let said = report.text(&format!("{}.out", step.name));
            let mut said = said.lines().map(str::trim).filter(|line| !line.is_empty());
            let verdict = said.next().map_or_else(|| format!("exit code {exit}"), str::to_owned);
            let why = said.next().map(|why| format!(": {}", why.trim_matches('"'))).unwrap_or_default();
            lines.push(format!("{what}: {verdict}{why}"));
        }
        for line in lines.iter().skip(told) {
            self.steps.say(name, line);
        }
        lines.len()
    }
}
