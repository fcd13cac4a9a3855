//! From text to the syntax tree of CEL, within bounds that keep the parser's stack and time small.

use cel::common::ast::{IdedExpr, SourceInfo};

use crate::limits::{MAX_DEPTH, MAX_EXPRESSION_BYTES, MAX_PROBLEMS};
use crate::problem::{Problem, printable};

/// The parser's own limit; [`MAX_DEPTH`] is reached first.
const PARSER_DEPTH: u16 = 64;

/// An expression as it was written.
pub(crate) struct Parsed {
    pub expr: IdedExpr,
    source: SourceInfo,
}

impl Parsed {
    /// Line and column of a node, from 1.
    pub fn place(&self, id: u64) -> Option<(u32, u32)> {
        let (start, _) = self.source.offset_for(id)?;
        place_of(&self.source.source, usize::try_from(start).ok()?)
    }
}

fn place_of(source: &str, offset: usize) -> Option<(u32, u32)> {
    let before = source.get(..offset)?;
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    Some((u32::try_from(line).ok()? + 1, u32::try_from(column).ok()? + 1))
}

/// Parses an expression.
///
/// # Errors
/// What is wrong with it, at most [`MAX_PROBLEMS`].
pub(crate) fn parse(source: &str) -> Result<Parsed, Vec<Problem>> {
    within_bounds(source).map_err(|problem| vec![problem])?;
    let parser = cel::parser::Parser::new().max_recursion_depth(PARSER_DEPTH).enable_optional_syntax(true);
    // The parser is somebody else's: what it does not expect must not end this process.
    let parsed =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| parser.parse_with_source_info(source)));
    match parsed {
        Ok(Ok((expr, source))) => Ok(Parsed { expr, source }),
        Ok(Err(errors)) => Err(errors.errors.iter().take(MAX_PROBLEMS).map(syntax_error).collect()),
        Err(_) => Err(vec![Problem::error("syntax-error", "The expression cannot be read")]),
    }
}

fn syntax_error(error: &cel::ParseError) -> Problem {
    let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let place = u32::try_from(error.pos.0).ok().zip(u32::try_from(error.pos.1).ok());
    let message = match message.split_once(" expecting ") {
        Some((what, _)) => what,
        None => message,
    };
    Problem::error("syntax-error", format!("Syntax error: {}", printable(message, 200)))
        .at(place.filter(|(line, column)| *line > 0 && *column > 0))
        .hint("docs/policies.md shows what expressions look like")
}

/// Length and nesting, from the characters alone: counted too high rather than too low.
fn within_bounds(source: &str) -> Result<(), Problem> {
    if source.trim().is_empty() {
        return Err(Problem::error("syntax-error", "The expression is empty"));
    }
    if source.len() > MAX_EXPRESSION_BYTES {
        return Err(Problem::error(
            "too-long",
            format!("The expression has {} bytes; {MAX_EXPRESSION_BYTES} are allowed", source.len()),
        )
        .hint("split it into several conditions: all of them must hold"));
    }
    if let Some(at) = source.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        return Err(
            Problem::error("syntax-error", "The expression has a control character").at(place_of(source, at))
        );
    }
    let (mut open, mut choices, mut quote) = (0_usize, 0_usize, None);
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(quoted), _) if quoted == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => open += 1,
            (None, ')' | ']' | '}') => open = open.saturating_sub(1),
            (None, '?') => choices += 1,
            (None, _) => {}
        }
        if open > MAX_DEPTH || choices > MAX_DEPTH {
            let what = if open > MAX_DEPTH { "open brackets" } else { "question marks" };
            return Err(Problem::error(
                "too-deep",
                format!("The expression has more than {MAX_DEPTH} {what}"),
            )
            .at(place_of(source, at))
            .hint("split it into several conditions: all of them must hold"));
        }
    }
    Ok(())
}
