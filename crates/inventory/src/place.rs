//! Where an element of a JSON or TOML document stands, for mistakes that are found after it was read.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::ReadError;

/// Gives an error that names an element without its place the line and column at which that begins.
pub(crate) fn told(error: ReadError, text: &str) -> ReadError {
    match error {
        ReadError::Element { element, line: 0, reason, .. } => {
            let (line, column) = of(text, &element).unwrap_or_default();
            ReadError::Element { element, line, column, reason }
        }
        ReadError::DuplicateElement { element, line: 0, first, key, .. } => {
            // Proxmox wraps its lists, and people unwrap them.
            let wrapped = || of(text, &element.replacen("resources[", "resources.data[", 1));
            let (line, column) = of(text, &element).or_else(wrapped).unwrap_or_default();
            ReadError::DuplicateElement { element, line, column, first, key }
        }
        other => other,
    }
}

/// What is said where the element is found.
const FOUND: &str = "found";

/// Line and column, from 1, of the element with this path (`[3].name`, `vms[2]`, `configs["100"].name`); `None` where the
/// document has none. Of TOML only the VMs are found.
fn of(text: &str, path: &str) -> Option<(usize, usize)> {
    let steps = steps(path)?;
    let mut parser = serde_json::Deserializer::from_str(text);
    match At(&steps).deserialize(&mut parser) {
        Err(error) if error.to_string().starts_with(FOUND) && error.line() > 0 => {
            // The parser counts what it has read.
            Some((error.line(), error.column().saturating_add(1)))
        }
        Ok(()) | Err(_) => match steps.as_slice() {
            [Step::Member("vms"), Step::Index(n)] => vm_of_toml(text, *n),
            _ => None,
        },
    }
}

/// Line and column of a table in the list `vms` of a TOML document.
fn vm_of_toml(text: &str, n: usize) -> Option<(usize, usize)> {
    #[derive(Deserialize)]
    struct Vms {
        vms: Vec<toml::Spanned<IgnoredAny>>,
    }
    let start = toml::from_str::<Vms>(text).ok()?.vms.get(n)?.span().start;
    let before = text.get(..start)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
    let column = before.get(line_start..)?.chars().count();
    Some((before.matches('\n').count().saturating_add(1), column.saturating_add(1)))
}

#[derive(Debug, PartialEq, Eq)]
enum Step<'p> {
    Member(&'p str),
    Index(usize),
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (name, after) = quoted.split_once("\"]")?;
            steps.push(Step::Member(name));
            rest = after;
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let (name, after) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
            if name.is_empty() {
                return None;
            }
            steps.push(Step::Member(name));
            rest = after;
        }
    }
    Some(steps)
}

/// Ends with an error where the element begins; without one where there is none.
struct At<'p>(&'p [Step<'p>]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0.split_first() {
            None => Err(D::Error::custom(FOUND)),
            Some((step, rest)) => deserializer.deserialize_any(Below { step, rest }),
        }
    }
}

struct Below<'p> {
    step: &'p Step<'p>,
    rest: &'p [Step<'p>],
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match self.step {
                Step::Member(wanted) if name == *wanted => map.next_value_seed(At(self.rest))?,
                _ => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut at = 0_usize;
        loop {
            let more = match self.step {
                Step::Index(wanted) if at == *wanted => seq.next_element_seed(At(self.rest))?.is_some(),
                _ => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(());
            }
            at = at.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_by_its_path() {
        let text = "{\n \"a.b\": 1,\n \"vms\": [\n  {\"name\": \"x\"},\n  {\"id\": 1,\n   \"name\": \"y\"}\n ],\n \"c\": {\"100\": {\"name\": 2}}\n}";
        assert_eq!(of(text, "vms[0]"), Some((4, 3)));
        assert_eq!(of(text, "vms[0].name"), Some((4, 12)));
        let line = |path| of(text, path).map(|(line, _)| line);
        assert_eq!(line("vms[1]"), Some(5));
        assert_eq!(line("vms[1].name"), Some(6));
        assert_eq!(line("c[\"100\"].name"), Some(8));
        for none in ["vms[2]", "vms[1].none", "vms.name", "none", "vms[x]", "vms[", "", ".", "vms[1].name.x"]
        {
            assert_eq!(line(none), None, "{none}");
        }
        assert_eq!(of("vms = []", "vms[0]"), None);
        let text = "[defaults]\ngroup = \"a\"\n\n[[vms]]\nname = \"x\"\n\n  [[vms]]\nname = \"y\"\n";
        assert_eq!((of(text, "vms[0]"), of(text, "vms[1]")), (Some((4, 1)), Some((7, 3))));
        let text = "[[vms]]\nname = \"x\"\n[[vms]]\nname = \"y\"\n";
        assert_eq!(of(text, "vms[1]"), Some((3, 1)));
        assert_eq!(of("vms = [{ name = \"x\" }, { name = \"y\" }]", "vms[1]"), Some((1, 24)));
        assert_eq!(of(text, "vms[2]"), None);
        assert_eq!(of("[1, ", "[7]"), None);
    }
}
