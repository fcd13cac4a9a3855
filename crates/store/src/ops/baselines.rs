//! Baselines: immutable signed versions, one of which is current per scope.

use std::collections::BTreeMap;

use serde_json::json;
use veriboot_wire::{BaselineOrigin, BaselineQuery, BaselineSummary, Page, Scope, ScopeKind, Severity, Time};

use crate::hash::sha256_hex;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::place::most_specific;
use crate::query::Select;
use crate::tx::{Columns, Row, Tx, params, query_one};
use crate::{Place, Signature, Signs, Statement, StoreError};

/// One version with its content.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineRow {
    /// What lists show.
    pub summary: BaselineSummary,
    /// The document, JSON exactly as it was given.
    pub document: String,
    /// What the service signed; `None` for a version that was stored before there were signatures.
    pub signature: Option<Signature>,
}

impl BaselineRow {
    /// How attestations name it: `name@version`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.summary.name, self.summary.version)
    }

    /// What its signature must be over.
    pub fn statement(&self) -> Statement<'_> {
        statement(&self.summary)
    }
}

fn statement(summary: &BaselineSummary) -> Statement<'_> {
    let BaselineSummary { id, name, version, scope, created_at, created_by, sha256, .. } = summary;
    Statement {
        kind: "baseline",
        id,
        name,
        version: *version,
        scope: Some(scope),
        created_at: *created_at,
        created_by,
        document_sha256: sha256,
    }
}

/// Which version judges, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentBaseline {
    /// UUIDv7 of the version.
    pub id: String,
    /// How attestations name it: `name@version`.
    pub reference: String,
    /// What it applies to.
    pub scope: ScopeKind,
}

impl CurrentBaseline {
    /// Its name, the same for all versions.
    pub fn name(&self) -> &str {
        self.reference.rsplit_once('@').map_or(self.reference.as_str(), |(name, _)| name)
    }
}

/// A version to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBaseline<'a> {
    /// Name, the same for all versions: [`name_of`] the scope.
    pub name: &'a str,
    /// What it applies to.
    pub scope: &'a Scope,
    /// How it came about.
    pub origin: BaselineOrigin,
    /// The document, JSON.
    pub document: &'a str,
    /// Components in it.
    pub components: u32,
    /// The boot that it was learned from.
    pub boot_id: Option<&'a str>,
    /// Why.
    pub comment: Option<&'a str>,
    /// Who made it.
    pub created_by: &'a str,
    /// When.
    pub created_at: Time,
}

/// Name of the baseline of a scope: `vm/default/db-0`, `scale-set/default/web`, `image/default/debian-12`,
/// `group/default`. `vm_name` is the name of the VM when the scope is one.
pub fn name_of(scope: &Scope, vm_name: Option<&str>) -> String {
    match scope.kind {
        ScopeKind::Vm => format!("vm/{}/{}", scope.group, vm_name.unwrap_or(&scope.id)),
        ScopeKind::ScaleSet | ScopeKind::Image => format!("{}/{}/{}", scope.kind, scope.group, scope.id),
        ScopeKind::Group => format!("group/{}", scope.group),
    }
}

const COLUMNS: &str = "id, name, version, is_current, scope_kind, scope_group, scope_id, origin, sha256, signed_by, \
     created_at, created_by, comment, boot_id, components";

fn read_columns(c: &mut Columns) -> Result<BaselineSummary, StoreError> {
    Ok(BaselineSummary {
        id: c.text()?,
        name: c.text()?,
        version: c.u32()?,
        current: c.bool()?,
        scope: Scope { kind: c.word()?, group: c.text()?, id: c.text()? },
        origin: c.word()?,
        sha256: c.text()?,
        signed_by: c.opt_text()?,
        created_at: c.time()?,
        created_by: c.text()?,
        comment: c.opt_text()?,
        boot_id: c.opt_text()?,
        components: c.u32()?,
    })
}

fn read(row: Row) -> Result<BaselineRow, StoreError> {
    let mut c = row.columns();
    let (summary, document, signature) = (read_columns(&mut c)?, c.text()?, c.opt_bytes()?);
    let signature =
        summary.signed_by.clone().zip(signature).map(|(key_id, bytes)| Signature { key_id, bytes });
    let row = BaselineRow { summary, document, signature };
    if sha256_hex(row.document.as_bytes()) != row.summary.sha256 {
        return Err(StoreError::corrupt(format_args!(
            "baseline {} does not have its SHA-256",
            row.reference()
        )));
    }
    Ok(row)
}

