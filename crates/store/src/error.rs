//! What can go wrong below an operation, in words that are the same on both databases.

/// Why an operation on the store failed. Nothing of a failed write is kept.
///
/// `Display` is fit for a client; causes that may name paths, hosts or SQL are in [`StoreError::cause`] and
/// belong into the service's log only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too many operations are waiting. Try again later.
    #[error("the database cannot keep up; try again")]
    Busy,
    /// The store is closed.
    #[error("the service is stopping")]
    Closed,
    /// Another process holds the SQLite file.
    #[error("the database is locked by another process")]
    Locked,
    /// The database cannot be reached. Nothing was written.
    #[error("the database cannot be reached")]
    Unavailable {
        /// What the driver said.
        cause: String,
    },
    /// The connection broke while the commit was on its way: it may or may not have happened.
    #[error("the database went away during a commit, whose outcome is unknown")]
    CommitUnknown {
        /// What the driver said.
        cause: String,
    },
    /// Concurrent writers got in each other's way more often than an operation is repeated.
    #[error("too many concurrent changes to the same rows; try again")]
    Contended,
    /// The database, its disk or this transaction takes no writes.
    #[error("the database is read-only")]
    ReadOnly {
        /// What the driver said.
        cause: String,
    },
    /// No room left.
    #[error("the database has no room left")]
    Full {
        /// What the driver said.
        cause: String,
    },
    /// A row would break a constraint: somebody else was faster, or a reference is gone.
    #[error("conflict with what is stored ({constraint})")]
    Conflict {
        /// Which constraint.
        constraint: Constraint,
    },
    /// A bounded table is full.
    #[error("too many {what}")]
    Limit {
        /// Of what there are too many.
        what: &'static str,
    },
    /// The cursor did not come from this list.
    #[error("the cursor is not one of this list")]
    BadCursor,
    /// What is stored cannot be read back.
    #[error("stored data cannot be read")]
    Corrupt {
        /// What and why.
        cause: String,
    },
    /// Anything else: a fault in this program or in the database.
    #[error("the database failed")]
    Failed {
        /// What the driver said.
        cause: String,
    },
}

impl StoreError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy => "database-busy",
            Self::Closed => "service-stopping",
            Self::Locked => "database-locked",
            Self::Unavailable { .. } => "database-unavailable",
            Self::CommitUnknown { .. } => "database-commit-unknown",
            Self::Contended => "database-contended",
            Self::ReadOnly { .. } => "database-read-only",
            Self::Full { .. } => "database-full",
            Self::Conflict { .. } => "conflict",
            Self::Limit { .. } => "limit-reached",
            Self::BadCursor => "cursor-invalid",
            Self::Corrupt { .. } => "database-corrupt",
            Self::Failed { .. } => "database-failed",
        }
    }

    /// What the driver said, for the log.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable { cause }
            | Self::CommitUnknown { cause }
            | Self::ReadOnly { cause }
            | Self::Full { cause }
            | Self::Corrupt { cause }
            | Self::Failed { cause } => Some(cause),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::Closed
                | Self::Locked
                | Self::Unavailable { .. }
                | Self::CommitUnknown { .. }
                | Self::Contended
        )
    }

    pub(crate) fn corrupt(cause: impl std::fmt::Display) -> Self {
        Self::Corrupt { cause: cause.to_string() }
    }

    pub(crate) fn failed(cause: impl std::fmt::Display) -> Self {
        Self::Failed { cause: cause.to_string() }
    }
}

/// The constraints that are the last line against races.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// Names are unique within a group.
    VmName,
    /// One TPM (EK) is one VM.
    VmEk,
    /// A primary key is taken.
    Id,
    /// Names of API tokens that are not revoked are unique.
    ApiTokenName,
    /// Secrets are unique.
    TokenSecret,
    /// One open alert per VM and reason.
    AlertOpen,
    /// Versions of a baseline are unique.
    BaselineVersion,
    /// One current baseline per scope.
    BaselineCurrent,
    /// Versions of a profile are unique, and one of them is current.
    ProfileVersion,
    /// Name of a notification target.
    TargetName,
    /// One boot per VM, counters and log.
    Boot,
    /// A row refers to one that does not exist.
    Reference,
    /// A constraint that this version does not know.
    Other,
}

impl Constraint {
    /// Name in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VmName => "vm-name",
            Self::VmEk => "vm-ek",
            Self::Id => "id",
            Self::ApiTokenName => "api-token-name",
            Self::TokenSecret => "token-secret",
            Self::AlertOpen => "alert-open",
            Self::BaselineVersion => "baseline-version",
            Self::BaselineCurrent => "baseline-current",
            Self::ProfileVersion => "profile-version",
            Self::TargetName => "target-name",
            Self::Boot => "boot",
            Self::Reference => "reference",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither `sqlite:PATH` nor `postgres://…`, or the driver cannot read it.
    #[error("database URL: {cause}")]
    Url {
        /// What is wrong with it; never holds the password.
        cause: String,
    },
    /// TLS to PostgreSQL was asked for, which this version does not have.
    #[error("database URL: sslmode={mode} is not supported, the connection to PostgreSQL is not encrypted")]
    Tls {
        /// The mode that was asked for.
        mode: &'static str,
    },
    /// The folder or the file cannot be made.
    #[error("{path}: {cause}")]
    File {
        /// The folder or file.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The schema is of a newer version of this program.
    #[error("the database has schema {found}, this program knows up to {known}: use a newer veriboot")]
    Newer {
        /// Schema in the database.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// A worker thread could not be started.
    #[error("cannot start a database thread: {0}")]
    Thread(std::io::Error),
    /// The database refused.
    #[error("{error}{}", .error.cause().map(|c| format!(": {c}")).unwrap_or_default())]
    Database {
        /// Why.
        #[from]
        error: StoreError,
    },
}

impl OpenError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "database-url-invalid",
            Self::Tls { .. } => "database-tls-unsupported",
            Self::File { .. } => "database-file",
            Self::Newer { .. } => "database-newer",
            Self::Thread(_) => "database-thread",
            Self::Database { error } => error.code(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url { .. } => Some("use sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
            Self::Tls { .. } => Some(
                "use sslmode=disable on loopback, a Unix socket or a private network, or an encrypting proxy",
            ),
            Self::File { .. } => Some("check that the service's user may write there"),
            Self::Newer { .. } | Self::Thread(_) => None,
            Self::Database { error } => match error {
                StoreError::Locked => Some(
                    "another veriboot serve uses this file: stop it, or use PostgreSQL for several replicas",
                ),
                StoreError::Unavailable { .. } => {
                    Some("check host, port, password and that the database runs")
                }
                StoreError::ReadOnly { .. } => {
                    Some("check the permissions and the mount options of the database's folder")
                }
                _ => None,
            },
        }
    }
}
