//! The TPM as the agent uses it: commands with bounded retries, and nothing left behind.

mod answer;
mod attest;
mod keys;
mod nv;
mod template;

use std::io;
use std::time::Duration;

use tpm2_protocol::basic::TpmUint32;
use tpm2_protocol::constant::TPM_MAX_COMMAND_SIZE;
use tpm2_protocol::data::{
    Tpm2bAuth, Tpm2bNonce, TpmCap, TpmRc, TpmRh, TpmSt, TpmaSession, TpmiYesNo, TpmsAuthCommand,
};
use tpm2_protocol::frame::{TpmFlushContextCommand, TpmGetCapabilityCommand, TpmSelfTestCommand};
use tpm2_protocol::frame::{TpmFrame, tpm_marshal_command};
use tpm2_protocol::{TpmError as WireError, TpmWriter};

use self::answer::Answer;
pub use self::attest::{NONCE_BYTES, PcrBank, QUOTABLE_PCRS, Quote, bank_name};
pub use self::keys::{AkBlob, EndorsementKeyType};
pub use self::nv::Endorsement;
use crate::transport::{Connector, Transport};

/// What the TPM cannot do. Hints say what to change on the machine.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// There is no TPM device.
    #[error("no TPM: {tried} does not exist")]
    Missing {
        /// What was looked for.
        tried: String,
    },
    /// Nobody answers where swtpm should listen.
    #[error("no TPM answers at {address}: {source}")]
    Unreachable {
        /// `tcp:HOST:PORT`.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The device belongs to somebody else.
    #[error("no permission to open {device}")]
    Denied {
        /// The device.
        device: String,
    },
    /// Another user of the TPM, or a self-test, kept it busy for longer than the agent waits.
    #[error("the TPM is busy: {what}")]
    Busy {
        /// What keeps it busy.
        what: String,
    },
    /// Dictionary-attack lockout.
    #[error("the TPM is in dictionary-attack lockout")]
    Lockout,
    /// No room for keys or sessions.
    #[error("the TPM has no room for another key or session: {code}")]
    OutOfMemory {
        /// Name of the response code.
        code: String,
    },
    /// The connection broke.
    #[error("cannot talk to the TPM: {source}")]
    Io {
        /// What the operating system says.
        #[from]
        source: io::Error,
    },
    /// The TPM refused a command.
    #[error("the TPM refused {command}: {code}")]
    Refused {
        /// Name of the command.
        command: String,
        /// Name of the response code.
        code: String,
        /// The response code.
        rc: u32,
    },
    /// An answer that is not in the form of TPM 2.0 part 3.
    #[error("the TPM's answer cannot be read: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A command could not be written.
    #[error("a TPM command cannot be written: {0}")]
    Command(WireError),
    /// None of the banks that the service accepts is active.
    #[error("none of the PCR banks {asked} is active; active: {active}")]
    BankInactive {
        /// What the service accepts.
        asked: String,
        /// What this TPM has.
        active: String,
    },
    /// Neither ECC P-256 nor RSA-2048, or not the one that was configured.
    #[error("the TPM does not offer {wanted}")]
    AlgorithmMissing {
        /// The algorithm.
        wanted: &'static str,
    },
    /// The stored attestation key belongs to another TPM, or the TPM was cleared.
    #[error("the stored attestation key does not belong to this TPM: {code}")]
    KeyForeign {
        /// Name of the response code.
        code: String,
    },
}