/// Adds the next version of a name, signed by `key`, and makes it the current one of its scope. Of two transactions that
/// race, the later gets the later version.
pub fn insert_next(
    tx: &mut dyn Tx,
    new: &NewBaseline<'_>,
    key: &dyn Signs,
) -> Result<BaselineRow, StoreError> {
    let highest = query_one(tx, "SELECT MAX(version) FROM baselines WHERE name = $1", params![new.name])?;
    let highest = highest.map_or(Ok(None), |row| row.columns().opt_u32())?.unwrap_or(0);
    let version = highest.checked_add(1).ok_or(StoreError::Limit { what: "versions of a baseline" })?;
    super::proposals::supersede(tx, new.name, new.scope, new.created_at)?;
    tx.execute(
        "UPDATE baselines SET is_current = 0 WHERE is_current = 1 AND (name = $1 OR \
         (scope_kind = $2 AND scope_group = $3 AND scope_id = $4))",
        params![new.name, new.scope.kind.as_str(), &new.scope.group, &new.scope.id],
    )?;
    let mut row = BaselineRow {
        summary: BaselineSummary {
            id: crate::new_id(new.created_at),
            name: new.name.to_owned(),
            version,
            current: true,
            scope: new.scope.clone(),
            origin: new.origin,
            sha256: sha256_hex(new.document.as_bytes()),
            signed_by: None,
            created_at: new.created_at,
            created_by: new.created_by.to_owned(),
            comment: new.comment.map(str::to_owned),
            boot_id: new.boot_id.map(str::to_owned),
            components: new.components,
        },
        document: new.document.to_owned(),
        signature: None,
    };
    let signature = key.sign(&row.statement())?;
    tx.execute(
        &format!(
            "INSERT INTO baselines ({COLUMNS}, document, signature) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, \
             $11, $12, $13, $14, $15, $16)"
        ),
        params![
            &row.summary.id,
            new.name,
            version,
            new.scope.kind.as_str(),
            &new.scope.group,
            &new.scope.id,
            new.origin.as_str(),
            &row.summary.sha256,
            &signature.key_id,
            new.created_at,
            new.created_by,
            new.comment,
            new.boot_id,
            new.components,
            new.document,
            &signature.bytes,
        ],
    )?;
    row.summary.signed_by = Some(signature.key_id.clone());
    row.signature = Some(signature);
    let message = format!("baseline {} judges now ({})", row.reference(), new.origin);
    tell(tx, &row.summary, &message, new.created_by, new.created_at)?;
    Ok(row)
}

/// `name@version`.
fn reference_of(version: &BaselineSummary) -> String {
    format!("{}@{}", version.name, version.version)
}

/// Tells of a change of what judges a scope.
fn tell(
    tx: &mut dyn Tx,
    version: &BaselineSummary,
    message: &str,
    by: &str,
    at: Time,
) -> Result<(), StoreError> {
    let data = json!({
        "message": message,
        "baseline": reference_of(version),
        "origin": version.origin,
        "scope": version.scope,
        "sha256": version.sha256,
        "by": by,
        "comment": version.comment,
    });
    super::events::append_scope(
        tx,
        "baseline.changed",
        Severity::Info,
        Some(&version.scope),
        &version.id,
        &data,
        at,
    )?;
    Ok(())
}

/// Ends the current baseline of exactly this scope, so that a less specific one judges. `None` when there is none. Open
/// proposals against it are superseded.
pub fn retire(
    tx: &mut dyn Tx,
    scope: &Scope,
    by: &str,
    now: Time,
) -> Result<Option<BaselineSummary>, StoreError> {
    super::proposals::supersede(tx, "", scope, now)?;
    let sql = format!(
        "UPDATE baselines SET is_current = 0 \
         WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3 AND is_current = 1 RETURNING {COLUMNS}"
    );
    let retired = query_one(tx, &sql, params![scope.kind.as_str(), &scope.group, &scope.id])?
        .map(|row| read_columns(&mut row.columns()))
        .transpose()?;
    if let Some(version) = &retired {
        let message = format!("baseline {} was retired", reference_of(version));
        tell(tx, version, &message, by, now)?;
    }
    Ok(retired)
}

/// Versions that were stored before there were signatures, in the order of their ids, behind `after_id`.
pub fn unsigned(tx: &mut dyn Tx, after_id: &str, limit: u32) -> Result<Vec<BaselineSummary>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM baselines WHERE id > $1 AND signature IS NULL ORDER BY id LIMIT $2");
    let rows = tx.query(&sql, params![after_id, limit])?;
    rows.into_iter().map(|row| read_columns(&mut row.columns())).collect()
}

/// Signs a version that has no signature. `false` when it has one.
pub fn sign(tx: &mut dyn Tx, version: &BaselineSummary, key: &dyn Signs) -> Result<bool, StoreError> {
    let signature = key.sign(&statement(version))?;
    let sql = "UPDATE baselines SET signed_by = $2, signature = $3 WHERE id = $1 AND signature IS NULL";
    Ok(tx.execute(sql, params![&version.id, &signature.key_id, &signature.bytes])? == 1)
}

/// What lists show about the version with this id.
pub fn summary(tx: &mut dyn Tx, id: &str) -> Result<Option<BaselineSummary>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM baselines WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(|row| read_columns(&mut row.columns())).transpose()
}

