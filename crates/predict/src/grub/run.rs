//! Which commands a configuration runs, guided by the commands of a reference boot.
//!
//! GRUB measures every command with its arguments expanded. What a configuration alone does not say (the value of `$root`
//! after a search, whether a file is there) is taken from the reference boot as long as both run the same commands:
//! variables get the values that make the texts equal, and a branch is taken where its first command is the next one of the
//! reference. Where that leaves a choice, nothing is predicted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::argument::{Argument, MAX_MATCH_STEPS, Piece, VANISHED, words_of};
use super::guide::{Effect, Guide, Outcome, Ran, Running, World};
use super::script::{Command, Part, Script, Word};
use super::variables::Variables;
use super::{parse, test_command};
use crate::limits::{MAX_COMMANDS, MAX_DEPTH};

/// How many commands of the reference may have been removed in one place.
const LOOK_AHEAD: usize = 8;
/// Commands, branches and rounds of loops, whether they measure anything or not.
const MAX_STEPS: usize = 2 * MAX_COMMANDS;
/// Files that a configuration reads.
const MAX_INCLUDES: usize = 64;
/// Files that a configuration looks for; of others it is not known whether they are there.
const MAX_LOOKUPS: usize = 1024;
/// Bytes of all texts.
const MAX_TEXT_BYTES: usize = 64 << 20;
/// Commands that hand over to something whose measurements are not known here.
const OPAQUE: &[&str] =
    &["blscfg", "chainloader", "multiboot", "multiboot2", "xen_hypervisor", "legacy_source", "bls_import"];

