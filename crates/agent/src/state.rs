//! What survives a restart: the wrapped attestation key, the enrolment, the pinned CA, and the last outcome.
//!
//! The folder belongs to the agent's user alone (0700, files 0600) and is never reached through a symbolic link;
//! a file is replaced as a whole by a rename, so a power loss leaves the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use veriboot_wire::{Blob, Time, Verdict, VmStatus};

use crate::kernel::Seen;
use crate::tpm::{AkBlob, EndorsementKeyType};

/// No state file comes near this.
const MAX_FILE: u64 = 256 * 1024;

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder or a file in it is a symbolic link.
    #[error("{path} is a symbolic link")]
    SymbolicLink {
        /// The path.
        path: String,
    },
    /// There is something else than a folder.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path.
        path: String,
    },
    /// Another user owns it.
    #[error("{path} belongs to user {owner}, the agent runs as user {user}")]
    ForeignOwner {
        /// The path.
        path: String,
        /// Who owns it.
        owner: u32,
        /// Who the agent is.
        user: u32,
    },
    /// Group or others have access.
    #[error("{path} is open to other users (mode {mode:04o})")]
    Open {
        /// The path.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// The file system is full.
    #[error("no space left to write {path}")]
    Full {
        /// The path.
        path: String,
    },
    /// Another agent works with this folder.
    #[error("another agent uses {path}")]
    InUse {
        /// The path.
        path: String,
    },
    /// Anything else.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The path.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
}

impl StateError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SymbolicLink { .. } => "state-symbolic-link",
            Self::NotADirectory { .. } => "state-not-a-directory",
            Self::ForeignOwner { .. } => "state-foreign-owner",
            Self::Open { .. } => "state-open",
            Self::Full { .. } => "state-full",
            Self::InUse { .. } => "state-in-use",
            Self::Io { .. } => "state-io",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::SymbolicLink { .. } | Self::NotADirectory { .. } => {
                "find out who replaced it; then remove it, the agent makes a new folder and enrols again"
                    .into()
            }
            Self::ForeignOwner { .. } => {
                "run the agent as the owner, or give it a folder of its own: --state-dir".into()
            }
            Self::Open { path, .. } => format!("find out who could read it, then: chmod 700 {path}"),
            Self::Full { .. } => "make room on the file system".into(),
            Self::InUse { .. } => {
                "stop the other agent, or give this one a folder of its own: --state-dir".into()
            }
            Self::Io { .. } => "check that the folder exists on a writable file system".into(),
        }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.display().to_string();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }
}

/// The wrapped attestation key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredAk {
    public: Blob,
    private: Blob,
    #[serde(default)]
    rsa_parent: bool,
}

/// The enrolment at one service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Service that enrolled this VM; the token is sent to no other.
    pub server: String,
    /// Identity at that service.
    pub vm_id: String,
    /// Name at that service.
    pub name: String,
    /// Bearer token.
    pub agent_token: String,
    /// The EK that was shown.
    pub ek: EndorsementKeyType,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrolment {{ server: {:?}, vm_id: {:?}, name: {:?} }}", self.server, self.vm_id, self.name)
    }
}

/// How the last attestation went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOutcome {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Verdict of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Status of the VM at the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<VmStatus>,
    /// Messages of the findings that failed it.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Code and message of the error that came instead of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// SHA-256 of the log that the service has, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_sha256: Option<String>,
}

/// The state folder.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Held for as long as an agent works with the folder.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

const AK: &str = "ak.json";
const ENROLMENT: &str = "enrolment.json";
const OUTCOME: &str = "outcome.json";
const CA: &str = "ca.der";
const KERNEL: &str = "kernel.json";