/// The current baseline of exactly this scope.
pub fn current_of(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<BaselineRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, document, signature FROM baselines \
         WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3 AND is_current = 1"
    );
    query_one(tx, &sql, params![scope.kind.as_str(), &scope.group, &scope.id])?.map(read).transpose()
}

/// What lists show about the current baseline of exactly this scope. Its document is not read, so that one that cannot be
/// read back can still be replaced.
pub fn current_summary_of(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<BaselineSummary>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM baselines \
         WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3 AND is_current = 1"
    );
    query_one(tx, &sql, params![scope.kind.as_str(), &scope.group, &scope.id])?
        .map(|row| read_columns(&mut row.columns()))
        .transpose()
}

/// The baseline that judges a VM: of the VM itself, else of its scale set, else of its image, else of its group.
pub fn current_for_vm(tx: &mut dyn Tx, place: Place<'_>) -> Result<Option<BaselineRow>, StoreError> {
    for scope in place.scopes() {
        if let Some(row) = current_of(tx, &scope)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Which baseline judges a VM, without reading its document: it may be large, and whoever has judged by this id
/// before has it.
pub fn current_id_for_vm(tx: &mut dyn Tx, place: Place<'_>) -> Result<Option<CurrentBaseline>, StoreError> {
    let sql = most_specific("baselines", "id, name, version, scope_kind", " AND is_current = 1");
    let Some(row) = query_one(tx, &sql, &place.params())? else { return Ok(None) };
    let mut c = row.columns();
    let (id, name, version) = (c.text()?, c.text()?, c.u32()?);
    Ok(Some(CurrentBaseline { id, reference: format!("{name}@{version}"), scope: c.word()? }))
}

/// Number of current baselines by kind of scope.
pub fn counts_by_scope(tx: &mut dyn Tx) -> Result<BTreeMap<ScopeKind, u64>, StoreError> {
    let sql = "SELECT scope_kind, COUNT(*) FROM baselines WHERE is_current = 1 GROUP BY scope_kind";
    tx.query(sql, &[])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((c.word()?, c.u64()?))
        })
        .collect()
}

/// A boot that a baseline was learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedBoot {
    /// The boot.
    pub boot_id: String,
    /// SHA-256 of its log, hex.
    pub log_sha256: String,
}

/// Notes that a boot was learned from. `false` when it was noted before.
pub fn note_learned_boot(
    tx: &mut dyn Tx,
    name: &str,
    boot: &LearnedBoot,
    at: Time,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO learned_boots (baseline_name, boot_id, log_sha256, at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (baseline_name, boot_id) DO NOTHING";
    Ok(tx.execute(sql, params![name, &boot.boot_id, &boot.log_sha256, at])? == 1)
}

/// The boots that a baseline was learned from, oldest first, at most `limit`.
pub fn learned_boots(tx: &mut dyn Tx, name: &str, limit: u32) -> Result<Vec<LearnedBoot>, StoreError> {
    let sql = "SELECT boot_id, log_sha256 FROM learned_boots WHERE baseline_name = $1 ORDER BY at, boot_id LIMIT $2";
    tx.query(sql, params![name, limit])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(LearnedBoot { boot_id: c.text()?, log_sha256: c.text()? })
        })
        .collect()
}

/// The version with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<BaselineRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, document, signature FROM baselines WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(read).transpose()
}

/// The version of this name, or its newest one.
pub fn by_name(tx: &mut dyn Tx, name: &str, version: Option<u32>) -> Result<Option<BaselineRow>, StoreError> {
    let head = format!("SELECT {COLUMNS}, document, signature FROM baselines");
    let mut select = Select::new(&head);
    select.and("name = ?", params![name]).and_if("version = ?", version);
    select.page(tx, " ORDER BY version DESC", 0)?.into_iter().next().map(read).transpose()
}

/// A page of baselines, ordered by name, then version descending; only current ones unless asked.
pub fn list(tx: &mut dyn Tx, query: &BaselineQuery) -> Result<Page<BaselineSummary>, StoreError> {
    let key: Option<[String; 2]> = decode_cursor("baselines", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let head = format!("SELECT {COLUMNS} FROM baselines");
    let mut select = Select::new(&head);
    select
        .and_if("name = ?", query.name.as_ref())
        .and_if("scope_kind = ?", query.scope_kind.map(ScopeKind::as_str))
        .and_if("scope_group = ?", query.scope_group.as_ref())
        .and_if("scope_id = ?", query.scope_id.as_ref());
    if !query.all_versions.unwrap_or(false) {
        select.and("is_current = 1", &[]);
    }
    if let Some([name, version]) = &key {
        let version: i64 = version.parse().map_err(|_| StoreError::BadCursor)?;
        select.and("(name > ? OR (name = ? AND version < ?))", params![name, name, version]);
    }
    let rows = select.page(tx, " ORDER BY name, version DESC", limit)?;
    page(
        rows,
        limit,
        |row| read_columns(&mut row.columns()),
        |b| encode_cursor("baselines", &[&b.name, &b.version.to_string()]),
    )
}
