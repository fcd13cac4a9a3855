//! Inventory: which VMs exist and what is configured for them, as sources say.

mod change;
mod document;
mod item;
mod matching;
mod source;

pub use change::*;
pub use document::*;
pub use item::*;
pub use matching::*;
pub use source::*;
