//! Hostile expressions and hostile logs: bounded time, bounded memory, no panic, no stack overflow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use veriboot_appraisal::{Condition, Profile, examine};
use veriboot_policy::limits::{MAX_DEPTH, MAX_EXPRESSION_BYTES};
use veriboot_policy::{Boot, Compiled, Evaluated, Subject, Vm, lint};
use veriboot_wire::Severity;

fn condition(expression: &str) -> Condition {
    Condition {
        id: "hostile".to_owned(),
        expression: expression.to_owned(),
        severity: Severity::High,
        message: "It does not hold".to_owned(),
        hint: None,
    }
}

fn read(log: &[u8]) -> Boot {
    Boot::read(log, &examine(log), None, &Profile::default().run_time_pcrs)
}

/// Runs on a stack of the size that threads of the service have.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap()
}

#[test]
fn nesting_and_length_are_bounded() {
    let n = MAX_EXPRESSION_BYTES / 2 - 16;
    for (open, close, core) in [
        ("(", ")", "true"),
        ("[", "]", "1"),
        ("{1:", "}", "1"),
        ("!", "", "true"),
        ("-", "", "1"),
        ("size(", ")", "'a'"),
        ("true?true:", "", "true"),
        ("true?", ":true", "true"),
        ("", ".a", "secure_boot"),
        ("", "[0]", "images"),
        ("", "&&true", "true"),
        ("", "||false", "false"),
        ("", "+1", "1"),
        ("", "==1", "1"),
        ("", " in [1]", "1"),
        ("images.exists(x,", ")", "true"),
        ("", ".map(x, x)", "images"),
        ("", ".?a", "secure_boot"),
        ("", ".orValue(1)", "1"),
        ("'", "'", "a"),
        ("r'''", "", ""),
        ("`", "`", "a"),
        ("//", "", "a"),
        ("\\", "", "a"),
    ] {
        for times in [MAX_DEPTH, MAX_DEPTH * 4, n / (open.len() + close.len()), n] {
            let expression = format!("{}{core}{}", open.repeat(times), close.repeat(times));
            let started = Instant::now();
            let shown = format!("{open}…{close} × {times}");
            on_a_small_stack(move || {
                // What is refused is refused with words, never with a panic.
                let found = lint(&[condition(&expression)]);
                assert!(found.problems.iter().all(|p| !p.message.is_empty() && p.message.len() < 600));
            });
            assert!(started.elapsed() < Duration::from_secs(20), "{shown}: {:?}", started.elapsed());
        }
    }
}

#[test]
fn depth_of_macros_is_bounded() {
    let three = "images.exists(a, images.exists(b, images.exists(c, a.digest == c.digest)))";
    let found = lint(&[condition(three)]);
    assert_eq!(found.problems[0].code, "too-deep", "{found:?}");
    let deep = format!("{}true{}", "(".repeat(MAX_DEPTH + 1), ")".repeat(MAX_DEPTH + 1));
    assert_eq!(lint(&[condition(&deep)]).problems[0].code, "too-deep");
    let long = format!("true{}", " ".repeat(MAX_EXPRESSION_BYTES));
    assert_eq!(lint(&[condition(&long)]).problems[0].code, "too-long");
}

/// A log with very many parameters, images and commands.
fn huge_log() -> Vec<u8> {
    let mut log = vec![0; 4];
    log.extend(3_u32.to_le_bytes());
    log.extend([0; 20]);
    log.extend(33_u32.to_le_bytes());
    log.extend(b"Spec ID Event03\0");
    log.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
    let mut event = |pcr: u32, kind: u32, measured: &[u8], data: &[u8]| {
        log.extend(pcr.to_le_bytes());
        log.extend(kind.to_le_bytes());
        log.extend(1_u32.to_le_bytes());
        log.extend(0x0b_u16.to_le_bytes());
        log.extend(veriboot_eventlog::HashAlg::Sha256.hash(&[measured]).as_ref());
        log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        log.extend(data);
    };
    let line = format!("/vmlinuz {}", "a=b ".repeat(1900));
    event(8, 0xd, line.as_bytes(), format!("kernel_cmdline: {line}\0").as_bytes());
    for n in 0..4000_u32 {
        // An application without a path.
        event(4, 0x8000_0003, &n.to_le_bytes(), &[0; 32]);
    }
    log
}

