//! The table of settings.

#[cfg(test)]
use super::Config;

/// Type of a setting's value, and how its environment variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Text; paths and addresses too.
    Text,
    /// Whole number.
    Number,
    /// Texts; comma-separated in the environment.
    List,
}

impl ValueType {
    /// Reads an environment variable.
    pub(super) fn parse(self, text: &str) -> Result<toml::Value, String> {
        match self {
            Self::Text => Ok(toml::Value::String(text.to_owned())),
            Self::Number => {
                text.trim().parse().map(toml::Value::Integer).map_err(|_| format!("{text:?} is no number"))
            }
            Self::List => Ok(toml::Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|t| !t.is_empty())
                    .map(|t| toml::Value::String(t.to_owned()))
                    .collect(),
            )),
        }
    }

    #[cfg(test)]
    const fn title(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::List => "list of texts",
        }
    }
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Dotted name in the file.
    pub name: &'static str,
    /// Type of the value.
    pub kind: ValueType,
    /// Meaning of an absent value, for settings without a fixed default.
    pub absent: &'static str,
    /// What it does.
    pub doc: &'static str,
}

impl Setting {
    /// Its environment variable: `tls.names` is `VERIBOOT_TLS_NAMES`.
    pub fn env(&self) -> String {
        format!("VERIBOOT_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

const fn setting(name: &'static str, kind: ValueType, absent: &'static str, doc: &'static str) -> Setting {
    Setting { name, kind, absent, doc }
}

/// Every setting, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        ValueType::Text,
        "",
        "Address and port to listen on. `[::]` takes IPv6 and IPv4 on all interfaces; port 0 takes a free one. \
         Only HTTPS is spoken.",
    ),
    setting(
        "data_dir",
        ValueType::Text,
        "",
        "Folder of the embedded database, the CA and the TLS key. Made with mode 0700 when it does not exist; \
         only one service may use it at a time.",
    ),
    setting(
        "database",
        ValueType::Text,
        "`sqlite:DATA_DIR/veriboot.db`",
        "`sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE` to run several replicas.",
    ),
    setting(
        "public_url",
        ValueType::Text,
        "`https://NAME:PORT` with the first of `tls.names`, else the host name",
        "How agents and people reach this service: `https://HOST[:PORT]`. Stands in the install command and is \
         the issuer of attestation results; set it before relying parties trust the service.",
    ),
    setting("interval_s", ValueType::Number, "", "Seconds between two attestations of one VM, 1 to 86400."),
    setting(
        "silence_limit_s",
        ValueType::Number,
        "3 × `interval_s`, at least 900",
        "Seconds of silence after which a VM is `stale` and the alert `agent-silent` is raised.",
    ),
    setting(
        "agent_binary",
        ValueType::Text,
        "`veriboot-agent` beside the service's own binary, where there is one",
        "The static agent for Linux that `/install.sh` installs.",
    ),
    setting(
        "measured_only_groups",
        ValueType::List,
        "",
        "Groups whose VMs may run without Secure Boot: they are judged by the profile `measured-only`, so that they \
         learn a baseline and are held to it whether Secure Boot is on or off. All others must show that it is on. A \
         profile that is assigned to a VM, scale set, image or group wins over this.",
    ),
    setting(
        "baseline_trusted_keys",
        ValueType::List,
        "",
        "PEM files with public keys (P-256, P-384, Ed25519): signed baselines of their owners may be imported, beside those \
         that this service signed itself. Read at the start.",
    ),
    setting(
        "learn_boots",
        ValueType::Number,
        "",
        "Healthy boots that the first baseline of a VM or scale set is learned from, 1 to 64. With 1, every boot is held \
         against the first one. With more, what varies harmlessly between the first boots is merged into patterns; \
         docs/attestation.md says how.",
    ),
    setting(
        "endorsement.roots",
        ValueType::List,
        "",
        "PEM files, or files with one certificate in DER: roots of the endorsement certificates of your TPMs, and the \
         authorities between them and those certificates, which no TPM brings. A TPM whose certificate leads to one of the \
         roots is verified: the fact `endorsement` is `valid` and the check `endorsement-verified` healthy. Others stay \
         `unknown`, and their VMs are no less healthy for it. Read at the start; each VM follows with its next attestation.",
    ),
    setting(
        "endorsement.revocation_lists",
        ValueType::List,
        "",
        "PEM files with X509 CRL blocks, or files with one list in DER (version 2, as RFC 5280 asks), signed by certificates of `endorsement.roots`. A TPM \
         whose certificate was revoked fails its attestation with the alert reason `endorsement-lost`. Read at the start, as \
         they are: nothing is fetched. A list that its issuer has renewed since is used all the same, and named in the log.",
    ),
    setting(
        "endorsement.expired",
        ValueType::Text,
        "",
        "`accept` or `refuse`: what becomes of endorsement certificates, or of authorities above them, whose validity is \
         over. TPMs often outlive their certificates. With `refuse` an attestation fails then, with `endorsement-lost`.",
    ),
    setting(
        "alerts.reopen_window_s",
        ValueType::Number,
        "",
        "Seconds after an alert was resolved in which the same cause opens it again, with its history, instead of raising a \
         new one, 0 to 7776000. The same holds for incidents. With 0, every failure after a recovery is a new alert.",
    ),
    setting(
        "notifications.export_dir",
        ValueType::Text,
        "`DATA_DIR/export`",
        "Folder of the files that notification targets of kind `ocsf` append to. Made with mode 0700 when it does not exist.",
    ),
    setting(
        "notifications.give_up_s",
        ValueType::Number,
        "",
        "Seconds after which an event that a notification target does not take is given up, 3600 to 2592000. It is kept as \
         a dead delivery, to be replayed.",
    ),
    setting(
        "notifications.retention_s",
        ValueType::Number,
        "",
        "Seconds that events, and deliveries that were given up, are kept, 86400 to 34560000. An event that somebody is still to be \
         told stays longer.",
    ),
    setting(
        "posture.dbx_revision",
        ValueType::Text,
        "the newest revision that this release knows, docs/checks.md",
        "Date of the revision of Microsoft's dbx that dbx of an x86-64 VM is at least, one of those in docs/checks.md; with an \
         older one the check `dbx-current` is unhealthy.",
    ),
    setting(
        "posture.dbx_entries_aarch64",
        ValueType::Number,
        "the number of this release, docs/checks.md",
        "Entries that dbx of an AArch64 VM has at least; with fewer the check `dbx-current` is unhealthy.",
    ),
    setting(
        "posture.sbat_level",
        ValueType::Number,
        "the level of this release, docs/checks.md",
        "The SBAT level that shim applies at least, ten digits; with an older one the check `sbat-current` is unhealthy.",
    ),
    setting(
        "posture.agent_version",
        ValueType::Text,
        "the version of the service",
        "Version that agents have at least; with an older one the check `agent-current` is unhealthy.",
    ),
    setting(
        "posture.ca_warning_days",
        ValueType::Number,
        "",
        "Days before the end of a Secure Boot certificate from which on it counts as about to end, 1 to 3650.",
    ),
    setting(
        "posture.sweep_interval_s",
        ValueType::Number,
        "",
        "Seconds between two sweeps that assess all VMs and inventory items again and note a point of the score, 60 to \
         86400. Changes of a single one are assessed at once.",
    ),
    setting(
        "inventory.sources",
        ValueType::List,
        "",
        "What the service reads into its inventory by itself: `NAME=PATH` or `NAME=FORMAT:PATH`, where PATH is a file, or a \
         folder whose files that end in .xml, .json or .toml are read together. docs/inventory.md lists the formats. Of \
         several replicas one reads a source at a time; each needs the path.",
    ),
    setting(
        "inventory.interval_s",
        ValueType::Number,
        "",
        "Seconds between two looks at a source of `inventory.sources`, 10 to 86400. What was not changed is not read again.",
    ),
    setting(
        "tls.cert",
        ValueType::Text,
        "a certificate of the service's own CA, renewed by itself",
        "PEM file with the server's certificate and its chain. Read again every hour.",
    ),
    setting(
        "tls.key",
        ValueType::Text,
        "made by the service",
        "PEM file with the private key of `tls.cert`. The log warns when every user of the machine may read it.",
    ),
    setting(
        "tls.ca",
        ValueType::Text,
        "agents trust the roots of their system",
        "PEM file with the CA of `tls.cert`, when that is not a public one; handed to agents by `/install.sh` and \
         at `/ca.pem`.",
    ),
    setting(
        "tls.names",
        ValueType::List,
        "",
        "Host names and IP addresses for the self-made certificate, beside `localhost`, the loopback addresses, \
         the machine's host name and the host of `public_url`.",
    ),
    setting("log.format", ValueType::Text, "", "`text` for people or `json`, one object per line."),
    setting(
        "log.level",
        ValueType::Text,
        "",
        "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `veriboot_service=debug,info`. `info` has a line for \
         each enrolment, first verdict, change of a status, alert, baseline, fault and silence; `warn` one for each refused \
         agent, at most 20 a minute of strangers and of enrolled agents each, with the number of those left out.",
    ),
    setting(
        "traces.otlp_endpoint",
        ValueType::Text,
        "no traces",
        "Collector that takes traces as OTLP over HTTP: `http://HOST:4318`. Spans of requests and of the stages of \
         attestations; they are dropped and counted when it is slow or gone. docs/metrics.md tells what they hold.",
    ),
    setting("traces.one_in", ValueType::Number, "", "One request in so many is traced, 1 to 1000000."),
    setting(
        "tokens.audience",
        ValueType::Text,
        "",
        "Audience (`aud`) of signed results. Relying parties must be set to the same.",
    ),
    setting(
        "tokens.lifetime_s",
        ValueType::Number,
        "2 × `interval_s` + 60, at most 3600",
        "Seconds that a signed result is valid, counted from its attestation, 60 to 3600.",
    ),
    setting(
        "limits.connections",
        ValueType::Number,
        "",
        "Connections at the same time; more are closed at once. Lowered to what the open-files limit allows.",
    ),
    setting(
        "limits.requests",
        ValueType::Number,
        "",
        "Requests in flight at the same time; more are answered 503 `overloaded` with Retry-After.",
    ),
    setting(
        "limits.header_timeout_s",
        ValueType::Number,
        "",
        "Seconds for the TLS handshake and for a request's headers; a connection may be idle as long.",
    ),
    setting(
        "limits.request_timeout_s",
        ValueType::Number,
        "",
        "Seconds for a whole request with its body; a connection on which nothing moves as long is closed.",
    ),
    setting(
        "limits.stop_timeout_s",
        ValueType::Number,
        "",
        "Seconds that requests in flight get to finish when the service is stopped.",
    ),
    setting(
        "limits.evidence_burst",
        ValueType::Number,
        "",
        "Reports (evidence and faults) that one VM may send at once after a rest, 4 to 1000000; more are answered 429 \
         `too-often` with Retry-After. Evidence of one VM is appraised one at a time; more at the same time is \
         answered 429 `evidence-in-flight`.",
    ),
    setting(
        "limits.evidence_refill_s",
        ValueType::Number,
        "",
        "Seconds after which a VM that used up its burst may send one more report, 1 to 3600; half of `interval_s` where \
         that is less, so that an agent that keeps to the interval is never refused.",
    ),
    setting(
        "limits.evidence_mib",
        ValueType::Number,
        "",
        "MiB of evidence that are taken in at the same time; more is answered 503 `overloaded` with Retry-After. Bodies up \
         to 64 KiB, which is what agents send once their log is known, do not count. Appraisal takes about three times \
         these bytes.",
    ),
    setting(
        "limits.streams_per_token",
        ValueType::Number,
        "",
        "Streams of events that one API token may have open on one replica, 1 to 256; more are answered 429 \
         `too-many-streams` with Retry-After. There are 256 for all tokens together.",
    ),
];

/// Default of a setting, as TOML; `None` where an absent value has a meaning of its own.
#[cfg(test)]
fn default_of(name: &str) -> Option<String> {
    let table = toml::Table::try_from(Config::default()).ok()?;
    let mut parts = name.split('.');
    let mut value = table.get(parts.next()?)?;
    for part in parts {
        value = value.get(part)?;
    }
    Some(value.to_string())
}

/// Text of docs/configuration.md.
#[cfg(test)]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration of the service\n\n\
         <!-- Made from crates/service/src/config/settings.rs; `VERIBOOT_BLESS=1 cargo nextest run -p veriboot-service` writes it. -->\n\n\
         `veriboot serve --config FILE` reads a TOML file; every setting can also be given as an environment\n\
         variable, which wins over the file. A setting in the file that is not listed here is refused. A variable\n\
         `VERIBOOT_*` that is not listed here is ignored, so check the spelling. Without file and variables the defaults\n\
         below hold: the service works with none of them set, given that it may write `data_dir`.\n\n\
         ```toml\n\
         data_dir = \"/var/lib/veriboot\"\n\
         public_url = \"https://veriboot.example.org:8443\"\n\
         interval_s = 300\n\n\
         [tls]\n\
         names = [\"veriboot.example.org\", \"192.0.2.10\"]\n\
         ```\n\n",
    );
    for setting in SETTINGS {
        let default = match default_of(setting.name) {
            Some(value) if setting.absent.is_empty() => format!("`{value}`"),
            _ => setting.absent.to_owned(),
        };
        text.push_str(&format!(
            "## `{}`\n{}\n\n* Type: {}\n* Default: {}\n* Environment: `{}`\n\n",
            setting.name,
            setting.doc,
            setting.kind.title(),
            default,
            setting.env()
        ));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
