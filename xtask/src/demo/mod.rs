//! `cargo xtask demo`: six real machines boot, attest and are judged (README, "Two commands").

mod cast;
mod check;
mod play;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use veriboot_testkit::service::Service;
use veriboot_testkit::swtpm::Swtpm;
use veriboot_testkit::vm::{GuestFile, Lab, LabOptions};

use crate::build;
use crate::steps::Steps;

/// Arguments of `demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// End when all machines are judged, instead of keeping the service up until Ctrl-C
    #[arg(long, env = "ONCE", value_parser = clap::builder::FalseyValueParser::new())]
    once: bool,
    /// Run this service binary instead of building one
    #[arg(long, value_name = "FILE")]
    service: Option<PathBuf>,
}

/// Runs the demo.
pub fn run(arguments: &Arguments) -> Result<()> {
    let root = crate::root()?;
    let folder = root.join(".cache/demo");
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let building = Steps::start();
    let say = |what: &str| building.say("build", what);
    let service_binary = match &arguments.service {
        Some(binary) => binary.canonicalize().with_context(|| format!("no {}", binary.display()))?,
        None => build::service(&root, &say)?,
    };
    let agent = build::agent(&root, &say)?;
    building.say("build", "done");

    // The three minutes of the demo start here.
    let steps = Steps::start();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    let lab = Lab::prepare(&root.join(".cache/lab"), LabOptions::default(), &mut |what| {
        steps.say("lab", what);
    })?;
    steps.say("lab", &format!("QEMU with {} ({})", lab.accel, lab.accel_because));
    let mut service = Service::start(
        &service_binary,
        &folder.join("service"),
        // The machines are off when the demo is over; their verdicts stay to be looked at.
        &[("VERIBOOT_SILENCE_LIMIT_S", "86400")],
    )?;
    steps.say("service", &format!("answers at https://127.0.0.1:{}", service.port()));
    let environment = write_environment(&folder, &service)?;

    let files = [
        GuestFile { path: "bin/veriboot-agent".to_owned(), source: agent.clone() },
        GuestFile { path: "bin/veriboot-tpm-interposer".to_owned(), source: build::interposer(&agent) },
    ];
    let stage = play::Stage {
        initrd: lab.initramfs(&lab.kernel, &files, "")?,
        machines: folder.join("machines"),
        // The TPM that answers the quotes of web-3.
        stranger: Swtpm::start()?,
        web_token: service.join_token(&["--group", "demo", "--scale-set", "web", "--uses", "4"])?,
        single_token: service.join_token(&["--group", "demo", "--uses", "2"])?,
        lab: &lab,
        service: &service,
        steps: &steps,
        interrupted: &interrupted,
    };
    stage.run(cast::CAST)?;
    steps.say("demo", "all machines are judged");
    show(&service)?;
    let wrong = check::differences(&service, cast::CAST)?;
    if !wrong.is_empty() {
        bail!("the verdicts differ from what the demo promises:\n  {}", wrong.join("\n  "));
    }
    println!("\nAll six verdicts are as they should be.");
    if arguments.once {
        return service.stop();
    }
    invite(&environment, &service_binary, &alert_of(&service, "web-2")?);
    while !interrupted.load(Ordering::Relaxed) {
        if service.ended_within(Duration::from_millis(200))? {
            break;
        }
    }
    println!();
    if !service.ended_within(Duration::ZERO)? {
        service.stop()?;
    }
    println!("The service has stopped.");
    Ok(())
}

/// The tables that an operator would look at.
fn show(service: &Service) -> Result<()> {
    for arguments in [["vm", "list"], ["alert", "list"]] {
        println!("\n$ veriboot {}", arguments.join(" "));
        let status = service.cli(arguments).status().context("cannot start the CLI")?;
        if !status.success() {
            bail!("`veriboot {}` failed", arguments.join(" "));
        }
    }
    Ok(())
}

/// A file that sets up a shell for the demo's service.
fn write_environment(folder: &Path, service: &Service) -> Result<PathBuf> {
    let path = folder.join("env");
    let lines: String =
        service.environment().iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    fs::write(&path, lines)?;
    Ok(path)
}

/// The id of the open alert of a VM.
fn alert_of(service: &Service, vm: &str) -> Result<String> {
    let alerts = service.json(&["alert", "list", "--vm", vm])?;
    let id = alerts.pointer("/0/id").and_then(serde_json::Value::as_str);
    id.map(str::to_owned).with_context(|| format!("{vm} has no open alert"))
}

fn invite(environment: &Path, binary: &Path, alert: &str) {
    println!(
        "\nWhat to try next, in another terminal:\n\
         \x20   . {}\n\
         \x20   alias veriboot={}\n\
         \x20   veriboot vm show web-2           # the tampered machine: what changed, in plain words\n\
         \x20   veriboot boot diff web-2         # its good boot against its bad one\n\
         \x20   veriboot vm show db-0            # what to do about Secure Boot\n\
         \x20   veriboot alert show {alert}\n\
         \x20   veriboot baseline accept web-2 -m 'planned change'\n\n\
         The service stays up until Ctrl-C.",
        environment.display(),
        binary.display()
    );
}
