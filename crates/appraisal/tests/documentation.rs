//! docs/findings.md and docs/profiles.md say what the code does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail loudly")]

use veriboot_appraisal::CODES;
use veriboot_tpm::QuoteError;

const FINDINGS: &str = include_str!("../../../docs/findings.md");

#[test]
fn every_code_is_explained_as_it_is() {
    for code in CODES {
        let reason = code.reason.map_or("–".to_owned(), |r| format!("`{r}`"));
        let row = format!("| `{}` | {} | {} | {} |", code.code, code.severity, reason, code.meaning);
        assert!(FINDINGS.contains(&row), "docs/findings.md lacks: {row}");
    }
}

#[test]
fn every_code_of_a_quote_error_is_explained() {
    let text = String::new;
    // A variant that is added makes this match incomplete, and then the list below.
    let exhaustive = |error: &QuoteError| match error {
        QuoteError::Malformed(_)
        | QuoteError::TrailingBytes { .. }
        | QuoteError::NotTpmGenerated { .. }
        | QuoteError::NotAQuote { .. }
        | QuoteError::SignatureMalformed(_)
        | QuoteError::SchemeRefused { .. }
        | QuoteError::HashRefused { .. }
        | QuoteError::SchemeMismatch
        | QuoteError::SignatureInvalid
        | QuoteError::DigestSize { .. }
        | QuoteError::NonceMismatch
        | QuoteError::SelectionMismatch { .. }
        | QuoteError::SelectionUnusable { .. } => error.code(),
    };
    let errors = [
        QuoteError::TrailingBytes { offset: 0 },
        QuoteError::NotTpmGenerated { magic: 0 },
        QuoteError::NotAQuote { kind: 0 },
        QuoteError::SchemeRefused { scheme: 0 },
        QuoteError::HashRefused { hash: 0 },
        QuoteError::SchemeMismatch,
        QuoteError::SignatureInvalid,
        QuoteError::DigestSize { size: 0 },
        QuoteError::NonceMismatch,
        QuoteError::SelectionMismatch { asked: text(), seen: text() },
        QuoteError::SelectionUnusable { asked: text() },
    ];
    let malformed = ["quote-malformed", "quote-signature-malformed"];
    for code in errors.iter().map(exhaustive).chain(malformed) {
        assert!(FINDINGS.contains(&format!("| `{code}` |")), "docs/findings.md lacks {code}");
    }
}

const PROFILES: &str = include_str!("../../../docs/profiles.md");

#[test]
fn every_class_of_change_is_explained() {
    let (_, classes) = FINDINGS.split_once("### Classes of change").unwrap();
    for class in veriboot_wire::ChangeClass::ALL {
        let row = classes.lines().find(|line| line.starts_with(&format!("| `{class}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/findings.md lacks the class {class}"));
        let rule = veriboot_appraisal::ChangeRule::default_for(*class);
        let says = match rule.action {
            veriboot_wire::ChangeAction::Propose => "| propose, signed |",
            _ if *class == veriboot_wire::ChangeClass::BootOrderChange => "| noted |",
            _ => "| fail |",
        };
        assert!(row.contains(says), "docs/findings.md: {row}");
    }
}

/// What the tables of docs/profiles.md say is what the code has.
#[test]
fn profiles_are_explained_as_they_are() {
    use veriboot_appraisal::{KNOWN_AUTHORITIES, Profile, StateFlag};
    for name in Profile::NAMES {
        assert!(PROFILES.contains(&format!("| `{name}`")), "docs/profiles.md lacks {name}");
    }
    for flag in StateFlag::ALL {
        let row = format!("| `{}` | `{}` |", flag.as_str(), flag.component());
        assert!(PROFILES.contains(&row), "docs/profiles.md lacks {row}");
    }
    for kind in veriboot_eventlog::ComponentKind::ALL {
        assert!(PROFILES.contains(&format!("`{kind}`")), "docs/profiles.md lacks {kind}");
    }
    for (parameter, effect) in veriboot_appraisal::dangerous_parameters() {
        let row = format!("* `{parameter}` {effect}");
        assert!(PROFILES.contains(&row), "docs/profiles.md lacks: {row}");
    }
    for known in KNOWN_AUTHORITIES {
        let row = format!(
            "| {} | {} | {} | `{}` | {} |",
            known.who,
            known.subject,
            known.role.title(),
            known.sha256,
            known.source
        );
        assert!(PROFILES.contains(&row), "docs/profiles.md lacks: {row}");
    }
}

/// The documents in docs/profiles.md are profiles.
#[test]
fn examples_of_profiles_are_profiles() {
    let blocks: Vec<&str> =
        PROFILES.split("```toml\n").skip(1).filter_map(|b| b.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let profile =
            veriboot_appraisal::Profile::from_toml(block).unwrap_or_else(|e| panic!("{e}\n{block}"));
        let refused: Vec<_> = profile.flaws().into_iter().filter(|flaw| flaw.refused).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
}

const BASELINE: &str = include_str!("../../../docs/baseline.md");

#[test]
fn the_example_of_a_baseline_is_one() {
    let (_, rest) = BASELINE.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let baseline = veriboot_appraisal::Baseline::from_toml(example).unwrap();
    assert_eq!(baseline.flaws(), []);
    assert_eq!((baseline.rules.len(), baseline.boots.len()), (3, 1));
}

/// Every kind of flaw, as severe as it is, and no other.
#[test]
fn every_flaw_is_explained() {
    let source = include_str!("../src/baseline/flaws.rs");
    let mut in_code = std::collections::BTreeSet::new();
    for (word, call) in [("refused", "refused("), ("warning", "warned(")] {
        for rest in source
            .split(&format!("Kind = {call}"))
            .skip(1)
            .chain(source.split(&format!("Kind =\n    {call}")).skip(1))
        {
            let code = rest.trim_start().trim_start_matches('"').split('"').next().unwrap();
            in_code.insert(format!("| `{code}` | {word} |"));
        }
    }
    let (_, flaws) = BASELINE.split_once("## Flaws").unwrap();
    let (flaws, _) = flaws.split_once("\n## ").unwrap();
    let explained: std::collections::BTreeSet<String> = flaws
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.splitn(4, '|').take(3).collect::<Vec<_>>().join("|") + "|")
        .collect();
    assert!(in_code.len() > 12, "{in_code:?}");
    assert_eq!(in_code, explained);
}
