//! The command `test`, also written `[`, as far as strings decide it.

/// Result of a condition; `None` where files, sizes or times would have to be looked at.
pub(super) fn evaluate(arguments: &[String], file_exists: &dyn Fn(&str) -> Option<bool>) -> Option<bool> {
    let mut words = arguments.iter().map(String::as_str);
    let mut terms: Vec<&str> = words.by_ref().collect();
    if terms.first() == Some(&"[") {
        terms.remove(0);
        if terms.pop() != Some("]") {
            return Some(false);
        }
    } else if terms.first() == Some(&"test") {
        terms.remove(0);
    }
    either(&terms, file_exists)
}

/// `-o` binds less than `-a`.
fn either(terms: &[&str], file_exists: &dyn Fn(&str) -> Option<bool>) -> Option<bool> {
    let mut result = Some(false);
    for part in terms.split(|term| *term == "-o") {
        result = match (result, both(part, file_exists)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
    }
    result
}

fn both(terms: &[&str], file_exists: &dyn Fn(&str) -> Option<bool>) -> Option<bool> {
    let mut result = Some(true);
    for part in terms.split(|term| *term == "-a") {
        result = match (result, one(part, file_exists)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
    result
}

fn one(terms: &[&str], file_exists: &dyn Fn(&str) -> Option<bool>) -> Option<bool> {
    match terms {
        [] => Some(false),
        ["!", rest @ ..] => one(rest, file_exists).map(|result| !result),
        [text] => Some(!text.is_empty()),
        ["-n", text] => Some(!text.is_empty()),
        ["-z", text] => Some(text.is_empty()),
        ["-e" | "-f", path] => file_exists(path),
        [left, "=" | "==", right] => Some(left == right),
        [left, "!=", right] => Some(left != right),
        [left, "-eq", right] => Some(left.parse::<i64>().ok()? == right.parse::<i64>().ok()?),
        [left, "-ne", right] => Some(left.parse::<i64>().ok()? != right.parse::<i64>().ok()?),
        [left, "-lt", right] => Some(left.parse::<i64>().ok()? < right.parse::<i64>().ok()?),
        [left, "-le", right] => Some(left.parse::<i64>().ok()? <= right.parse::<i64>().ok()?),
        [left, "-gt", right] => Some(left.parse::<i64>().ok()? > right.parse::<i64>().ok()?),
        [left, "-ge", right] => Some(left.parse::<i64>().ok()? >= right.parse::<i64>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Option<bool> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        evaluate(&words, &|path| (path != "?").then_some(path == "/there"))
    }

    #[test]
    fn strings_decide() {
        assert_eq!(holds("[ xy = xy ]"), Some(true));
        assert_eq!(holds("[  = 2 ]"), Some(false));
        assert_eq!(holds("[  ]"), Some(false));
        assert_eq!(holds("[ -n true ]"), Some(true));
        assert_eq!(holds("[ -z  ]"), Some(true));
        assert_eq!(holds("[ efi != pc ]"), Some(true));
        assert_eq!(holds("test a = b -o c = c"), Some(true));
        assert_eq!(holds("[ a = a -a ! b = c ]"), Some(true));
        assert_eq!(holds("[ 3 -gt 2 ]"), Some(true));
    }

    #[test]
    fn files_are_asked_for() {
        assert_eq!(holds("[ -f /there ]"), Some(true));
        assert_eq!(holds("[ ! -e /not ]"), Some(true));
        assert_eq!(holds("[ -s ? ]"), None);
        assert_eq!(holds("[ -f ? -a a = b ]"), Some(false));
    }
}
