//! Configurations against traces of commands.

use veriboot_eventlog::HashAlg;

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
    let script =
        "function f { echo \"$1\" $2 $# \"$@\"; if [ \"$1\" = a ]; then return; fi; echo no; }\nf a 'b c'";
    assert_eq!(texts(script, &[]).unwrap(), ["f a b c", "echo a b c 2 a b c", "[ a = a ]", "return"]);
}

#[test]
fn endless_recursion_ends() {
    assert!(texts("function f { f; }\nf", &[]).is_err());
}

#[test]
fn hostile_scripts_end() {
    let nested = |depth: usize| {
        let words = "1 ".repeat(50);
        let open: String = (0..depth).map(|n| format!("for v{n} in {words}; do ")).collect();
        format!("{open}{}", "done; ".repeat(depth))
    };
    assert!(texts(&nested(20), &[]).is_err(), "loops without commands");
    let doubling = "set a=xxxxxxxx\n".to_owned() + &"set a=$a$a$a$a$a$a$a$a\n".repeat(40);
    assert!(texts(&doubling, &[]).is_err(), "a text that grows");
    let many = format!("echo $unknown {}", "$u ".repeat(20_000));
    assert!(texts(&many, &["echo a b c"]).is_err(), "more arguments than are compared");
    let calls = "function f { g; g; g; g; }\nfunction g { h; h; h; h; }\nfunction h { i; i; i; i; i; i; i; i; }\n\
                 function i { j; j; j; j; j; j; j; j; j; j; j; j; }\nfunction j { k 1; k 2; k 3; k 4; k 5; k 6; k 7; k 8; }\nf; f";
    assert!(texts(calls, &[]).is_ok());
}

/// One command of 20,000 times 64 KiB, four thousand times.
#[test]
fn values_that_grow_without_end_are_given_up() {
    let value = "a".repeat(64 << 10);
    let uses = "$a".repeat(20_000);
    let items = "i ".repeat(4000);
    for words in [uses.clone(), format!("\"{uses}\""), format!("{uses} {uses} {uses}")] {
        let script = format!("set a={value}\nfor i in {items}; do\necho {words}\ndone\n");
        assert!(texts(&script, &[]).is_err());
    }
}

/// Arguments of which nothing is known can read like a text in more ways than can be tried.
#[test]
fn comparisons_without_end_are_given_up() {
    let (fits, almost) = (format!("echo {}b", "a".repeat(400)), format!("echo {}c", "a".repeat(400)));
    let unknown: String = (0..12).map(|n| format!("a${{u{n}}}")).collect();
    // What fits is the last one that is looked at.
    let group = [almost.as_str(); LOOK_AHEAD - 1].into_iter().chain([fits.as_str()]);
    let reference: Vec<&str> = std::iter::repeat_n(group, 128).flatten().collect();
    let lines: String =
        (0..128).map(|n| format!("echo {}b\n", unknown.replace('u', &format!("u{n}_")))).collect();
    assert!(texts(&lines, &reference).is_err());
}

/// Looking whether a file is there reads a disk image, so the same question is asked once.
#[test]
fn a_file_is_looked_up_once() {
    let asked = std::cell::Cell::new(0);
    let exists = |_: &str| {
        asked.set(asked.get() + 1);
        Some(true)
    };
    let world = World { bank: BANK, file_exists: &exists, script: &|_| None };
    let script = |path: &str| format!("for i in {}; do\n[ -f {path} ]\ndone\n", "i ".repeat(4000));
    run(&parse(script("/x").as_bytes()).unwrap(), &[], &world).unwrap();
    assert_eq!(asked.get(), 1);
    // Not of 4,000 different ones.
    let many: String = (0..4000).map(|n| format!("[ -f /{n} ]\n")).collect();
    asked.set(0);
    run(&parse(many.as_bytes()).unwrap(), &[], &world).unwrap();
    assert_eq!(asked.get(), MAX_LOOKUPS);
}
