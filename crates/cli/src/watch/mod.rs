//! `veriboot watch`: what happens, as it happens.

mod frames;

use std::time::Duration;

use clap::Args;
use veriboot_wire::{Event, EventGap, Severity, VmDetail, counted};

use crate::client::{Client, segment};
use crate::error::{CliError, EXIT_UNREACHABLE};
use crate::output::{Output, Tone, nobody_reads, safe, severity_tone};
use crate::vm::NameArgs;
use frames::{Frame, Frames};

/// The longest wait before the stream is opened again.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Arguments of `veriboot watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Only events of this kind; alert.* for all that begin so; may be given several times
    #[arg(long, value_name = "KIND", alias = "event")]
    kind: Vec<String>,
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Only this severity and above: info, low, medium, high, critical
    #[arg(long)]
    severity: Option<Severity>,
    /// Only this VM, by id or name
    #[arg(long)]
    vm: Option<String>,
    /// Begin after this event [default: with what comes next]; 0 begins with the oldest that is kept
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// End after this many events
    #[arg(long, value_name = "EVENTS")]
    count: Option<u64>,
}

/// What ended a stream.
enum Ended {
    /// As many events as were asked for came.
    Enough,
    /// The connection ended; it is opened again.
    Broken,
}

struct Watch<'a> {
    client: &'a Client,
    out: Output,
    query: Vec<(&'static str, String)>,
    /// The last event that came: where the stream goes on.
    last: Option<u64>,
    left: Option<u64>,
}

/// Runs `veriboot watch`.
pub fn run(args: WatchArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query = Vec::new();
    if !args.kind.is_empty() {
        query.push(("kind", args.kind.join(",")));
    }
    query.extend(args.group.clone().map(|v| ("group", v)));
    query.extend(args.severity.map(|v| ("severity", v.to_string())));
    if let Some(vm) = args.vm {
        let group = NameArgs::query(args.group.as_ref());
        let vm: VmDetail = client.get(&format!("/v1/vms/{}", segment(&vm)), &group)?;
        query.push(("vm", vm.summary.id));
    }
    let mut watch = Watch { client, out, query, last: args.after, left: args.count };
    let mut wait = Duration::ZERO;
    let mut first = true;
    while watch.left != Some(0) {
        match watch.stream(&mut wait) {
            Ok(Ended::Enough) => return Ok(()),
            Ok(Ended::Broken) => {}
            // A service that is away comes back; one that refuses does not change its mind.
            Err(error) if first || error.exit != EXIT_UNREACHABLE || error.code == "untrusted-server" => {
                return Err(error);
            }
            Err(error) => eprintln!("{}; trying again", safe(&error.message)),
        }
        first = false;
        std::thread::sleep(wait);
        wait = (wait * 2).clamp(Duration::from_secs(1), MAX_WAIT);
    }
    Ok(())
}

impl Watch<'_> {
    fn stream(&mut self, wait: &mut Duration) -> Result<Ended, CliError> {
        let frames = Frames::new(self.client.stream("/v1/events", &self.query, self.last)?);
        for frame in frames {
            *wait = Duration::ZERO;
            let Frame { id, event, data } = frame;
            if event == "gap" {
                if let Ok(gap) = serde_json::from_str::<EventGap>(&data) {
                    let lost = gap.oldest.saturating_sub(gap.after).saturating_sub(1);
                    let lost = counted(lost, "event");
                    eprintln!("{lost} gone already: older than the service keeps them");
                }
            } else if !data.is_empty() {
                self.show(&data)?;
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            // After it was shown: what was not shown comes again.
            self.last = id.or(self.last);
            if self.left == Some(0) || nobody_reads() {
                return Ok(Ended::Enough);
            }
        }
        Ok(Ended::Broken)
    }

    fn show(&self, data: &str) -> Result<(), CliError> {
        let event: Event = serde_json::from_str(data).map_err(|e| {
            CliError::unreachable(
                "unexpected-answer",
                format!("the service sent an event of another shape: {e}"),
            )
            .hint("are CLI and service of the same version? see `veriboot --version`")
        })?;
        if self.out.json {
            let line = serde_json::to_string(&event)
                .map_err(|e| CliError::usage("cannot-encode", format!("cannot encode the answer: {e}")))?;
            return self.out.line(&line);
        }
        let severity =
            self.out.paint(&format!("{:<8}", event.severity.as_str()), severity_tone(event.severity));
        let place = match (&event.group, &event.scale_set) {
            (Some(group), Some(set)) => format!("{group}/{set}"),
            (Some(group), None) => group.clone(),
            (None, _) => "-".to_owned(),
        };
        let place = self.out.paint(&safe(&place), Tone::Dim);
        self.out.line(&format!(
            "{}  {severity} {:<22} {place}  {}",
            event.at,
            safe(&event.kind),
            safe(&event.summary())
        ))
    }
}
