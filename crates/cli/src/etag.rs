//! `--etag`: the state of a thing that somebody looked at before changing it.

use clap::Args;

/// The state that a change was decided on.
#[derive(Args, Debug, Clone, Default)]
pub struct EtagArg {
    /// What you looked at: `etag`, `revision` or `version` of --json; refused when it changed since
    #[arg(long, value_name = "ETAG")]
    pub etag: Option<String>,
}

impl EtagArg {
    /// As `If-Match` takes it: in double quotes, whether they were given or not.
    pub fn quoted(&self) -> Option<String> {
        self.etag.as_deref().map(quoted)
    }
}

/// A tag in double quotes; `*`, any state but none, has none.
pub fn quoted(etag: &str) -> String {
    if etag == "*" || etag.starts_with('"') { etag.to_owned() } else { format!("\"{etag}\"") }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn tags_are_quoted_once() {
        assert_eq!(["3", "\"3\"", "*"].map(quoted), ["\"3\"", "\"3\"", "*"]);
    }
}
