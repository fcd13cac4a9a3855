//! Many rows with few statements: one list of VALUES for a chunk of rows, in a few sizes only, so that statements are
//! prepared once.

use crate::StoreError;
use crate::tx::{Param, Row, Tx};

/// Rows that one statement takes.
const CHUNKS: [usize; 3] = [100, 10, 1];

/// Rows of `head IN (…)tail` for all ids, in the order of chunks of ids; `first` are the parameters that `head` has. What is
/// missing in a chunk is asked for twice, so that there are a few statement texts for all numbers of ids.
pub(crate) fn query_in(
    tx: &mut dyn Tx,
    head: &str,
    tail: &str,
    first: &[Param<'_>],
    ids: &[&str],
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::with_capacity(ids.len());
    let most = CHUNKS.into_iter().max().unwrap_or(1);
    for chunk in ids.chunks(most) {
        let size = CHUNKS.into_iter().rev().find(|size| *size >= chunk.len()).unwrap_or(most);
        let last = chunk.last().copied().unwrap_or_default();
        let asked = (0..size).map(|at| Param::Text(chunk.get(at).copied().unwrap_or(last)));
        let params: Vec<Param<'_>> = first.iter().copied().chain(asked).collect();
        let places: Vec<String> = (first.len() + 1..=first.len() + size).map(|at| format!("${at}")).collect();
        rows.extend(tx.query(&format!("{head} IN ({}){tail}", places.join(", ")), &params)?);
    }
    Ok(rows)
}

/// Runs `headVALUES (…), (…)tail` for all rows, which have `N` columns each. Gives how many rows the statements changed.
pub(crate) fn write_rows<'a, T, const N: usize>(
    tx: &mut dyn Tx,
    head: &str,
    tail: &str,
    rows: &'a [T],
    columns: impl Fn(&'a T) -> [Param<'a>; N],
) -> Result<u64, StoreError> {
    write_cast(tx, head, tail, &[], rows, columns)
}

/// [`write_rows`] for statements that do not say by themselves which columns (from 1 on) are numbers.
pub(crate) fn write_cast<'a, T, const N: usize>(
    tx: &mut dyn Tx,
    head: &str,
    tail: &str,
    numbers: &[usize],
    rows: &'a [T],
    columns: impl Fn(&'a T) -> [Param<'a>; N],
) -> Result<u64, StoreError> {
    let (mut changed, mut rest) = (0, rows);
    let mut known: Option<(usize, String)> = None;
    while !rest.is_empty() {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len()).unwrap_or(1);
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        let sql = match known.take() {
            Some((of, sql)) if of == size => sql,
            _ => statement(head, tail, size, N, numbers),
        };
        let values: Vec<Param<'a>> = chunk.iter().flat_map(&columns).collect();
        changed += tx.execute(&sql, &values)?;
        known = Some((size, sql));
        rest = after;
    }
    Ok(changed)
}

fn statement(head: &str, tail: &str, rows: usize, columns: usize, numbers: &[usize]) -> String {
    let mut sql = format!("{head}VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            if column > 1 {
                sql.push_str(", ");
            }
            let place = row * columns + column;
            // The first row says it for all.
            if row == 0 && numbers.contains(&column) {
                sql.push_str(&format!("CAST(${place} AS BIGINT)"));
            } else {
                sql.push('$');
                sql.push_str(&place.to_string());
            }
        }
        sql.push(')');
    }
    sql.push_str(tail);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_numbers_its_parameters_row_by_row() {
        let insert = statement("INSERT INTO t (a, b) ", " ON CONFLICT DO NOTHING", 2, 2, &[]);
        assert_eq!(insert, "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING");
        let update = statement("UPDATE t SET a = v.column2 FROM (", ") AS v", 2, 2, &[2]);
        assert_eq!(
            update,
            "UPDATE t SET a = v.column2 FROM (VALUES ($1, CAST($2 AS BIGINT)), ($3, $4)) AS v"
        );
    }
}