#[test]
fn work_on_huge_lists_stops() {
    let boot = read(&huge_log());
    for (expression, stops) in [
        ("size(parameters) == 1900 && size(images) == 4000", false),
        ("images.exists(a, images.exists(b, a.path + 'x' == b.path))", false),
        ("images.all(a, images.all(b, a.digest != b.path))", true),
        ("images.map(a, images.map(b, a.digest)) == []", true),
        ("size(images.map(a, parameters)) == 4000", false),
        ("images.exists(a, parameters.exists(p, p.name.contains(command_line.text)))", true),
        ("images.exists(a, command_line.text.matches('(a=b ?){2,30}x'))", true),
        ("images.filter(a, size(images.filter(b, a.digest == b.digest)) > 1).size() == 0", true),
        ("images.map(i, i.digest) in [images.map(i, i.digest)]", false),
        ("images.exists(a, images.map(b, b.digest) == images.map(c, c.path))", true),
    ] {
        let started = Instant::now();
        let Ok((compiled, _)) = Compiled::compile(&condition(expression)) else {
            // `+` is for numbers: texts cannot be made longer.
            assert!(expression.contains("'x'"), "{expression}");
            continue;
        };
        let came_to = compiled.evaluate(&boot, &Subject::new(Vm::default(), &[]));
        let stopped = matches!(&came_to, Evaluated::Error { why } if why.contains("steps"));
        assert_eq!(stopped, stops, "{expression}: {came_to:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{expression}: {:?}", started.elapsed());
    }
}

/// A boundary that somebody ran into must not be argued away by the rest of the condition.
#[test]
fn nothing_hides_that_the_work_was_stopped() {
    let boot = read(&huge_log());
    let endless = "images.all(a, images.all(b, a.digest != b.path))";
    for expression in [
        format!("{endless} || true"),
        format!("true || {endless}"),
        format!("!({endless} && false)"),
        format!("images.exists(x, {endless}) || true"),
    ] {
        let Ok((compiled, _)) = Compiled::compile(&condition(&expression)) else { continue };
        let came_to = compiled.evaluate(&boot, &Subject::new(Vm::default(), &[]));
        assert_eq!(came_to.holds(), expression.starts_with("true"), "{expression}: {came_to:?}");
    }
}

#[test]
fn patterns_are_bounded() {
    for pattern in [
        "(a{1000}){1000}",
        "((((((((((((((((((a))))))))))))))))))",
        "(?:a*)*(?:a*)*$",
        r"\\p{L}{900}",
        "[\\u0000-\\U0010ffff]{2000}",
    ] {
        let expression = format!("has(kernel.path) && kernel.path.matches('{pattern}')");
        let started = Instant::now();
        let _ = lint(&[condition(&expression)]);
        assert!(started.elapsed() < Duration::from_secs(5), "{pattern}: {:?}", started.elapsed());
    }
    let found = lint(&[condition("has(kernel.path) && kernel.path.matches('(a{1000}){1000}')")]);
    assert_eq!(found.problems[0].code, "bad-pattern");
}

/// Words of CEL and of the variables, put together at random.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "secure_boot",
        ".enabled",
        ".mode",
        "images",
        "parameters",
        "keys.db",
        "sbat.generations",
        "['shim']",
        "[0]",
        "[?0]",
        ".exists(x, ",
        ".all(x, ",
        ".map(x, ",
        ".filter(y, ",
        ".exists_one(x, ",
        "x",
        "y",
        ".name",
        ".?path",
        ".orValue(",
        "'a'",
        ")",
        "(",
        " && ",
        " || ",
        "!",
        " == ",
        " != ",
        " < ",
        " in ",
        " ? ",
        " : ",
        "1",
        "-1",
        "9223372036854775807",
        "true",
        "null",
        "1.5",
        "2u",
        "b'x'",
        "[",
        "]",
        "{",
        "}",
        ",",
        "has(",
        "size(",
        "int(",
        "string(",
        ".matches('a+')",
        ".contains(",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        "findings",
        "vm.group",
        "windows.modules",
        "r'\\d'",
        "\"\"\"",
        "é",
        "\n",
        "//",
        "optional.none()",
        "type(",
        "google.protobuf.Any{}",
        "@result",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(expression in prop_oneof![words(), ".{0,200}"]) {
        let _ = lint(&[condition(&expression)]);
        if let Ok((compiled, _)) = Compiled::compile(&condition(&expression)) {
            let boot = read(include_bytes!("../../testkit/corpus/secure-boot/eventlog.bin"));
            let came_to = compiled.evaluate(&boot, &Subject::new(Vm::default(), &[]));
            // A checked condition has a value, or lacks data, or a number does not fit: types are right.
            if let Evaluated::Error { why } = came_to {
                prop_assert!(!why.starts_with("it is") && !why.starts_with("it has") && !why.starts_with("it cannot"), "{} in {}", why, expression);
            }
        }
    }

    #[test]
    fn no_log_makes_it_panic(at in 0_usize..16_000, byte in any::<u8>(), cut in 0_usize..16_000) {
        let mut log = include_bytes!("../../testkit/corpus/secure-boot/eventlog.bin").to_vec();
        let at = at % log.len();
        log[at] = byte;
        log.truncate(log.len().max(cut));
        let boot = read(&log);
        let (compiled, _) = Compiled::compile(&condition("!parameters.exists(p, p.name == 'init') && images.all(i, has(i.digest)) && secure_boot.enabled")).unwrap();
        let _ = compiled.evaluate(&boot, &Subject::new(Vm::default(), &[]));
    }
}
