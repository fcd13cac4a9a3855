//! Why a configuration cannot be used.

use std::path::PathBuf;

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
