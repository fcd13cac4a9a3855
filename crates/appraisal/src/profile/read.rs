//! Profiles as documents: JSON and TOML.

use super::{MAX_CONDITIONS, MAX_PROFILE_BYTES, Profile};
use crate::rule::MAX_RULES;

/// Characters of a name.
const MAX_NAME_CHARS: usize = 63;
/// Characters of a description.
const MAX_DESCRIPTION_CHARS: usize = 1024;

/// Why something is not a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is longer than is read.
    #[error("the profile is longer than {MAX_PROFILE_BYTES} bytes")]
    TooLarge,
    /// It does not have the shape of a profile.
    #[error("this is not a profile: {0}")]
    Shape(String),
    /// Its name is no word of letters, digits and hyphens.
    #[error("a profile's name has 1 to {MAX_NAME_CHARS} letters, digits, `-`, `_` and `.`")]
    Name,
    /// It has more of something than is judged.
    #[error("the profile has {count} {what}; {max} is the limit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many it may have.
        max: usize,
    },
}

impl ProfileError {
    /// Stable identifier in kebab case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "profile-too-large",
            Self::Shape(_) => "profile-malformed",
            Self::Name => "profile-name-invalid",
            Self::TooMany { .. } => "profile-too-many",
        }
    }

    /// What to do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::TooMany { .. } => "Split it, or put digests into baselines.",
            Self::Shape(_) => "docs/profiles.md has every member with an example.",
            Self::Name => "Take a name such as `web-servers`.",
        }
    }
}

impl Profile {
    /// Reads a JSON document; anything that is not exactly a profile is refused.
    pub fn from_json(json: &[u8]) -> Result<Self, ProfileError> {
        if json.len() > MAX_PROFILE_BYTES {
            return Err(ProfileError::TooLarge);
        }
        let profile: Self =
            serde_json::from_slice(json).map_err(|error| ProfileError::Shape(error.to_string()))?;
        profile.checked()
    }

    /// Reads a TOML document; anything that is not exactly a profile is refused.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        if text.len() > MAX_PROFILE_BYTES {
            return Err(ProfileError::TooLarge);
        }
        let profile: Self = toml::from_str(text)
            .map_err(|error| ProfileError::Shape(crate::text::toml_error(text, &error)))?;
        profile.checked()
    }

    /// The JSON document.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The TOML document.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    fn checked(self) -> Result<Self, ProfileError> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > MAX_NAME_CHARS || !self.name.chars().all(word) {
            return Err(ProfileError::Name);
        }
        let limit = |what, count, max| {
            if count > max { Err(ProfileError::TooMany { what, count, max }) } else { Ok(()) }
        };
        limit("characters of description", self.description.chars().count(), MAX_DESCRIPTION_CHARS)?;
        limit("rules", self.rules.len(), MAX_RULES)?;
        limit("conditions", self.conditions.len(), MAX_CONDITIONS)?;
        Ok(self)
    }
}
