//! What the lint says about each kind of mistake, and that it says nothing about good conditions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use veriboot_appraisal::Condition;
use veriboot_policy::{Level, Linted, lint};
use veriboot_wire::Severity;

fn condition(id: &str, expression: &str) -> Condition {
    Condition {
        id: id.to_owned(),
        expression: expression.to_owned(),
        severity: Severity::High,
        message: "It does not hold".to_owned(),
        hint: None,
    }
}

fn linted(expression: &str) -> Linted {
    lint(&[condition("test", expression)])
}

/// Codes of errors and warnings.
fn codes(linted: &Linted) -> Vec<&'static str> {
    linted.problems.iter().filter(|p| p.level > Level::Note).map(|p| p.code).collect()
}

#[test]
fn each_mistake_has_its_code_and_place() {
    for (expression, code, place) in [
        ("secure_boot.enabled &&", "syntax-error", Some((1, 23))),
        ("secure_boot.enabled &\n& true", "syntax-error", None),
        ("", "syntax-error", None),
        ("true\u{7}", "syntax-error", Some((1, 5))),
        ("secureboot.enabled", "unknown-variable", Some((1, 1))),
        ("true &&\n  secure_boot.enable", "unknown-variable", Some((2, 14))),
        ("sbat.generation['shim'] > 1", "unknown-variable", Some((1, 5))),
        ("images.exists(i, i.rol == 'shim')", "unknown-variable", Some((1, 19))),
        ("len(images) > 1", "unknown-function", Some((1, 4))),
        ("kernel.version.startswith('6')", "unknown-function", Some((1, 26))),
        ("kernel.version > 6", "type-error", None),
        ("secure_boot.enabled == 'true'", "type-error", None),
        ("log.events + 'x' == 1", "type-error", None),
        ("images == 1", "type-error", None),
        ("images == images", "type-error", None),
        ("secure_boot", "not-a-condition", Some((1, 1))),
        ("log.events", "not-a-condition", None),
        ("secure_boot.enabled ? 1 : 'x'", "type-error", None),
        ("has(secure_boot)", "syntax-error", None),
        ("secure_boot.enabled.orValue(true)", "type-error", None),
        ("secure_boot.?enabled", "not-a-condition", None),
        ("secure_boot.enabled == null", "not-supported", None),
        ("log.events > 1.5", "not-supported", None),
        ("{'a': 1}.a == 1", "not-supported", None),
        ("secure_boot.mode == 'usr'", "unknown-word", None),
        ("secure_boot.mode in ['user', 'deployd']", "unknown-word", None),
        ("findings.exists(f, f.change == 'kernel')", "unknown-word", None),
        ("images.map(i, i.role).exists(r, r == 'boot-manager')", "unknown-word", None),
        ("kernel.path.matches('(')", "bad-pattern", None),
        ("kernel.path.matches(kernel.version)", "bad-pattern", None),
        ("images.exists(images, true)", "name-taken", None),
        ("images.exists(i, images.exists(i, true))", "name-taken", None),
    ] {
        let linted = linted(expression);
        let first = linted.problems.first().unwrap_or_else(|| panic!("{expression}: nothing found"));
        assert_eq!((first.code, first.level), (code, Level::Error), "{expression}: {linted:?}");
        if let Some((line, column)) = place {
            assert_eq!((first.line, first.column), (Some(line), Some(column)), "{expression}: {first:?}");
        }
        assert_eq!(first.condition.as_deref(), Some("test"));
    }
}

#[test]
fn a_mistyped_name_is_guessed() {
    for (expression, guess) in [
        ("secureboot.enabled", "did you mean `secure_boot`?"),
        ("secure_boot.enable", "did you mean `enabled`?"),
        ("secure_boot.mode == 'usr'", "did you mean `user`?"),
        ("kernel.version.startswith('6')", "did you mean `startsWith`?"),
    ] {
        assert_eq!(linted(expression).problems[0].hint.as_deref(), Some(guess), "{expression}");
    }
}

#[test]
fn what_says_nothing_is_found() {
    for (expression, code) in [
        ("true", "always-holds"),
        ("1 + 1 == 2", "always-holds"),
        ("secure_boot.enabled || true", "always-holds"),
        ("secure_boot.?enabled.orValue(false) || !secure_boot.?enabled.orValue(false)", "always-holds"),
        ("log.events >= 0 || log.events < 0", "always-holds"),
        ("false", "never-holds"),
        ("secure_boot.enabled && !secure_boot.enabled", "never-holds"),
        ("secure_boot.mode == 'user' && secure_boot.mode == 'setup'", "never-holds"),
        ("log.events > 5 && log.events < 3", "never-holds"),
        ("images.all(i, false) && size(images) > 0", "never-holds"),
        ("size(log.format) < 0", "never-holds"),
        (
            "windows.measured && windows.?code_integrity.orValue(false) && !has(windows.code_integrity)",
            "never-holds",
        ),
    ] {
        assert_eq!(codes(&linted(expression)), [code], "{expression}");
    }
}

