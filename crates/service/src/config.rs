//! The service's configuration: a TOML file, overlaid by `VERIBOOT_*` environment variables.
//!
//! [`SETTINGS`] is the one table of names, types and meanings; the environment overlay and
//! docs/configuration.md are made from it, defaults come from [`Config::default`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod settings;

#[cfg(test)]
use settings::markdown;
pub use settings::{SETTINGS, Setting, ValueType};

/// Everything that the operator can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Folder of the embedded database, the service's keys and its CA.
    pub data_dir: PathBuf,
    /// `sqlite:PATH` or `postgres://…`; the embedded database in `data_dir` when absent.
    pub database: Option<String>,
    /// How agents and people reach this service from outside.
    pub public_url: Option<String>,
    /// Seconds between two attestations of one VM.
    pub interval_s: u32,
    /// Seconds of silence after which a VM is stale; max(3 × interval, 900) when absent.
    pub silence_limit_s: Option<u32>,
    /// The agent's binary that `/install.sh` hands out.
    pub agent_binary: Option<PathBuf>,
    /// Groups whose VMs may run without Secure Boot: judged by the profile `measured-only`.
    pub measured_only_groups: Vec<String>,
    /// PEM files with the public keys of others whose signed baselines may be imported.
    pub baseline_trusted_keys: Vec<PathBuf>,
    /// Healthy boots that a first baseline is learned from.
    pub learn_boots: u32,
    /// Alerts.
    pub alerts: AlertConfig,
    /// Events and notifications.
    pub notifications: NotificationConfig,
    /// Posture.
    pub posture: PostureConfig,
    /// Inventory.
    pub inventory: InventoryConfig,
    /// TLS.
    pub tls: TlsConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub traces: TracesConfig,
    /// Signed results.
    pub tokens: TokenConfig,
    /// Limits against overload and abuse.
    pub limits: Limits,
}

/// What the service reads into its inventory by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InventoryConfig {
    /// `NAME=PATH` or `NAME=FORMAT:PATH`: a file, or a folder of files.
    pub sources: Vec<String>,
    /// Seconds between two looks at a source.
    pub interval_s: u32,
}

impl Default for InventoryConfig {
    fn default() -> Self {
        Self { sources: Vec::new(), interval_s: 300 }
    }
}

/// A source of the inventory, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InventorySetting {
    /// Name.
    pub name: String,
    /// Format; recognised when absent.
    pub format: Option<veriboot_wire::InventoryFormat>,
    /// File or folder.
    pub path: PathBuf,
}

impl InventorySetting {
    /// Reads `NAME=PATH` or `NAME=FORMAT:PATH`.
    fn read(text: &str) -> Result<Self, String> {
        let form = "is not of the form NAME=PATH or NAME=FORMAT:PATH";
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} {form}"))?;
        if !crate::api::is_name(name) {
            return Err(format!("{name:?} is not 1 to 63 characters of A-Z a-z 0-9 . _ -"));
        }
        let (format, path) = match rest.split_once(':') {
            Some((word, path)) if !word.contains('/') => {
                (Some(word.parse().map_err(|e: veriboot_wire::UnknownWord| e.to_string())?), path)
            }
            _ => (None, rest),
        };
        if path.is_empty() {
            return Err(format!("{text:?} {form}"));
        }
        Ok(Self { name: name.to_owned(), format, path: PathBuf::from(path) })
    }
}

/// Server certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file: certificate, then its chain. A self-made CA is used when absent.
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of `cert`.
    pub key: Option<PathBuf>,
    /// PEM file: the CA of `cert` that agents shall trust; the system's roots when absent.
    pub ca: Option<PathBuf>,
    /// Host names and IP addresses that the self-made certificate is for, beside those the service finds.
    pub names: Vec<String>,
}

