//! Which state of a thing a caller looked at: `ETag` on what is shown, `If-Match` on what is changed (RFC 9110).
//!
//! ```text
//! GET  → ETagged::new(ETag::of_revision(row.revision), Json(body))
//! PUT  → if_match: IfMatch as an argument of the handler; in the transaction: if_match.check(Some(&ETag::of_revision(row.revision)))?
//! ```
//! Tags are strong: the same tag means the same state. A write without `If-Match` is taken as it is;
//! one with it is refused with 412 `precondition-failed` when the thing is another one by now, or is gone.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::ApiError;
use crate::problem::kinds;

/// Tags that one `If-Match` may name.
const MAX_TAGS: usize = 32;
/// Longest `If-Match` that is looked at, bytes.
const MAX_HEADER_BYTES: usize = 4096;

/// A strong entity tag, without its quotes: printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ETag(String);

impl ETag {
    /// Of a thing that counts its changes.
    pub(crate) fn of_revision(revision: impl Into<u64>) -> Self {
        Self(revision.into().to_string())
    }

    /// Of a thing whose state has a name: letters, digits, `-`, `.`, `_`.
    pub(crate) fn of_state(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The header's value.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

/// As the header holds it, in double quotes.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// An answer with its tag.
#[derive(Debug)]
pub(crate) struct ETagged<T> {
    tag: ETag,
    body: T,
}

impl<T> ETagged<T> {
    pub(crate) fn new(tag: ETag, body: T) -> Self {
        Self { tag, body }
    }
}

impl<T: IntoResponse> IntoResponse for ETagged<T> {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        response.headers_mut().insert(header::ETAG, self.tag.header());
        response
    }
}

/// The states of a thing that a change may find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No header: any state, and none.
    Whatever,
    /// `*`: any state, but there must be one.
    Any,
    /// One of these.
    Tags(Vec<ETag>),
}

impl IfMatch {
    /// Refuses a change that was decided on another state than `present`; `None` when the thing does not exist.
    ///
    /// # Errors
    /// `precondition-failed` (412).
    pub(crate) fn check(&self, present: Option<&ETag>) -> Result<(), ApiError> {
        let message = match (self, present) {
            (Self::Whatever, _) | (Self::Any, Some(_)) => return Ok(()),
            (Self::Tags(tags), Some(tag)) if tags.contains(tag) => return Ok(()),
            (Self::Tags(_), Some(tag)) => {
                format!("it was changed since it was looked at: its ETag is {tag} by now")
            }
            (Self::Any | Self::Tags(_), None) => "it does not exist, or not any more".to_owned(),
        };
        Err(ApiError::new(&kinds::PRECONDITION_FAILED, message))
    }

    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut tags = Vec::new();
        let mut found = false;
        for value in headers.get_all(header::IF_MATCH) {
            found = true;
            let text = value.to_str().ok().filter(|text| text.len() <= MAX_HEADER_BYTES)?;
            if text.trim() == "*" {
                return Some(Self::Any);
            }
            for tag in text.split(',').map(str::trim) {
                // A weak tag never matches a write; it is refused rather than ignored.
                let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
                if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
                    return None;
                }
                tags.push(ETag(tag.to_owned()));
                if tags.len() > MAX_TAGS {
                    return None;
                }
            }
        }
        Some(if found { Self::Tags(tags) } else { Self::Whatever })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::read(&parts.headers).ok_or_else(|| {
            crate::api::invalid("If-Match must be tags in double quotes, as ETag gives them, or *")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<IfMatch> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::try_from(*value).unwrap());
        }
        IfMatch::read(&headers)
    }

    #[test]
    fn a_change_needs_the_state_that_was_looked_at() {
        let (two, three) = (ETag::of_revision(2_u64), ETag::of_revision(3_u64));
        let code = |wanted: &str, present| read(&[wanted]).unwrap().check(present).map_err(|e| e.code());
        assert_eq!(code("\"2\"", Some(&two)), Ok(()));
        assert_eq!(code("\"1\", \"2\"", Some(&two)), Ok(()));
        assert_eq!(code("\"2\"", Some(&three)), Err("precondition-failed"));
        assert_eq!(code("\"2\"", None), Err("precondition-failed"));
        assert_eq!(code("*", Some(&two)), Ok(()));
        assert_eq!(code("*", None), Err("precondition-failed"));
        assert!(read(&[]).unwrap().check(None).is_ok());
        assert_eq!(IfMatch::Tags(vec![two]).check(Some(&three)).unwrap_err().status().as_u16(), 412);
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for bad in ["2", "W/\"2\"", "\"2", "\"\"", "\"a b\"", "\"2\",", "", "\"2\", *"] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&[&vec!["\"1\""; MAX_TAGS + 1].join(",")]), None);
        assert_eq!(read(&[&format!("\"{}\"", "1".repeat(MAX_HEADER_BYTES))]), None);
        assert_eq!(read(&["\"1\"", "\"2\""]).unwrap(), read(&["\"1\",\"2\""]).unwrap());
    }
}
