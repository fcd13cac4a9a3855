//! Boots that are made up for the lint: only what a condition reads, with values that it compares with and others.
//!
//! The choice is pseudo-random and always the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{Code, Macro};
use crate::fact::{Fact, Record};
use crate::variables::{Member, ROOT, Schema, Type};

/// Texts that no condition compares with.
const OTHER: &str = "~another~";
/// Values kept per variable.
const MAX_CANDIDATES: usize = 24;

/// One step of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Member(usize),
    Elements,
    Key(String),
}

/// What a condition reads, as a tree, with what it compares each value with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    members: BTreeMap<usize, Self>,
    elements: Option<Box<Self>>,
    keys: BTreeSet<String>,
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    lengths: BTreeSet<i64>,
}

type Path = Vec<Step>;

impl Reads {
    /// What a condition reads.
    pub fn of(code: &Code) -> Self {
        let mut reads = Self::default();
        reads.visit(code, &mut Vec::new());
        reads
    }

    /// Whether it reads nothing, so that its value is fixed.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn node(&mut self, path: &[Step]) -> &mut Self {
        path.iter().fold(self, |node, step| match step {
            Step::Member(index) => node.members.entry(*index).or_default(),
            Step::Elements => node.elements.get_or_insert_default(),
            Step::Key(key) => {
                node.keys.insert(key.clone());
                node.elements.get_or_insert_default()
            }
        })
    }

    fn visit(&mut self, code: &Code, elements: &mut Vec<Option<Path>>) {
        if let Some(path) = path_of(code, elements) {
            self.node(&path);
        }
        match code {
            Code::Equal(a, b) | Code::In { what: a, of: b } => {
                self.compared(a, b, elements);
                self.compared(b, a, elements);
            }
            Code::Compare { left: a, right: b, .. } | Code::Search { text: a, part: b, .. } => {
                self.compared(a, b, elements);
                self.compared(b, a, elements);
            }
            Code::Or { of, default } => self.compared(of, default, elements),
            Code::Matches { text, pattern } => {
                if let (Some(path), Some(mark)) = (path_of(text, elements), mark_of(pattern.as_str())) {
                    self.node(&path).texts.insert(mark);
                }
            }
            Code::Macro { list, filter, body, .. } => {
                self.visit(list, elements);
                let path = path_of(list, elements).map(|mut path| {
                    path.push(Step::Elements);
                    path
                });
                elements.push(path);
                if let Some(filter) = filter {
                    self.visit(filter, elements);
                }
                self.visit(body, elements);
                elements.pop();
                return;
            }
            _ => {}
        }
        code.parts().into_iter().for_each(|part| self.visit(part, elements));
    }

    /// Notes what a value is compared with.
    fn compared(&mut self, value: &Code, with: &Code, elements: &[Option<Path>]) {
        let sized = match value {
            Code::Size(of) => Some(&**of),
            _ => None,
        };
        let Some(path) = path_of(sized.unwrap_or(value), elements) else { return };
        let node = self.node(&path);
        with.walk(&mut |literal| match literal {
            Code::Int(number) if sized.is_some() => {
                node.lengths.insert(*number);
            }
            Code::Int(number) if node.numbers.len() < MAX_CANDIDATES => {
                node.numbers.insert(*number);
            }
            Code::Text(text) if node.texts.len() < MAX_CANDIDATES => {
                node.texts.insert(text.clone());
            }
            _ => {}
        });
    }
}

fn path_of(code: &Code, elements: &[Option<Path>]) -> Option<Path> {
    let extended = |of: &Code, step: Step| {
        let mut path = path_of(of, elements)?;
        path.push(step);
        Some(path)
    };
    match code {
        Code::Variable { index, .. } => Some(vec![Step::Member(*index)]),
        Code::Element(at) => elements.get(*at).cloned().flatten(),
        Code::Member { of, index, .. }
        | Code::HasMember { of, index }
        | Code::OptionalMember { of, index } => extended(of, Step::Member(*index)),
        Code::At { of, key, .. } | Code::HasKey { of, key } | Code::OptionalAt { of, key } => match &**key {
            Code::Text(key) => extended(of, Step::Key(key.clone())),
            _ => extended(of, Step::Elements),
        },
        Code::Or { of, .. } | Code::ToInt(of) | Code::ToText(of) => path_of(of, elements),
        Code::Macro { kind: Macro::Collect, list, body, .. } => match &**body {
            Code::Element(at) if *at == elements.len() => path_of(list, elements),
            _ => None,
        },
        _ => None,
    }
}

