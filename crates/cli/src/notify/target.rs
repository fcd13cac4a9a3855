//! `veriboot notify target`: add, list, show, update, remove.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use veriboot_wire::{
    AlertReason, NewTarget, Route, Severity, Target, TargetChange, TargetKind, TargetMade, TargetSecrets,
    TargetSettings,
};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::output::{Output, Styled, Tone, safe};
use crate::token::seconds;

/// Targets.
#[derive(Subcommand, Debug)]
pub enum TargetCommand {
    /// Add a target
    ///
    /// Secrets come from files, or from `-` for standard input, so that they do not stand in the process list.
    Add(AddArgs),
    /// List the targets and how telling them goes
    List {
        /// The most rows to show
        #[arg(long, default_value_t = 200, value_name = "ROWS")]
        limit: usize,
    },
    /// Show one target
    Show {
        /// Name of the target
        name: String,
    },
    /// Change a target: what is not named stays
    Update(UpdateArgs),
    /// Remove a target with everything that it was still to be told
    Remove {
        /// Name of the target
        name: String,
        #[command(flatten)]
        etag: EtagArg,
    },
}

/// Arguments of `notify target add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Name of the target
    name: String,
    /// How it is told: webhook, alertmanager, email, syslog, ocsf
    #[arg(long)]
    kind: TargetKind,
    #[command(flatten)]
    settings: Box<SettingArgs>,
    #[command(flatten)]
    route: Box<RouteArgs>,
    /// Add it without telling it anything yet
    #[arg(long)]
    disabled: bool,
}

/// Arguments of `notify target update`.
#[derive(Args, Debug)]
pub struct UpdateArgs {
    /// Name of the target
    name: String,
    #[command(flatten)]
    settings: Box<SettingArgs>,
    #[command(flatten)]
    route: Box<RouteArgs>,
    /// Permit no local addresses any more
    #[arg(long, conflicts_with = "allow_local")]
    no_allow_local: bool,
    /// Trust the system's certificates again
    #[arg(long, conflicts_with = "server_ca")]
    no_server_ca: bool,
    /// Tell at once, and no digest any more
    #[arg(long, conflicts_with = "digest")]
    immediate: bool,
    /// All groups again
    #[arg(long, conflicts_with = "group")]
    all_groups: bool,
    /// All events again
    #[arg(long, conflicts_with = "event")]
    all_events: bool,
    /// All types of alerts and all reasons again, and events about other things
    #[arg(long, conflicts_with_all = ["alert_type", "reason"])]
    all_alerts: bool,
    /// Each member of an incident again
    #[arg(long, conflicts_with = "grouped")]
    each: bool,
    /// Tell it again
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Tell it nothing for now
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    etag: EtagArg,
}

