//! The bounds of this crate. Conditions come from operators, data from guests: both are bounded before any work is done.

/// Bytes of one expression.
pub const MAX_EXPRESSION_BYTES: usize = 2048;
/// Brackets, braces and parentheses that may be open at one place, and conditional operators (`?`) in one expression.
/// The parser's stack grows with both.
pub const MAX_DEPTH: usize = 24;
/// Operations inside one another after parsing.
pub const MAX_LEVELS: usize = 64;
/// Macros over lists (`all`, `exists`, `filter`, `map`) inside one another: work is the product of the lists.
pub const MAX_NESTED_MACROS: usize = 2;
/// Conditions of one policy.
pub const MAX_CONDITIONS: usize = 64;
/// Steps of one evaluation, about 20 ns each. One step is one operation, one element of a list, or 16 bytes of text.
pub const MAX_STEPS: u32 = 250_000;
/// Bytes that a compiled pattern of `matches` may take.
pub const MAX_PATTERN_BYTES: usize = 64 * 1024;
/// Bytes of a policy file.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// Characters of a condition's message and of its hint.
pub const MAX_MESSAGE_CHARS: usize = 500;
/// Characters of a condition's id.
pub const MAX_ID_CHARS: usize = 63;
/// Problems reported for one expression.
pub const MAX_PROBLEMS: usize = 16;
/// Characters of what a finding shows as seen.
pub const MAX_SEEN_CHARS: usize = 300;
/// Elements that a list of facts keeps. A log with more makes the list absent: a condition never judges a part for the whole.
pub const MAX_LIST: usize = 4096;
