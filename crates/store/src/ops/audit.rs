//! The audit log: append-only, without gaps, chained by SHA-256.
//!
//! The hash of an entry is SHA-256 over these bytes, one after the other; numbers are big-endian:
//!
//! ```text
//! "veriboot-audit-v1" 0x00      18 bytes
//! hash of the entry before      32 bytes, zero for the first entry
//! sequence                       8 bytes, from 1
//! at                             8 bytes, milliseconds since 1970-01-01T00:00:00Z, two's complement
//! actor, action, target, detail  each: length in bytes (4 bytes), then that many bytes of UTF-8
//! ```
//! `detail` is JSON without white space, members of objects in the order of their names' bytes.
//!
//! There is no operation that changes or removes an entry. The chain shows an entry that was changed, inserted or
//! removed behind this module's back, except for entries cut off at the end: keep the newest hash elsewhere
//! ([`ChainReport::Intact`]) to show that too.

use std::cmp::Reverse;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;
use veriboot_wire::{AuditEntry, AuditQuery, Page, Time};

use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, Value as Column, params, query_one};

const DOMAIN: &[u8] = b"veriboot-audit-v1\0";
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Cursors of the list in the order of time.
const BY_TIME: &str = "audit-by-time";
/// Rows that a verification holds at once.
const VERIFY_ROWS: i64 = 1000;

/// An entry to append.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry<'a> {
    /// When.
    pub at: Time,
    /// Who: the name of a token, `vm:ID`, or `service`.
    pub actor: &'a str,
    /// What: `baseline.accept`.
    pub action: &'a str,
    /// On what.
    pub target: &'a str,
    /// Details; never secrets.
    pub detail: &'a Value,
}

/// Outcome of [`verify_chain`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainReport {
    /// Every entry is as it was written.
    Intact {
        /// Number of entries.
        entries: u64,
        /// Hash of the newest entry, hex; zeros when there is none.
        head: String,
    },
    /// An entry is not as it was written.
    Broken {
        /// The first place where the chain does not hold.
        sequence: u64,
        /// What does not hold there.
        reason: &'static str,
    },
}

const COLUMNS: &str = "sequence, at, actor, action, target, detail, hash";

/// An entry as it is stored: `detail` is the text that was hashed.
struct Stored {
    sequence: u64,
    at: Time,
    actor: String,
    action: String,
    target: String,
    detail: String,
    hash: String,
}

fn read_stored(row: Row) -> Result<Stored, StoreError> {
    let mut c = row.columns();
    Ok(Stored {
        sequence: c.u64()?,
        at: c.time()?,
        actor: c.text()?,
        action: c.text()?,
        target: c.text()?,
        detail: c.text()?,
        hash: c.text()?,
    })
}

fn read(row: Row) -> Result<AuditEntry, StoreError> {
    let s = read_stored(row)?;
    let detail = serde_json::from_str(&s.detail).map_err(StoreError::corrupt)?;
    Ok(AuditEntry {
        sequence: s.sequence,
        at: s.at,
        actor: s.actor,
        action: s.action,
        target: s.target,
        detail,
        hash: s.hash,
    })
}

