//! `veriboot scale-set show`.

use clap::Args;
use veriboot_wire::{BootGroup, ScaleSetDetail, counted};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Tone, safe, short, status_tone};

/// One scale set.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Name of the scale set
    scale_set: String,
    /// Its group
    #[arg(long, default_value = "default")]
    group: String,
}

/// Runs it.
pub fn run(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let path = format!("/v1/scale-sets/{}/{}", segment(&args.group), segment(&args.scale_set));
    let detail: ScaleSetDetail = client.get(&path, &[])?;
    if out.json {
        return out.print_json(&detail);
    }
    let set = &detail.set;
    out.line(&format!("{}  {}", safe(&set.name), out.paint(set.worst.as_str(), status_tone(set.worst))))?;
    out.sentence("", &safe(&detail.summary))?;
    out.line("")?;
    out.fields(&[
        ("group", safe(&set.group)),
        ("members", set.members.to_string()),
        ("healthy", format!("{} of {}", set.healthy, set.members)),
        ("compared", format!("{} (members whose present boot is known and believed)", set.compared)),
        ("different boots", set.boots.to_string()),
    ])?;
    for group in &detail.groups {
        out.line("")?;
        one(group, set.odd > 0, out)?;
    }
    if detail.more_groups > 0 {
        out.line(&format!("\n… and {}", counted(detail.more_groups, "more group")))?;
    }
    Ok(())
}

fn one(group: &BootGroup, odd: bool, out: Output) -> Result<(), CliError> {
    let role = match (group.majority, odd) {
        (true, _) => out.paint("most members", Tone::Good),
        (false, true) => out.paint("odd", Tone::Bad),
        (false, false) => "a group".to_owned(),
    };
    let boot = short(&group.boot_key);
    out.line(&format!("{role}: {}, boot {boot}", counted(group.size, "member")))?;
    let names: Vec<String> = group.members.iter().map(|m| safe(&m.vm_name)).collect();
    let listed = u64::try_from(names.len()).unwrap_or(u64::MAX);
    let more = match group.size.saturating_sub(listed) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    out.sentence("  ", &format!("{}{more}", names.join(", ")))?;
    out.findings(&group.differences)
}
