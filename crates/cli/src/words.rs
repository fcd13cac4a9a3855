//! The words of the API, said in those of the command line: members and parameters become flags.

/// Whole phrases of messages and hints, looked for first.
const PHRASES: [(&str, &str); 20] = [
    ("Failed to deserialize query string: ", ""),
    ("`?group=`", "--group"),
    ("`GET /v1/monitoring` lists the settings", "`veriboot monitoring list` shows the settings"),
    ("docs/events.md lists the kinds; alert.*", "docs/events.md lists the kinds; 'alert.*'"),
    ("send the change with its present ETag", "give its present ETag with --etag"),
    ("give its count as `expected`", "run it again"),
    ("naming it in expected_version or If-Match", "naming it with --replaces or --etag"),
    ("put its code in allow_flaws", "give its code with --allow-flaw"),
    ("with `replace`", "with --replace"),
    ("say allow_broad", "give --allow-broad"),
    ("a rule needs expires_at", "a rule needs an end"),
    ("say until when it holds, or no_expiry on purpose", "give --until WHEN, or --no-expiry on purpose"),
    (
        "give at least one member of the filter",
        "give --reason, --scale-set, --group, --incident or another one",
    ),
    ("; GET /v1/checks lists them", ""),
    ("the message names the member and its limits", "the message says what it may be; --help what it is for"),
    ("set settings.allow_local to permit that", "give --allow-local to permit that"),
    ("scope.id must be 1", "the name of the scale set or image must be 1"),
    ("scope.group must be", "--group must be"),
    // The type of an alert; kinds of events are said in another sentence.
    ("kind must be one of ", "--type must be one of "),
    (
        "If-Match must be tags in double quotes, as ETag gives them, or *",
        "--etag must be a tag as --json gives it, or *",
    ),
];

/// Members and parameters whose names no sentence uses for anything else.
const NAMES: [(&str, &str); 34] = [
    ("scale_set", "--scale-set"),
    ("name_prefix", "--name"),
    ("expires_at", "--until"),
    ("expires_in_s", "--expires"),
    ("no_expiry", "--no-expiry"),
    ("allow_broad", "--allow-broad"),
    ("allow_flaws", "--allow-flaw"),
    ("allow_local", "--allow-local"),
    ("changed_since", "--since"),
    ("suppressed_by", "--suppressed-by"),
    ("expected_version", "--replaces"),
    ("expected_profile", "--replaces"),
    ("expected_etag", "--etag"),
    ("min_severity", "--min-severity"),
    ("digest_s", "--digest"),
    ("If-Match", "--etag"),
    ("settings.url", "--url"),
    ("settings.file", "--file"),
    ("settings.host", "--host"),
    ("settings.port", "--port"),
    ("settings.tls", "--tls"),
    ("settings.username", "--username"),
    ("settings.from", "--from"),
    ("settings.to", "--to"),
    ("settings.ca", "--server-ca"),
    ("secrets.signing_secret", "--signing-secret-file"),
    ("secrets.authorization", "--authorization-file"),
    ("secrets.password", "--password-file"),
    ("route.groups", "--group"),
    ("route.kinds", "--event"),
    ("route.alert_types", "--alert-type"),
    ("route.reasons", "--reason"),
    ("route.grouped", "--grouped"),
    ("route.digest_s", "--digest"),
];

/// Parameters whose names are everyday words: flags only where a sentence says what they must be.
const MEMBERS: [&str; 9] = ["limit", "comment", "reason", "until", "from", "group", "image", "uses", "days"];

/// Says `text` of the service in the words of the command line.
pub fn of_the_cli(text: &str) -> String {
    let mut text = text.to_owned();
    for (phrase, said) in PHRASES {
        text = text.replace(phrase, said);
    }
    for (name, flag) in NAMES {
        text = replaced(&text, name, flag);
    }
    for member in MEMBERS {
        if text.strip_prefix(member).is_some_and(|rest| rest.starts_with(" must ")) {
            text.insert_str(0, "--");
        }
    }
    // The name of what a command makes stands behind it, or behind a flag of another name.
    if text.starts_with("name must ") || text.starts_with("profile must ") {
        text.insert_str(0, "the ");
    }
    text
}

/// `text` with `name` replaced where it stands alone, with or without back-ticks. What is quoted is somebody's own word.
fn replaced(text: &str, name: &str, flag: &str) -> String {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(name) {
        let alone = !before.ends_with(part_of_word) && !after.starts_with(part_of_word);
        let (before, after) = match (alone, before.strip_suffix('`'), after.strip_prefix('`')) {
            (true, Some(before), Some(after)) => (before, after),
            _ => (before, after),
        };
        out.push_str(before);
        out.push_str(if alone { flag } else { name });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::of_the_cli;

    #[test]
    fn parameters_are_flags() {
        for (api, cli) in [
            ("limit must be 1 to 1000", "--limit must be 1 to 1000"),
            ("comment must not hold control characters", "--comment must not hold control characters"),
            ("scale_set needs group", "--scale-set needs group"),
            ("expires_at must be in the future", "--until must be in the future"),
            ("correct it, or put its code in allow_flaws", "correct it, or give its code with --allow-flaw"),
            ("name the group with `?group=`, or use the id", "name the group with --group, or use the id"),
            ("give `expected_etag` again", "give --etag again"),
            ("kind must be one of a, b", "--type must be one of a, b"),
            ("name must be 1 to 63 characters", "the name must be 1 to 63 characters"),
            ("there is no such check; GET /v1/checks lists them", "there is no such check"),
            (
                "settings.url is an address of this machine: set settings.allow_local to permit that",
                "--url is an address of this machine: give --allow-local to permit that",
            ),
            ("settings.from: it has no @", "--from: it has no @"),
            (
                "settings.username and secrets.password go together",
                "--username and --password-file go together",
            ),
            ("route.digest_s must be 60 to 86400", "--digest must be 60 to 86400"),
            (
                "If-Match and expected_version name different versions",
                "--etag and --replaces name different versions",
            ),
        ] {
            assert_eq!(of_the_cli(api), cli);
        }
    }

    #[test]
    fn names_that_people_gave_stay() {
        for text in [
            "there is no such VM: \"scale_set\"",
            "my_scale_set is there already",
            "the limit is reached",
            "file limits.toml",
            "",
        ] {
            assert_eq!(of_the_cli(text), text);
        }
    }
}
