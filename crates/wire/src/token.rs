//! Join tokens and API tokens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiScope, Time};

/// Makes a join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// Group that VMs join; `default` when absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Scale set that VMs join.
    #[serde(default)]
    pub scale_set: Option<String>,
    /// Image that VMs are made from: a word of your own, which baselines and profiles can be of.
    #[serde(default)]
    pub image: Option<String>,
    /// How many VMs may join, 1 to 1,000,000; 1 when absent.
    #[serde(default)]
    pub uses: Option<u32>,
    /// Lifetime in seconds, 60 to 31,536,000; a day when absent.
    #[serde(default)]
    pub expires_in_s: Option<u32>,
    /// What it is for.
    #[serde(default)]
    pub comment: Option<String>,
}

/// A join token as lists show it; never with its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// UUIDv7.
    pub id: String,
    /// Group that VMs join.
    pub group: String,
    /// Scale set that VMs join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Image that VMs are made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Joins left.
    pub uses_left: u32,
    /// When it stops working.
    pub expires_at: Time,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A new join token. The secret is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewJoinToken {
    /// The token's row.
    #[serde(flatten)]
    pub token: JoinToken,
    /// What the agent gives as `--join-token`.
    pub secret: String,
    /// One line that installs and starts the agent on a Linux VM.
    pub install: String,
}

/// Makes an API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenRequest {
    /// Name that the audit log shows; 1 to 63 characters of `A-Z a-z 0-9 . _ -`, unique.
    pub name: String,
    /// What it may do.
    pub scope: ApiScope,
    /// Lifetime in seconds, 60 to 315,360,000; never expires when absent.
    #[serde(default)]
    pub expires_in_s: Option<u32>,
}

/// An API token as lists show it; never with its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiToken {
    /// UUIDv7.
    pub id: String,
    /// Name that the audit log shows.
    pub name: String,
    /// What it may do.
    pub scope: ApiScope,
    /// When it was made.
    pub created_at: Time,
    /// Who made it: the name of a token, or `service`.
    pub created_by: String,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A new API token. The secret is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewApiToken {
    /// The token's row.
    #[serde(flatten)]
    pub token: ApiToken,
    /// What goes after `Authorization: Bearer`.
    pub secret: String,
}
