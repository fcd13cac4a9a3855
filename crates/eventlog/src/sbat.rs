//! SBAT: which generation of a boot component a level still admits (shim, SBAT.md).
//!
//! A level (`SbatLevel`) is CSV: `sbat,1,2025021800`, then `component,generation`. An image carries a section `.sbat`
//! in the same form with more columns. shim refuses an image whose generation of any component is below the level's.
//!
//! ```
//! use veriboot_eventlog::sbat::{Sbat, compare};
//!
//! let level = Sbat::parse(b"sbat,1,2024010900\nshim,4\ngrub,3\n").unwrap();
//! let image = Sbat::parse(b"sbat,1,SBAT Version,sbat,1,https://example.com\ngrub,4,FSF,grub,2.12,\n").unwrap();
//! assert_eq!(level.date_text().as_deref(), Some("2024-01-09"));
//! assert!(compare(&level, &image).is_empty());
//! ```

use std::collections::BTreeMap;

use serde::Serialize;

use crate::limits::{MAX_NAME_CHARS, MAX_SBAT_ENTRIES};
use crate::text::{Text, bounded};

/// A level, or the section of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sbat {
    /// Date stamp of a level, `YYYYMMDDnn`; `None` for an image.
    pub date: Option<u64>,
    /// Generation of each component, `sbat` itself included. Names are printable and bounded.
    pub generations: BTreeMap<String, u32>,
    /// Lines that are not `component,generation…`; they are left out. shim refuses to work with such a text.
    pub malformed_lines: usize,
}

/// A component of an image that a level refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// The component.
    pub component: String,
    /// Generation that the image has.
    pub has: u32,
    /// Generation that the level demands.
    pub needs: u32,
}

/// How a level changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum LevelChange {
    /// A component is held to a generation for the first time, or to a higher one.
    Raised {
        /// The component.
        component: String,
        /// Before; `None` when it was not named.
        from: Option<u32>,
        /// After.
        to: u32,
    },
    /// A component is held to a lower generation, or to none any more: what was revoked runs again.
    Lowered {
        /// The component.
        component: String,
        /// Before.
        from: u32,
        /// After; `None` when it is not named any more.
        to: Option<u32>,
    },
}

impl Sbat {
    /// Reads a level or a section `.sbat`; NUL bytes end it. `None` when its first line does not name `sbat`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.split(|b| *b == 0).next().unwrap_or_default();
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut sbat = Self { date: None, generations: BTreeMap::new(), malformed_lines: 0 };
        let mut lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let first = lines.next()?;
        let mut columns = first.split(|b| *b == b',');
        if columns.next() != Some(b"sbat") {
            return None;
        }
        sbat.line(first);
        // A level has the date where an image has a vendor.
        let _generation = columns.next();
        sbat.date = columns.next().filter(|date| date.len() == 10).and_then(number);
        for line in lines.take(MAX_SBAT_ENTRIES) {
            sbat.line(line);
        }
        Some(sbat)
    }

    fn line(&mut self, line: &[u8]) {
        let mut columns = line.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        let name = columns.next().filter(|name| !name.is_empty());
        let generation = columns.next().and_then(number).and_then(|n| u32::try_from(n).ok());
        let (Some(name), Some(generation)) = (name, generation) else {
            self.malformed_lines += 1;
            return;
        };
        let known = self.generations.entry(bounded(&Text(name), MAX_NAME_CHARS)).or_insert(generation);
        // shim walks all lines of a level; of two for one component the higher refuses more.
        *known = generation.max(*known);
    }

    /// Date of a level: `2025-02-18`.
    pub fn date_text(&self) -> Option<String> {
        let day = self.date? / 100;
        let (year, month, day) = (day / 10_000, day / 100 % 100, day % 100);
        let plausible = (1..=12).contains(&month) && (1..=31).contains(&day);
        plausible.then(|| format!("{year:04}-{month:02}-{day:02}"))
    }

    /// What the level holds components to, without `sbat` itself: `shim 4, grub 3`.
    pub fn generations_text(&self) -> String {
        let named = self.generations.iter().filter(|(name, _)| *name != "sbat");
        named.map(|(name, generation)| format!("{name} {generation}")).collect::<Vec<_>>().join(", ")
    }
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Components of an image that a level refuses. Empty means that SBAT admits the image. Components that only one side
/// names do not count.
pub fn compare(level: &Sbat, image: &Sbat) -> Vec<Revoked> {
    let demanded = |component: &str| level.generations.get(component).copied();
    let images = image.generations.iter();
    images
        .filter_map(|(component, has)| {
            let needs = demanded(component).filter(|needs| has < needs)?;
            Some(Revoked { component: component.clone(), has: *has, needs })
        })
        .collect()
}

