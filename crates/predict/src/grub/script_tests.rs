//! Scripts, whole and broken.

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
    for text in ["if a; then", "menuentry x {", "'", "\"", "${a", "}", "function", "a | b", "for x do", "\\"]
    {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(parse("{".repeat(100).as_bytes()).unwrap_err().code(), "grub-config-malformed");
    assert_eq!(parse("m {".repeat(100).as_bytes()), Err(ScriptError::TooLarge));
    assert_eq!(parse("a\n".repeat(70_000).as_bytes()), Err(ScriptError::TooLarge));
    assert_eq!(parse(b"\xff"), Err(ScriptError::NotText));
}