/// JSON text that is the same for equal values.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(name, _)| name.as_bytes());
            let mut separator = '{';
            for (name, member) in members {
                out.push(separator);
                separator = ',';
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                canonical(member, out);
            }
            out.push_str(if separator == '{' { "{}" } else { "}" });
        }
        Value::Array(items) => {
            let mut separator = '[';
            for item in items {
                out.push(separator);
                separator = ',';
                canonical(item, out);
            }
            out.push_str(if separator == '[' { "[]" } else { "]" });
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// The hash of an entry, hex; `None` when `previous` is not a SHA-256 or a text is longer than 4 GiB.
fn entry_hash(previous: &str, sequence: u64, at: Time, texts: [&str; 4]) -> Option<String> {
    let mut context = Context::new(&SHA256);
    context.update(DOMAIN);
    context.update(&hex::decode(previous).ok().filter(|h| h.len() == 32)?);
    context.update(&sequence.to_be_bytes());
    context.update(&at.unix_ms().to_be_bytes());
    for text in texts {
        context.update(&u32::try_from(text.len()).ok()?.to_be_bytes());
        context.update(text.as_bytes());
    }
    Some(hex::encode(context.finish()))
}

/// Appends an entry. Writers that append at once are put in a row.
pub fn append(tx: &mut dyn Tx, entry: &NewEntry<'_>) -> Result<AuditEntry, StoreError> {
    let last = query_one(tx, "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1", &[])?;
    let (last, previous) = match last {
        Some(row) => {
            let mut c = row.columns();
            (c.u64()?, c.text()?)
        }
        None => (0, GENESIS.to_owned()),
    };
    let sequence = last.checked_add(1).ok_or(StoreError::Limit { what: "audit entries" })?;
    let mut detail = String::new();
    canonical(entry.detail, &mut detail);
    // NUL cannot be stored (see `Tx`), so it must not be hashed either.
    let [actor, action, target] =
        [entry.actor, entry.action, entry.target].map(|t| t.replace('\0', "\u{fffd}"));
    let hash = entry_hash(&previous, sequence, entry.at, [&actor, &action, &target, &detail])
        .ok_or_else(|| StoreError::corrupt("hash of the newest audit entry"))?;
    let sql = format!("INSERT INTO audit ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    tx.execute(&sql, params![sequence, entry.at, &actor, &action, &target, &detail, &hash])?;
    Ok(AuditEntry { sequence, at: entry.at, actor, action, target, detail: entry.detail.clone(), hash })
}

/// A page of entries, newest first.
pub fn list(tx: &mut dyn Tx, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
    let AuditQuery { actor, action, target, from, until, limit, cursor } = query;
    let family = action.as_deref().and_then(|action| action.strip_suffix(".*"));
    // What begins with the family and a dot: `/` is the character after it.
    let family = family.map(|family| [format!("{family}."), format!("{family}/")]);
    let members = match &family {
        Some(family) => Some(members_of(tx, family)?),
        None => None,
    };
    let exact = action.as_deref().filter(|_| family.is_none());
    // Clocks may have stepped, so that order of time and of position differ: each page is read along one index.
    let by_time =
        (from.is_some() || until.is_some()) && [actor.as_deref(), exact, target.as_deref()] == [None; 3];
    let (tag, order) = match by_time {
        true => (BY_TIME, " ORDER BY at DESC, sequence DESC"),
        false => ("audit", " ORDER BY sequence DESC"),
    };
    let limit = page_rows(*limit);
    let number = |text: &str| text.parse::<i64>().map_err(|_| StoreError::BadCursor);
    let after = match by_time {
        true => decode_cursor(tag, cursor.as_deref())?
            .map(|[at, sequence]: [String; 2]| Ok::<_, StoreError>((number(&at)?, number(&sequence)?)))
            .transpose()?,
        false => None,
    };
    let before = match by_time {
        true => None,
        false => Some(
            decode_cursor(tag, cursor.as_deref())?
                .map_or(Ok(i64::MAX), |[sequence]: [String; 1]| number(&sequence))?,
        ),
    };
    let head = format!("SELECT {COLUMNS} FROM audit");
    let mut rows_of = |action: Option<&str>, family: Option<&[String; 2]>| {
        let mut select = Select::new(&head);
        select
            .and_if("actor = ?", actor.as_deref())
            .and_if("action = ?", action)
            .and_if("target = ?", target.as_deref())
            .and_if("at >= ?", *from)
            .and_if("at < ?", *until);
        if let Some([low, high]) = family {
            // Not by the index of actions, whose order is another one.
            select.and("(action || '') >= ? AND (action || '') < ?", params![low, high]);
        }
        if let Some((at, sequence)) = after {
            select.and("(at, sequence) < (?, ?)", params![at, sequence]);
        }
        select.and_if("sequence < ?", before);
        select.page(tx, order, limit)
    };
    let rows = match &members {
        Some(members) if members.is_empty() => Vec::new(),
        // In the order of time: what lies between two times is read.
        Some(_) if by_time => rows_of(None, family.as_ref())?,
        // Each along the index of actions, however few of the log they are.
        Some(members) => {
            let mut rows = Vec::new();
            for member in members {
                rows.extend(rows_of(Some(member), None)?);
                rows.sort_by_key(|row| match row.0.first() {
                    Some(Column::Int(sequence)) => Reverse(*sequence),
                    _ => Reverse(0),
                });
                rows.truncate(usize::try_from(limit + 1).unwrap_or(usize::MAX));
            }
            rows
        }
        None => rows_of(exact, None)?,
    };
    page(rows, limit, read, |e| {
        let sequence = e.sequence.to_string();
        match by_time {
            true => encode_cursor(tag, &[&e.at.unix_ms().to_string(), &sequence]),
            false => encode_cursor(tag, &[&sequence]),
        }
    })
}

/// The actions of a family that were ever done: one step in the index for each, and one for none.
fn members_of(tx: &mut dyn Tx, [low, high]: &[String; 2]) -> Result<Vec<String>, StoreError> {
    let mut members: Vec<String> = Vec::new();
    loop {
        // The family itself ends in a dot and is no action.
        let last = members.last().unwrap_or(low);
        let sql = "SELECT action FROM audit WHERE action > $1 AND action < $2 ORDER BY action LIMIT 1";
        match query_one(tx, sql, params![last, high])? {
            Some(row) => members.push(row.columns().text()?),
            None => return Ok(members),
        }
    }
}

/// Computes every hash again, in pieces of bounded size.
pub fn verify_chain(tx: &mut dyn Tx) -> Result<ChainReport, StoreError> {
    let mut entries = 0_u64;
    let mut head = GENESIS.to_owned();
    loop {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2");
        let rows = tx.query(&sql, params![entries, VERIFY_ROWS])?;
        if rows.is_empty() {
            return Ok(ChainReport::Intact { entries, head });
        }
        for row in rows {
            let s = read_stored(row)?;
            entries = entries.saturating_add(1);
            if s.sequence != entries {
                return Ok(ChainReport::Broken { sequence: entries, reason: "the entry is missing" });
            }
            let hash = entry_hash(&head, s.sequence, s.at, [&s.actor, &s.action, &s.target, &s.detail]);
            if hash.as_ref() != Some(&s.hash) {
                return Ok(ChainReport::Broken {
                    sequence: entries,
                    reason: "the hash does not match the entry",
                });
            }
            head = s.hash;
        }
    }
}
