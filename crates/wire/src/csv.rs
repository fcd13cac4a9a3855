//! Rows for spreadsheets and scripts (RFC 4180).

/// One record with its line end. A cell with a comma, a quote or a line break is quoted. A cell that a spreadsheet would
/// take for a formula begins with an apostrophe: cells hold what guests call themselves.
pub fn csv_record<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        let text = if is_formula(cell) { format!("'{cell}") } else { cell.to_owned() };
        if text.contains(['"', ',', '\n', '\r']) {
            line.push('"');
            line.push_str(&text.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(&text);
        }
    }
    line.push_str("\r\n");
    line
}

/// Whether a spreadsheet may take a cell for a formula: also behind what it skips, and in letters of full width.
fn is_formula(cell: &str) -> bool {
    let begins = cell.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    let skips = cell.starts_with(['\t', '\r', '\n']);
    cell != "-" && (skips || begins.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']))
}

#[cfg(test)]
mod tests {
    use super::csv_record;

    #[test]
    fn cells_stay_cells() {
        assert_eq!(csv_record(["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(csv_record(["a,b", "say \"x\"", "1\n2"]), "\"a,b\",\"say \"\"x\"\"\",\"1\n2\"\r\n");
        assert_eq!(csv_record(["=1+1", "@x", "-1", "-", "+"]), "'=1+1,'@x,'-1,-,'+\r\n");
        assert_eq!(csv_record(["=\"a\",b"]), "\"'=\"\"a\"\",b\"\r\n");
        assert_eq!(
            csv_record([" =1", "\n=1", "＝1", "\u{feff}@x", "a=1"]),
            "' =1,\"'\n=1\",'＝1,'\u{feff}@x,a=1\r\n"
        );
    }
}