impl TpmError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "tpm-missing",
            Self::Unreachable { .. } => "tpm-unreachable",
            Self::Denied { .. } => "tpm-permission",
            Self::Busy { .. } => "tpm-busy",
            Self::Lockout => "tpm-lockout",
            Self::OutOfMemory { .. } => "tpm-out-of-memory",
            Self::Io { .. } => "tpm-io",
            Self::Refused { .. } => "tpm-refused",
            Self::Malformed { .. } => "tpm-answer-malformed",
            Self::Command(_) => "tpm-command",
            Self::BankInactive { .. } => "tpm-bank-inactive",
            Self::AlgorithmMissing { .. } => "tpm-algorithm-missing",
            Self::KeyForeign { .. } => "tpm-key-foreign",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "turn on the vTPM of this VM (trusted launch) and load tpm_crb or tpm_tis, or name a TPM with --tpm"
            }
            Self::Unreachable { .. } => {
                "start swtpm with --server type=tcp,port=PORT, and give host and port of that channel with --tpm"
            }
            Self::Denied { .. } => "run the agent as root, or put its user into the group that owns the device (tss)",
            Self::Busy { .. } => "the agent tries again by itself; if it stays, stop the other user of the TPM",
            Self::Lockout => "wait for the lockout to end, or clear it: tpm2_dictionarylockout --clear-lockout",
            Self::OutOfMemory { .. } => {
                "remove leftovers of other programs: tpm2_flushcontext --transient-object, or use /dev/tpmrm0"
            }
            Self::Io { .. } => "see the kernel log for faults of the TPM driver",
            Self::Refused { .. } => "TPM 2.0 part 2 explains the response code; a hierarchy with a password is not usable",
            Self::Malformed { .. } => "see the kernel log; check that --tpm names a TPM 2.0",
            Self::Command(_) => "report this with the agent's version",
            Self::BankInactive { .. } => "activate the SHA-256 bank in firmware, or tpm2_pcrallocate, then reboot",
            Self::AlgorithmMissing { .. } => "set ak-algorithm to auto",
            Self::KeyForeign { .. } => "the agent makes a new key and enrols again by itself",
        }
        .to_owned()
    }
}

/// How often a busy TPM is asked again; with [`FIRST_WAIT`] and [`LONGEST_WAIT`] this bounds the wait to about 7 s.
const ATTEMPTS: u32 = 14;
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Response codes of TPM 2.0 part 2, 6.6.3.
mod rc {
    pub const NEEDS_TEST: u32 = 0x153;
    pub const OBJECT_MEMORY: u32 = 0x902;
    pub const SESSION_MEMORY: u32 = 0x903;
    pub const MEMORY: u32 = 0x904;
    pub const SESSION_HANDLES: u32 = 0x905;
    pub const OBJECT_HANDLES: u32 = 0x906;
    pub const YIELDED: u32 = 0x908;
    pub const CANCELED: u32 = 0x909;
    pub const TESTING: u32 = 0x90a;
    pub const LOCKOUT: u32 = 0x921;
    pub const RETRY: u32 = 0x922;
}

/// First handle of the transient objects and of the loaded sessions (part 2, 7.2).
const TRANSIENT_FIRST: u32 = 0x8000_0000;
const LOADED_SESSION_FIRST: u32 = 0x0200_0000;
/// More handles than any TPM holds at a time.
const MAX_HANDLES: u32 = 64;

/// An open TPM. Lives for one job.
pub struct Tpm {
    transport: Box<dyn Transport>,
    wait: fn(Duration),
}

impl Tpm {
    /// Connects, and flushes what earlier users left when no resource manager does that.
    ///
    /// # Errors
    /// Any [`TpmError`].
    pub fn open(connector: &dyn Connector) -> Result<Self, TpmError> {
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        let transport = loop {
            match connector.connect() {
                Err(TpmError::Busy { .. }) if attempt < ATTEMPTS => {
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                    attempt += 1;
                }
                other => break other?,
            }
        };
        let mut tpm = Self { transport, wait: std::thread::sleep };
        if !tpm.transport.resource_managed() {
            tpm.flush_leftovers()?;
        }
        Ok(tpm)
    }

    /// Behind no resource manager this process is the only user, so whatever is loaded belongs to nobody.
    fn flush_leftovers(&mut self) -> Result<(), TpmError> {
        for first in [TRANSIENT_FIRST, LOADED_SESSION_FIRST] {
            for handle in self.handles(first)? {
                tracing::debug!(handle = format_args!("{handle:#010x}"), "flushing a leftover TPM handle");
                self.flush(handle);
            }
        }
        Ok(())
    }

    /// Handles of the kind that `first` names.
    fn handles(&mut self, first: u32) -> Result<Vec<u32>, TpmError> {
        let answer = self.capability(TpmCap::Handles, first, MAX_HANDLES)?;
        let mut data = answer.reader();
        data.skip(5)?;
        let count = data.u32()?;
        let mut handles = Vec::new();
        for _ in 0..count.min(MAX_HANDLES) {
            handles.push(data.u32()?);
        }
        Ok(handles)
    }