/// What changed from one level to another.
pub fn compare_levels(from: &Sbat, to: &Sbat) -> Vec<LevelChange> {
    let mut changes = Vec::new();
    for (component, new) in &to.generations {
        let old = from.generations.get(component).copied();
        let component = component.clone();
        match old {
            Some(old) if old > *new => {
                changes.push(LevelChange::Lowered { component, from: old, to: Some(*new) })
            }
            Some(old) if old == *new => {}
            _ => changes.push(LevelChange::Raised { component, from: old, to: *new }),
        }
    }
    for (component, old) in &from.generations {
        if !to.generations.contains_key(component) {
            changes.push(LevelChange::Lowered { component: component.clone(), from: *old, to: None });
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text of our own in the form of shim's SBAT.md.
    const LEVEL: &[u8] = b"sbat,1,2025021800\nshim,4\ngrub,5\ngrub.fedora,2\n";

    fn image(text: &str) -> Sbat {
        Sbat::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_generation_below_the_level_is_refused() {
        let level = Sbat::parse(LEVEL).unwrap();
        assert_eq!(level.date, Some(2_025_021_800));
        assert_eq!(level.generations_text(), "grub 5, grub.fedora 2, shim 4");
        let old = image(
            "sbat,1,SBAT Version,sbat,1,https://example.org/sbat\n\
             grub,4,Free Software Foundation,grub,2.06,https://example.org/grub\n\
             grub.debian,4,Debian,grub2,2.06-13,https://example.org/debian\n",
        );
        assert_eq!(old.date, None);
        assert_eq!(compare(&level, &old), [Revoked { component: "grub".to_owned(), has: 4, needs: 5 }]);
        let new = image("sbat,1,SBAT Version\ngrub,5,FSF\ngrub.debian,5,Debian\nsystemd,1,systemd\n");
        assert_eq!(compare(&level, &new), []);
        // The version of SBAT itself counts as well.
        assert_eq!(compare(&image("sbat,2,2030010100\n"), &new).len(), 1);
    }

    #[test]
    fn a_level_that_goes_down_is_seen() {
        let (old, new) = (Sbat::parse(LEVEL).unwrap(), image("sbat,1,2025021800\nshim,4\ngrub,3\n"));
        let lowered: Vec<_> = compare_levels(&old, &new);
        assert_eq!(
            lowered,
            [
                LevelChange::Lowered { component: "grub".to_owned(), from: 5, to: Some(3) },
                LevelChange::Lowered { component: "grub.fedora".to_owned(), from: 2, to: None },
            ]
        );
        assert!(compare_levels(&new, &old).iter().all(|c| matches!(c, LevelChange::Raised { .. })));
        assert_eq!(compare_levels(&old, &old), []);
    }

    #[test]
    fn hostile_text_stays_bounded_and_printable() {
        assert_eq!(Sbat::parse(b""), None);
        assert_eq!(Sbat::parse(b"shim,4\n"), None);
        let odd =
            Sbat::parse(b"sbat,1\r\nshim,4,\r\nshim,9\nshim,-1\n,2\ngr\x1bub,99999999999\n\xff,3\0shim,99\n");
        let odd = odd.unwrap();
        assert_eq!(odd.malformed_lines, 3);
        assert_eq!(odd.generations.get("shim"), Some(&9));
        assert_eq!(odd.generations.get("\\xff"), Some(&3));
        assert_eq!((odd.date, odd.date_text()), (None, None));
        let many: String = (0..5_000).map(|n| format!("c{n},1\n")).collect();
        let many = Sbat::parse(format!("sbat,1,2025021800\n{many}").as_bytes()).unwrap();
        assert!(many.generations.len() <= MAX_SBAT_ENTRIES + 1);
    }
}
