//! GRUB configurations: how they read, and which commands they run.

mod argument;
mod guide;
mod lexer;
mod run;
mod script;
mod test_command;
mod variables;

pub use script::{ScriptError, parse};

pub(crate) use guide::{Guide, Ran, Running, World};
pub(crate) use run::run;
pub use script::{Command, Part, Script, Word};
