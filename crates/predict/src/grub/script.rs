//! Reads a GRUB script into commands (GRUB manual, "Writing full configuration files directly").

use crate::limits::{MAX_COMMANDS, MAX_CONFIG_BYTES, MAX_DEPTH};

/// Why a configuration cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// Too large, too many commands or too deep.
    #[error("the configuration has more than {MAX_CONFIG_BYTES} bytes, {MAX_COMMANDS} commands or {MAX_DEPTH} levels")]
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
    let mut reader = Reader { text, at: 0, line: 1, peeked: None, commands: 0, last_end: 0 };
    let script = reader.list(&[], 0)?;
    match reader.next()? {
        Token::End => Ok(script),
        _ => Err(reader.wrong("a word stands where a command cannot begin")),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(Word),
    /// Newline or `;`.
    Separator,
    Open,
    Close,
    End,
}

impl Token {
    /// The plain text of an unquoted word.
    fn keyword(&self) -> Option<&str> {
        match self {
            Self::Word(Word { parts }) => match parts.as_slice() {
                [Part::Text { text, quoted: false }] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    peeked: Option<(Token, usize)>,
    commands: usize,
    /// Where the last token that was taken ends.
    last_end: usize,
}

impl Reader<'_> {
    fn wrong(&self, why: &'static str) -> ScriptError {
        ScriptError::Syntax { line: self.line, why }
    }

    fn peek(&mut self) -> Result<&Token, ScriptError> {
        if self.peeked.is_none() {
            let token = self.lex()?;
            self.peeked = Some((token, self.at));
        }
        Ok(self.peeked.as_ref().map_or(&Token::End, |(token, _)| token))
    }

    fn next(&mut self) -> Result<Token, ScriptError> {
        self.peek()?;
        match self.peeked.take() {
            Some((token, end)) => {
                self.last_end = end;
                Ok(token)
            }
            None => Ok(Token::End),
        }
    }

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
            Some(c) if c.is_ascii_digit() => while self.char().is_some_and(|c| c.is_ascii_digit()) {
                self.bump();
            },
            _ => while self.char().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.bump();
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<String> {
        let Command::Simple(words) = command else { panic!("{command:?}") };
        let part = |part: &Part| match part {
            Part::Text { text, .. } => text.clone(),
            Part::Variable { name, quoted } => format!("<{name}{}>", if *quoted { "!" } else { "" }),
            Part::Block(source) => source.clone(),
        };
        words.iter().map(|word| word.parts.iter().map(part).collect()).collect()
    }

    #[test]
    fn quotes_variables_and_comments() {
        let script =
            parse(b"# c\nset a='x y'\"$b\"$c${d}\\ e # f\necho \"\" a\\\n b; [ \"${n}\" = 1 ]\n").unwrap();
        assert_eq!(words(&script[0]), ["set", "a=x y<b!><c><d> e"]);
        assert_eq!(words(&script[1]), ["echo", "", "a", "b"]);
        assert_eq!(words(&script[2]), ["[", "<n!>", "=", "1", "]"]);
    }

    #[test]
    fn blocks_keep_their_source() {
        let script = parse(b"menuentry 'A } B' --class x {\n\tlinux\t/k  # c }\n}\nset x=1\n").unwrap();
        assert_eq!(words(&script[0]), ["menuentry", "A } B", "--class", "x", "{\n\tlinux\t/k  # c }\n}"]);
        assert_eq!(script.len(), 2);
    }

    #[test]
    fn control_flow() {
        let text = b"function f {\n if [ a ]; then b; elif c; then d\n else e; fi\n}\nfor x in 1 2; do f; done\n\
                     while true; do f; done";
        let script = parse(text).unwrap();
        assert!(matches!(&script[0], Command::Function { name, body } if name == "f" && body.len() == 1));
        assert!(matches!(&script[1], Command::For { items, .. } if items.len() == 2));
        assert!(matches!(&script[2], Command::While { .. }));
    }

    #[test]
    fn hostile_text_is_an_error() {
        for text in ["if a; then", "menuentry x {", "'", "\"", "${a", "}", "function", "a | b", "for x do", "\\"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse("{".repeat(100).as_bytes()).unwrap_err().code(), "grub-config-malformed");
        assert_eq!(parse("m {".repeat(100).as_bytes()), Err(ScriptError::TooLarge));
        assert_eq!(parse("a\n".repeat(70_000).as_bytes()), Err(ScriptError::TooLarge));
        assert_eq!(parse(b"\xff"), Err(ScriptError::NotText));
    }
}
