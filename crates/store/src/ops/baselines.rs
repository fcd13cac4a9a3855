//! Baselines: immutable versions, one of which is current per scope.

use veriboot_wire::{BaselineQuery, BaselineSummary, Page, Scope, ScopeKind, Time};

use crate::StoreError;
use crate::hash::sha256_hex;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Columns, Row, Tx, params, query_one};

/// One version with its content.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineRow {
    /// What lists show.
    pub summary: BaselineSummary,
    /// The document, JSON exactly as it was given.
    pub document: String,
    /// SHA-256 of the document's bytes, hex.
    pub sha256: String,
}

impl BaselineRow {
    /// How attestations name it: `name@version`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.summary.name, self.summary.version)
    }
}

/// Which version judges, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentBaseline {
    /// UUIDv7 of the version.
    pub id: String,
    /// How attestations name it: `name@version`.
    pub reference: String,
}

/// A version to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBaseline<'a> {
    /// Name, the same for all versions: `vm/default/db-0`.
    pub name: &'a str,
    /// What it applies to.
    pub scope: &'a Scope,
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

const COLUMNS: &str = "id, name, version, is_current, scope_kind, scope_group, scope_id, created_at, created_by, \
     comment, boot_id, components";

fn read_columns(c: &mut Columns) -> Result<BaselineSummary, StoreError> {
    Ok(BaselineSummary {
        id: c.text()?,
        name: c.text()?,
        version: c.u32()?,
        current: c.bool()?,
        scope: Scope { kind: c.word()?, group: c.text()?, id: c.text()? },
        created_at: c.time()?,
        created_by: c.text()?,
        comment: c.opt_text()?,
        boot_id: c.opt_text()?,
        components: c.u32()?,
    })
}

fn read(row: Row) -> Result<BaselineRow, StoreError> {
    let mut c = row.columns();
    let row = BaselineRow { summary: read_columns(&mut c)?, document: c.text()?, sha256: c.text()? };
    if sha256_hex(row.document.as_bytes()) != row.sha256 {
        return Err(StoreError::corrupt(format_args!(
            "baseline {} does not have its SHA-256",
            row.reference()
        )));
    }
    Ok(row)
}

/// Adds the next version of a name and makes it the current one of its scope. Of two transactions that race, the
/// later gets the later version.
pub fn insert_next(tx: &mut dyn Tx, new: &NewBaseline<'_>) -> Result<BaselineRow, StoreError> {
    let highest = query_one(tx, "SELECT MAX(version) FROM baselines WHERE name = $1", params![new.name])?;
    let highest = highest.map_or(Ok(None), |row| row.columns().opt_u32())?.unwrap_or(0);
    let version = highest.checked_add(1).ok_or(StoreError::Limit { what: "versions of a baseline" })?;
    tx.execute(
        "UPDATE baselines SET is_current = 0 WHERE is_current = 1 AND (name = $1 OR \
         (scope_kind = $2 AND scope_group = $3 AND scope_id = $4))",
        params![new.name, new.scope.kind.as_str(), &new.scope.group, &new.scope.id],
    )?;
    let row = BaselineRow {
        summary: BaselineSummary {
            id: crate::new_id(new.created_at),
            name: new.name.to_owned(),
            version,
            current: true,
            scope: new.scope.clone(),
            created_at: new.created_at,
            created_by: new.created_by.to_owned(),
            comment: new.comment.map(str::to_owned),
            boot_id: new.boot_id.map(str::to_owned),
            components: new.components,
        },
        document: new.document.to_owned(),
        sha256: sha256_hex(new.document.as_bytes()),
    };
    tx.execute(
        &format!(
            "INSERT INTO baselines ({COLUMNS}, document, sha256) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, \
             $11, $12, $13)"
        ),
        params![
            &row.summary.id,
            new.name,
            version,
            new.scope.kind.as_str(),
            &new.scope.group,
            &new.scope.id,
            new.created_at,
            new.created_by,
            new.comment,
            new.boot_id,
            new.components,
            new.document,
            &row.sha256,
        ],
    )?;
    Ok(row)
}

/// The current baseline of exactly this scope.
pub fn current_of(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<BaselineRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, document, sha256 FROM baselines \
         WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3 AND is_current = 1"
    );
    query_one(tx, &sql, params![scope.kind.as_str(), &scope.group, &scope.id])?.map(read).transpose()
}

/// The baseline that judges a VM: of the VM itself, else of its scale set, else of its group.
pub fn current_for_vm(
    tx: &mut dyn Tx,
    vm_id: &str,
    group: &str,
    scale_set: Option<&str>,
) -> Result<Option<BaselineRow>, StoreError> {
    for scope in scopes_of(vm_id, group, scale_set) {
        if let Some(row) = current_of(tx, &scope)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Which baseline judges a VM, without reading its document: it may be large, and whoever has judged by this id
/// before has it.
pub fn current_id_for_vm(
    tx: &mut dyn Tx,
    vm_id: &str,
    group: &str,
    scale_set: Option<&str>,
) -> Result<Option<CurrentBaseline>, StoreError> {
    let sql = "SELECT id, name, version FROM baselines \
               WHERE scope_kind = $1 AND scope_group = $2 AND scope_id = $3 AND is_current = 1";
    for scope in scopes_of(vm_id, group, scale_set) {
        if let Some(row) = query_one(tx, sql, params![scope.kind.as_str(), &scope.group, &scope.id])? {
            let mut c = row.columns();
            let (id, name, version) = (c.text()?, c.text()?, c.u32()?);
            return Ok(Some(CurrentBaseline { id, reference: format!("{name}@{version}") }));
        }
    }
    Ok(None)
}

/// Scopes whose baseline may judge a VM, the one that wins first.
fn scopes_of<'a>(
    vm_id: &'a str,
    group: &'a str,
    scale_set: Option<&'a str>,
) -> impl Iterator<Item = Scope> + use<'a> {
    [(ScopeKind::Vm, Some(vm_id)), (ScopeKind::ScaleSet, scale_set), (ScopeKind::Group, Some(""))]
        .into_iter()
        .filter_map(|(kind, id)| Some(Scope { kind, group: group.to_owned(), id: id?.to_owned() }))
}

/// The version with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<BaselineRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, document, sha256 FROM baselines WHERE id = $1");
    query_one(tx, &sql, params![id])?.map(read).transpose()
}

/// The version of this name, or its newest one.
pub fn by_name(tx: &mut dyn Tx, name: &str, version: Option<u32>) -> Result<Option<BaselineRow>, StoreError> {
    let head = format!("SELECT {COLUMNS}, document, sha256 FROM baselines");
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
    select.and_if("name = ?", query.name.as_ref());
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
