//! Which commands a configuration runs, guided by the commands of a reference boot.
//!
//! GRUB measures every command with its arguments expanded. What a configuration alone does not say (the value of `$root`
//! after a search, whether a file is there) is taken from the reference boot as long as both run the same commands:
//! variables get the values that make the texts equal, and a branch is taken where its first command is the next one of the
//! reference. Where that leaves a choice, nothing is predicted.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use veriboot_eventlog::{Digest, HashAlg};

use super::script::{Command, Part, Script, Word};
use super::{parse, test_command};
use crate::limits::{MAX_COMMANDS, MAX_DEPTH};

/// How many commands of the reference may have been removed in one place.
const LOOK_AHEAD: usize = 8;
/// Steps of one comparison of a text with a pattern.
const MATCH_STEPS: usize = 200_000;
/// Commands that hand over to something whose measurements are not known here.
const OPAQUE: &[&str] = &["blscfg", "chainloader", "multiboot", "multiboot2", "xen_hypervisor", "legacy_source", "bls_import"];

/// One measurement of the reference boot that GRUB caused.
#[derive(Clone, Debug)]
pub(crate) enum Guide {
    /// A command.
    Command {
        /// Which measurement.
        slot: usize,
        /// Its text, where that is proven by the digest.
        text: Option<String>,
        /// The digest.
        digest: Digest,
        /// First word of the command.
        word: String,
    },
    /// What a command caused: a file that was read, an image that was loaded, a kernel command line.
    Effect {
        /// Which measurement.
        slot: usize,
    },
}

/// What the configuration can ask about.
pub(crate) struct World<'w> {
    /// Bank of the digests.
    pub bank: HashAlg,
    /// Whether a file with this path is there; `None` when that is not known.
    pub file_exists: &'w dyn Fn(&str) -> Option<bool>,
    /// Another configuration file.
    pub script: &'w dyn Fn(&str) -> Option<Result<Script, String>>,
}

/// How a command corresponds to the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// It is the same command.
    Same(usize),
    /// It stands where this one did.
    Instead(usize),
    /// The reference has nothing like it.
    New,
}

/// Slots of the reference that a command caused.
pub(crate) type Effect = usize;

/// A command that runs.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// The text that is measured.
    pub text: String,
    /// Name and arguments.
    pub words: Vec<String>,
    /// What it is in the reference.
    pub running: Running,
    /// What the command of the reference caused.
    pub effects: Vec<Effect>,
}

/// What a configuration does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Commands in their order.
    pub ran: Vec<Ran>,
    /// Whether a kernel was loaded: nothing of GRUB follows then.
    pub kernel: bool,
    /// First item of the guide that was not reached.
    pub cursor: usize,
}

/// Runs a configuration. `Err` says why that cannot be done without the machine.
pub(crate) fn run(script: &[Command], guide: &[Guide], world: &World<'_>) -> Result<Outcome, String> {
    let mut machine = Machine {
        guide,
        world,
        cursor: 0,
        known: BTreeMap::new(),
        functions: BTreeMap::new(),
        ran: Vec::new(),
        menu: Vec::new(),
        parameters: Vec::new(),
        kernel: false,
        status: None,
        depth: 0,
    };
    machine.file(script)?;
    Ok(Outcome { ran: machine.ran, kernel: machine.kernel, cursor: machine.cursor })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Return,
    Stop,
}

/// One piece of an expanded argument.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Unknown(String),
}

/// An expanded argument.
#[derive(Clone, Debug, Default)]
struct Argument {
    pieces: Vec<Piece>,
    /// A single unquoted variable: an empty value leaves no argument.
    may_vanish: bool,
}

impl Argument {
    fn known(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Unknown(_) => None,
            })
            .collect()
    }
}

/// What follows a list of commands.
struct Next<'n> {
    script: &'n [Command],
    after: Option<&'n Next<'n>>,
}

#[derive(Clone, Debug)]
struct MenuEntry {
    title: String,
    id: Option<String>,
    arguments: Vec<String>,
    submenu: bool,
    body: String,
}

