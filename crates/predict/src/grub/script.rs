//! Reads a GRUB script into commands (GRUB manual, "Writing full configuration files directly").

use super::lexer::{Reader, Token};
use crate::limits::{MAX_COMMANDS, MAX_CONFIG_BYTES, MAX_DEPTH};

/// Why a configuration cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// Too large, too many commands or too deep.
    #[error(
        "the configuration has more than {MAX_CONFIG_BYTES} bytes, {MAX_COMMANDS} commands or {MAX_DEPTH} levels"
    )]
    TooLarge,
    /// Not UTF-8.
    #[error("the configuration is not text")]
    NotText,
    /// Not a script.
    #[error("line {line} of the configuration: {why}")]
    Syntax {
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
}

impl ScriptError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "grub-config-too-large",
            Self::NotText | Self::Syntax { .. } => "grub-config-malformed",
        }
    }
}

/// Commands in their order.
pub type Script = Vec<Command>;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A name with arguments.
    Simple(Vec<Word>),
    /// `if … then … elif … else … fi`.
    If {
        /// Conditions and what follows each.
        branches: Vec<(Script, Script)>,
        /// What follows when none holds.
        otherwise: Script,
    },
    /// `for NAME in WORDS; do … done`.
    For {
        /// Variable.
        name: String,
        /// Values.
        items: Vec<Word>,
        /// Body.
        body: Script,
    },
    /// `while` or `until`.
    While {
        /// Condition.
        condition: Script,
        /// Body.
        body: Script,
    },
    /// `function NAME { … }`.
    Function {
        /// Name.
        name: String,
        /// Body.
        body: Script,
    },
}

/// One argument: parts that are put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Its parts.
    pub parts: Vec<Part>,
}

/// Part of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Whether it was quoted: a quoted empty text is an argument.
        quoted: bool,
    },
    /// A variable.
    Variable {
        /// Its name.
        name: String,
        /// Whether it stands in double quotes: its value is then one argument, whatever it is.
        quoted: bool,
    },
    /// A block `{ … }`, as it stands in the source, braces included.
    Block(String),
}

/// Reads a configuration.
pub fn parse(bytes: &[u8]) -> Result<Script, ScriptError> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(ScriptError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ScriptError::NotText)?;
    let mut reader = Reader::new(text);
    let script = reader.list(&[], 0)?;
    match reader.next()? {
        Token::End => Ok(script),
        _ => Err(reader.wrong("a word stands where a command cannot begin")),
    }
}

impl Reader<'_> {
    /// Commands until one of the keywords, a closing brace or the end; that token is left.
    fn list(&mut self, until: &[&str], depth: usize) -> Result<Script, ScriptError> {
        if depth > MAX_DEPTH {
            return Err(ScriptError::TooLarge);
        }
        let mut script = Vec::new();
        loop {
            match self.peek()? {
                Token::Separator => {
                    self.next()?;
                }
                Token::End | Token::Close => return Ok(script),
                Token::Open => return Err(self.wrong("a block stands where a command should")),
                token => {
                    if token.keyword().is_some_and(|word| until.contains(&word)) {
                        return Ok(script);
                    }
                    self.commands += 1;
                    if self.commands > MAX_COMMANDS {
                        return Err(ScriptError::TooLarge);
                    }
                    script.push(self.command(depth)?);
                }
            }
        }
    }

    fn command(&mut self, depth: usize) -> Result<Command, ScriptError> {
        let keyword = self.peek()?.keyword().map(str::to_owned);
        match keyword.as_deref() {
            Some("if") => self.conditional(depth),
            Some("for") => self.each(depth),
            Some("while" | "until") => {
                self.next()?;
                let condition = self.list(&["do"], depth + 1)?;
                Ok(Command::While { condition, body: self.loop_body(depth)? })
            }
            Some("function") => {
                self.next()?;
                let Some(name) = self.next()?.keyword().map(str::to_owned) else {
                    return Err(self.wrong("a function has no name"));
                };
                while matches!(self.peek()?, Token::Separator) {
                    self.next()?;
                }
                if self.next()? != Token::Open {
                    return Err(self.wrong("a function has no body"));
                }
                let body = self.list(&[], depth + 1)?;
                match self.next()? {
                    Token::Close => Ok(Command::Function { name, body }),
                    _ => Err(self.wrong("a function does not end")),
                }
            }
            _ => self.simple(depth),
        }
    }

    fn simple(&mut self, depth: usize) -> Result<Command, ScriptError> {
        let mut words = Vec::new();
        loop {
            match self.peek()? {
                Token::Word(_) => {
                    if let Token::Word(word) = self.next()? {
                        words.push(word);
                    }
                }
                Token::Open => {
                    self.next()?;
                    let start = self.last_end - 1;
                    // What is inside is read now, so that a broken one is found.
                    self.list(&[], depth + 1)?;
                    if self.next()? != Token::Close {
                        return Err(self.wrong("a block does not end"));
                    }
                    let source = self.text.get(start..self.last_end).unwrap_or_default().to_owned();
                    words.push(Word { parts: vec![Part::Block(source)] });
                }
                _ => return Ok(Command::Simple(words)),
            }
        }
    }

    fn conditional(&mut self, depth: usize) -> Result<Command, ScriptError> {
        let mut branches = Vec::new();
        loop {
            // `if` or `elif`.
            self.next()?;
            let condition = self.list(&["then"], depth + 1)?;
            self.expect("then")?;
            branches.push((condition, self.list(&["elif", "else", "fi"], depth + 1)?));
            match self.peek()?.keyword() {
                Some("elif") => {}
                Some("else") => {
                    self.next()?;
                    let otherwise = self.list(&["fi"], depth + 1)?;
                    self.expect("fi")?;
                    return Ok(Command::If { branches, otherwise });
                }
                _ => {
                    self.expect("fi")?;
                    return Ok(Command::If { branches, otherwise: Vec::new() });
                }
            }
        }
    }

    fn each(&mut self, depth: usize) -> Result<Command, ScriptError> {
        self.next()?;
        let Some(name) = self.next()?.keyword().map(str::to_owned) else {
            return Err(self.wrong("`for` has no variable"));
        };
        self.expect("in")?;
        let mut items = Vec::new();
        while let Token::Word(_) = self.peek()? {
            if let Token::Word(word) = self.next()? {
                items.push(word);
            }
        }
        while matches!(self.peek()?, Token::Separator) {
            self.next()?;
        }
        Ok(Command::For { name, items, body: self.loop_body(depth)? })
    }

    fn loop_body(&mut self, depth: usize) -> Result<Script, ScriptError> {
        self.expect("do")?;
        let body = self.list(&["done"], depth + 1)?;
        self.expect("done")?;
        Ok(body)
    }

    fn expect(&mut self, word: &'static str) -> Result<(), ScriptError> {
        if self.next()?.keyword() == Some(word) {
            return Ok(());
        }
        Err(self.wrong(match word {
            "then" => "`then` is missing",
            "fi" => "`fi` is missing",
            "in" => "`in` is missing",
            "do" => "`do` is missing",
            _ => "`done` is missing",
        }))
    }
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