/// What the log looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Text or JSON lines.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing`: `info`, `veriboot_service=debug,info`.
    pub level: String,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// OTLP over HTTP: `http://HOST:4318`. No traces when absent.
    pub otlp_endpoint: Option<String>,
    /// One request in so many is traced.
    pub one_in: u32,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, one_in: 1 }
    }
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The life of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// Seconds after it was resolved in which an alert comes back as the same one.
    pub reopen_window_s: u32,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self { reopen_window_s: 7 * 86_400 }
    }
}

/// Events and who is told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationConfig {
    /// Folder of the files that targets of kind `ocsf` append to; `DATA_DIR/export` when absent.
    pub export_dir: Option<PathBuf>,
    /// Seconds after which telling an event is given up.
    pub give_up_s: u32,
    /// Seconds that events, and deliveries that were given up, are kept.
    pub retention_s: u32,
}

impl Default for NotificationConfig {
    fn default() -> Self {
        Self { export_dir: None, give_up_s: 86_400, retention_s: 30 * 86_400 }
    }
}

/// What evidence is held against beside baselines, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostureConfig {
    /// Entries that dbx has at least on x86-64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbx_entries_x86_64: Option<u32>,
    /// Entries that dbx has at least on AArch64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbx_entries_aarch64: Option<u32>,
    /// The SBAT level that shim applies at least, ten digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbat_level: Option<u64>,
    /// Version that agents have at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// Days before the end of a certificate from which on it counts as about to end.
    pub ca_warning_days: u32,
    /// Seconds between two sweeps over all resources.
    pub sweep_interval_s: u32,
}

impl Default for PostureConfig {
    fn default() -> Self {
        Self {
            dbx_entries_x86_64: None,
            dbx_entries_aarch64: None,
            sbat_level: None,
            agent_version: None,
            ca_warning_days: 365,
            sweep_interval_s: 3600,
        }
    }
}

/// Signed results of attestations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenConfig {
    /// `aud` of the results.
    pub audience: String,
    /// Seconds that a result is valid, counted from its attestation; 2 × interval + 60 when absent.
    pub lifetime_s: Option<u32>,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { audience: "veriboot".to_owned(), lifetime_s: None }
    }
}

/// Limits against overload and abuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at the same time; more are closed at once.
    pub connections: u32,
    /// Requests in flight at the same time; more are answered 503 with Retry-After.
    pub requests: u32,
    /// Seconds for the TLS handshake and for a request's headers, also the longest idle time of a connection.
    pub header_timeout_s: u32,
    /// Seconds for a whole request, its body included.
    pub request_timeout_s: u32,
    /// Seconds that requests in flight get to finish when the service is stopped.
    pub stop_timeout_s: u32,
    /// Reports (evidence, faults) that one VM may send at once after a rest.
    pub evidence_burst: u32,
    /// Seconds after which a VM that used up its burst may send one more report.
    pub evidence_refill_s: u32,
    /// MiB of evidence that are taken in at the same time, counted for bodies above 64 KiB.
    pub evidence_mib: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8443)),
            data_dir: PathBuf::from("/var/lib/veriboot"),
            database: None,
            public_url: None,
            interval_s: 300,
            silence_limit_s: None,
            agent_binary: None,
            measured_only_groups: Vec::new(),
            baseline_trusted_keys: Vec::new(),
            learn_boots: 1,
            alerts: AlertConfig::default(),
            notifications: NotificationConfig::default(),
            posture: PostureConfig::default(),
            inventory: InventoryConfig::default(),
            tls: TlsConfig::default(),
            log: LogConfig::default(),
            traces: TracesConfig::default(),
            tokens: TokenConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            requests: 1024,
            header_timeout_s: 20,
            request_timeout_s: 60,
            stop_timeout_s: 20,
            evidence_burst: 60,
            evidence_refill_s: 10,
            evidence_mib: 128,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a member or value that is not known.
    #[error("the configuration {origin} cannot be used: {reason}")]
    Invalid {
        /// File or environment variable.
        origin: String,
        /// What is wrong, with line and column for files.
        reason: String,
    },
    /// A value is outside of its limits, or two values do not go together.
    #[error("{setting}: {reason}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl ConfigError {
    /// Stable identifier.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config-unreadable",
            Self::Invalid { .. } | Self::Value { .. } => "config-invalid",
        }
    }

    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "check the path and the permissions of the configuration file".to_owned()
            }
            Self::Invalid { .. } | Self::Value { .. } => {
                "docs/configuration.md lists every setting with its type and default".to_owned()
            }
        }
    }
}