#[test]
fn what_passes_for_want_of_data_is_found() {
    for (expression, code, names) in [
        ("!has(windows.test_signing) || !windows.test_signing", "passes-when-absent", "windows.test_signing"),
        ("windows.?test_signing.orValue(false) == false", "passes-when-absent", "windows.test_signing"),
        ("!(has(keys.db) && keys.db.exists(c, c.name == 'Evil'))", "passes-when-absent", "keys.db"),
        (
            "images.all(i, !has(i.authority) || i.authority == 'Debian')",
            "passes-when-absent",
            "images[].authority",
        ),
        ("!(sbat.?generations.orValue(sbat.generations)['shim'] < 4)", "", ""),
        (
            "!('shim' in sbat.generations) || sbat.generations['shim'] >= 4",
            "passes-when-absent",
            "sbat.generations['shim']",
        ),
        ("images.all(i, i.digest == 'aa')", "passes-when-empty", "images"),
        ("!keys.db.exists(c, c.name == 'Evil')", "passes-when-empty", "keys.db"),
        (
            "has(command_line.text) ? !parameters.exists(p, p.name == 'init') : true",
            "passes-when-absent",
            "command_line.text",
        ),
        (
            "!has(kernel.version) || kernel.version.matches('^6[.]1[.]')",
            "passes-when-absent",
            "kernel.version",
        ),
        ("vm.?group.orValue('') != 'prod' || secure_boot.enabled", "passes-when-absent", "vm.group"),
    ] {
        let linted = linted(expression);
        let found: Vec<_> = linted.problems.iter().filter(|p| p.level > Level::Note).collect();
        match code {
            "" => assert!(found.is_empty(), "{expression}: {found:?}"),
            code => {
                assert!(
                    found.iter().any(|p| p.code == code && p.message.contains(&format!("`{names}`"))),
                    "{expression}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn good_conditions_are_left_alone() {
    for expression in [
        "secure_boot.enabled && secure_boot.shim_validates",
        "!parameters.exists(p, p.name == 'init')",
        "size(images) > 0 && images.all(i, i.digest in ['aa', 'bb'])",
        "has(sbat.date) && sbat.date >= '2024-01-09'",
        "sbat.generations['shim'] >= 4",
        "dbx.hashes >= 250",
        "has(kernel.version) && kernel.version.matches('^6[.](1|12)[.]')",
        "has(firmware.version) && firmware.version.startsWith('edk2-') && firmware.version.contains('2024')",
        "windows.measured && windows.code_integrity && !windows.test_signing && !windows.boot_debugging && !windows.kernel_debugging && !windows.safe_mode && !windows.win_pe && windows.hvci",
        "secure_boot.enabled || vm.group == 'lab'",
        "!findings.exists(f, f.change == 'firmware-update')",
        "parameters.exists(p, p.name == 'lockdown' && p.value in ['integrity', 'confidentiality'])",
        "size(initrds) == 1 && initrds[0].digest == 'aa'",
        "size(authorities) > 0 && authorities.all(a, a.sha256 in ['aa', 'bb'])",
        "keys.microsoft_2023",
        "size(keys.pk) == 1 && keys.pk[0].sha256 == 'aa'",
    ] {
        let linted = linted(expression);
        assert!(linted.is_clean(), "{expression}: {:?}", linted.problems);
    }
}

#[test]
fn notes_do_not_make_a_policy_unclean() {
    let found = linted("has(kernel.path) && kernel.path == '/vmlinuz'");
    assert!(found.is_clean());
    assert!(
        found.problems.iter().any(|p| p.code == "rests-on-a-claim" && p.message.contains("`kernel.path`"))
    );
    let mut quiet = condition("quiet", "secure_boot.enabled");
    quiet.severity = Severity::Low;
    let found = lint(&[quiet]);
    assert!(found.is_clean() && found.problems.iter().any(|p| p.code == "does-not-fail"));
}

#[test]
fn the_list_itself_is_looked_at() {
    let good = |id: &str| condition(id, "secure_boot.enabled");
    let codes_of = |list: &[Condition]| codes(&lint(list));
    assert_eq!(codes_of(&[good("a"), good("a")]), ["duplicate-id"]);
    for id in ["", "With Capitals", "ümlaut", &"x".repeat(64), "-a", "a\nb"] {
        assert_eq!(codes_of(&[good(id)]), ["bad-id"], "{id:?}");
    }
    let mut silent = good("silent");
    silent.message = " ".to_owned();
    silent.hint = Some("x\u{1b}[2J".to_owned());
    assert_eq!(codes_of(&[silent]), ["bad-text", "bad-text"]);
    let many: Vec<_> = (0..65).map(|n| good(&format!("c{n}"))).collect();
    assert!(codes_of(&many).contains(&"too-many-conditions"));
}
