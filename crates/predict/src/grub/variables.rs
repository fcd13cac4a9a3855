//! Variables of a script: what is known of them, and how words expand.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::argument::{Argument, Piece, VANISHED};
use super::script::{Part, Word};

/// Bytes of the value of a variable.
const MAX_VALUE_BYTES: usize = 64 << 10;
/// Arguments that one command can have.
const MAX_ARGUMENTS: usize = 4_096;

/// Bytes that all words of one run may expand to. A configuration of Debian expands to some 100 KB.
pub(super) const MAX_EXPANDED_BYTES: usize = 64 << 20;
/// What a part of a word costs, whatever it expands to.
const PART_BYTES: usize = 16;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// Values by name. What is not there is not known.
    pub known: BTreeMap<String, String>,
    /// Arguments of functions and menu entries, innermost last.
    pub parameters: Vec<Vec<String>>,
    /// Bytes that words expanded to so far.
    expanded: Cell<usize>,
}

impl Variables {
    /// Keeps the values that the reference showed.
    pub fn learn(&mut self, arguments: &[Argument], words: &[String]) {
        for (argument, word) in arguments.iter().zip(words) {
            if let [Piece::Unknown(name)] = argument.pieces.as_slice()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                let value = if word == VANISHED { "" } else { word };
                self.set(name, value);
                continue;
            }
            // One unknown between texts has one value.
            let mut names = argument.pieces.iter().filter_map(|piece| match piece {
                Piece::Unknown(name) => Some(name),
                Piece::Text(_) => None,
            });
            if let (Some(name), None) = (names.next(), names.next()) {
                let (mut before, mut after, mut seen) = (0, 0, false);
                for piece in &argument.pieces {
                    match piece {
                        Piece::Unknown(_) => seen = true,
                        Piece::Text(text) if seen => after += text.len(),
                        Piece::Text(text) => before += text.len(),
                    }
                }
                if let Some(value) = word.len().checked_sub(after).and_then(|end| word.get(before..end)) {
                    self.set(name, value);
                }
            }
        }
    }

    /// `NAME=VALUE`.
    pub fn assign(&mut self, text: &str) {
        if let Some((name, value)) = text.split_once('=') {
            self.set(name, value);
        }
    }

    /// Sets a variable; a value without end is not known.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.len() > MAX_VALUE_BYTES {
            self.known.remove(name);
        } else {
            self.known.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Variables that a command sets to something that only the machine knows.
    pub fn forget(&mut self, name: &str, rest: &[String]) {
        let searches = name.starts_with("search");
        let mut set: Vec<&str> = Vec::new();
        for (at, word) in rest.iter().enumerate() {
            match word.as_str() {
                "--set" | "-s" => set.extend(rest.get(at + 1).map(String::as_str)),
                word => set.extend(word.strip_prefix("--set=")),
            }
        }
        if searches && set.is_empty() {
            set.push(if name.contains('.') { rest.get(1).map_or("root", String::as_str) } else { "root" });
        }
        if name == "load_env" || name == "read" || name == "getenv" {
            set.extend(rest.iter().map(String::as_str));
        }
        for variable in set {
            // `--set=1:variable` of `regexp`.
            self.known.remove(variable.rsplit(':').next().unwrap_or(variable));
        }
    }

    /// Whether words expanded to more than [`MAX_EXPANDED_BYTES`]: what came last is not whole.
    pub fn is_exhausted(&self) -> bool {
        self.expanded.get() > MAX_EXPANDED_BYTES
    }

    fn charge(&self, bytes: usize) {
        self.expanded.set(self.expanded.get().saturating_add(bytes).saturating_add(PART_BYTES));
    }

    /// Arguments with the values of variables that are known.
    pub fn expand(&self, words: &[Word]) -> Vec<Argument> {
        let mut arguments = Vec::new();
        for word in words {
            let mut current = Argument::default();
            // A quoted part makes an argument even where it is empty.
            let mut exists = false;
            for part in &word.parts {
                if self.is_exhausted() {
                    return arguments;
                }
                match part {
                    Part::Block(source) => {
                        self.charge(source.len());
                        current.push(source);
                        exists = true;
                    }
                    Part::Text { text, quoted } => {
                        self.charge(text.len());
                        current.push(text);
                        exists |= *quoted || !text.is_empty();
                    }
                    Part::Variable { name, quoted } => match (self.value(name), quoted) {
                        (Some(values), true) => {
                            exists = exists || name != "@" || !values.is_empty();
                            let mut values = values.into_iter();
                            current.push(&values.next().unwrap_or_default());
                            for value in values {
                                arguments.push(std::mem::take(&mut current));
                                current.push(&value);
                            }
                        }
                        (Some(values), false) => {
                            let joined = values.join(" ");
                            for (at, field) in joined.split_whitespace().enumerate() {
                                if at > 0 {
                                    arguments.push(std::mem::take(&mut current));
                                }
                                current.push(field);
                                exists = true;
                            }
                        }
                        (None, quoted) => {
                            current.pieces.push(Piece::Unknown(name.clone()));
                            current.may_vanish = !quoted && word.parts.len() == 1;
                            exists = true;
                        }
                    },
                }
            }
            if exists && arguments.len() < MAX_ARGUMENTS {
                arguments.push(current);
            }
        }
        arguments
    }

    /// The value of a variable, as one or, for `$@`, as several arguments. `None` when it is not known.
    fn value(&self, name: &str) -> Option<Vec<String>> {
        let value = self.look_up(name);
        self.charge(value.iter().flatten().map(String::len).sum());
        value
    }

    fn look_up(&self, name: &str) -> Option<Vec<String>> {
        let parameters = self.parameters.last();
        match name {
            "@" => Some(parameters.cloned().unwrap_or_default()),
            "*" => Some(vec![parameters.map(|p| p.join(" ")).unwrap_or_default()]),
            "#" => Some(vec![parameters.map_or(0, Vec::len).to_string()]),
            "?" => None,
            _ => match name.parse::<usize>() {
                Ok(0) => None,
                Ok(number) => {
                    Some(vec![parameters.and_then(|p| p.get(number - 1)).cloned().unwrap_or_default()])
                }
                Err(_) => self.known.get(name).map(|value| vec![value.clone()]),
            },
        }
    }
}
