//! Tables that fit: what has no room beside the first columns goes below its row, and nothing is cut.

use comfy_table::{ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle};

use super::wrap::{MIN_SENTENCE_WIDTH, known_width, unbroken, visible_width, wrapped};
use super::{Output, Styled};
use crate::error::CliError;

/// What is below its row begins with this.
const BELOW: &str = "    ";
/// Between values below a row.
const BETWEEN: &str = " · ";
/// Between a name and its value: a space where no line ends.
const TOGETHER: char = '\u{a0}';
/// Spaces between columns.
const GAP: usize = 3;

impl Output {
    /// Prints a table, or `empty` when it has no rows. Where `COLUMNS` or the terminal says how wide it may be, only the last
    /// column is wrapped, and columns that have no room go below their row with their names; in a pipe each row is one line.
    /// Ids stay whole either way.
    pub fn table(&self, header: &[&str], rows: Vec<Vec<Styled>>, empty: &str) -> Result<(), CliError> {
        if rows.is_empty() {
            return self.line(empty);
        }
        let lines = self.table_lines(header, rows, known_width());
        lines.iter().try_for_each(|line| self.line(line))
    }

    fn table_lines(&self, header: &[&str], rows: Vec<Vec<Styled>>, width: Option<usize>) -> Vec<String> {
        let beside = width.map_or(header.len(), |width| fitting(header, &rows, width));
        let (above, below) = header.split_at(beside);
        if below.is_empty() {
            return trimmed(self.layout(header, rows, width.unwrap_or(usize::from(u16::MAX))));
        }
        let (mut heads, mut tails) = (Vec::new(), Vec::new());
        for mut row in rows {
            tails.push(row.split_off(beside.min(row.len())));
            heads.push(row);
        }
        let mut table = trimmed(self.layout(above, heads, usize::from(u16::MAX))).into_iter();
        let mut lines: Vec<String> = table.by_ref().take(1).collect();
        let room = width.unwrap_or(usize::MAX).saturating_sub(BELOW.len()).max(MIN_SENTENCE_WIDTH);
        let indented = |text: &str| {
            let lines = wrapped(text, room).into_iter();
            lines.map(|line| format!("{BELOW}{}", line.replace(TOGETHER, " ")))
        };
        let named: Vec<&str> = below.iter().copied().filter(|name| !name.is_empty()).collect();
        if !named.is_empty() {
            lines.extend(indented(&named.join(BETWEEN)));
        }
        lines.extend(table.by_ref().take(1));
        for (line, tail) in table.zip(tails) {
            lines.push(line);
            lines.extend(self.below(below, tail).iter().flat_map(|part| indented(part)));
        }
        lines
    }

    /// Values with their names, and the sentence that is the last column.
    fn below(&self, header: &[&str], mut tail: Vec<Styled>) -> Vec<String> {
        let sentence = tail.pop().map(|cell| self.paint(&cell.text, cell.tone)).unwrap_or_default();
        let said = |cell: &Styled| !cell.text.is_empty() && cell.text != "-";
        let values: Vec<String> = header
            .iter()
            .zip(&tail)
            .filter(|(_, cell)| said(cell))
            .map(|(name, cell)| {
                let value = self.paint(&cell.text, cell.tone);
                if name.is_empty() { value } else { format!("{}{TOGETHER}{value}", name.to_lowercase()) }
            })
            .collect();
        [values.join(BETWEEN), sentence].into_iter().filter(|part| !part.is_empty()).collect()
    }

    fn layout(&self, header: &[&str], rows: Vec<Vec<Styled>>, width: usize) -> Table {
        let mut table = Table::new();
        table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.to_vec());
        for row in rows {
            table.add_row(Row::from(
                row.into_iter().map(|cell| cell.into_cell(self.color)).collect::<Vec<_>>(),
            ));
        }
        for column in 0..header.len().saturating_sub(1) {
            if let Some(column) = table.column_mut(column) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }
}

/// How many columns fit beside each other; the first one always does.
fn fitting(header: &[&str], rows: &[Vec<Styled>], width: usize) -> usize {
    let last = header.len().saturating_sub(1);
    let mut used = 0;
    let fits = |column: &usize| {
        let wanted = column_width(header, rows, *column);
        // A sentence is wrapped, but not squeezed, and no id in it is broken that has room below.
        let whole = longest_word(rows, *column).min(width.saturating_sub(BELOW.len()));
        used += if *column == last { wanted.min(MIN_SENTENCE_WIDTH.max(whole)) } else { wanted };
        let fits = used <= width;
        used += GAP;
        fits
    };
    (0..header.len()).take_while(fits_or_first(fits)).count()
}

fn fits_or_first(mut fits: impl FnMut(&usize) -> bool) -> impl FnMut(&usize) -> bool {
    move |column| fits(column) || *column == 0
}

/// Columns of a terminal that the widest cell of a column takes.
fn column_width(header: &[&str], rows: &[Vec<Styled>], column: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| visible_width(&cell.text));
    let title = header.get(column).map_or(0, |title| visible_width(title));
    cells.max().unwrap_or(0).max(title)
}