impl StateDir {
    /// Opens the folder, makes it when it is absent, and checks that it is ours alone.
    ///
    /// # Errors
    /// Any [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |e| StateError::io(path, e);
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
            }
            Err(e) => return Err(failed(e)),
            Ok(_) => {}
        }
        let state = Self { path: path.to_owned() };
        let meta = fs::symlink_metadata(path).map_err(failed)?;
        let shown = || path.display().to_string();
        if meta.is_symlink() {
            return Err(StateError::SymbolicLink { path: shown() });
        }
        if !meta.is_dir() {
            return Err(StateError::NotADirectory { path: shown() });
        }
        if meta.mode() & 0o077 != 0 {
            return Err(StateError::Open { path: shown(), mode: meta.mode() & 0o7777 });
        }
        // A file that this process makes belongs to the user that this process is.
        let (file, temporary) = state.temporary()?;
        let user = file.metadata().map(|m| m.uid());
        let _ = fs::remove_file(&temporary);
        let user = user.map_err(failed)?;
        if meta.uid() != user {
            return Err(StateError::ForeignOwner { path: shown(), owner: meta.uid(), user });
        }
        Ok(state)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other agents out.
    ///
    /// # Errors
    /// `state-in-use`.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|e| StateError::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(StateError::InUse { path: self.path.display().to_string() })
            }
            Err(fs::TryLockError::Error(e)) => Err(StateError::io(&path, e)),
        }
    }

    /// The attestation key, when there is one that can be read.
    ///
    /// # Errors
    /// When the file is there and cannot be opened.
    pub fn ak(&self) -> Result<Option<AkBlob>, StateError> {
        let stored: Option<StoredAk> = self.read_json(AK)?;
        Ok(stored.map(|ak| AkBlob { public: ak.public.0, private: ak.private.0, rsa_parent: ak.rsa_parent }))
    }

    /// Keeps the attestation key; an enrolment with an earlier one is forgotten first.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn set_ak(&self, ak: &AkBlob) -> Result<(), StateError> {
        self.forget_enrolment()?;
        let stored = StoredAk {
            public: ak.public.clone().into(),
            private: ak.private.clone().into(),
            rsa_parent: ak.rsa_parent,
        };
        self.write_json(AK, &stored, true)
    }

    /// The enrolment, when there is one that can be read.
    ///
    /// # Errors
    /// When the file is there and cannot be opened.
    pub fn enrolment(&self) -> Result<Option<Enrolment>, StateError> {
        self.read_json(ENROLMENT)
    }

    /// Keeps the enrolment.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_enrolment(&self, enrolment: &Enrolment) -> Result<(), StateError> {
        self.write_json(ENROLMENT, enrolment, true)
    }

    /// Forgets the enrolment.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget_enrolment(&self) -> Result<(), StateError> {
        let path = self.path.join(ENROLMENT);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StateError::io(&path, e)),
            _ => Ok(()),
        }
    }

    /// How the last attestation went.
    ///
    /// # Errors
    /// When the file is there and cannot be opened.
    pub fn outcome(&self) -> Result<LastOutcome, StateError> {
        Ok(self.read_json(OUTCOME)?.unwrap_or_default())
    }

    /// Keeps how the last attestation went. Not synced to disk: losing it costs one transfer of the log.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_outcome(&self, outcome: &LastOutcome) -> Result<(), StateError> {
        self.write_json(OUTCOME, outcome, false)
    }

    /// What was found in the kernel's log of one boot, when there is something that can be read.
    ///
    /// # Errors
    /// When the file is there and cannot be opened.
    pub(crate) fn kernel(&self) -> Result<Option<Seen>, StateError> {
        self.read_json(KERNEL)
    }

    /// Keeps what was found in the kernel's log. Not synced to disk: it is about this boot.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn set_kernel(&self, seen: &Seen) -> Result<(), StateError> {
        self.write_json(KERNEL, seen, false)
    }

    /// The pinned CA certificate, DER.
    ///
    /// # Errors
    /// When the file is there and cannot be opened.
    pub fn ca(&self) -> Result<Option<Vec<u8>>, StateError> {
        self.read(CA)
    }

    /// Where the pinned CA certificate is kept.
    pub fn ca_path(&self) -> PathBuf {
        self.path.join(CA)
    }

    /// Keeps the pinned CA certificate.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_ca(&self, der: &[u8]) -> Result<(), StateError> {
        self.write(CA, der, true)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StateError::io(&path, e)),
            Ok(meta) if meta.is_symlink() => {
                return Err(StateError::SymbolicLink { path: path.display().to_string() });
            }
            Ok(_) => {}
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(|e| StateError::io(&path, e))?;
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|e| StateError::io(&path, e))?;
        Ok(Some(bytes))
    }

    /// A file that cannot be understood counts as absent: the TPM makes a new key, a known EK enrols again.
    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                tracing::warn!(file = name, %error, "a state file cannot be understood and is made anew");
                Ok(None)
            }
        }
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T, sync: bool) -> Result<(), StateError> {
        let bytes = serde_json::to_vec_pretty(value)
            .map_err(|e| StateError::io(&self.path.join(name), io::Error::other(e)))?;
        self.write(name, &bytes, sync)
    }

    fn write(&self, name: &str, bytes: &[u8], sync: bool) -> Result<(), StateError> {
        let path = self.path.join(name);
        let (mut file, temporary) = self.temporary()?;
        let written = file
            .write_all(bytes)
            .and_then(|()| if sync { file.sync_all() } else { Ok(()) })
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| if sync { File::open(&self.path)?.sync_all() } else { Ok(()) });
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            StateError::io(&path, e)
        })
    }

    /// A new file of this process, mode 0600; never an existing one.
    fn temporary(&self) -> Result<(File, PathBuf), StateError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!(".new-{}-{next}", std::process::id()));
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.map(|file| (file, path.clone())).map_err(|e| StateError::io(&path, e))
    }
}
