//! `cargo xtask boot`: one machine, to see whether the lab works on this host.

use std::time::Duration;

use anyhow::Result;
use veriboot_testkit::vm::{BootChain, Capture, Job, Lab, LabOptions, MachineBuilder};

use crate::steps::Steps;

/// Arguments of `boot`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Boot with Secure Boot off
    #[arg(long)]
    no_secure_boot: bool,
    /// Cache folder [default: .cache of the repository]
    #[arg(long)]
    cache: Option<std::path::PathBuf>,
    /// How often to boot it
    #[arg(long, default_value_t = 1)]
    times: u32,
}

/// Boots the machine.
pub fn run(arguments: &Arguments) -> Result<()> {
    let steps = Steps::start();
    let cache = match &arguments.cache {
        Some(folder) => folder.clone(),
        None => crate::root()?.join(".cache"),
    };
    let lab = Lab::prepare(&cache.join("lab"), LabOptions::default(), &mut |what| steps.say("lab", what))?;
    steps.say("lab", &format!("{}: {}", lab.accel, lab.accel_because));
    let initrd = lab.initramfs(&lab.kernel, &[], "")?;
    let chain = BootChain::ShimGrub { kernel: lab.kernel.image.clone(), initrd };
    let machine = MachineBuilder::new(&lab, "try", chain)
        .secure_boot(!arguments.no_secure_boot)
        .build(&cache.join("try"))?;
    for _ in 0..arguments.times {
        steps.say("try", "boots");
        let report = machine.run(&Job::new().capture(), Duration::from_secs(240), &mut |_| true)?;
        let capture = Capture::of(&report)?;
        steps.say("try", &format!("event log of {} bytes", capture.event_log.len()));
        for (bank, values) in &capture.pcrs {
            for (index, value) in values.iter().filter(|(index, _)| **index < 16) {
                println!("{bank} {index:2} {value}");
            }
        }
    }
    println!("console: {}", machine.console().display());
    Ok(())
}