impl Config {
    /// Reads the file (when one is given) and lays the environment over it.
    /// `env` looks up one variable; it is asked for the variables of [`SETTINGS`] only.
    ///
    /// # Errors
    /// [`ConfigError`]; the result of an `Ok` has passed [`Config::check`].
    pub fn load(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut table = toml::Table::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            let invalid = |e: toml::de::Error| ConfigError::Invalid {
                origin: path.display().to_string(),
                reason: e.to_string(),
            };
            // Once as the typed value for errors with line and column, once as a table for the overlay.
            toml::from_str::<Self>(&text).map_err(invalid)?;
            table = toml::from_str(&text).map_err(invalid)?;
        }
        for setting in SETTINGS {
            let name = setting.env();
            let Some(text) = env(&name) else { continue };
            let value = setting
                .kind
                .parse(&text)
                .map_err(|reason| ConfigError::Invalid { origin: name.clone(), reason })?;
            insert(&mut table, setting.name, value);
        }
        let config = table
            .try_into::<Self>()
            .map_err(|e| ConfigError::Invalid { origin: "environment".to_owned(), reason: e.to_string() })?;
        config.check()?;
        Ok(config)
    }

    /// Checks limits and combinations.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first setting that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |setting: &'static str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                let reason = format!("{value} is outside of {least} to {most}");
                Err(ConfigError::Value { setting, reason })
            }
        };
        range("interval_s", self.interval_s, 1, 86_400)?;
        range("traces.one_in", self.traces.one_in, 1, 1_000_000)?;
        if let Some(endpoint) = &self.traces.otlp_endpoint {
            crate::traces::check_endpoint(endpoint)?;
        }
        if let Some(silence) = self.silence_limit_s {
            range("silence_limit_s", silence, self.interval_s.saturating_add(1), 30 * 86_400)?;
        }
        if let Some(lifetime) = self.tokens.lifetime_s {
            range("tokens.lifetime_s", lifetime, 60, 3600)?;
        }
        if self.tokens.audience.is_empty() || self.tokens.audience.len() > 256 {
            let reason = "must have 1 to 256 bytes".to_owned();
            return Err(ConfigError::Value { setting: "tokens.audience", reason });
        }
        range("alerts.reopen_window_s", self.alerts.reopen_window_s, 0, 90 * 86_400)?;
        range("notifications.give_up_s", self.notifications.give_up_s, 3600, 30 * 86_400)?;
        range("notifications.retention_s", self.notifications.retention_s, 86_400, 400 * 86_400)?;
        range("learn_boots", self.learn_boots, 1, 64)?;
        range("posture.ca_warning_days", self.posture.ca_warning_days, 1, 3650)?;
        range("posture.sweep_interval_s", self.posture.sweep_interval_s, 60, 86_400)?;
        if self.posture.sbat_level.is_some_and(|level| !(1_000_000_000..=9_999_999_999).contains(&level)) {
            let reason = "must have ten digits, such as 2024010900".to_owned();
            return Err(ConfigError::Value { setting: "posture.sbat_level", reason });
        }
        if self.posture.agent_version.as_ref().is_some_and(|v| veriboot_posture::is_older(v, v).is_none()) {
            let reason = "must be numbers and dots, such as 1.2.3".to_owned();
            return Err(ConfigError::Value { setting: "posture.agent_version", reason });
        }
        range("limits.connections", self.limits.connections, 16, 1_000_000)?;
        range("limits.requests", self.limits.requests, 4, 1_000_000)?;
        range("limits.header_timeout_s", self.limits.header_timeout_s, 1, 600)?;
        range("limits.request_timeout_s", self.limits.request_timeout_s, 1, 3600)?;
        range("limits.stop_timeout_s", self.limits.stop_timeout_s, 1, 600)?;
        range("limits.evidence_burst", self.limits.evidence_burst, 4, 1_000_000)?;
        range("limits.evidence_refill_s", self.limits.evidence_refill_s, 1, 3600)?;
        range("limits.evidence_mib", self.limits.evidence_mib, 16, 1_048_576)?;
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            let (setting, other) =
                if self.tls.cert.is_some() { ("tls.cert", "tls.key") } else { ("tls.key", "tls.cert") };
            return Err(ConfigError::Value { setting, reason: format!("needs {other} beside it") });
        }
        if self.tls.ca.is_some() && self.tls.cert.is_none() {
            let reason = "only goes with tls.cert; the self-made CA is in data_dir".to_owned();
            return Err(ConfigError::Value { setting: "tls.ca", reason });
        }
        for name in &self.tls.names {
            if name.parse::<std::net::IpAddr>().is_err() && !is_host_name(name) {
                let reason = format!("{name:?} is neither a host name nor an IP address");
                return Err(ConfigError::Value { setting: "tls.names", reason });
            }
        }
        range("inventory.interval_s", self.inventory.interval_s, 10, 86_400)?;
        let mut names = std::collections::BTreeSet::new();
        for text in &self.inventory.sources {
            let read = InventorySetting::read(text)
                .map_err(|reason| ConfigError::Value { setting: "inventory.sources", reason })?;
            if !names.insert(read.name.clone()) {
                let reason = format!("{:?} is there twice", read.name);
                return Err(ConfigError::Value { setting: "inventory.sources", reason });
            }
        }
        for group in &self.measured_only_groups {
            if !crate::api::is_name(group) {
                let reason = format!("{group:?} is not 1 to 63 characters of A-Z a-z 0-9 . _ -");
                return Err(ConfigError::Value { setting: "measured_only_groups", reason });
            }
        }
        if let Some(url) = &self.database
            && !["sqlite:", "postgres://", "postgresql://"].iter().any(|p| url.starts_with(p))
        {
            let reason = "must start with sqlite:, postgres:// or postgresql://".to_owned();
            return Err(ConfigError::Value { setting: "database", reason });
        }
        if let Some(url) = &self.public_url
            && public_host(url).is_none()
        {
            let reason = format!("{url:?} is not of the form https://HOST[:PORT]");
            return Err(ConfigError::Value { setting: "public_url", reason });
        }
        Ok(())
    }

    /// Silence after which a VM is stale, in seconds (SPEC section 4.5).
    pub fn silence_limit_s(&self) -> u32 {
        self.silence_limit_s.unwrap_or_else(|| self.interval_s.saturating_mul(3).max(900))
    }

    /// The sources of the inventory, taken apart.
    pub(crate) fn inventory_settings(&self) -> Vec<InventorySetting> {
        self.inventory.sources.iter().filter_map(|text| InventorySetting::read(text).ok()).collect()
    }

    /// Where the data lives, in the words of the store.
    pub fn database_url(&self) -> String {
        match &self.database {
            Some(url) => url.clone(),
            None => format!("sqlite:{}", self.data_dir.join("veriboot.db").display()),
        }
    }
}

/// `HOST` or `HOST:PORT` of `https://HOST[:PORT][/]`; `None` for every other text. The result holds only
/// characters that need no quoting in a shell, a URL or a TOML string.
pub(crate) fn public_host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_ok = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p != 0));
    let name_ok = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(name),
    };
    (port_ok && name_ok).then_some(host)
}

/// Whether this is a host name or an IPv4 address: labels of letters, digits and inner hyphens.
pub(crate) fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Puts `value` at the dotted `name`.
fn insert(table: &mut toml::Table, name: &str, value: toml::Value) {
    match name.split_once('.') {
        None => {
            table.insert(name.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner =
                table.entry(head.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