/// Where and how.
#[derive(Args, Debug)]
struct SettingArgs {
    /// webhook, alertmanager, ocsf: where to POST
    #[arg(long)]
    url: Option<String>,
    /// ocsf: name of a file in the service's folder for exports
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    /// email, syslog: the server
    #[arg(long)]
    host: Option<String>,
    /// email, syslog: its port
    #[arg(long)]
    port: Option<u16>,
    /// email: starttls, tls, none; syslog: tls, none
    #[arg(long, value_name = "MODE")]
    tls: Option<String>,
    /// email: user for SMTP authentication
    #[arg(long, value_name = "USER")]
    username: Option<String>,
    /// email: address of the sender
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// email: address of a receiver; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<String>,
    /// PEM file with the CA of the target's server, instead of those that the service's system trusts
    #[arg(long, value_name = "FILE")]
    server_ca: Option<PathBuf>,
    /// Permit addresses of the service's own machine, link-local ones and those of cloud metadata
    #[arg(long)]
    allow_local: bool,
    /// webhook: file with the key that signs (whsec_…) [default: the service makes one]
    #[arg(long, value_name = "FILE")]
    signing_secret_file: Option<PathBuf>,
    /// File with the value of the Authorization header
    #[arg(long, value_name = "FILE")]
    authorization_file: Option<PathBuf>,
    /// email: file with the password for SMTP authentication
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// What it is told.
#[derive(Args, Debug)]
struct RouteArgs {
    /// Only this severity and above: info, low, medium, high, critical [default: info]
    #[arg(long, value_name = "SEVERITY", alias = "severity")]
    min_severity: Option<Severity>,
    /// Only this group; may be given several times
    #[arg(long)]
    group: Vec<String>,
    /// Only events of this kind; alert.* for all that begin so; may be given several times
    #[arg(long, value_name = "KIND")]
    event: Vec<String>,
    /// Only alerts and incidents of this type, and nothing else; may be given several times
    #[arg(long, value_name = "TYPE")]
    alert_type: Vec<String>,
    /// Only alerts and incidents with this reason, and nothing else; may be given several times
    #[arg(long)]
    reason: Vec<AlertReason>,
    /// webhook, syslog: of alerts that are members of an incident only the incident, as e-mail is told
    #[arg(long)]
    grouped: bool,
    /// webhook, email: collect events over this time into one message: 10m, 1h
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    digest: Option<u32>,
}

fn secret(path: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = read.map_err(|e| {
        CliError::usage("cannot-read-file", format!("cannot read {}: {e}", path.display()))
            .hint("the file holds the secret and nothing else")
    })?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

impl SettingArgs {
    fn secrets(&self) -> Result<TargetSecrets, CliError> {
        Ok(TargetSecrets {
            signing_secret: secret(self.signing_secret_file.as_deref())?,
            authorization: secret(self.authorization_file.as_deref())?,
            password: secret(self.password_file.as_deref())?,
        })
    }

    /// What is named over what there is.
    fn over(&self, old: TargetSettings) -> Result<TargetSettings, CliError> {
        // A URL takes the place of a file, and the other way round.
        let (url, file) = match (&self.url, &self.file) {
            (None, None) => (old.url, old.file),
            (url, file) => (url.clone(), file.clone()),
        };
        Ok(TargetSettings {
            url,
            file,
            host: self.host.clone().or(old.host),
            port: self.port.or(old.port),
            tls: self.tls.clone().or(old.tls),
            username: self.username.clone().or(old.username),
            from: self.from.clone().or(old.from),
            to: if self.to.is_empty() { old.to } else { self.to.clone() },
            ca: secret(self.server_ca.as_deref())?.or(old.ca),
            allow_local: self.allow_local || old.allow_local,
        })
    }
}

impl RouteArgs {
    fn over(&self, old: Route) -> Route {
        Route {
            min_severity: self.min_severity.unwrap_or(old.min_severity),
            groups: if self.group.is_empty() { old.groups } else { self.group.clone() },
            kinds: if self.event.is_empty() { old.kinds } else { self.event.clone() },
            alert_types: if self.alert_type.is_empty() { old.alert_types } else { self.alert_type.clone() },
            reasons: if self.reason.is_empty() { old.reasons } else { self.reason.clone() },
            grouped: self.grouped || old.grouped,
            digest_s: self.digest.or(old.digest_s),
        }
    }
}

fn path(name: &str) -> String {
    format!("/v1/notification-targets/{}", segment(name))
}

/// Runs `notify target`.
pub fn run(command: TargetCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        TargetCommand::Add(args) => add(args, client, out),
        TargetCommand::List { limit } => list(limit, client, out),
        TargetCommand::Show { name } => {
            let target: Target = client.get(&path(&name), &[])?;
            if out.json { out.print_json(&target) } else { show(&target, out) }
        }
        TargetCommand::Update(args) => update(&args, client, out),
        TargetCommand::Remove { name, etag } => {
            client.remove(&path(&name), etag.quoted().as_deref())?;
            if out.json {
                return out.print_json(&serde_json::json!({ "removed": name }));
            }
            out.line(&format!("notification target {} is removed", safe(&name)))
        }
    }
}

fn add(args: AddArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let request = NewTarget {
        name: args.name,
        kind: args.kind,
        settings: args.settings.over(TargetSettings::default())?,
        secrets: args.settings.secrets()?,
        route: args.route.over(Route::default()),
        enabled: !args.disabled,
    };
    let made: TargetMade = client.post("/v1/notification-targets", &request)?;
    if out.json {
        return out.print_json(&made);
    }
    show(&made.target, out)?;
    if let Some(secret) = &made.signing_secret {
        out.line("\nMessages are signed with this secret, which is shown this once:")?;
        out.line(&format!("  {secret}"))?;
    }
    out.line(&format!("\nTry it: veriboot notify test {}", made.target.name))
}

fn update(args: &UpdateArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let (old, etag): (Target, Option<String>) = client.get_tagged(&path(&args.name))?;
    let mut settings = args.settings.over(old.settings)?;
    settings.allow_local &= !args.no_allow_local;
    if args.no_server_ca {
        settings.ca = None;
    }
    let mut route = args.route.over(old.route);
    if args.immediate {
        route.digest_s = None;
    }
    if args.all_groups {
        route.groups.clear();
    }
    if args.all_events {
        route.kinds.clear();
    }
    if args.each {
        route.grouped = false;
    }
    if args.all_alerts {
        route.alert_types.clear();
        route.reasons.clear();
    }
    let change = TargetChange {
        settings: Some(settings),
        secrets: Some(args.settings.secrets()?),
        route: Some(route),
        enabled: (args.enable || args.disable).then_some(args.enable),
    };
    let target: Target = client.patch(&path(&args.name), &change, args.etag.quoted().or(etag).as_deref())?;
    if out.json { out.print_json(&target) } else { show(&target, out) }
}

/// Where a target is, in a few words.
fn place(target: &Target) -> String {
    let settings = &target.settings;
    match (&settings.url, &settings.file, &settings.host) {
        (Some(url), ..) => url.clone(),
        (None, Some(file), _) => format!("file {file}"),
        (None, None, Some(host)) if settings.to.is_empty() => {
            format!("{host}:{}", settings.port.map_or("-".to_owned(), |port| port.to_string()))
        }
        (None, None, Some(host)) => format!("{} by {host}", settings.to.join(", ")),
        (None, None, None) => "-".to_owned(),
    }
}

/// From here on clocks differ too much, seconds.
const CLOCK_S: i64 = 60;

/// `its clock is 600 s behind that of the service`.
fn clock(ahead_s: i64) -> String {
    let how = if ahead_s < 0 { "behind" } else { "ahead of" };
    format!("{} s {how} that of the service; it is told times on its own", ahead_s.abs())
}

fn state(target: &Target) -> Styled {
    let health = &target.health;
    if !target.enabled {
        Styled::new("off", Tone::Dim)
    } else if health.failures > 0 {
        Styled::new("failing", Tone::Bad)
    } else if health.dead > 0 {
        Styled::new("gave up some", Tone::Warn)
    } else if health.clock_ahead_s.is_some_and(|s| s.abs() > CLOCK_S) {
        Styled::new("clock differs", Tone::Warn)
    } else {
        Styled::new("ok", Tone::Good)
    }
}

fn list(limit: usize, client: &Client, out: Output) -> Result<(), CliError> {
    let (targets, more): (Vec<Target>, bool) = client.list("/v1/notification-targets", &[], limit)?;
    if out.json {
        return out.print_json_list(&targets, more, limit, "target");
    }
    let rows = targets
        .iter()
        .map(|target| {
            vec![
                target.name.as_str().into(),
                target.kind.as_str().into(),
                state(target),
                target.health.waiting.to_string().into(),
                target.health.dead.to_string().into(),
                out.ago(target.health.last_delivered_at).into(),
                place(target).into(),
            ]
        })
        .collect();
    let empty = "no notification targets: add one with `veriboot notify target add`";
    out.table(&["NAME", "KIND", "STATE", "WAITING", "GIVEN UP", "LAST DELIVERED", "WHERE"], rows, empty)?;
    out.more(more, limit, "target")
}

fn show(target: &Target, out: Output) -> Result<(), CliError> {
    let (route, health) = (&target.route, &target.health);
    let words = |words: &[String], all: &str| {
        if words.is_empty() { all.to_owned() } else { words.join(", ") }
    };
    let mut fields = vec![
        ("target", target.name.clone()),
        ("kind", target.kind.to_string()),
        ("where", place(target)),
        ("enabled", if target.enabled { "yes" } else { "no" }.to_owned()),
        ("severity", format!("{} and above", route.min_severity)),
        ("groups", words(&route.groups, "all")),
        ("events", words(&route.kinds, "all")),
        ("types of alerts", words(&route.alert_types, "all")),
        ("reasons", words(&route.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), "all")),
        (
            "incidents",
            if route.grouped || target.kind == TargetKind::Email {
                "without their members"
            } else {
                "with their members"
            }
            .to_owned(),
        ),
        ("when", route.digest_s.map_or("at once".to_owned(), |s| format!("a digest every {s} s"))),
        ("secrets", words(&target.secrets, "none")),
        ("local addresses", if target.settings.allow_local { "permitted" } else { "refused" }.to_owned()),
        ("waiting", health.waiting.to_string()),
        ("given up", health.dead.to_string()),
        ("last delivered", out.ago(health.last_delivered_at)),
    ];
    if health.failures > 0 {
        fields.push(("failures in a row", health.failures.to_string()));
        fields.push(("next attempt", health.next_attempt_at.map_or("-".to_owned(), |at| at.to_string())));
    }
    if let Some(ahead_s) = health.clock_ahead_s.filter(|s| s.abs() > CLOCK_S) {
        fields.push(("its clock", clock(ahead_s)));
    }
    if let Some(error) = &health.last_error {
        fields.push(("last error", format!("{} ({})", error, out.ago(health.last_failed_at))));
    }
    let fields: Vec<(&str, String)> = fields.iter().map(|(name, value)| (*name, safe(value))).collect();
    out.fields(&fields)
}