/// A text that stands for one that the pattern matches: see [`loosened`].
fn mark_of(pattern: &str) -> Option<String> {
    let at = pattern.find('\u{1}')?;
    pattern.get(at..).map(str::to_owned)
}

/// The same condition whose patterns match a mark besides: what a text must look like cannot be guessed.
pub(crate) fn loosened(code: &Code) -> Code {
    let mut count = 0_u32;
    loosen(code, &mut count)
}

fn loosen(code: &Code, count: &mut u32) -> Code {
    let mut one = |code: &Code| Box::new(loosen(code, count));
    match code {
        Code::Matches { text, pattern } => {
            let text = one(text);
            *count += 1;
            let loose = format!("(?:{})|\u{1}{count}", pattern.as_str());
            let pattern = regex::Regex::new(&loose).unwrap_or_else(|_| pattern.clone());
            Code::Matches { text, pattern }
        }
        Code::Member { of, index, path } => Code::Member { of: one(of), index: *index, path: path.clone() },
        Code::HasMember { of, index } => Code::HasMember { of: one(of), index: *index },
        Code::OptionalMember { of, index } => Code::OptionalMember { of: one(of), index: *index },
        Code::At { of, key, path } => Code::At { of: one(of), key: one(key), path: path.clone() },
        Code::HasKey { of, key } => Code::HasKey { of: one(of), key: one(key) },
        Code::OptionalAt { of, key } => Code::OptionalAt { of: one(of), key: one(key) },
        Code::Or { of, default } => Code::Or { of: one(of), default: one(default) },
        Code::HasValue(of) => Code::HasValue(one(of)),
        Code::Not(of) => Code::Not(one(of)),
        Code::And(a, b) => Code::And(one(a), one(b)),
        Code::Either(a, b) => Code::Either(one(a), one(b)),
        Code::If { condition, then, otherwise } => {
            Code::If { condition: one(condition), then: one(then), otherwise: one(otherwise) }
        }
        Code::Equal(a, b) => Code::Equal(one(a), one(b)),
        Code::Compare { order, left, right } => {
            Code::Compare { order: *order, left: one(left), right: one(right) }
        }
        Code::In { what, of } => Code::In { what: one(what), of: one(of) },
        Code::Arithmetic { operator, left, right } => {
            Code::Arithmetic { operator: *operator, left: one(left), right: one(right) }
        }
        Code::Size(of) => Code::Size(one(of)),
        Code::Search { kind, text, part } => Code::Search { kind: *kind, text: one(text), part: one(part) },
        Code::ToInt(of) => Code::ToInt(one(of)),
        Code::ToText(of) => Code::ToText(one(of)),
        Code::List(items) => Code::List(items.iter().map(|item| loosen(item, count)).collect()),
        Code::Macro { kind, list, filter, body } => Code::Macro {
            kind: *kind,
            list: one(list),
            filter: filter.as_ref().map(|filter| one(filter)),
            body: one(body),
        },
        Code::Bool(_) | Code::Int(_) | Code::Text(_) | Code::Variable { .. } | Code::Element(_) => {
            code.clone()
        }
    }
}

/// The sequence of choices (Knuth's MMIX generator): the lint says the same every time.
pub(crate) struct Choices(u64);

impl Choices {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1))
    }

    /// One of `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let count = u64::try_from(count.max(1)).unwrap_or(1);
        usize::try_from((self.0 >> 33) % count).unwrap_or(0)
    }

    fn of<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        items.get(self.below(items.len()))
    }
}

