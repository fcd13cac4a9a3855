//! Lists as CSV: pages put together up to a bound, and whether there would be more.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use veriboot_wire::{MAX_PAGE_ROWS, Page, csv_record};

use super::invalid;
use crate::ApiError;

/// An answer of at most `limit` rows, else `most`. `page` gives up to so many rows from a cursor on; `record` is the
/// line of one row. Where there are more rows, the header `X-Next-Cursor` says where they begin.
///
/// # Errors
/// `invalid-value` for a limit of 0 or above `most`, and whatever `page` answers.
pub(crate) async fn export<T, F>(
    limit: Option<u32>,
    most: usize,
    columns: &[&str],
    mut cursor: Option<String>,
    page: impl Fn(u32, Option<String>) -> F,
    record: impl Fn(&T) -> String,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<Page<T>, ApiError>>,
{
    let mut left = limit.map_or(Some(most), |rows| usize::try_from(rows).ok()).unwrap_or(usize::MAX);
    if !(1..=most).contains(&left) {
        return Err(invalid(format!("limit must be 1 to {most}")));
    }
    let mut text = csv_record(columns.iter().copied());
    let next = loop {
        let rows = u32::try_from(left).unwrap_or(MAX_PAGE_ROWS).min(MAX_PAGE_ROWS);
        let asked = cursor.take();
        let part = page(rows, asked.clone()).await?;
        part.items.iter().for_each(|row| text.push_str(&record(row)));
        left = left.saturating_sub(part.items.len());
        match part.next_cursor {
            // A cursor that stays where it is would go on for ever.
            Some(next) if left > 0 && asked.as_ref() != Some(&next) => cursor = Some(next),
            next => break next,
        }
    };
    let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")];
    let mut response = (kind, text).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        response.headers_mut().insert("x-next-cursor", next);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// 2500 rows, as a list gives them.
    async fn numbers(rows: u32, cursor: Option<String>) -> Result<Page<u32>, ApiError> {
        let from: u32 = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let to = from.saturating_add(rows).min(2500);
        Ok(Page { items: (from..to).collect(), next_cursor: (to < 2500).then(|| to.to_string()) })
    }

    async fn text(limit: Option<u32>, most: usize) -> Result<(usize, Option<String>), ApiError> {
        let line = |row: &u32| csv_record([row.to_string().as_str()]);
        let response = export(limit, most, &["number"], None, numbers, line).await?;
        let next = response.headers().get("x-next-cursor").map(|next| next.to_str().unwrap().to_owned());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.starts_with("number\r\n0\r\n"), "{text}");
        Ok((text.lines().count() - 1, next))
    }

    #[tokio::test]
    async fn pages_are_put_together_up_to_the_bound() {
        assert_eq!(text(None, 10_000).await.unwrap(), (2500, None));
        assert_eq!(text(Some(2500), 10_000).await.unwrap(), (2500, None));
        assert_eq!(text(Some(1500), 10_000).await.unwrap(), (1500, Some("1500".into())));
        assert_eq!(text(None, 2000).await.unwrap(), (2000, Some("2000".into())));
        for (limit, most) in [(0, 10), (11, 10), (u32::MAX, 10)] {
            assert_eq!(text(Some(limit), most).await.unwrap_err().code(), "invalid-value", "{limit}");
        }
    }

    #[tokio::test]
    async fn a_cursor_that_stays_ends_it() {
        let asked = RefCell::new(0);
        let page = |_, _| {
            *asked.borrow_mut() += 1;
            async { Ok(Page { items: Vec::<u32>::new(), next_cursor: Some("0".into()) }) }
        };
        export(None, 10, &["number"], None, page, |_| String::new()).await.unwrap();
        assert_eq!(asked.into_inner(), 2);
    }
}
