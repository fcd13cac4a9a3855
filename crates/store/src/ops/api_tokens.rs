//! API tokens of people and machines.

use veriboot_wire::{Page, Time};

use crate::StoreError;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};

/// What the bearer of a token may do. Later roles may do all that earlier ones may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read.
    Viewer,
    /// Change alerts, baselines and join tokens.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, least first.
    pub const ALL: &'static [Self] = &[Self::Viewer, Self::Operator, Self::Admin];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|r| r.as_str() == text)
            .ok_or_else(|| "not a role: viewer, operator, admin".into())
    }
}

/// An API token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTokenRow {
    /// UUIDv7.
    pub id: String,
    /// Unique among tokens that are not revoked; shown as actor in the audit log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: String,
    /// When it stops working; `None` is never.
    pub expires_at: Option<Time>,
    /// Whether it was revoked.
    pub revoked: bool,
}

const COLUMNS: &str = "id, name, role, created_at, created_by, expires_at, revoked";

fn read(row: Row) -> Result<ApiTokenRow, StoreError> {
    let mut c = row.columns();
    Ok(ApiTokenRow {
        id: c.text()?,
        name: c.text()?,
        role: c.word()?,
        created_at: c.time()?,
        created_by: c.text()?,
        expires_at: c.opt_time()?,
        revoked: c.bool()?,
    })
}

/// Adds a token; only the SHA-256 of its secret is kept.
pub fn insert(tx: &mut dyn Tx, token: &ApiTokenRow, secret_sha256: &[u8]) -> Result<(), StoreError> {
    tx.execute(
        &format!("INSERT INTO api_tokens ({COLUMNS}, secret_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"),
        params![
            &token.id,
            &token.name,
            token.role.as_str(),
            token.created_at,
            &token.created_by,
            token.expires_at,
            token.revoked,
            secret_sha256,
        ],
    )?;
    Ok(())
}

/// The token with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<ApiTokenRow>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM api_tokens WHERE id = $1"), params![id])?
        .map(read)
        .transpose()
}

/// The token with this secret, if it is neither revoked nor expired.
pub fn by_secret_sha256(
    tx: &mut dyn Tx,
    secret_sha256: &[u8],
    now: Time,
) -> Result<Option<ApiTokenRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM api_tokens WHERE secret_sha256 = $1 AND revoked = 0 \
         AND (expires_at IS NULL OR expires_at > $2)"
    );
    query_one(tx, &sql, params![secret_sha256, now])?.map(read).transpose()
}

/// Number of admin tokens that work now; the first start makes one when there is none.
pub fn count_admins(tx: &mut dyn Tx, now: Time) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) FROM api_tokens WHERE role = 'admin' AND revoked = 0 \
               AND (expires_at IS NULL OR expires_at > $1)";
    query_one(tx, sql, params![now])?.map_or(Ok(0), |row| row.columns().u64())
}

/// A page of tokens, newest first.
pub fn list(
    tx: &mut dyn Tx,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ApiTokenRow>, StoreError> {
    let key = decode_time_cursor("api-tokens", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM api_tokens");
    let mut select = Select::new(&head);
    if let Some((time, id)) = &key {
        select.and("(created_at, id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY created_at DESC, id DESC", limit)?;
    page(rows, limit, read, |t| encode_cursor("api-tokens", &[&t.created_at.unix_ms().to_string(), &t.id]))
}

/// Revokes a token. `false` when there is none or it was revoked already.
pub fn revoke(tx: &mut dyn Tx, id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("UPDATE api_tokens SET revoked = 1 WHERE id = $1 AND revoked = 0", params![id])? == 1)
}
