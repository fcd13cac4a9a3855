//! Many rows with few ways to the database. On PostgreSQL one list of VALUES for a chunk of rows, in a few sizes only, so that
//! statements are prepared once; on SQLite one prepared statement that runs for each row.

use crate::StoreError;
use crate::tx::{Backend, Param, Row, Tx};

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

/// Runs `headVALUES (…), (…)tail`, an INSERT, for all rows, which have `N` columns each. Gives how many rows were written.
pub(crate) fn insert_rows<'a, T, const N: usize>(
    tx: &mut dyn Tx,
    head: &str,
    tail: &str,
    rows: &'a [T],
    columns: impl Fn(&'a T) -> [Param<'a>; N],
) -> Result<u64, StoreError> {
    run(tx, rows, columns, |size| format!("{head}{}{tail}", values(size, N, &[])))
}

/// Inserts a row for each row of parameters, in which `select` names the columns as `:1`, `:2` …: expressions and
/// subqueries with them. `numbers` are those (from 1 on) that are numbers. Gives how many rows were written.
pub(crate) fn insert_selected<'a, T, const N: usize>(
    tx: &mut dyn Tx,
    (head, select, tail): (&str, &str, &str),
    numbers: &[usize],
    rows: &'a [T],
    columns: impl Fn(&'a T) -> [Param<'a>; N],
) -> Result<u64, StoreError> {
    let backend = tx.backend();
    run(tx, rows, columns, |size| match backend {
        Backend::Sqlite => format!("{head}VALUES ({}){tail}", named(select, "$")),
        Backend::Postgres => {
            let (select, values) = (named(select, "it.column"), values(size, N, numbers));
            format!("{head}SELECT {select} FROM ({values}) AS it{tail}")
        }
    })
}

/// Runs `set WHERE condition`, an UPDATE, for each row of parameters; both name its columns as `:1`, `:2` …, of which
/// `numbers` (from 1 on) are numbers. Gives how many rows were changed.
pub(crate) fn update_rows<'a, T, const N: usize>(
    tx: &mut dyn Tx,
    (set, condition): (&str, &str),
    numbers: &[usize],
    rows: &'a [T],
    columns: impl Fn(&'a T) -> [Param<'a>; N],
) -> Result<u64, StoreError> {
    let backend = tx.backend();
    run(tx, rows, columns, |size| match backend {
        Backend::Sqlite => format!("{} WHERE {}", named(set, "$"), named(condition, "$")),
        Backend::Postgres => {
            let (set, condition) = (named(set, "it.column"), named(condition, "it.column"));
            format!("{set} FROM ({}) AS it WHERE {condition}", values(size, N, numbers))
        }
    })
}

/// Runs `statement`, which is given for how many rows it is, until all of them are written. A statement is a way to PostgreSQL and
/// back, and takes many. To SQLite it is a call, and one that writes several rows has it keep all pages as they were, for the case
/// that it fails in the middle: it takes one.
fn run<'a, T, const N: usize>(
    tx: &mut dyn Tx,
    rows: &'a [T],
    columns: impl Fn(&'a T) -> [Param<'a>; N],
    statement: impl Fn(usize) -> String,
) -> Result<u64, StoreError> {
    let most = match tx.backend() {
        Backend::Sqlite => 1,
        Backend::Postgres => usize::MAX,
    };
    let (mut changed, mut rest) = (0, rows);
    let mut known: Option<(usize, String)> = None;
    while !rest.is_empty() {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len().min(most)).unwrap_or(1);
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        let sql = match known.take() {
            Some((of, sql)) if of == size => sql,
            _ => statement(size),
        };
        let values: Vec<Param<'a>> = chunk.iter().flat_map(&columns).collect();
        changed += tx.execute(&sql, &values)?;
        known = Some((size, sql));
        rest = after;
    }
    Ok(changed)
}

/// `VALUES ($1, $2), ($3, $4)`.
fn values(rows: usize, columns: usize, numbers: &[usize]) -> String {
    let mut sql = String::from("VALUES ");
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
    sql
}

/// The text with `as_what` for the colon of `:1`, `:2` …
fn named(text: &str, as_what: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(':') {
        out.push_str(before);
        out.push_str(if after.starts_with(|c: char| c.is_ascii_digit()) { as_what } else { ":" });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_values_numbers_its_parameters_row_by_row() {
        assert_eq!(values(2, 2, &[]), "VALUES ($1, $2), ($3, $4)");
        assert_eq!(values(2, 2, &[2]), "VALUES ($1, CAST($2 AS BIGINT)), ($3, $4)");
    }

    #[test]
    fn columns_are_named_by_their_numbers() {
        assert_eq!(named("a = :2, b = ':x' || :10", "$"), "a = $2, b = ':x' || $10");
        assert_eq!(named("a = :2 AND b = :1", "it.column"), "a = it.column2 AND b = it.column1");
    }
}
