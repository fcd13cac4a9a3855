//! GRUB configurations: how they read, and which commands they run.

mod run;
mod script;
mod test_command;

pub use script::{ScriptError, parse};

pub(crate) use run::{Guide, Ran, Running, World, run};
pub use script::{Command, Part, Script, Word};
