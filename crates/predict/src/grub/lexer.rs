//! Words, quotes, variables and braces of a GRUB script.

use super::script::{Part, ScriptError, Word};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// Newline or `;`.
    Separator,
    Open,
    Close,
    End,
}

impl Token {
    /// The plain text of an unquoted word.
    pub fn keyword(&self) -> Option<&str> {
        match self {
            Self::Word(Word { parts }) => match parts.as_slice() {
                [Part::Text { text, quoted: false }] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

pub(super) struct Reader<'a> {
    pub text: &'a str,
    at: usize,
    line: usize,
    peeked: Option<(Token, usize)>,
    /// Commands that were read.
    pub commands: usize,
    /// Where the last token that was taken ends.
    pub last_end: usize,
}

impl<'a> Reader<'a> {
    /// Begins a text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, peeked: None, commands: 0, last_end: 0 }
    }

    /// An error here.
    pub fn wrong(&self, why: &'static str) -> ScriptError {
        ScriptError::Syntax { line: self.line, why }
    }

    /// The next token, which stays.
    pub fn peek(&mut self) -> Result<&Token, ScriptError> {
        if self.peeked.is_none() {
            let token = self.lex()?;
            self.peeked = Some((token, self.at));
        }
        Ok(self.peeked.as_ref().map_or(&Token::End, |(token, _)| token))
    }

    /// The next token.
    pub fn next(&mut self) -> Result<Token, ScriptError> {
        self.peek()?;
        match self.peeked.take() {
            Some((token, end)) => {
                self.last_end = end;
                Ok(token)
            }
            None => Ok(Token::End),
        }
    }

    fn char(&self) -> Option<char> {
        self.text.get(self.at..).and_then(|rest| rest.chars().next())
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.char()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn lex(&mut self) -> Result<Token, ScriptError> {
        loop {
            match self.char() {
                None => return Ok(Token::End),
                Some('\n' | ';') => {
                    self.bump();
                    return Ok(Token::Separator);
                }
                Some('\\') if self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\\n")) => {
                    self.bump();
                    self.bump();
                }
                Some(c) if c.is_whitespace() => {
                    self.bump();
                }
                Some('#') => {
                    while self.char().is_some_and(|c| c != '\n') {
                        self.bump();
                    }
                }
                Some('{') => {
                    self.bump();
                    return Ok(Token::Open);
                }
                Some('}') => {
                    self.bump();
                    return Ok(Token::Close);
                }
                Some('|' | '&' | '<' | '>') => return Err(self.wrong("operators are not supported")),
                Some(_) => return self.word().map(Token::Word),
            }
        }
    }

    fn word(&mut self) -> Result<Word, ScriptError> {
        let mut word = Word::default();
        while let Some(c) = self.char() {
            match c {
                '\'' => {
                    self.bump();
                    let start = self.at;
                    while self.char().is_some_and(|c| c != '\'') {
                        self.bump();
                    }
                    let text = self.text.get(start..self.at).unwrap_or_default().to_owned();
                    self.bump().ok_or_else(|| self.wrong("a quote does not end"))?;
                    word.parts.push(Part::Text { text, quoted: true });
                }
                '"' => self.double_quoted(&mut word)?,
                '$' => {
                    self.bump();
                    let part = self.variable(false)?;
                    word.parts.push(part);
                }
                '\\' => {
                    self.bump();
                    match self.bump() {
                        Some('\n') => {}
                        Some(escaped) => push_text(&mut word, escaped, false),
                        None => return Err(self.wrong("a backslash ends the file")),
                    }
                }
                ';' | '{' | '}' | '|' | '&' | '<' | '>' => break,
                c if c.is_whitespace() => break,
                c => {
                    self.bump();
                    push_text(&mut word, c, false);
                }
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), ScriptError> {
        self.bump();
        word.parts.push(Part::Text { text: String::new(), quoted: true });
        loop {
            match self.bump().ok_or_else(|| self.wrong("a quote does not end"))? {
                '"' => return Ok(()),
                '$' => {
                    let part = self.variable(true)?;
                    word.parts.push(part);
                }
                '\\' => match self.bump().ok_or_else(|| self.wrong("a quote does not end"))? {
                    '\n' => {}
                    c @ ('"' | '$' | '\\') => push_text(word, c, true),
                    c => {
                        push_text(word, '\\', true);
                        push_text(word, c, true);
                    }
                },
                c => push_text(word, c, true),
            }
        }
    }

    /// What follows `$`.
    fn variable(&mut self, quoted: bool) -> Result<Part, ScriptError> {
        let braces = self.char() == Some('{');
        if braces {
            self.bump();
        }
        let start = self.at;
        match self.char() {
            Some('?' | '#' | '*' | '@') => {
                self.bump();
            }
            Some(c) if c.is_ascii_digit() => {
                while self.char().is_some_and(|c| c.is_ascii_digit()) {
                    self.bump();
                }
            }
            _ => {
                while self.char().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.bump();
                }
            }
        }
        let name = self.text.get(start..self.at).unwrap_or_default().to_owned();
        if braces && self.bump() != Some('}') {
            return Err(self.wrong("a variable does not end"));
        }
        if name.is_empty() {
            return Ok(Part::Text { text: "$".to_owned(), quoted });
        }
        Ok(Part::Variable { name, quoted })
    }
}

fn push_text(word: &mut Word, c: char, is_quoted: bool) {
    match word.parts.last_mut() {
        Some(Part::Text { text, quoted }) if *quoted == is_quoted => text.push(c),
        _ => word.parts.push(Part::Text { text: c.to_string(), quoted: is_quoted }),
    }
}
