//! Why the service does not start: a code, a sentence, what to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use veriboot_store::OpenError;

use crate::config::ConfigError;

/// Why the service does not start, or ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be made or used.
    #[error("cannot use the data folder {path}: {source}", path = .path.display())]
    DataDir {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another service uses the data folder.
    #[error("the data folder {path} is in use by another service", path = .path.display())]
    DataDirInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the data folder can be read by others.
    #[error("{path} can be read by other users", path = .path.display())]
    ExposedKey {
        /// The file.
        path: PathBuf,
    },
    /// The database does not open.
    #[error("the database does not open: {0}")]
    Database(#[from] OpenError),
    /// The database opened and then did not answer.
    #[error("the database does not answer: {0}")]
    Store(#[from] veriboot_store::StoreError),
    /// Certificate or key cannot be used.
    #[error("cannot use {path} for TLS: {reason}", path = .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The address is taken.
    #[error("{address} is in use by another process")]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The agent's binary cannot be handed out.
    #[error("cannot hand out the agent {path}: {reason}", path = .path.display())]
    AgentBinary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file for the admin token cannot be written.
    #[error("cannot write the admin token to {path}: {source}", path = .path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of trusted keys cannot be used.
    #[error("cannot use {path} for baseline_trusted_keys: {reason}", path = .path.display())]
    TrustedKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of endorsement roots or revocation lists cannot be used.
    #[error("cannot use {path} for {setting}: {reason}", path = .path.display())]
    EndorsementTrust {
        /// Name of the setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key could not be made or stored data cannot be used; `0` says which.
    #[error("{0}")]
    Internal(String),
}

impl StartError {
    /// Stable identifier.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(e) => e.code(),
            Self::DataDir { .. } => "data-dir-unusable",
            Self::DataDirInUse { .. } => "data-dir-in-use",
            Self::ExposedKey { .. } => "key-exposed",
            Self::Database(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Certificate { .. } => "certificate-unusable",
            Self::PortInUse { .. } => "port-in-use",
            Self::Listen { .. } => "listen-failed",
            Self::AgentBinary { .. } => "agent-binary-unusable",
            Self::TokenFile { .. } => "token-file-unwritable",
            Self::TrustedKeys { .. } => "trusted-keys-unusable",
            Self::EndorsementTrust { .. } => "endorsement-trust-unusable",
            Self::Internal(_) => "start-failed",
        }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Config(e) => return Some(e.hint()),
            Self::DataDir { .. } => {
                "make the folder and give it to the user that runs the service, or choose another with data_dir"
            }
            Self::DataDirInUse { .. } => {
                "stop the other service, or give this one another data_dir; replicas share a PostgreSQL database"
            }
            Self::ExposedKey { .. } => "chmod 0600 the file, and think about who may have read it",
            Self::Database(e) => return e.hint().map(str::to_owned),
            Self::Store(_) => {
                "look at the database's own log; the service keeps nothing but what it committed"
            }
            Self::Certificate { .. } => {
                "tls.cert is PEM with the server's certificate first, tls.key its unencrypted private key in PEM"
            }
            Self::PortInUse { .. } => "stop the other process, or choose another address with `listen`",
            Self::Listen { .. } => {
                "the address must be one of this machine's; ports below 1024 need the capability to bind them"
            }
            Self::AgentBinary { .. } => "agent_binary names a Linux executable (ELF) of at most 64 MiB",
            Self::TokenFile { .. } => "the file must not exist yet, its folder must",
            Self::TrustedKeys { .. } => {
                "baseline_trusted_keys names PEM files with PUBLIC KEY blocks (P-256, P-384 or Ed25519); `veriboot \
                 baseline keys --pem` prints those of a service"
            }
            Self::EndorsementTrust { .. } => {
                "endorsement.roots names files with CERTIFICATE blocks in PEM or one certificate in DER, at least one of them \
                 self-signed; endorsement.revocation_lists names files with X509 CRL blocks in PEM or one list in DER, each \
                 signed by one of those certificates"
            }
            Self::Internal(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// Code and meaning of each start error of this crate, for docs/errors.md.
#[cfg(test)]
pub(crate) const DOCS: &[(&str, &str)] = &[
    ("config-unreadable", "The configuration file cannot be read."),
    ("config-invalid", "The configuration has an unknown setting or a value that cannot be."),
    ("data-dir-unusable", "The data folder cannot be made, read or written."),
    ("data-dir-in-use", "Another service uses the data folder."),
    ("key-exposed", "A private key in the data folder can be read by other users."),
    ("certificate-unusable", "Certificate or key cannot be used for TLS."),
    ("port-in-use", "Another process listens on the address."),
    ("listen-failed", "The address cannot be listened on."),
    ("agent-binary-unusable", "The agent's binary cannot be handed out."),
    ("token-file-unwritable", "The file for the admin token exists or cannot be written."),
    (
        "trusted-keys-unusable",
        "A file of `baseline_trusted_keys` cannot be read or holds something else than keys.",
    ),
    (
        "endorsement-trust-unusable",
        "A file of `endorsement.roots` or `endorsement.revocation_lists` cannot be read, holds something else, or a list is of \
         none of the roots.",
    ),
    ("database-url-invalid", "The database URL cannot be understood."),
    ("database-tls-unsupported", "TLS to PostgreSQL was asked for and is not there."),
    ("database-file", "The database's file cannot be made or opened."),
    ("database-newer", "The database was written by a newer version."),
    ("database-locked", "Another process uses the SQLite file."),
    ("database-unavailable", "The PostgreSQL server cannot be reached or refuses the user."),
    ("database-read-only", "The database, its disk or its folder takes no writes."),
    ("database-full", "The disk is full."),
    ("database-corrupt", "Stored data cannot be read back."),
    ("start-failed", "Anything else; the message says what."),
];