struct Machine<'w> {
    guide: &'w [Guide],
    world: &'w World<'w>,
    cursor: usize,
    known: BTreeMap<String, String>,
    functions: BTreeMap<String, Rc<Script>>,
    ran: Vec<Ran>,
    menu: Vec<MenuEntry>,
    /// Arguments of functions and menu entries, innermost last.
    parameters: Vec<Vec<String>>,
    kernel: bool,
    /// Whether the last command succeeded, where that is known.
    status: Option<bool>,
    depth: usize,
}

impl Machine<'_> {
    /// A configuration file with a menu of its own, and the entry of it that boots.
    fn file(&mut self, script: &[Command]) -> Result<Flow, String> {
        let outer = std::mem::take(&mut self.menu);
        if self.list(script, None)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        let flow = self.boot_menu()?;
        self.menu = outer;
        Ok(flow)
    }

    fn boot_menu(&mut self) -> Result<Flow, String> {
        if self.kernel || self.menu.is_empty() {
            return Ok(if self.kernel { Flow::Stop } else { Flow::On });
        }
        let mut wanted: VecDeque<String> =
            self.known.get("default").map(|d| d.split('>').map(str::to_owned).collect()).unwrap_or_default();
        loop {
            let choice = wanted.pop_front().filter(|choice| !choice.is_empty()).unwrap_or_else(|| "0".to_owned());
            let by_number = choice.parse::<usize>().ok().and_then(|at| self.menu.get(at));
            let by_name = || self.menu.iter().find(|e| e.title == choice || e.id.as_deref() == Some(choice.as_str()));
            let entry = by_number.or_else(by_name).cloned();
            let entry = entry.ok_or_else(|| format!("the menu has no entry {choice:?}, which is the default"))?;
            self.menu.clear();
            self.enter()?;
            let mut words = vec!["setparams".to_owned(), entry.title.clone()];
            words.extend(entry.arguments.clone());
            let text = |text: &String| Word { parts: vec![Part::Text { text: text.clone(), quoted: true }] };
            self.parameters.push(Vec::new());
            let body = parse(entry.body.as_bytes()).map_err(|e| e.to_string())?;
            let setparams = Command::Simple(words.iter().map(text).collect());
            self.list(&[setparams], Some(&Next { script: &body, after: None }))?;
            let flow = self.list(&body, None)?;
            self.parameters.pop();
            self.depth -= 1;
            if flow == Flow::Stop || !entry.submenu || self.menu.is_empty() {
                return Ok(Flow::Stop);
            }
        }
    }

    fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err("files, functions and menus are nested too deep".to_owned()) } else { Ok(()) }
    }

    fn list(&mut self, script: &[Command], after: Option<&Next<'_>>) -> Result<Flow, String> {
        for (at, command) in script.iter().enumerate() {
            let next = Next { script: script.get(at + 1..).unwrap_or_default(), after };
            match self.command(command, &next)? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn command(&mut self, command: &Command, next: &Next<'_>) -> Result<Flow, String> {
        match command {
            Command::Simple(words) => self.simple(words, next),
            Command::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::new(body.clone()));
                Ok(Flow::On)
            }
            Command::If { branches, otherwise } => self.conditional(branches, otherwise, next),
            Command::For { name, items, body } => {
                for item in self.expand(items) {
                    let value = item.known().ok_or("the values of a `for` loop are not known")?;
                    self.known.insert(name.clone(), value);
                    match self.list(body, Some(next))? {
                        Flow::On => {}
                        other => return Ok(other),
                    }
                }
                Ok(Flow::On)
            }
            Command::While { .. } => Err("a `while` loop is not followed".to_owned()),
        }
    }

    fn conditional(
        &mut self,
        branches: &[(Script, Script)],
        otherwise: &Script,
        next: &Next<'_>,
    ) -> Result<Flow, String> {
        for (at, (condition, body)) in branches.iter().enumerate() {
            self.status = None;
            let later: &[(Script, Script)] = branches.get(at + 1..).unwrap_or_default();
            let taken_next = Next { script: body, after: Some(next) };
            match self.list(condition, Some(&taken_next))? {
                Flow::On => {}
                other => return Ok(other),
            }
            let holds = match self.status {
                Some(holds) => holds,
                None => {
                    let refused = later.first().map_or(otherwise.as_slice(), |(condition, _)| condition.as_slice());
                    self.guess(body, refused, next)?
                }
            };
            if holds {
                return self.list(body, Some(next));
            }
        }
        self.list(otherwise, Some(next))
    }

    /// Whether the reference went on with `then` and not with `refused`.
    fn guess(&self, then: &[Command], refused: &[Command], next: &Next<'_>) -> Result<bool, String> {
        let score = |script: &[Command]| self.score(&Next { script, after: Some(next) });
        let (yes, no) = (score(then), score(refused));
        match yes.cmp(&no) {
            std::cmp::Ordering::Greater => Ok(true),
            std::cmp::Ordering::Less => Ok(false),
            std::cmp::Ordering::Equal => {
                let after = self.ran.last().map(|ran| ran.text.chars().take(80).collect::<String>());
                Err(format!("whether {:?} succeeds is not known", after.unwrap_or_default()))
            }
        }
    }

    /// How well the next command of the reference fits: 2 the same, 1 the same name.
    fn score(&self, next: &Next<'_>) -> u8 {
        let first = self.first(Some(next));
        match (first, self.guide.get(self.cursor)) {
            (None, None) => 2,
            (None, Some(Guide::Command { word, .. })) => u8::from(word == "setparams"),
            (Some(arguments), Some(command @ Guide::Command { word, .. })) => {
                if self.same(&arguments, command).is_some() {
                    2
                } else {
                    u8::from(arguments.first().and_then(Argument::known).as_deref() == Some(word.as_str()))
                }
            }
            _ => 0,
        }
    }

    /// The command that runs first, expanded.
    fn first(&self, mut next: Option<&Next<'_>>) -> Option<Vec<Argument>> {
        while let Some(here) = next {
            for command in here.script {
                let inner: &[Command] = match command {
                    Command::Simple(words) => return Some(self.expand(words)),
                    Command::Function { .. } => continue,
                    Command::If { branches, .. } => branches.first().map_or(&[], |(condition, _)| condition),
                    Command::For { body, .. } => body,
                    Command::While { condition, .. } => condition,
                };
                if let Some(found) = self.first(Some(&Next { script: inner, after: None })) {
                    return Some(found);
                }
            }
            next = here.after;
        }
        None
    }

    fn simple(&mut self, words: &[Word], next: &Next<'_>) -> Result<Flow, String> {
        let arguments = self.expand(words);
        if arguments.is_empty() {
            return Ok(Flow::On);
        }
        if self.ran.len() >= MAX_COMMANDS {
            return Err("it runs too many commands".to_owned());
        }
        let ran = self.align(&arguments)?;
        let words = ran.words.clone();
        self.ran.push(ran);
        self.status = None;
        let name = words.first().map(String::as_str).unwrap_or_default();
        let rest = words.get(1..).unwrap_or_default();
        match name {
            "[" | "test" => self.status = test_command::evaluate(&words, self.world.file_exists),
            "true" => self.status = Some(true),
            "false" => self.status = Some(false),
            "set" => {
                for word in rest {
                    self.assign(word);
                }
            }
            "unset" => {
                for word in rest {
                    self.known.insert(word.clone(), String::new());
                }
            }
            "menuentry" | "submenu" => self.menu.extend(menu_entry(name == "submenu", rest)),
            "setparams" => {
                self.parameters.pop();
                self.parameters.push(rest.to_vec());
            }
            "source" | "." | "configfile" => return self.include(name == "configfile", rest, next),
            "return" => return Ok(Flow::Return),
            "boot" => return Ok(Flow::Stop),
            "linux" | "linuxefi" | "linux16" => self.kernel = true,
            opaque if OPAQUE.contains(&opaque) => return Err(format!("what `{opaque}` starts is not predicted")),
            _ => {
                if let Some(body) = self.functions.get(name).cloned() {
                    self.enter()?;
                    self.parameters.push(rest.to_vec());
                    let flow = self.list(&body, Some(next))?;
                    self.parameters.pop();
                    self.depth -= 1;
                    return Ok(if flow == Flow::Stop { flow } else { Flow::On });
                }
                if rest.is_empty() && name.contains('=') {
                    self.assign(name);
                } else {
                    self.forget(name, rest);
                }
            }
        }
        Ok(Flow::On)
    }

    fn include(&mut self, own_menu: bool, rest: &[String], next: &Next<'_>) -> Result<Flow, String> {
        let path = rest.last().map(String::as_str).unwrap_or_default();
        match (self.world.script)(path) {
            None if (self.world.file_exists)(path) == Some(false) => Ok(Flow::On),
            None => Err(format!("the file {path:?} that it reads is not given")),
            Some(Err(why)) => Err(format!("{path}: {why}")),
            Some(Ok(script)) => {
                self.enter()?;
                let flow = if own_menu { self.file(&script)? } else { self.list(&script, Some(next))? };
                self.depth -= 1;
                Ok(if flow == Flow::Stop { flow } else { Flow::On })
            }
        }
    }

    fn assign(&mut self, text: &str) {
        if let Some((name, value)) = text.split_once('=') {
            self.known.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Variables that a command sets to something that only the machine knows.
    fn forget(&mut self, name: &str, rest: &[String]) {
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

    /// Arguments with the values of variables that are known.
    fn expand(&self, words: &[Word]) -> Vec<Argument> {
        let mut arguments = Vec::new();
        for word in words {
            let mut current = Argument::default();
            // A quoted part makes an argument even where it is empty.
            let mut exists = false;
            for part in &word.parts {
                match part {
                    Part::Block(source) => {
                        push(&mut current, source);
                        exists = true;
                    }
                    Part::Text { text, quoted } => {
                        push(&mut current, text);
                        exists |= *quoted || !text.is_empty();
                    }
                    Part::Variable { name, quoted } => match (self.value(name), quoted) {
                        (Some(values), true) => {
                            exists = exists || name != "@" || !values.is_empty();
                            let mut values = values.into_iter();
                            push(&mut current, &values.next().unwrap_or_default());
                            for value in values {
                                arguments.push(std::mem::take(&mut current));
                                push(&mut current, &value);
                            }
                        }
                        (Some(values), false) => {
                            let joined = values.join(" ");
                            for (at, field) in joined.split_whitespace().enumerate() {
                                if at > 0 {
                                    arguments.push(std::mem::take(&mut current));
                                }
                                push(&mut current, field);
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
            if exists {
                arguments.push(current);
            }
        }
        arguments
    }

    /// The value of a variable, as one or, for `$@`, as several arguments. `None` when it is not known.
    fn value(&self, name: &str) -> Option<Vec<String>> {
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

    /// Whether this is the command of the reference; its arguments then.
    fn same(&self, arguments: &[Argument], command: &Guide) -> Option<Vec<String>> {
        let Guide::Command { text, digest, .. } = command else { return None };
        let known: Option<Vec<String>> = arguments.iter().map(Argument::known).collect();
        match (known, text) {
            (Some(words), _) => {
                (self.world.bank.hash(&[words.join(" ").as_bytes()]) == *digest).then_some(words)
            }
            (None, Some(text)) => {
                let mut steps = MATCH_STEPS;
                match_arguments(arguments, text, true, &mut steps)
            }
            (None, None) => None,
        }
    }

    /// Finds the command in the reference and goes on behind it.
    fn align(&mut self, arguments: &[Argument]) -> Result<Ran, String> {
        let ahead = self.guide.iter().enumerate().skip(self.cursor);
        let mut commands = ahead.filter(|(_, item)| matches!(item, Guide::Command { .. })).take(LOOK_AHEAD);
        let found = commands.find_map(|(at, item)| Some((at, self.same(arguments, item)?, item)));
        if let Some((at, words, Guide::Command { slot, .. })) = found {
            self.learn(arguments, &words);
            self.cursor = at + 1;
            let effects = self.effects();
            let words: Vec<String> = words.into_iter().filter(|word| word != VANISHED).collect();
            return Ok(Ran { text: words.join(" "), words, running: Running::Same(*slot), effects });
        }
        let words: Vec<String> = arguments
            .iter()
            .map(|argument| {
                argument.known().ok_or_else(|| {
                    let unknown = argument.pieces.iter().find_map(|piece| match piece {
                        Piece::Unknown(name) => Some(name.as_str()),
                        Piece::Text(_) => None,
                    });
                    format!("the value of ${} is not known where it is used", unknown.unwrap_or_default())
                })
            })
            .collect::<Result<_, _>>()?;
        let (running, effects) = match self.guide.get(self.cursor) {
            Some(Guide::Command { slot, word, .. }) if words.first() == Some(word) => {
                let slot = *slot;
                self.cursor += 1;
                (Running::Instead(slot), self.effects())
            }
            _ => (Running::New, Vec::new()),
        };
        Ok(Ran { text: words.join(" "), words, running, effects })
    }

    /// What the command before the cursor caused.
    fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(Guide::Effect { slot }) = self.guide.get(self.cursor) {
            effects.push(*slot);
            self.cursor += 1;
        }
        effects
    }

    /// Keeps the values that the reference showed.
    fn learn(&mut self, arguments: &[Argument], words: &[String]) {
        for (argument, word) in arguments.iter().zip(words) {
            if let [Piece::Unknown(name)] = argument.pieces.as_slice()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                let value = if word == VANISHED { "" } else { word };
                self.known.insert(name.clone(), value.to_owned());
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
                    self.known.insert(name.clone(), value.to_owned());
                }
            }
        }
    }
}

/// Stands for an argument that an empty variable left out. No text of a script can hold it.
const VANISHED: &str = "\0";

fn push(argument: &mut Argument, text: &str) {
    match argument.pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => argument.pieces.push(Piece::Text(text.to_owned())),
    }
}

fn menu_entry(submenu: bool, words: &[String]) -> Option<MenuEntry> {
    let (body, words) = words.split_last()?;
    let body = body.strip_prefix('{')?.strip_suffix('}')?.to_owned();
    let mut entry = MenuEntry { title: String::new(), id: None, arguments: Vec::new(), submenu, body };
    let mut plain = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--id" => entry.id = words.next().cloned(),
            "--class" | "--users" | "--hotkey" | "--source" => {
                words.next();
            }
            option if option.starts_with("--") => {
                if let Some(id) = option.strip_prefix("--id=") {
                    entry.id = Some(id.to_owned());
                }
            }
            _ => plain.push(word.clone()),
        }
    }
    let mut plain = plain.into_iter();
    entry.title = plain.next()?;
    entry.arguments = plain.collect();
    Some(entry)
}

/// The words that make the arguments read like this text.
fn match_arguments(arguments: &[Argument], text: &str, first: bool, steps: &mut usize) -> Option<Vec<String>> {
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
            for end in ends.collect::<Vec<_>>() {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BANK: HashAlg = HashAlg::Sha256;

    fn guide(texts: &[&str]) -> Vec<Guide> {
        let item = |(slot, text): (usize, &&str)| match text.strip_prefix('@') {
            Some(_) => Guide::Effect { slot },
            None => Guide::Command {
                slot,
                text: Some((*text).to_owned()),
                digest: BANK.hash(&[text.as_bytes()]),
                word: text.split(' ').next().unwrap().to_owned(),
            },
        };
        texts.iter().enumerate().map(item).collect()
    }

    fn texts(script: &str, reference: &[&str]) -> Result<Vec<String>, String> {
        let world = World { bank: BANK, file_exists: &|_| None, script: &|_| None };
        let outcome = run(&parse(script.as_bytes()).unwrap(), &guide(reference), &world)?;
        Ok(outcome.ran.into_iter().map(|ran| ran.text).collect())
    }

    /// In the manner of a generated configuration.
    const GENERATED: &str = r#"
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function load_video {
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  else
    insmod efi_gop
  fi
}
set timeout=5
menuentry 'Linux' --class os $menuentry_id_option 'simple-1' {
	load_video
	insmod gzio
	if [ x$grub_platform = xxen ]; then insmod xzio; fi
	search --no-floppy --fs-uuid --set=root 1234
	echo	'Loading Linux VERSION ...'
	linux	/boot/vmlinuz-VERSION root=UUID=1234 ro  quiet
	echo	'Loading initial ramdisk ...'
	initrd	/boot/initrd.img-VERSION
}
submenu 'Advanced' $menuentry_id_option 'advanced-1' {
	menuentry 'Linux VERSION' {
		linux	/boot/vmlinuz-VERSION root=UUID=1234 ro
	}
}
"#;

    fn reference() -> Vec<String> {
        let config = GENERATED.replace("VERSION", "6.1.0-50");
        let block = |from: &str| {
            let (_, rest) = config.split_once(from).unwrap();
            let (_, rest) = rest.split_once('{').unwrap();
            let (body, _) = rest.split_once("\n}").unwrap();
            format!("{{{body}\n}}")
        };
        [
            "[ -s (hd0,gpt2)/boot/grub/grubenv ]",
            "set have_grubenv=true",
            "load_env",
            "[  ]",
            "set default=0",
            "[ xy = xy ]",
            "menuentry_id_option=--id",
            "export menuentry_id_option",
            "set timeout=5",
            &format!("menuentry Linux --class os --id simple-1 {}", block("menuentry 'Linux' --class")),
            &format!("submenu Advanced --id advanced-1 {}", block("submenu")),
            "setparams Linux",
            "load_video",
            "[ xy = xy ]",
            "insmod all_video",
            "insmod gzio",
            "[ xefi = xxen ]",
            "search --no-floppy --fs-uuid --set=root 1234",
            "echo Loading Linux 6.1.0-50 ...",
            "linux /boot/vmlinuz-6.1.0-50 root=UUID=1234 ro quiet",
            "echo Loading initial ramdisk ...",
            "initrd /boot/initrd.img-6.1.0-50",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn the_same_configuration_runs_the_same_commands() {
        let reference = reference();
        let reference: Vec<&str> = reference.iter().map(String::as_str).collect();
        assert_eq!(texts(&GENERATED.replace("VERSION", "6.1.0-50"), &reference).unwrap(), reference);
    }

    #[test]
    fn another_version_changes_what_names_it() {
        let reference = reference();
        let words: Vec<&str> = reference.iter().map(String::as_str).collect();
        let ran = texts(&GENERATED.replace("VERSION", "6.1.0-56"), &words).unwrap();
        let expected: Vec<String> = reference.iter().map(|text| text.replace("6.1.0-50", "6.1.0-56")).collect();
        assert_eq!(ran, expected);
    }

    #[test]
    fn added_and_removed_commands() {
        let reference = ["set a=1", "set b=2", "insmod x", "@x.mod", "linux /k", "@k", "boot"];
        assert_eq!(
            texts("set a=1\ninsmod x\nset c=3\nlinux /k2 quiet\nboot\nset never=1", &reference).unwrap(),
            ["set a=1", "insmod x", "set c=3", "linux /k2 quiet", "boot"]
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let cases: [(&str, &[&str], &str); 5] = [
            ("echo $root changed", &["echo hd0 same"], "$root"),
            ("if sleep 1; then linux /a; else linux /b; fi", &["sleep 1"], "sleep 1"),
            ("source /other.cfg", &["source /other.cfg"], "/other.cfg"),
            ("blscfg", &["blscfg"], "blscfg"),
            ("set default=7\nmenuentry A { linux /k }", &[], "no entry"),
        ];
        for (script, reference, why) in cases {
            let error = texts(script, reference).unwrap_err();
            assert!(error.contains(why), "{script}: {error}");
        }
    }

    #[test]
    fn functions_get_their_arguments() {
        let script = "function f { echo \"$1\" $2 $# \"$@\"; if [ \"$1\" = a ]; then return; fi; echo no; }\nf a 'b c'";
        assert_eq!(texts(script, &[]).unwrap(), ["f a b c", "echo a b c 2 a b c", "[ a = a ]", "return"]);
    }

    #[test]
    fn endless_recursion_ends() {
        assert!(texts("function f { f; }\nf", &[]).is_err());
    }
}
