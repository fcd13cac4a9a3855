//! Lists as CSV that the CLI makes itself.

use std::io::IsTerminal as _;

use veriboot_wire::csv_record;

use super::{cut, print, safe};
use crate::error::CliError;

/// Prints rows as CSV below a header; where there are more than `limit`, standard error says so.
pub fn print_csv_list(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    more: bool,
    limit: usize,
    what: &str,
) -> Result<(), CliError> {
    let mut text = csv_record(header.iter().copied());
    for row in rows {
        text.push_str(&csv_record(row.iter().map(String::as_str)));
    }
    print_csv(&text)?;
    if more {
        cut(limit, what);
    }
    Ok(())
}

/// A cell of what may not be there.
pub fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Prints CSV as it is; on a terminal nothing in it steers that.
pub fn print_csv(text: &str) -> Result<(), CliError> {
    if std::io::stdout().is_terminal() {
        return text.split_terminator("\r\n").try_for_each(|line| print(&format!("{}\n", safe(line))));
    }
    print(text)
}
