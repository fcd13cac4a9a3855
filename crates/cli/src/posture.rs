//! `veriboot posture`: the score, what needs attention, and how it went.

use clap::Args;
use veriboot_wire::{
    AssessmentStatus, GroupScore, Posture, PostureCheck, ScaleSetPosture, ScorePoint, counted,
};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, safe, severity_tone};

/// Bars of the trend.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Bars that are drawn at most.
const MAX_BARS: usize = 60;
/// Groups that are shown unless one is asked for.
const SHOWN_GROUPS: usize = 10;

/// Which posture.
#[derive(Args, Debug)]
pub struct PostureArgs {
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Days of the trend
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=400))]
    days: u32,
    /// Scale sets instead: the result of each check for the whole set
    #[arg(long)]
    scale_sets: bool,
    /// The most scale sets to show
    #[arg(long, default_value_t = 200, value_name = "ROWS", requires = "scale_sets")]
    limit: usize,
}

/// Runs `veriboot posture`.
pub fn run(args: &PostureArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query: Vec<_> = args.group.clone().map(|v| ("group", v)).into_iter().collect();
    if args.scale_sets {
        let (sets, more) = client.list("/v1/posture/scale-sets", &query, args.limit)?;
        if out.json {
            return out.print_json_list(&sets, more, args.limit, "scale set");
        }
        scale_sets(&sets, args.group.as_deref(), out)?;
        return out.more(more, args.limit, "scale set");
    }
    query.push(("days", args.days.to_string()));
    let posture: Posture = client.get("/v1/posture", &query)?;
    if out.json {
        return out.print_json(&posture);
    }
    if let (0, Some(group)) = (posture.resources, &args.group) {
        return out.line(&format!(
            "nothing was assessed in group {}: `veriboot posture` shows all groups",
            safe(group)
        ));
    }
    if posture.resources == 0 {
        return out
            .line("nothing was assessed yet: enrol a VM (`veriboot token create`) or sync an inventory");
    }
    let whose = posture.group.as_deref().map_or_else(|| "the fleet".to_owned(), safe);
    out.fields(&[
        ("score", format!("{} of 100, {whose}", out.paint(&score_text(posture.score), tone(posture.score)))),
        ("resources", posture.resources.to_string()),
        ("trend", trend(&posture.trend, posture.score, args.days)),
    ])?;
    out.line("")?;
    checks(&posture.checks, out)?;
    groups(&posture.groups, out)
}

fn score_text(score: Option<f64>) -> String {
    score.map_or_else(|| "-".to_owned(), |score| format!("{score:.1}"))
}

fn tone(score: Option<f64>) -> Tone {
    match score {
        None => Tone::Dim,
        Some(score) if score >= 90.0 => Tone::Good,
        Some(score) if score >= 60.0 => Tone::Warn,
        Some(_) => Tone::Bad,
    }
}

/// `71.0 ▁▃▇ 83.4 in 30 days`.
fn trend(points: &[ScorePoint], now: Option<f64>, days: u32) -> String {
    let scores: Vec<f64> = points.iter().filter_map(|point| point.score).chain(now).collect();
    let (Some(first), Some(last)) = (scores.first(), scores.last()) else { return "-".to_owned() };
    if points.is_empty() {
        return "begins with the next hourly sweep".to_owned();
    }
    let step = scores.len().div_ceil(MAX_BARS).max(1);
    let low = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bars: String = scores.iter().step_by(step).map(|score| bar(*score, low, high)).collect();
    format!("{first:.1} {bars} {last:.1} in {}", counted(days, "day"))
}

fn bar(score: f64, low: f64, high: f64) -> char {
    if high <= low {
        return '▄';
    }
    let share = (score - low) / (high - low);
    let at = (0..BARS.len()).rev().find(|at| {
        let threshold = u32::try_from(*at).map_or(0.0, f64::from) / 8.0;
        share >= threshold
    });
    at.and_then(|at| BARS.get(at).copied()).unwrap_or('▁')
}

