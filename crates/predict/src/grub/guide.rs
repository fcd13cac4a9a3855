//! What a run of a configuration is guided by, what it can ask, and what it gives.

use veriboot_eventlog::{Digest, HashAlg};

use super::script::Script;

/// One measurement of the reference boot that GRUB caused.
#[derive(Clone, Debug)]
pub(crate) enum Guide {
    /// A command.
    Command {
        /// Which measurement.
        slot: usize,
        /// Its text, where that is proven by the digest.
        text: Option<String>,
        /// The digest.
        digest: Digest,
        /// First word of the command.
        word: String,
    },
    /// What a command caused: a file that was read, an image that was loaded, a kernel command line.
    Effect {
        /// Which measurement.
        slot: usize,
    },
}

/// What the configuration can ask about.
pub(crate) struct World<'w> {
    /// Bank of the digests.
    pub bank: HashAlg,
    /// Whether a file with this path is there; `None` when that is not known.
    pub file_exists: &'w dyn Fn(&str) -> Option<bool>,
    /// Another configuration file.
    pub script: &'w dyn Fn(&str) -> Option<Result<Script, String>>,
}

/// How a command corresponds to the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// It is the same command.
    Same(usize),
    /// It stands where this one did.
    Instead(usize),
    /// The reference has nothing like it.
    New,
}

/// Slots of the reference that a command caused.
pub(crate) type Effect = usize;

/// A command that runs.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// The text that is measured.
    pub text: String,
    /// Name and arguments.
    pub words: Vec<String>,
    /// What it is in the reference.
    pub running: Running,
    /// What the command of the reference caused.
    pub effects: Vec<Effect>,
}

/// What a configuration does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Commands in their order.
    pub ran: Vec<Ran>,
    /// Whether a kernel was loaded: nothing of GRUB follows then.
    pub kernel: bool,
    /// First item of the guide that was not reached.
    pub cursor: usize,
}
