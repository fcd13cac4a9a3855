//! Arguments of commands, some of whose parts are not known, and the texts that they can be.

use std::cell::Cell;

/// Bytes of one argument. A menu of fifty kernels has 100 KB.
const MAX_ARGUMENT_BYTES: usize = 4 << 20;
/// Arguments and their pieces in one comparison.
const MAX_PIECES: usize = 512;
/// Steps of one comparison of a text with a pattern.
const MATCH_STEPS: usize = 200_000;
/// Steps of all comparisons of one run.
pub(super) const MAX_MATCH_STEPS: usize = 20_000_000;

/// One piece of an expanded argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Unknown(String),
}

/// An expanded argument.
#[derive(Clone, Debug, Default)]
pub(super) struct Argument {
    pub pieces: Vec<Piece>,
    /// A single unquoted variable: an empty value leaves no argument.
    pub may_vanish: bool,
}

impl Argument {
    /// Adds text. One that grows without end is no text any more: it is not known.
    pub fn push(&mut self, text: &str) {
        let many = self.pieces.len() > MAX_PIECES;
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) if last.len() + text.len() <= MAX_ARGUMENT_BYTES => last.push_str(text),
            Some(Piece::Unknown(_)) | None if !many => self.pieces.push(Piece::Text(text.to_owned())),
            _ => self.pieces = vec![Piece::Unknown("a text that is too long".to_owned())],
        }
    }

    /// Its text, when all of it is known.
    pub fn known(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Unknown(_) => None,
            })
            .collect()
    }
}

/// Stands for an argument that an empty variable left out. No text of a script can hold it.
pub(super) const VANISHED: &str = "\0";

/// The words that make the arguments read like this text. `left` are the steps that all comparisons may still take.
pub(super) fn words_of(arguments: &[Argument], text: &str, left: &Cell<usize>) -> Option<Vec<String>> {
    let pieces: usize = arguments.iter().map(|argument| 1 + argument.pieces.len()).sum();
    // Each one is a level of recursion.
    if pieces > MAX_PIECES {
        return None;
    }
    let given = MATCH_STEPS.min(left.get());
    let mut steps = given;
    let found = match_arguments(arguments, text, true, &mut steps);
    left.set(left.get() - (given - steps));
    found
}

fn match_arguments(
    arguments: &[Argument],
    text: &str,
    first: bool,
    steps: &mut usize,
) -> Option<Vec<String>> {
    let Some((argument, rest)) = arguments.split_first() else {
        return text.is_empty().then(Vec::new);
    };
    if argument.may_vanish
        && let Some(mut words) = match_arguments(rest, text, first, steps)
    {
        words.insert(0, VANISHED.to_owned());
        return Some(words);
    }
    let text = if first { text } else { text.strip_prefix(' ')? };
    match_pieces(&argument.pieces, text, 0, steps, &mut |end, steps| {
        let mut words = match_arguments(rest, text.get(end..)?, false, steps)?;
        words.insert(0, text.get(..end)?.to_owned());
        Some(words)
    })
}

fn match_pieces(
    pieces: &[Piece],
    text: &str,
    at: usize,
    steps: &mut usize,
    done: &mut dyn FnMut(usize, &mut usize) -> Option<Vec<String>>,
) -> Option<Vec<String>> {
    *steps = steps.checked_sub(1)?;
    match pieces.split_first() {
        None => done(at, steps),
        Some((Piece::Text(wanted), rest)) => {
            text.get(at..)?.starts_with(wanted.as_str()).then_some(())?;
            match_pieces(rest, text, at + wanted.len(), steps, done)
        }
        Some((Piece::Unknown(_), rest)) => {
            let ends = text.get(at..)?.char_indices().map(|(offset, _)| at + offset).chain([text.len()]);
            for end in ends {
                if let Some(words) = match_pieces(rest, text, end, steps, done) {
                    return Some(words);
                }
                if *steps == 0 {
                    return None;
                }
            }
            None
        }
    }
}
