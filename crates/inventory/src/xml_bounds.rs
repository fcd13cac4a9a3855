//! Bounds on XML before a tree is made of it: how deep it nests, and how many attributes one element has.
//!
//! One pass over the bytes that knows comments, CDATA, instructions and quotes. What is not well-formed may be counted
//! wrongly here; the parser refuses it afterwards, and both are linear.

use crate::ReadError;

/// Deepest nesting.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most attributes of one element.
pub(crate) const MAX_ATTRIBUTES: usize = 128;

pub(crate) fn check(text: &str) -> Result<(), ReadError> {
    let mut depth = 0_usize;
    let mut rest = text;
    let behind = |rest: &str| text.len().saturating_sub(rest.len());
    while let Some((_, tag)) = rest.split_once('<') {
        let at = behind(tag);
        rest = if let Some(comment) = tag.strip_prefix("!--") {
            comment.split_once("-->").map_or("", |(_, rest)| rest)
        } else if let Some(data) = tag.strip_prefix("![CDATA[") {
            data.split_once("]]>").map_or("", |(_, rest)| rest)
        } else if let Some(instruction) = tag.strip_prefix('?') {
            instruction.split_once("?>").map_or("", |(_, rest)| rest)
        } else if tag.starts_with('/') {
            depth = depth.saturating_sub(1);
            tag
        } else {
            let (attributes, closed, rest) = open(tag);
            if attributes > MAX_ATTRIBUTES {
                return Err(bound(
                    text,
                    at,
                    format!("the element has more than {MAX_ATTRIBUTES} attributes"),
                ));
            }
            if !closed {
                depth = depth.saturating_add(1);
            }
            if depth > MAX_DEPTH {
                return Err(bound(text, at, format!("elements nest deeper than {MAX_DEPTH}")));
            }
            rest
        };
    }
    Ok(())
}

/// Attributes of an open tag, whether it closes itself, and what follows it.
fn open(tag: &str) -> (usize, bool, &str) {
    let mut quote = None;
    let (mut attributes, mut last) = (0_usize, '\0');
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '=') => attributes = attributes.saturating_add(1),
            (None, '>') => return (attributes, last == '/', tag.get(at..).unwrap_or_default()),
            (None, _) => {}
        }
        last = c;
    }
    (attributes, false, "")
}

fn bound(text: &str, at: usize, reason: String) -> ReadError {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count());
    ReadError::Syntax { line, column, reason }
}