/// Columns of a terminal that the longest word in a column takes.
fn longest_word(rows: &[Vec<Styled>], column: usize) -> usize {
    let words = rows.iter().filter_map(|row| row.get(column)).flat_map(|cell| cell.text.split_whitespace());
    words.flat_map(unbroken).map(visible_width).max().unwrap_or(0)
}

/// Lines without the spaces around them, and a rule that is as wide as what stands above and below it.
fn trimmed(table: Table) -> Vec<String> {
    let line = |line: String| match line.strip_prefix(' ') {
        Some(text) => text.trim_end().to_owned(),
        None => line.strip_suffix("──").unwrap_or(&line).to_owned(),
    };
    table.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use veriboot_wire::Time;

    use super::*;
    use crate::output::Tone;

    const ID: &str = "0193f2a1-7c1d-7d2e-8f00-0123456789ab";
    const HEADER: [&str; 6] = ["ALERT", "VM", "REASON", "STATE", "COUNT", "WHAT HAPPENED"];

    fn rows() -> Vec<Vec<Styled>> {
        let sentence = "the kernel command line has iommu=off, which the baseline does not expect on this VM";
        let row = |vm: &str, count: &str| {
            let cells = [ID, vm, "baseline-deviation", "active", count, sentence];
            cells.map(Styled::from).into_iter().collect()
        };
        vec![row("web-2", "3"), row("database-primary-0", "-")]
    }

    fn lines(width: Option<usize>) -> Vec<String> {
        let out = Output { json: false, color: false, now: Time::from_unix_ms(0) };
        out.table_lines(&HEADER, rows(), width)
    }

    #[test]
    fn nothing_is_wider_than_the_terminal_and_nothing_is_cut() {
        for width in 44..200 {
            let lines = lines(Some(width));
            for line in &lines {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            let text = lines.join(" ");
            assert_eq!(text.matches(ID).count(), 2, "{width}: {text}");
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in ["database-primary-0", "baseline-deviation", "active", "does not expect on"] {
                assert!(words.contains(part), "{width}: {part} in {words}");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_below_its_row_with_its_name() {
        let lines = lines(Some(80));
        let expected = [
            "ALERT                                  VM                   REASON",
            "    STATE · COUNT · WHAT HAPPENED",
        ];
        assert_eq!(lines.iter().take(2).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        assert!(lines.contains(&"    state active · count 3".to_owned()), "{lines:#?}");
        // What is not there needs no name.
        assert!(lines.contains(&"    state active".to_owned()), "{lines:#?}");
    }

    #[test]
    fn in_a_pipe_a_row_is_a_line() {
        let lines = lines(None);
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(
            lines.iter().skip(2).all(|line| line.contains(ID) && line.ends_with("on this VM")),
            "{lines:#?}"
        );
    }

    #[test]
    fn an_id_in_the_last_column_is_not_broken_and_columns_without_a_name_leave_no_sign() {
        let out = Output { json: false, color: false, now: Time::from_unix_ms(0) };
        let key = "f82335a3d1b6614f1dcfb82e1717d078d4de1b34f19c09c4516786d23b36b4bc";
        let row = || vec![["this service", "ES256", key].map(Styled::from).into_iter().collect()];
        let lines = out.table_lines(&["WHOSE", "ALGORITHM", "KEY ID"], row(), Some(80));
        assert!(lines.iter().any(|line| line.ends_with(key)), "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        let lines = out.table_lines(&["WHOSE", "ALGORITHM", ""], row(), Some(24));
        assert!(lines.iter().all(|line| !line.trim().is_empty()), "{lines:#?}");
        let lines = out.table_lines(&["WHOSE", "ALGORITHM", ""], row(), Some(16));
        assert_eq!(lines.get(1).map(String::as_str), Some("    ALGORITHM"), "{lines:#?}");
    }

    #[test]
    fn columns_stand_below_each_other_whatever_the_script() {
        let out = Output { json: false, color: false, now: Time::from_unix_ms(0) };
        let row = |name: &str, why: &str| vec![name.into(), Styled::from("healthy"), why.into()];
        let long = "核心命令列與基準不同".repeat(8);
        for width in [46, 60, 80, 300] {
            let rows = vec![row("web-0", "nothing"), row("伺服器", &long), row("ｗｅｂ", "e\u{301}")];
            let lines = out.table_lines(&["NAME", "STATUS", "WHY"], rows, Some(width));
            let column =
                |line: &String| line.find("healthy").map(|at| visible_width(line.get(..at).unwrap()));
            let columns: Vec<usize> = lines.iter().filter_map(column).collect();
            assert_eq!(columns, [9, 9, 9], "{width}: {lines:#?}");
            for line in &lines {
                assert!(visible_width(line) <= width, "{width}: {line}");
            }
            let said: String = lines.concat().split_whitespace().collect();
            assert_eq!(said.matches('核').count(), 8, "{width}: {lines:#?}");
        }
    }

    #[test]
    fn a_narrow_table_stays_beside_itself() {
        let out = Output { json: false, color: false, now: Time::from_unix_ms(0) };
        let rows = vec![vec![Styled::new("web", Tone::Plain), Styled::new("2", Tone::Plain)]];
        assert_eq!(
            out.table_lines(&["NAME", "VMS"], rows, Some(20)),
            ["NAME   VMS", "──────────", "web    2"]
        );
    }
}