/// Runs a configuration. `Err` says why that cannot be done without the machine.
pub(crate) fn run(script: &[Command], guide: &[Guide], world: &World<'_>) -> Result<Outcome, String> {
    let mut machine = Machine {
        guide,
        world,
        cursor: 0,
        variables: Variables::default(),
        functions: BTreeMap::new(),
        ran: Vec::new(),
        menu: Vec::new(),
        kernel: false,
        status: None,
        depth: 0,
        steps: 0,
        includes: 0,
        text_bytes: 0,
        match_steps: Cell::new(MAX_MATCH_STEPS),
        looked_up: RefCell::new(BTreeMap::new()),
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
    variables: Variables,
    functions: BTreeMap<String, Rc<Script>>,
    ran: Vec<Ran>,
    menu: Vec<MenuEntry>,
    kernel: bool,
    /// Whether the last command succeeded, where that is known.
    status: Option<bool>,
    depth: usize,
    steps: usize,
    includes: usize,
    text_bytes: usize,
    /// Steps that comparisons with the reference may still take.
    match_steps: Cell<usize>,
    /// Files that were looked for.
    looked_up: RefCell<BTreeMap<String, Option<bool>>>,
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
        let mut wanted: VecDeque<String> = self
            .variables
            .known
            .get("default")
            .map(|d| d.split('>').map(str::to_owned).collect())
            .unwrap_or_default();
        loop {
            let choice =
                wanted.pop_front().filter(|choice| !choice.is_empty()).unwrap_or_else(|| "0".to_owned());
            let by_number = choice.parse::<usize>().ok().and_then(|at| self.menu.get(at));
            let by_name =
                || self.menu.iter().find(|e| e.title == choice || e.id.as_deref() == Some(choice.as_str()));
            let entry = by_number.or_else(by_name).cloned();
            let entry =
                entry.ok_or_else(|| format!("the menu has no entry {choice:?}, which is the default"))?;
            self.menu.clear();
            self.enter()?;
            let mut words = vec!["setparams".to_owned(), entry.title.clone()];
            words.extend(entry.arguments.clone());
            let text = |text: &String| Word { parts: vec![Part::Text { text: text.clone(), quoted: true }] };
            self.variables.parameters.push(Vec::new());
            let body = parse(entry.body.as_bytes()).map_err(|e| e.to_string())?;
            let setparams = Command::Simple(words.iter().map(text).collect());
            self.list(&[setparams], Some(&Next { script: &body, after: None }))?;
            let flow = self.list(&body, None)?;
            self.variables.parameters.pop();
            self.depth -= 1;
            if flow == Flow::Stop || !entry.submenu || self.menu.is_empty() {
                return Ok(Flow::Stop);
            }
        }
    }

    fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            Err("files, functions and menus are nested too deep".to_owned())
        } else {
            Ok(())
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        match () {
            () if self.steps > MAX_STEPS => Err("it runs too many commands".to_owned()),
            () if self.variables.is_exhausted() => Err("its commands are too long".to_owned()),
            () if self.match_steps.get() == 0 => {
                Err("its commands could be those of the reference boot in too many ways".to_owned())
            }
            () => Ok(()),
        }
    }

    /// Whether a file is there. To find out may mean reading a disk image, so each is looked for once.
    fn file_exists(&self, path: &str) -> Option<bool> {
        let mut known = self.looked_up.borrow_mut();
        if let Some(found) = known.get(path) {
            return *found;
        }
        if known.len() >= MAX_LOOKUPS {
            return None;
        }
        let found = (self.world.file_exists)(path);
        known.insert(path.to_owned(), found);
        found
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
        self.step()?;
        match command {
            Command::Simple(words) => self.simple(words, next),
            Command::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::new(body.clone()));
                Ok(Flow::On)
            }
            Command::If { branches, otherwise } => self.conditional(branches, otherwise, next),
            Command::For { name, items, body } => {
                for item in self.variables.expand(items) {
                    let value = item.known().ok_or("the values of a `for` loop are not known")?;
                    self.step()?;
                    self.variables.set(name, &value);
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
                    let refused =
                        later.first().map_or(otherwise.as_slice(), |(condition, _)| condition.as_slice());
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
                    Command::Simple(words) => return Some(self.variables.expand(words)),
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
        let arguments = self.variables.expand(words);
        if self.variables.is_exhausted() {
            return Err("its commands are too long".to_owned());
        }
        if arguments.is_empty() {
            return Ok(Flow::On);
        }
        if self.ran.len() >= MAX_COMMANDS {
            return Err("it runs too many commands".to_owned());
        }
        let ran = self.align(&arguments)?;
        self.text_bytes = self.text_bytes.saturating_add(ran.text.len());
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err("its commands are too long".to_owned());
        }
        let words = ran.words.clone();
        self.ran.push(ran);
        self.status = None;
        let name = words.first().map(String::as_str).unwrap_or_default();
        let rest = words.get(1..).unwrap_or_default();
        match name {
            "[" | "test" => self.status = test_command::evaluate(&words, &|path| self.file_exists(path)),
            "true" => self.status = Some(true),
            "false" => self.status = Some(false),
            "set" => {
                for word in rest {
                    self.variables.assign(word);
                }
            }
            "unset" => {
                for word in rest {
                    self.variables.known.insert(word.clone(), String::new());
                }
            }
            "menuentry" | "submenu" => self.menu.extend(menu_entry(name == "submenu", rest)),
            "setparams" => {
                self.variables.parameters.pop();
                self.variables.parameters.push(rest.to_vec());
            }
            "source" | "." | "configfile" => return self.include(name == "configfile", rest, next),
            "return" => return Ok(Flow::Return),
            "boot" => return Ok(Flow::Stop),
            "linux" | "linuxefi" | "linux16" => self.kernel = true,
            opaque if OPAQUE.contains(&opaque) => {
                return Err(format!("what `{opaque}` starts is not predicted"));
            }
            _ => {
                if let Some(body) = self.functions.get(name).cloned() {
                    self.enter()?;
                    self.variables.parameters.push(rest.to_vec());
                    let flow = self.list(&body, Some(next))?;
                    self.variables.parameters.pop();
                    self.depth -= 1;
                    return Ok(if flow == Flow::Stop { flow } else { Flow::On });
                }
                if rest.is_empty() && name.contains('=') {
                    self.variables.assign(name);
                } else {
                    self.variables.forget(name, rest);
                }
            }
        }
        Ok(Flow::On)
    }

    fn include(&mut self, own_menu: bool, rest: &[String], next: &Next<'_>) -> Result<Flow, String> {
        self.includes += 1;
        if self.includes > MAX_INCLUDES {
            return Err("it reads too many files".to_owned());
        }
        let path = rest.last().map(String::as_str).unwrap_or_default();
        match (self.world.script)(path) {
            None if self.file_exists(path) == Some(false) => Ok(Flow::On),
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

    /// Whether this is the command of the reference; its arguments then.
    fn same(&self, arguments: &[Argument], command: &Guide) -> Option<Vec<String>> {
        let Guide::Command { text, digest, .. } = command else { return None };
        let known: Option<Vec<String>> = arguments.iter().map(Argument::known).collect();
        match (known, text) {
            (Some(words), _) => {
                (self.world.bank.hash(&[words.join(" ").as_bytes()]) == *digest).then_some(words)
            }
            (None, Some(text)) => words_of(arguments, text, &self.match_steps),
            (None, None) => None,
        }
    }

    /// Finds the command in the reference and goes on behind it.
    fn align(&mut self, arguments: &[Argument]) -> Result<Ran, String> {
        let ahead = self.guide.iter().enumerate().skip(self.cursor);
        let mut commands = ahead.filter(|(_, item)| matches!(item, Guide::Command { .. })).take(LOOK_AHEAD);
        let found = commands.find_map(|(at, item)| Some((at, self.same(arguments, item)?, item)));
        if let Some((at, words, Guide::Command { slot, .. })) = found {
            self.variables.learn(arguments, &words);
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

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
