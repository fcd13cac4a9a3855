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

    /// Of a version of a thing that has a name: `NAME@VERSION`. Another thing of the same version has another tag.
    pub(crate) fn of_version(name: &str, version: u32) -> Self {
        Self(format!("{name}@{version}"))
    }

    /// Of a thing whose state has a name: letters, digits, `-`, `.`, `_`.
    pub(crate) fn of_state(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Without the quotes.
    pub(crate) fn name(&self) -> &str {
        &self.0
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

    /// [`Self::check`] of a version, where the thing that it is of was named beside it: its number alone is enough then.
    ///
    /// # Errors
    /// `precondition-failed` (412).
    pub(crate) fn check_version(&self, present: Option<(&str, u32)>) -> Result<(), ApiError> {
        match (self, present) {
            (Self::Tags(tags), Some((_, version))) if tags.contains(&ETag::of_revision(version)) => Ok(()),
            _ => self.check(present.map(|(name, version)| ETag::of_version(name, version)).as_ref()),
        }
    }

    /// Whether it could name this version of anything.
    pub(crate) fn may_name(&self, version: u32) -> bool {
        let end = format!("@{version}");
        match self {
            Self::Tags(tags) => {
                tags.iter().any(|tag| *tag == ETag::of_revision(version) || tag.0.ends_with(&end))
            }
            Self::Whatever | Self::Any => true,
        }
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
                if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/@".contains(&b))
                {
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

/// `If-None-Match: *` on a change: only where there is nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnlyNew(bool);

impl OnlyNew {
    /// Refuses a change of a thing that exists.
    ///
    /// # Errors
    /// `precondition-failed` (412).
    pub(crate) fn check(self, present: Option<&ETag>) -> Result<(), ApiError> {
        match present {
            Some(tag) if self.0 => {
                let message = format!("there is one of this name already: its ETag is {tag}");
                Err(ApiError::new(&kinds::PRECONDITION_FAILED, message)
                    .hint("choose another name, or change it by its present ETag"))
            }
            _ => Ok(()),
        }
    }

    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::IF_NONE_MATCH).iter();
        match (values.next(), values.next()) {
            (None, _) => Some(Self(false)),
            (Some(value), None) if value.as_bytes() == b"*" => Some(Self(true)),
            _ => None,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OnlyNew {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::read(&parts.headers).ok_or_else(|| crate::api::invalid("If-None-Match must be *"))
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
    fn a_version_is_one_of_a_name() {
        let code =
            |wanted: &str, present| read(&[wanted]).unwrap().check_version(present).map_err(|e| e.code());
        let web = "scale-set/shop/web";
        assert_eq!(code("\"scale-set/shop/web@2\"", Some((web, 2))), Ok(()));
        assert_eq!(code("\"2\"", Some((web, 2))), Ok(()));
        assert_eq!(code("\"vm/shop/web@2\"", Some((web, 2))), Err("precondition-failed"));
        assert_eq!(code("\"scale-set/shop/web@1\"", Some((web, 2))), Err("precondition-failed"));
        assert_eq!(code("\"2\"", None), Err("precondition-failed"));
        // Where nothing else says which baseline is meant, the number alone names none.
        let tag = ETag::of_version(web, 2);
        assert!(read(&["\"2\""]).unwrap().check(Some(&tag)).is_err());
        assert!(read(&["\"scale-set/shop/web@2\""]).unwrap().check(Some(&tag)).is_ok());
        assert!(read(&["\"a@2\""]).unwrap().may_name(2) && !read(&["\"a@12\""]).unwrap().may_name(2));
    }

    #[test]
    fn only_new_things_are_made_where_that_is_asked() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_NONE_MATCH, HeaderValue::try_from(*value).unwrap());
            }
            OnlyNew::read(&headers)
        };
        let tag = ETag::of_revision(1_u64);
        assert_eq!(read(&["*"]).unwrap().check(Some(&tag)).unwrap_err().code(), "precondition-failed");
        assert!(read(&["*"]).unwrap().check(None).is_ok());
        assert!(read(&[]).unwrap().check(Some(&tag)).is_ok());
        for bad in [vec!["\"1\""], vec![""], vec!["*", "*"], vec!["W/\"1\""]] {
            assert_eq!(read(&bad), None, "{bad:?}");
        }
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