fn checks(checks: &[PostureCheck], out: Output) -> Result<(), CliError> {
    let rows = checks
        .iter()
        .filter(|check| check.counts.unhealthy > 0)
        .map(|check| {
            let applies = check.counts.unhealthy + check.counts.healthy;
            vec![
                check.counts.check.as_str().into(),
                Styled::new(check.severity.as_str(), severity_tone(check.severity)),
                format!("{} of {applies}", check.counts.unhealthy).into(),
                check.title.as_str().into(),
            ]
        })
        .collect();
    out.table(
        &["NEEDS ATTENTION", "SEVERITY", "UNHEALTHY", "WHAT IT WANTS"],
        rows,
        "nothing needs attention: every check that applies holds",
    )?;
    if checks.iter().any(|check| check.counts.unhealthy > 0) {
        out.line("`veriboot recommendation show CHECK` says where, and what to do")?;
    }
    Ok(())
}

fn groups(groups: &[GroupScore], out: Output) -> Result<(), CliError> {
    if groups.len() < 2 {
        return Ok(());
    }
    out.line("")?;
    let rows = groups
        .iter()
        .take(SHOWN_GROUPS)
        .map(|group| {
            vec![
                group.group.as_str().into(),
                Styled::new(score_text(group.score), tone(group.score)),
                group.resources.to_string().into(),
                group.unhealthy.to_string().into(),
            ]
        })
        .collect();
    out.table(&["GROUP", "SCORE", "RESOURCES", "UNHEALTHY ASSESSMENTS"], rows, "")?;
    match groups.len().saturating_sub(SHOWN_GROUPS) {
        0 => Ok(()),
        more => {
            out.line(&format!("… and {} with a higher score; --json has them all", counted(more, "group")))
        }
    }
}

fn scale_sets(sets: &[ScaleSetPosture], group: Option<&str>, out: Output) -> Result<(), CliError> {
    let rows = sets
        .iter()
        .map(|set| {
            let unhealthy: Vec<String> = set
                .checks
                .iter()
                .filter(|check| check.status == AssessmentStatus::Unhealthy)
                .map(|check| {
                    let applies = check.counts.unhealthy + check.counts.healthy;
                    let since = match check.last_status_change_at {
                        Some(_) => format!(", since {}", out.ago(check.last_status_change_at)),
                        None => String::new(),
                    };
                    format!("{} ({} of {applies}{since})", check.counts.check, check.counts.unhealthy)
                })
                .collect();
            vec![
                set.name.as_str().into(),
                Styled::new(&set.group, Tone::Dim),
                Styled::new(score_text(set.score), tone(set.score)),
                set.members.to_string().into(),
                match unhealthy.is_empty() {
                    true => Styled::new("none", Tone::Good),
                    false => unhealthy.join(", ").into(),
                },
            ]
        })
        .collect();
    let empty = match group {
        Some(group) => format!("no scale set of group {} was assessed: `veriboot posture --scale-sets` shows those of all groups", safe(group)),
        None => "no scale set was assessed yet: `veriboot token create --scale-set NAME` makes a join token for one".to_owned(),
    };
    out.table(&["SCALE SET", "GROUP", "SCORE", "MEMBERS", "UNHEALTHY CHECKS"], rows, &empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_shows_where_it_came_from() {
        let at = veriboot_wire::Time::from_unix_ms(0);
        let point = |score| ScorePoint { at, score: Some(score), resources: 1 };
        let points = [point(50.0), point(75.0), point(100.0)];
        assert_eq!(trend(&points, Some(100.0), 7), "50.0 ▁▅██ 100.0 in 7 days");
        assert_eq!(trend(&[point(80.0)], Some(80.0), 7), "80.0 ▄▄ 80.0 in 7 days");
        assert_eq!(trend(&[], Some(80.0), 7), "begins with the next hourly sweep");
        assert_eq!(trend(&[], None, 7), "-");
    }
}