/// A boot with the variables that are read. `absent_in` is how rarely what may be absent is: once in so many times.
pub(crate) fn sample(reads: &Reads, absent_in: usize, choices: &mut Choices) -> Record {
    record_of(&ROOT, reads, absent_in, choices)
}

fn record_of(schema: &'static Schema, reads: &Reads, absent_in: usize, choices: &mut Choices) -> Record {
    let mut out = Record::new(schema);
    for (index, below) in &reads.members {
        let Some(member) = schema.members.get(*index) else { continue };
        if !member.absent.is_empty() && choices.below(absent_in) == 0 && absent_in > 1 {
            continue;
        }
        if let Some(slot) = out.slot(*index) {
            *slot = Some(fact_of(member, below, absent_in, choices));
        }
    }
    out
}

fn fact_of(member: &Member, reads: &Reads, absent_in: usize, choices: &mut Choices) -> Fact {
    match member.ty {
        Type::Bool => Fact::Bool(choices.below(2) == 0),
        Type::Int => Fact::Int(number(reads, choices)),
        Type::Text => Fact::Text(text(member, reads, choices)),
        Type::Texts => {
            let below = reads.elements.as_deref().unwrap_or(reads);
            let length = length(reads, choices);
            Fact::List((0..length).map(|_| Fact::Text(mixed_text(member, below, reads, choices))).collect())
        }
        Type::Numbers => {
            let below = reads.elements.as_deref().unwrap_or(reads);
            let keys = reads.keys.iter().chain(&reads.texts).cloned().chain([OTHER.to_owned()]);
            let mut map = BTreeMap::new();
            for key in keys {
                if choices.below(absent_in.max(2)) != 0 {
                    map.insert(key, Fact::Int(number(below, choices)));
                }
            }
            Fact::Map(map)
        }
        Type::Object(schema) => record_of(schema, reads, absent_in, choices).into(),
        Type::Objects(schema) => {
            let nothing = Reads::default();
            let below = reads.elements.as_deref().unwrap_or(&nothing);
            let length = length(reads, choices);
            Fact::List((0..length).map(|_| record_of(schema, below, absent_in, choices).into()).collect())
        }
    }
}

fn length(reads: &Reads, choices: &mut Choices) -> usize {
    let mut lengths = vec![0, 1, 1, 2, 3];
    for wanted in
        reads.lengths.iter().filter(|n| (0..=16).contains(*n)).filter_map(|n| usize::try_from(*n).ok())
    {
        lengths.extend([wanted.saturating_sub(1), wanted, wanted + 1]);
    }
    choices.of(&lengths).copied().unwrap_or_default()
}

fn number(reads: &Reads, choices: &mut Choices) -> i64 {
    let mut numbers = vec![0];
    for wanted in &reads.numbers {
        numbers.extend([wanted.saturating_sub(1), *wanted, wanted.saturating_add(1)]);
    }
    choices.of(&numbers).copied().unwrap_or_default()
}

fn mixed_text(member: &Member, below: &Reads, list: &Reads, choices: &mut Choices) -> String {
    let source = if choices.below(2) == 0 || list.texts.is_empty() { below } else { list };
    text(member, source, choices)
}

fn text(member: &Member, reads: &Reads, choices: &mut Choices) -> String {
    let words = (member.words)();
    let wanted: Vec<&String> = reads.texts.iter().collect();
    if !words.is_empty() && (wanted.is_empty() || choices.below(2) == 0) {
        return choices.of(&words).map(|word| (*word).to_owned()).unwrap_or_default();
    }
    if reads.lengths.is_empty() && !wanted.is_empty() && choices.below(3) != 0 {
        return choices.of(&wanted).map(|text| (*text).clone()).unwrap_or_default();
    }
    if let Some(length) = reads.lengths.iter().next() {
        let around = length.saturating_add(i64::try_from(choices.below(3)).unwrap_or(0)).saturating_sub(1);
        return "x".repeat(usize::try_from(around).unwrap_or(0).min(4096));
    }
    if words.is_empty() {
        return match choices.below(5) {
            0 => String::new(),
            1 => reads.texts.iter().map(String::as_str).collect(),
            2 => reads.texts.iter().rev().map(String::as_str).collect(),
            3 => wanted.first().map(|text| format!("{text}~")).unwrap_or_default(),
            _ => OTHER.to_owned(),
        };
    }
    choices.of(&wanted).map(|text| (*text).clone()).unwrap_or_default()
}

