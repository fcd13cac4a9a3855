//! Where settings come from: flags, then environment, then the file, then defaults.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{AgentConfig, AkAlgorithm, DEFAULT_EVENT_LOG, DEFAULT_STATE_DIR, Trust};
use crate::transport::TpmAddress;
use crate::url::ServerUrl;

/// The configuration file that is read when none is named; it may be absent.
pub const DEFAULT_CONFIG: &str = "/etc/veriboot/agent.toml";
/// No configuration or token file is longer.
const MAX_FILE: u64 = 64 * 1024;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The configuration file is not TOML, or names a setting that does not exist.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong, with its line.
        reason: String,
    },
    /// A setting that is needed is not set.
    #[error("{setting} is not set")]
    Missing {
        /// The setting.
        setting: &'static str,
    },
    /// A setting has a value that it cannot have.
    #[error("{setting}: {reason}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl SettingsError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "settings-unreadable",
            Self::Invalid { .. } => "settings-invalid",
            Self::Missing { .. } => "setting-missing",
            Self::Value { .. } => "setting-invalid",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { setting } => {
                let env = setting.to_uppercase().replace('-', "_");
                Some(format!("give --{setting}, VERIBOOT_AGENT_{env}, or {setting} in {DEFAULT_CONFIG}"))
            }
            Self::Value { setting, .. } => Some(what_to_give(setting).into()),
            _ => Some("veriboot-agent --help lists the settings".into()),
        }
    }
}