    /// TPM2_GetCapability. The answer starts with moreData (1 byte) and the capability (4 bytes); it is read from
    /// its raw bytes, because newer TPMs report values that no closed list knows.
    fn capability(&mut self, cap: TpmCap, property: u32, count: u32) -> Result<Answer, TpmError> {
        self.run(
            &TpmGetCapabilityCommand {
                handles: [],
                cap,
                property: TpmUint32::new(property),
                property_count: TpmUint32::new(count),
            },
            &[],
            0,
        )
    }

    /// Flushes a handle; a failure only leaves it for the next start.
    fn flush(&mut self, handle: u32) {
        let command = TpmFlushContextCommand { handles: [], flush_handle: TpmUint32::new(handle) };
        if let Err(error) = self.run(&command, &[], 0) {
            tracing::warn!(handle = format_args!("{handle:#010x}"), %error, "cannot flush a TPM handle");
        }
    }

    /// Runs `job` with a loaded handle and flushes the handle afterwards, whatever the outcome.
    fn with_handle<T>(
        &mut self,
        handle: u32,
        job: impl FnOnce(&mut Self, u32) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let outcome = job(self, handle);
        self.flush(handle);
        outcome
    }

    /// Sends a command until the TPM takes it or has been busy for too long.
    fn run<C: TpmFrame>(
        &mut self,
        command: &C,
        sessions: &[TpmsAuthCommand],
        handles: usize,
    ) -> Result<Answer, TpmError> {
        let mut buffer = [0u8; TPM_MAX_COMMAND_SIZE];
        let mut writer = TpmWriter::new(&mut buffer);
        let tag = if sessions.is_empty() { TpmSt::NoSessions } else { TpmSt::Sessions };
        tpm_marshal_command(command, tag, sessions, &mut writer).map_err(TpmError::Command)?;
        let name = command.cc().to_string();
        let mut wait = FIRST_WAIT;
        let mut tested = false;
        for attempt in 1.. {
            let answer = Answer::parse(self.transport.transact(writer.as_bytes())?, handles)?;
            let code = answer.code;
            match code {
                0 => return Ok(answer),
                rc::LOCKOUT => return Err(TpmError::Lockout),
                rc::NEEDS_TEST if !tested => {
                    tested = true;
                    self.self_test()?;
                    continue;
                }
                _ if !is_passing(code) => {
                    return Err(TpmError::Refused { command: name, code: rc_name(code), rc: code });
                }
                _ if attempt >= ATTEMPTS && is_memory(code) => {
                    return Err(TpmError::OutOfMemory { code: rc_name(code) });
                }
                _ if attempt >= ATTEMPTS => {
                    return Err(TpmError::Busy { what: format!("{name}: {}", rc_name(code)) });
                }
                _ => {}
            }
            (self.wait)(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Err(TpmError::Busy { what: name })
    }

    /// Asks for the tests that are due; the TPM answers TESTING until they are done.
    fn self_test(&mut self) -> Result<(), TpmError> {
        let command = TpmSelfTestCommand { handles: [], full_test: TpmiYesNo::from(false) };
        let mut buffer = [0u8; 64];
        let mut writer = TpmWriter::new(&mut buffer);
        tpm_marshal_command(&command, TpmSt::NoSessions, &[], &mut writer).map_err(TpmError::Command)?;
        self.transport.transact(writer.as_bytes())?;
        Ok(())
    }
}

/// Codes that pass by themselves. Behind a resource manager memory does too, when other users close.
fn is_passing(code: u32) -> bool {
    matches!(code, rc::RETRY | rc::YIELDED | rc::TESTING | rc::CANCELED) || is_memory(code)
}

fn is_memory(code: u32) -> bool {
    matches!(
        code,
        rc::OBJECT_MEMORY | rc::SESSION_MEMORY | rc::MEMORY | rc::SESSION_HANDLES | rc::OBJECT_HANDLES
    )
}

fn rc_name(code: u32) -> String {
    match TpmRc::try_from(code) {
        Ok(rc) => format!("{rc} ({code:#x})"),
        Err(_) => format!("{code:#x}"),
    }
}

/// Authorization by an empty password.
fn empty_password() -> TpmsAuthCommand {
    session(TpmRh::Pw.value(), TpmaSession::empty())
}

/// Authorization by a session without HMAC.
fn session(handle: u32, attributes: TpmaSession) -> TpmsAuthCommand {
    TpmsAuthCommand {
        session_handle: TpmUint32::new(handle),
        nonce: Tpm2bNonce::default(),
        session_attributes: attributes,
        hmac: Tpm2bAuth::default(),
    }
}
