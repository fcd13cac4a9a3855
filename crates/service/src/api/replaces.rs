//! Which version a change replaces: by `If-Match`, or by a number in its body.

use crate::ApiError;
use crate::etag::{ETag, IfMatch};
use crate::problem::kinds;

/// What a change of a versioned thing was decided on.
///
/// Callers that send `If-Match` are refused as everywhere (412 `precondition-failed`); those that name a version in the
/// body, or none because there was to be none yet, with 409 `version-conflict`.
#[derive(Debug)]
pub(crate) struct Replaces {
    if_match: IfMatch,
    version: Option<u32>,
}

impl Replaces {
    /// Out of both places, which must not contradict each other.
    ///
    /// # Errors
    /// `invalid-value`.
    pub(crate) fn new(if_match: IfMatch, version: Option<u32>) -> Result<Self, ApiError> {
        match (&if_match, version) {
            (if_match, Some(version)) if !if_match.may_name(version) => {
                Err(super::invalid("If-Match and expected_version name different versions"))
            }
            _ => Ok(Self { if_match, version }),
        }
    }

    /// Refuses a change that was decided on another version than `found`: nothing is overwritten unseen.
    ///
    /// # Errors
    /// `precondition-failed`, `version-conflict`.
    pub(crate) fn check(&self, found: Option<u32>) -> Result<(), ApiError> {
        self.check_with(found, |if_match| if_match.check(found.map(ETag::of_revision).as_ref()))
    }

    /// [`Self::check`] of a version of a thing that has this name in its tag.
    ///
    /// # Errors
    /// `precondition-failed`, `version-conflict`.
    pub(crate) fn check_named(&self, found: Option<(&str, u32)>) -> Result<(), ApiError> {
        self.check_with(found.map(|(_, version)| version), |if_match| if_match.check_version(found))
    }

    fn check_with(
        &self,
        found: Option<u32>,
        tags: impl Fn(&IfMatch) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        match (&self.if_match, self.version) {
            (IfMatch::Whatever, version) => check_version(version, found),
            (if_match, None) => tags(if_match),
            (if_match, version) => {
                tags(if_match)?;
                check_version(version, found)
            }
        }
    }
}

fn check_version(expected: Option<u32>, found: Option<u32>) -> Result<(), ApiError> {
    if expected == found {
        return Ok(());
    }
    let message = match (expected, found) {
        (Some(expected), Some(found)) => {
            format!("version {expected} was to be replaced, and version {found} is the current one by now")
        }
        (Some(expected), None) => {
            format!("version {expected} was to be replaced, and there is no current one")
        }
        (None, Some(found)) => format!("there was to be none yet, and version {found} is the current one"),
        (None, None) => String::new(),
    };
    Err(ApiError::new(&kinds::VERSION_CONFLICT, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(if_match: &IfMatch, version: Option<u32>, found: Option<u32>) -> &'static str {
        let replaces = Replaces::new(if_match.clone(), version);
        replaces.and_then(|r| r.check(found)).map_or_else(|e| e.code(), |()| "taken")
    }

    #[test]
    fn each_caller_is_refused_in_its_own_words() {
        let tag = |version: u32| IfMatch::Tags(vec![ETag::of_revision(version)]);
        for (if_match, version, found, said) in [
            (IfMatch::Whatever, None, None, "taken"),
            (IfMatch::Whatever, Some(2), Some(2), "taken"),
            (IfMatch::Whatever, None, Some(2), "version-conflict"),
            (IfMatch::Whatever, Some(1), Some(2), "version-conflict"),
            (IfMatch::Whatever, Some(1), None, "version-conflict"),
            (tag(2), None, Some(2), "taken"),
            (tag(2), Some(2), Some(2), "taken"),
            (tag(1), None, Some(2), "precondition-failed"),
            (tag(1), Some(1), Some(2), "precondition-failed"),
            (tag(1), None, None, "precondition-failed"),
            (tag(1), Some(2), Some(2), "invalid-value"),
            (IfMatch::Any, None, Some(2), "taken"),
            (IfMatch::Any, None, None, "precondition-failed"),
            (IfMatch::Any, Some(1), Some(2), "version-conflict"),
        ] {
            assert_eq!(code(&if_match, version, found), said, "{if_match:?} {version:?} {found:?}");
        }
    }
}
