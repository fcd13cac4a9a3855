//! What a change of a baseline or a profile came to, for people.

use veriboot_wire::{BaselineChanged, Reappraisal};

use crate::error::CliError;
use crate::output::{Output, safe};

/// Says which version judges now, and how far the VMs are judged again.
pub fn show(changed: &BaselineChanged, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(changed);
    }
    if let Some(baseline) = &changed.baseline {
        let judges = if changed.changed { "judges from now on" } else { "judges already: nothing changed" };
        out.line(&format!("{}@{} {judges}", safe(&baseline.name), baseline.version))?;
    }
    for flaw in &changed.flaws {
        out.line(&format!("accepted weakness [{}]: {}", safe(&flaw.code), safe(&flaw.message)))?;
    }
    changed.reappraisal.iter().try_for_each(|reappraisal| out.line(&progress(reappraisal)))
}

/// `12 of 12 VMs are judged again, 3 of them turned`.
pub fn progress(r: &Reappraisal) -> String {
    let vms = if r.vms == 1 { "VM is" } else { "VMs are" };
    let mut text = format!("{} of {} {vms} judged again, {} turned", r.done.min(r.vms), r.vms, r.turned);
    if r.failed > 0 {
        text.push_str(&format!(", {} could not be judged", r.failed));
    }
    if r.finished_at.is_none() {
        text.push_str(&format!("; the rest follows: `veriboot baseline progress {}`", r.id));
    }
    text
}