/// Something that a boot can lack.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    path: Path,
    /// In words: `images[].authority`.
    pub name: String,
    /// Whether it is the emptiness of a list and not its absence.
    pub empty: bool,
}

/// Everything that a condition reads and a boot can lack.
pub(crate) fn gaps(reads: &Reads) -> Vec<Gap> {
    let mut gaps = Vec::new();
    find_gaps(&ROOT, reads, &mut Vec::new(), "", &mut gaps);
    gaps
}

fn find_gaps(schema: &'static Schema, reads: &Reads, path: &mut Path, prefix: &str, gaps: &mut Vec<Gap>) {
    for (index, below) in &reads.members {
        let Some(member) = schema.members.get(*index) else { continue };
        let name = format!("{prefix}{}", member.name);
        path.push(Step::Member(*index));
        if !member.absent.is_empty() {
            gaps.push(Gap { path: path.clone(), name: name.clone(), empty: false });
        }
        if member.empty_is_odd {
            gaps.push(Gap { path: path.clone(), name: name.clone(), empty: true });
        }
        match member.ty {
            Type::Object(schema) => find_gaps(schema, below, path, &format!("{name}."), gaps),
            Type::Objects(schema) => {
                if let Some(below) = &below.elements {
                    path.push(Step::Elements);
                    find_gaps(schema, below, path, &format!("{name}[]."), gaps);
                    path.pop();
                }
            }
            Type::Numbers => {
                for key in &below.keys {
                    let mut path = path.clone();
                    path.push(Step::Key(key.clone()));
                    gaps.push(Gap { path, name: format!("{name}['{key}']"), empty: false });
                }
            }
            Type::Bool | Type::Int | Type::Text | Type::Texts => {}
        }
        path.pop();
    }
}

/// The same boot without it.
pub(crate) fn without(boot: &Record, gap: &Gap) -> Record {
    let mut boot = boot.clone();
    remove(&mut boot, &gap.path, gap.empty);
    boot
}

fn remove(record: &mut Record, path: &[Step], empty: bool) {
    let Some((Step::Member(index), rest)) = path.split_first() else { return };
    let Some(slot) = record.slot(*index) else { return };
    match (rest, slot) {
        ([], slot) if !empty => *slot = None,
        ([], Some(Fact::List(items))) => items.clear(),
        ([Step::Key(key)], Some(Fact::Map(map))) => {
            map.remove(key);
        }
        ([Step::Elements, below @ ..], Some(Fact::List(items))) => {
            for item in items {
                if let Fact::Record(record) = item {
                    remove(record, below, empty);
                }
            }
        }
        (below, Some(Fact::Record(record))) => remove(record, below, empty),
        _ => {}
    }
}

/// Takes one top-level member of another sample over.
pub(crate) fn mixed(boot: &Record, other: &Record, reads: &Reads, choices: &mut Choices) -> Record {
    let mut out = boot.clone();
    let tops: Vec<usize> = reads.members.keys().copied().collect();
    if let Some(top) = choices.of(&tops).copied() {
        let inner: Vec<usize> =
            reads.members.get(&top).map(|r| r.members.keys().copied().collect()).unwrap_or_default();
        match (out.slot(top), other.at(top), choices.of(&inner)) {
            (Some(Some(Fact::Record(mine))), Some(Fact::Record(theirs)), Some(member)) => {
                if let Some(slot) = mine.slot(*member) {
                    *slot = theirs.at(*member).cloned();
                }
            }
            (Some(slot), theirs, _) => *slot = theirs.cloned(),
            (None, ..) => {}
        }
    }
    out
}
