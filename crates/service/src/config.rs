//! The service's configuration: a TOML file, overlaid by `VERIBOOT_*` environment variables.
//!
//! [`SETTINGS`] is the one table of names, types and meanings; the environment overlay and
//! docs/configuration.md are made from it, defaults come from [`Config::default`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod check;
mod error;
mod host;
mod inventory;
mod sections;
mod settings;

pub use error::ConfigError;
pub(crate) use host::{is_host_name, public_host};
pub(crate) use inventory::InventorySetting;
pub use sections::{
    AlertConfig, EndorsementConfig, Expired, InventoryConfig, Limits, LogConfig, LogFormat,
    NotificationConfig, PostureConfig, TlsConfig, TokenConfig, TracesConfig,
};
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
    /// Endorsement of TPMs.
    pub endorsement: EndorsementConfig,
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
            endorsement: EndorsementConfig::default(),
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
