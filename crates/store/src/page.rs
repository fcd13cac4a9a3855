//! Keyset paging: a cursor holds the sort key of the last row of a page, so that rows that come or go between two
//! pages neither repeat nor hide others.

use veriboot_wire::{DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS, Page};

use crate::StoreError;
use crate::tx::Row;

/// Longest cursor that is looked at.
const MAX_CURSOR_CHARS: usize = 2048;

/// Rows of a page.
pub(crate) fn page_rows(limit: Option<u32>) -> i64 {
    i64::from(limit.unwrap_or(DEFAULT_PAGE_ROWS).clamp(1, MAX_PAGE_ROWS))
}

/// Hex of the list's tag and the key parts, each ended by a unit separator.
pub(crate) fn encode_cursor(list: &str, key: &[&str]) -> String {
    let mut text = String::from(list);
    for part in key {
        text.push('\u{1f}');
        text.push_str(part);
    }
    hex::encode(text)
}

/// The key parts of a cursor of this list, or `None` for the first page.
pub(crate) fn decode_cursor<const N: usize>(
    list: &str,
    cursor: Option<&str>,
) -> Result<Option<[String; N]>, StoreError> {
    let Some(cursor) = cursor else { return Ok(None) };
    if cursor.len() > MAX_CURSOR_CHARS {
        return Err(StoreError::BadCursor);
    }
    let bytes = hex::decode(cursor).map_err(|_| StoreError::BadCursor)?;
    let text = String::from_utf8(bytes).map_err(|_| StoreError::BadCursor)?;
    let mut parts = text.split('\u{1f}').map(str::to_owned);
    if parts.next().as_deref() != Some(list) {
        return Err(StoreError::BadCursor);
    }
    let key: Vec<String> = parts.collect();
    key.try_into().map(Some).map_err(|_| StoreError::BadCursor)
}

/// The key of a list that is ordered by time and id.
pub(crate) fn decode_time_cursor(
    list: &str,
    cursor: Option<&str>,
) -> Result<Option<(i64, String)>, StoreError> {
    let Some([time, id]) = decode_cursor::<2>(list, cursor)? else { return Ok(None) };
    Ok(Some((time.parse().map_err(|_| StoreError::BadCursor)?, id)))
}

/// A page out of `rows`, which were asked for with one row more than the page holds.
pub(crate) fn page<T>(
    rows: Vec<Row>,
    limit: i64,
    read: impl Fn(Row) -> Result<T, StoreError>,
    cursor: impl Fn(&T) -> String,
) -> Result<Page<T>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    let items = rows.into_iter().take(limit).map(read).collect::<Result<Vec<T>, _>>()?;
    let next_cursor = if more { items.last().map(cursor) } else { None };
    Ok(Page { items, next_cursor })
}
