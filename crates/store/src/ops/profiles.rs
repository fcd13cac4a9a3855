//! Profiles: immutable signed versions, one of which is current per name, and the scopes that they are assigned to.

use serde_json::json;
use veriboot_wire::{Page, ProfileAssignment, Scope, Severity, Time};

use super::events;
use crate::hash::sha256_hex;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::place::most_specific;
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};
use crate::{Place, Signature, Signs, Statement, StoreError};

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// UUIDv7.
    pub id: String,
    /// Name.
    pub name: String,
    /// Version from 1.
    pub version: u32,
    /// Whether it judges where the profile is assigned.
    pub current: bool,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: Option<String>,
    /// The document, JSON.
    pub document: String,
    /// SHA-256 of the document, hex.
    pub sha256: String,
    /// What the service signed.
    pub signature: Signature,
}

impl ProfileRow {
    /// How attestations name it: `name@version`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// What its signature must be over.
    pub fn statement(&self) -> Statement<'_> {
        statement(&self.id, &self.name, self.version, self.created_at, &self.created_by, &self.sha256)
    }
}

fn statement<'a>(
    id: &'a str,
    name: &'a str,
    version: u32,
    created_at: Time,
    created_by: &'a str,
    document_sha256: &'a str,
) -> Statement<'a> {
    Statement { kind: "profile", id, name, version, scope: None, created_at, created_by, document_sha256 }
}

/// A version to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewProfile<'a> {
    /// Name.
    pub name: &'a str,
    /// The document, JSON.
    pub document: &'a str,
    /// Why.
    pub comment: Option<&'a str>,
    /// Who made it.
    pub created_by: &'a str,
    /// When.
    pub created_at: Time,
}

/// The profile that is assigned to a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedProfile {
    /// Its name.
    pub name: String,
    /// Id and number of the current version; `None` for a name that is not stored, which is a built-in one.
    pub version: Option<(String, u32)>,
}

const COLUMNS: &str =
    "id, name, version, is_current, created_at, created_by, comment, document, sha256, signed_by, signature";

fn read(row: Row) -> Result<ProfileRow, StoreError> {
    let mut c = row.columns();
    let row = ProfileRow {
        id: c.text()?,
        name: c.text()?,
        version: c.u32()?,
        current: c.bool()?,
        created_at: c.time()?,
        created_by: c.text()?,
        comment: c.opt_text()?,
        document: c.text()?,
        sha256: c.text()?,
        signature: Signature { key_id: c.text()?, bytes: c.bytes()? },
    };
    if sha256_hex(row.document.as_bytes()) != row.sha256 {
        let reference = row.reference();
        return Err(StoreError::corrupt(format_args!("profile {reference} does not have its SHA-256")));
    }
    Ok(row)
}

/// Adds the next version of a name, signed by `key`, and makes it the current one.
pub fn insert_next(tx: &mut dyn Tx, new: &NewProfile<'_>, key: &dyn Signs) -> Result<ProfileRow, StoreError> {
    let highest = query_one(tx, "SELECT MAX(version) FROM profiles WHERE name = $1", params![new.name])?;
    let highest = highest.map_or(Ok(None), |row| row.columns().opt_u32())?.unwrap_or(0);
    let version = highest.checked_add(1).ok_or(StoreError::Limit { what: "versions of a profile" })?;
    tx.execute("UPDATE profiles SET is_current = 0 WHERE name = $1 AND is_current = 1", params![new.name])?;
    let (id, sha256) = (crate::new_id(new.created_at), sha256_hex(new.document.as_bytes()));
    let signature = key.sign(&statement(&id, new.name, version, new.created_at, new.created_by, &sha256))?;
    let row = ProfileRow {
        id,
        name: new.name.to_owned(),
        version,
        current: true,
        created_at: new.created_at,
        created_by: new.created_by.to_owned(),
        comment: new.comment.map(str::to_owned),
        document: new.document.to_owned(),
        sha256,
        signature,
    };
    tx.execute(
        &format!("INSERT INTO profiles ({COLUMNS}) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10)"),
        params![
            &row.id,
            &row.name,
            row.version,
            row.created_at,
            &row.created_by,
            row.comment.as_deref(),
            &row.document,
            &row.sha256,
            &row.signature.key_id,
            &row.signature.bytes,
        ],
    )?;
    let message = format!("profile {} was stored", row.reference());
    let data =
        json!({ "message": message, "profile": row.reference(), "sha256": row.sha256, "by": new.created_by });
    events::append_scope(tx, "profile.changed", Severity::Info, None, &row.name, &data, new.created_at)?;
    Ok(row)
}