/// A right value for a setting that has a wrong one.
fn what_to_give(setting: &str) -> &'static str {
    match setting {
        "server" => {
            "give https://HOST[:PORT], as `veriboot serve` prints it; http:// needs insecure-http and this machine"
        }
        "tpm" => "give auto, a device such as /dev/tpmrm0, or tcp:HOST:PORT of swtpm",
        "ak-algorithm" => "give auto, ecc or rsa, or leave ak-algorithm out",
        "join-token" => "keep join-token or join-token-file, not both",
        "ca" => "keep ca or ca-fingerprint, not both",
        "ca-fingerprint" => "copy the fingerprint that `veriboot serve` prints: sha256: and 64 hex digits",
        "name" => "give another name, or leave name out: the host name is used then",
        "nonce" => "make one with `openssl rand -hex 32`, or leave --nonce out",
        _ => "veriboot-agent --help lists the settings",
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The settings as they can be given; every field has a flag, a variable `VERIBOOT_AGENT_*` and a key in the file of
/// the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Base URL of the service: https://HOST[:PORT]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_SERVER")]
    pub server: Option<String>,
    /// Join token for the first enrolment (visible in the process list; better in a file or a variable)
    #[arg(long, global = true, env = "VERIBOOT_AGENT_JOIN_TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// File that holds the join token; may be removed after the enrolment
    #[arg(long, global = true, env = "VERIBOOT_AGENT_JOIN_TOKEN_FILE")]
    pub join_token_file: Option<PathBuf>,
    /// PEM file of the CA that certifies the service
    #[arg(long, global = true, env = "VERIBOOT_AGENT_CA")]
    pub ca: Option<PathBuf>,
    /// sha256:HEX over the CA certificate; it is taken from the service on first contact and kept
    #[arg(long, global = true, env = "VERIBOOT_AGENT_CA_FINGERPRINT")]
    pub ca_fingerprint: Option<String>,
    /// Folder for keys and enrolment [default: /var/lib/veriboot-agent]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// auto, the path of a TPM device, or tcp:HOST:PORT of swtpm [default: auto]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_TPM")]
    pub tpm: Option<String>,
    /// The measured-boot event log [default: /sys/kernel/security/tpm0/binary_bios_measurements]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_EVENT_LOG")]
    pub event_log: Option<PathBuf>,
    /// Name to enrol under [default: host name]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_NAME")]
    pub name: Option<String>,
    /// auto, ecc or rsa [default: auto]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_AK_ALGORITHM")]
    pub ak_algorithm: Option<String>,
    /// text or json [default: text]
    #[arg(long, global = true, env = "VERIBOOT_AGENT_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Allow http:// to a loopback address
    #[arg(long, global = true, env = "VERIBOOT_AGENT_INSECURE_HTTP", num_args = 0..=1, default_missing_value = "true")]
    pub insecure_http: Option<bool>,
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has a key that is no setting.
    pub fn from_file(path: &Path) -> Result<Self, SettingsError> {
        let text = read(path)?;
        toml::from_str(&text)
            .map_err(|e| SettingsError::Invalid { path: path.display().to_string(), reason: e.to_string() })
    }

    /// Fills what is not set here from `lower`, which has less weight.
    ///
    /// Two settings for one thing are one: a join token or a CA that is set here hides both forms of it there.
    pub fn or(self, lower: Self) -> Self {
        let has_token = self.join_token.is_some() || self.join_token_file.is_some();
        let has_ca = self.ca.is_some() || self.ca_fingerprint.is_some();
        Self {
            server: self.server.or(lower.server),
            join_token: self.join_token.or(lower.join_token.filter(|_| !has_token)),
            join_token_file: self.join_token_file.or(lower.join_token_file.filter(|_| !has_token)),
            ca: self.ca.or(lower.ca.filter(|_| !has_ca)),
            ca_fingerprint: self.ca_fingerprint.or(lower.ca_fingerprint.filter(|_| !has_ca)),
            state_dir: self.state_dir.or(lower.state_dir),
            tpm: self.tpm.or(lower.tpm),
            event_log: self.event_log.or(lower.event_log),
            name: self.name.or(lower.name),
            ak_algorithm: self.ak_algorithm.or(lower.ak_algorithm),
            log_format: self.log_format.or(lower.log_format),
            insecure_http: self.insecure_http.or(lower.insecure_http),
        }
    }

    /// The folder for keys and enrolment.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| DEFAULT_STATE_DIR.into())
    }

    /// The event log.
    pub fn event_log(&self) -> PathBuf {
        self.event_log.clone().unwrap_or_else(|| DEFAULT_EVENT_LOG.into())
    }

    /// The TPM.
    ///
    /// # Errors
    /// When the text names none.
    pub fn tpm(&self) -> Result<TpmAddress, SettingsError> {
        let text = self.tpm.as_deref().unwrap_or("auto");
        text.parse().map_err(|reason| SettingsError::Value { setting: "tpm", reason })
    }

    /// Kind of attestation key.
    ///
    /// # Errors
    /// When the text names none.
    pub fn ak_algorithm(&self) -> Result<AkAlgorithm, SettingsError> {
        match self.ak_algorithm.as_deref() {
            None | Some("auto") => Ok(AkAlgorithm::Auto),
            Some("ecc") => Ok(AkAlgorithm::Ecc),
            Some("rsa") => Ok(AkAlgorithm::Rsa),
            Some(other) => Err(SettingsError::Value {
                setting: "ak-algorithm",
                reason: format!("{other:?} is none of auto, ecc, rsa"),
            }),
        }
    }

    /// Checks everything and reads the join token.
    ///
    /// # Errors
    /// Any [`SettingsError`].
    pub fn into_config(self) -> Result<AgentConfig, SettingsError> {
        let server = self.server.clone().ok_or(SettingsError::Missing { setting: "server" })?;
        let insecure_http = self.insecure_http.unwrap_or(false);
        ServerUrl::parse(&server, insecure_http)
            .map_err(|reason| SettingsError::Value { setting: "server", reason })?;
        let join_token = match (&self.join_token, &self.join_token_file) {
            (Some(_), Some(_)) => {
                return Err(SettingsError::Value {
                    setting: "join-token",
                    reason: "join-token-file is set as well".into(),
                });
            }
            (Some(token), None) => Some(token.trim().to_owned()),
            (None, Some(path)) => token_file(path)?,
            (None, None) => None,
        };
        let trust = match (&self.ca, &self.ca_fingerprint) {
            (Some(_), Some(_)) => {
                return Err(SettingsError::Value {
                    setting: "ca",
                    reason: "ca-fingerprint is set as well".into(),
                });
            }
            (Some(path), None) => Trust::CaFile(path.clone()),
            (None, Some(text)) => Trust::CaFingerprint(fingerprint(text)?),
            (None, None) => Trust::System,
        };
        if let Some(name) = &self.name {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
                let reason = format!("{name:?} is not 1 to 63 characters of A-Z a-z 0-9 . _ -");
                return Err(SettingsError::Value { setting: "name", reason });
            }
        }
        Ok(AgentConfig {
            server,
            join_token,
            trust,
            state_dir: self.state_dir(),
            tpm: self.tpm()?,
            event_log: self.event_log(),
            ak_algorithm: self.ak_algorithm()?,
            name: self.name,
            insecure_http,
            kernel_root: PathBuf::from("/"),
        })
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    let failed = |source| SettingsError::Unreadable { path: path.display().to_string(), source };
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// A token file that is gone is no fault: it is meant to be removed once this VM is enrolled.
fn token_file(path: &Path) -> Result<Option<String>, SettingsError> {
    match read(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(SettingsError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `sha256:HEX`, where the hex may have colons as other tools print it.
fn fingerprint(text: &str) -> Result<[u8; 32], SettingsError> {
    let invalid = || SettingsError::Value {
        setting: "ca-fingerprint",
        reason: format!("{text:?} is not sha256: followed by 64 hex digits"),
    };
    let digits = text.strip_prefix("sha256:").ok_or_else(invalid)?.replace(':', "");
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits.to_ascii_lowercase(), &mut bytes).map_err(|_| invalid())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn higher_settings_hide_lower_ones() {
        let flags =
            Settings { server: Some("https://a".into()), ca: Some("/ca".into()), ..Settings::default() };
        let file = parse("server = 'https://b'\nca-fingerprint = 'sha256:00'\nname = 'n'\ntpm = 'tcp:h:1'\n");
        let merged = flags.or(file);
        assert_eq!(merged.server.as_deref(), Some("https://a"));
        assert_eq!(merged.ca_fingerprint, None);
        assert_eq!(merged.name.as_deref(), Some("n"));
        let config = merged.into_config().unwrap();
        assert_eq!(config.trust, Trust::CaFile("/ca".into()));
        assert_eq!(config.tpm, TpmAddress::Tcp("h:1".into()));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(toml::from_str::<Settings>("sever = 'https://a'").is_err());
        for (text, code) in [
            ("", "setting-missing"),
            ("server = 'http://a'", "setting-invalid"),
            ("server = 'http://127.0.0.1:1'", "setting-invalid"),
            ("server = 'https://a'\ntpm = 'x'", "setting-invalid"),
            ("server = 'https://a'\nca = '/a'\nca-fingerprint = 'sha256:00'", "setting-invalid"),
            ("server = 'https://a'\nca-fingerprint = 'sha256:00'", "setting-invalid"),
            ("server = 'https://a'\nca-fingerprint = 'md5:00'", "setting-invalid"),
            ("server = 'https://a'\nname = 'a/b'", "setting-invalid"),
            ("server = 'https://a'\nak-algorithm = 'dsa'", "setting-invalid"),
            ("server = 'https://a'\njoin-token-file = '/'", "settings-unreadable"),
        ] {
            assert_eq!(parse(text).into_config().unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn a_removed_token_file_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let settings = |path: &Path| Settings {
            server: Some("https://a".into()),
            join_token_file: Some(path.to_owned()),
            ..Settings::default()
        };
        assert_eq!(settings(&path).into_config().unwrap().join_token, None);
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(settings(&path).into_config().unwrap().join_token.as_deref(), Some("secret"));
    }

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let hex = "AB".repeat(32);
        assert_eq!(fingerprint(&format!("sha256:{hex}")).unwrap(), [0xab; 32]);
        let colons = vec!["ab"; 32].join(":");
        assert_eq!(fingerprint(&format!("sha256:{colons}")).unwrap(), [0xab; 32]);
    }
}
