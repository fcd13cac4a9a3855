//! Lists come in pages, by cursor.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rows of a page when the caller names no limit.
pub const DEFAULT_PAGE_ROWS: u32 = 100;
/// The most rows that one page can have.
pub const MAX_PAGE_ROWS: u32 = 1000;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows, in the order that the list documents.
    pub items: Vec<T>,
    /// Give this as `cursor` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
