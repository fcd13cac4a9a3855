//! Join tokens: admission of new VMs.

use veriboot_wire::{JoinToken, Page, Time};

use crate::StoreError;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};

/// Why a join token admits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// There is no such token.
    #[error("the join token is unknown")]
    Unknown,
    /// An operator revoked it.
    #[error("the join token was revoked")]
    Revoked,
    /// Its time is over.
    #[error("the join token has expired")]
    Expired,
    /// All of its uses are used.
    #[error("the join token has no uses left")]
    UsedUp,
}

impl JoinRefusal {
    /// Stable identifier in kebab case.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "join-token-unknown",
            Self::Revoked => "join-token-revoked",
            Self::Expired => "join-token-expired",
            Self::UsedUp => "join-token-used-up",
        }
    }
}

const COLUMNS: &str =
    "id, group_name, scale_set, image, uses_left, expires_at, created_at, created_by, comment, revoked";

fn read(row: Row) -> Result<JoinToken, StoreError> {
    let mut c = row.columns();
    Ok(JoinToken {
        id: c.text()?,
        group: c.text()?,
        scale_set: c.opt_text()?,
        image: c.opt_text()?,
        uses_left: c.u32()?,
        expires_at: c.time()?,
        created_at: c.time()?,
        created_by: c.text()?,
        comment: c.opt_text()?,
        revoked: c.bool()?,
    })
}

/// Adds a token; only the SHA-256 of its secret is kept.
pub fn insert(tx: &mut dyn Tx, token: &JoinToken, secret_sha256: &[u8]) -> Result<(), StoreError> {
    tx.execute(
        &format!("INSERT INTO join_tokens ({COLUMNS}, secret_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"),
        params![
            &token.id,
            &token.group,
            token.scale_set.as_deref(),
            token.image.as_deref(),
            token.uses_left,
            token.expires_at,
            token.created_at,
            &token.created_by,
            token.comment.as_deref(),
            token.revoked,
            secret_sha256,
        ],
    )?;
    Ok(())
}

/// The token with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<JoinToken>, StoreError> {
    query_one(tx, &format!("SELECT {COLUMNS} FROM join_tokens WHERE id = $1"), params![id])?
        .map(read)
        .transpose()
}

/// The token with this secret, whether or not it still admits anybody.
pub fn by_secret_sha256(tx: &mut dyn Tx, secret_sha256: &[u8]) -> Result<Option<JoinToken>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM join_tokens WHERE secret_sha256 = $1");
    query_one(tx, &sql, params![secret_sha256])?.map(read).transpose()
}

/// Whether a token would admit one more VM now.
pub fn check(token: &JoinToken, now: Time) -> Result<(), JoinRefusal> {
    if token.revoked {
        Err(JoinRefusal::Revoked)
    } else if token.expires_at <= now {
        Err(JoinRefusal::Expired)
    } else if token.uses_left == 0 {
        Err(JoinRefusal::UsedUp)
    } else {
        Ok(())
    }
}

/// Uses a token once. Of two transactions that race for the last use, one gets [`JoinRefusal::UsedUp`].
pub fn consume(tx: &mut dyn Tx, id: &str, now: Time) -> Result<Result<JoinToken, JoinRefusal>, StoreError> {
    let sql = format!(
        "UPDATE join_tokens SET uses_left = uses_left - 1 WHERE id = $1 AND uses_left > 0 AND revoked = 0 \
         AND expires_at > $2 RETURNING {COLUMNS}"
    );
    if let Some(row) = query_one(tx, &sql, params![id, now])? {
        return Ok(Ok(read(row)?));
    }
    Ok(Err(match by_id(tx, id)? {
        None => JoinRefusal::Unknown,
        Some(token) => check(&token, now).err().unwrap_or(JoinRefusal::UsedUp),
    }))
}

/// A page of tokens, newest first.
pub fn list(
    tx: &mut dyn Tx,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<JoinToken>, StoreError> {
    let key = decode_time_cursor("join-tokens", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM join_tokens");
    let mut select = Select::new(&head);
    if let Some((time, id)) = &key {
        select.and("(created_at, id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY created_at DESC, id DESC", limit)?;
    page(rows, limit, read, |t| encode_cursor("join-tokens", &[&t.created_at.unix_ms().to_string(), &t.id]))
}

/// Revokes a token. `false` when there is none or it was revoked already.
pub fn revoke(tx: &mut dyn Tx, id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("UPDATE join_tokens SET revoked = 1 WHERE id = $1 AND revoked = 0", params![id])? == 1)
}