/// The current version of a name.
pub fn current(tx: &mut dyn Tx, name: &str) -> Result<Option<ProfileRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM profiles WHERE name = $1 AND is_current = 1");
    query_one(tx, &sql, params![name])?.map(read).transpose()
}

/// This version of a name.
pub fn by_version(tx: &mut dyn Tx, name: &str, version: u32) -> Result<Option<ProfileRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM profiles WHERE name = $1 AND version = $2");
    query_one(tx, &sql, params![name, version])?.map(read).transpose()
}

/// The version with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<ProfileRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM profiles WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(read).transpose()
}

/// A page of current versions, ordered by name.
pub fn list(
    tx: &mut dyn Tx,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ProfileRow>, StoreError> {
    let key: Option<[String; 1]> = decode_cursor("profiles", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM profiles");
    let mut select = Select::new(&head);
    select.and("is_current = 1", &[]);
    if let Some([name]) = &key {
        select.and("name > ?", params![name]);
    }
    let rows = select.page(tx, " ORDER BY name", limit)?;
    page(rows, limit, read, |p| encode_cursor("profiles", &[&p.name]))
}

/// A page of the versions of a name, newest first.
pub fn versions(
    tx: &mut dyn Tx,
    name: &str,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ProfileRow>, StoreError> {
    let key: Option<[String; 1]> = decode_cursor("profile-versions", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {COLUMNS} FROM profiles");
    let mut select = Select::new(&head);
    select.and("name = ?", params![name]);
    if let Some([version]) = &key {
        let version: i64 = version.parse().map_err(|_| StoreError::BadCursor)?;
        select.and("version < ?", params![version]);
    }
    let rows = select.page(tx, " ORDER BY version DESC", limit)?;
    page(rows, limit, read, |p| encode_cursor("profile-versions", &[&p.version.to_string()]))
}

const ASSIGNMENT: &str = "scope_kind, scope_group, scope_id, profile, assigned_at, assigned_by, comment";

fn read_assignment(row: Row) -> Result<ProfileAssignment, StoreError> {
    let mut c = row.columns();
    let mut assignment = ProfileAssignment {
        vm_name: None,
        scope: Scope { kind: c.word()?, group: c.text()?, id: c.text()? },
        profile: c.text()?,
        assigned_at: c.opt_time()?,
        assigned_by: c.text()?,
        comment: c.opt_text()?,
        etag: String::new(),
    };
    assignment.etag = etag(&assignment);
    Ok(assignment)
}

/// Characters of an etag.
const ETAG_CHARS: usize = 16;

/// Names everything that an assignment says.
fn etag(assignment: &ProfileAssignment) -> String {
    let ProfileAssignment { scope: _, vm_name: _, profile, assigned_at, assigned_by, comment, etag: _ } =
        assignment;
    let state = json!([profile, assigned_at.map(Time::unix_ms), assigned_by, comment]);
    sha256_hex(state.to_string().as_bytes()).chars().take(ETAG_CHARS).collect()
}

/// Assigns a profile to a scope, in place of the one that it had.
pub fn assign(
    tx: &mut dyn Tx,
    scope: &Scope,
    profile: &str,
    by: &str,
    comment: Option<&str>,
    at: Time,
) -> Result<(), StoreError> {
    tx.execute(
        &format!(
            "INSERT INTO profile_assignments ({ASSIGNMENT}) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (scope_kind, scope_group, scope_id) DO UPDATE SET profile = excluded.profile, \
             assigned_at = excluded.assigned_at, assigned_by = excluded.assigned_by, comment = excluded.comment"
        ),
        params![scope.kind.as_str(), &scope.group, &scope.id, profile, at, by, comment],
    )?;
    let message = format!("{} is judged by the profile {profile} now", events::scope_words(scope));
    let data =
        json!({ "message": message, "profile": profile, "scope": scope, "by": by, "comment": comment });
    events::append_scope(tx, "profile.changed", Severity::Info, Some(scope), profile, &data, at)?;
    Ok(())
}

/// Takes the profile of exactly this scope away. `false` when it has none.
pub fn unassign(tx: &mut dyn Tx, scope: &Scope, by: &str, at: Time) -> Result<bool, StoreError> {
    let sql = "DELETE FROM profile_assignments WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3";
    if tx.execute(sql, params![scope.kind.as_str(), &scope.group, &scope.id])? == 0 {
        return Ok(false);
    }
    let message = format!("{} has no profile of its own any more", events::scope_words(scope));
    let data = json!({ "message": message, "scope": scope, "by": by });
    events::append_scope(tx, "profile.changed", Severity::Info, Some(scope), "", &data, at)?;
    Ok(true)
}

/// The assignment of exactly this scope.
pub fn assignment(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<ProfileAssignment>, StoreError> {
    let sql = format!(
        "SELECT {ASSIGNMENT} FROM profile_assignments WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3"
    );
    query_one(tx, &sql, params![scope.kind.as_str(), &scope.group, &scope.id])?
        .map(read_assignment)
        .transpose()
}

/// A page of assignments, ordered by group, kind and id.
pub fn assignments(
    tx: &mut dyn Tx,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ProfileAssignment>, StoreError> {
    let key: Option<[String; 3]> = decode_cursor("profile-assignments", cursor)?;
    let limit = page_rows(limit);
    let head = format!("SELECT {ASSIGNMENT} FROM profile_assignments");
    let mut select = Select::new(&head);
    if let Some([group, kind, id]) = &key {
        select.and("(scope_group, scope_kind, scope_id) > (?, ?, ?)", params![group, kind, id]);
    }
    let rows = select.page(tx, " ORDER BY scope_group, scope_kind, scope_id", limit)?;
    page(rows, limit, read_assignment, |a| {
        encode_cursor("profile-assignments", &[&a.scope.group, a.scope.kind.as_str(), &a.scope.id])
    })
}

/// Scopes that a profile is assigned to, at most `limit`.
pub fn assigned_to(tx: &mut dyn Tx, profile: &str, limit: u32) -> Result<Vec<Scope>, StoreError> {
    let sql = format!(
        "SELECT {ASSIGNMENT} FROM profile_assignments WHERE profile = $1 \
         ORDER BY scope_group, scope_kind, scope_id LIMIT $2"
    );
    tx.query(&sql, params![profile, limit])?
        .into_iter()
        .map(|row| read_assignment(row).map(|assignment| assignment.scope))
        .collect()
}

/// The profile that is assigned to a VM: to itself, else to its scale set, else to its image, else to its group. `None`
/// leaves it to the service's configuration.
pub fn assigned_for(tx: &mut dyn Tx, place: Place<'_>) -> Result<Option<AssignedProfile>, StoreError> {
    let sql = format!(
        "SELECT a.profile, p.id, p.version FROM ({}) AS a \
         LEFT JOIN profiles p ON p.name = a.profile AND p.is_current = 1",
        most_specific("profile_assignments", "profile", "")
    );
    let Some(row) = query_one(tx, &sql, &place.params())? else { return Ok(None) };
    let mut c = row.columns();
    let (name, id, version) = (c.text()?, c.opt_text()?, c.opt_u32()?);
    Ok(Some(AssignedProfile { name, version: id.zip(version) }))
}
