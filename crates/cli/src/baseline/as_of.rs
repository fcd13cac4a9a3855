//! `veriboot baseline as-of`: what a change would do, before it is done.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veriboot_wire::{
    DocumentFormat, PreviewCounts, PreviewVm, ReappraisePreview, ReappraiseRequest, Verdict, counted,
};

use super::apply::format_of;
use super::scope::ScopeArgs;
use crate::client::Client;
use crate::context;
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Styled, Tone, safe, verdict_tone};

/// Arguments of `baseline as-of`.
#[derive(Args, Debug)]
pub struct AsOfArgs {
    /// A stored version: id, name or name@version
    #[arg(required_unless_present_any = ["document", "profile"], conflicts_with = "document")]
    baseline: Option<String>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// A document that is not applied yet
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// How the document is written, when its name does not say: json or toml
    #[arg(long, requires = "document")]
    format: Option<DocumentFormat>,
    /// Another profile, name or name@version [default: each VM's own]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The most VMs to look at
    #[arg(long, default_value_t = 10_000, value_name = "VMS")]
    limit: usize,
    /// Also list VMs that nothing changes for
    #[arg(long)]
    all: bool,
}

/// `baseline as-of --json`.
#[derive(Serialize)]
struct Answer {
    baseline: String,
    counts: PreviewCounts,
    vms: Vec<PreviewVm>,
    /// Whether there are VMs beyond `--limit`.
    more: bool,
}

/// Runs it. Exit code 1 when a VM would turn unhealthy.
pub fn run(args: AsOfArgs, client: &Client, out: Output) -> Result<u8, CliError> {
    let [vm, group, scale_set, image] = args.scope.parts()?;
    let document = args.document.as_deref().map(context::read).transpose()?;
    let mut request = ReappraiseRequest {
        baseline: args.baseline.clone(),
        format: args.document.as_deref().map(|path| format_of(path, args.format)),
        document,
        profile: args.profile.clone(),
        vm,
        group,
        scale_set,
        image,
        limit: None,
        cursor: None,
    };
    let mut answer =
        Answer { baseline: String::new(), counts: PreviewCounts::default(), vms: Vec::new(), more: false };
    let mut looked_at = 0_usize;
    loop {
        let room = args.limit.saturating_sub(looked_at).clamp(1, 100);
        request.limit = u32::try_from(room).ok();
        let page: ReappraisePreview = client.post("/v1/reappraise", &request)?;
        looked_at += page.vms.len().max(1);
        answer.baseline = page.baseline;
        add(&mut answer.counts, &page.counts);
        answer.vms.extend(page.vms.into_iter().filter(|vm| args.all || vm.before != vm.after));
        match page.next_cursor {
            Some(next) if looked_at < args.limit => request.cursor = Some(next),
            next => {
                answer.more = next.is_some();
                break;
            }
        }
    }
    if looked_at_nobody(&answer.counts) {
        // A name that is misspelt must not look like a change that harms nobody.
        return Err(CliError::usage("nothing-to-judge", "there is no VM in this scope")
            .hint("`veriboot vm list` and `veriboot scale-set list` show what there is"));
    }
    let worse = answer.counts.turn_unhealthy > 0;
    if out.json {
        out.print_json(&answer)?;
    } else {
        show(&answer, args.limit, out)?;
    }
    Ok(if worse { EXIT_NEGATIVE } else { 0 })
}

fn looked_at_nobody(c: &PreviewCounts) -> bool {
    c.stay_healthy + c.stay_unhealthy + c.turn_healthy + c.turn_unhealthy + c.without_evidence == 0
}

fn add(sum: &mut PreviewCounts, page: &PreviewCounts) {
    sum.stay_healthy += page.stay_healthy;
    sum.stay_unhealthy += page.stay_unhealthy;
    sum.turn_healthy += page.turn_healthy;
    sum.turn_unhealthy += page.turn_unhealthy;
    sum.without_evidence += page.without_evidence;
}

fn show(answer: &Answer, limit: usize, out: Output) -> Result<(), CliError> {
    let c = &answer.counts;
    out.line(&format!("Judged by {}, nothing is changed:", safe(&answer.baseline)))?;
    out.fields(&[
        ("stay healthy", c.stay_healthy.to_string()),
        ("turn healthy", out.paint(&c.turn_healthy.to_string(), Tone::Good)),
        ("turn unhealthy", out.paint(&c.turn_unhealthy.to_string(), Tone::Bad)),
        ("stay unhealthy", c.stay_unhealthy.to_string()),
        ("no evidence", c.without_evidence.to_string()),
    ])?;
    for vm in &answer.vms {
        out.line("")?;
        let word = |verdict: Option<Verdict>| match verdict {
            Some(verdict) => out.paint(verdict.as_str(), verdict_tone(verdict)),
            None => "-".to_owned(),
        };
        out.line(&format!("{}  {} → {}", safe(&vm.name), word(vm.before), word(vm.after)))?;
        if let Some(why) = &vm.without_evidence {
            out.line(&format!("  {}", safe(why)))?;
        }
        if !vm.appear.is_empty() {
            out.line("  new:")?;
            out.findings(&vm.appear)?;
        }
        let gone: Vec<Vec<Styled>> = vm.disappear.iter().map(|f| vec![f.message.as_str().into()]).collect();
        if !gone.is_empty() {
            out.table(&["  GONE"], gone, "")?;
        }
    }
    if answer.more {
        out.line(&format!("… more than {}: raise --limit", counted(limit, "VM")))?;
    }
    Ok(())
}
