//! Which scopes a VM is in, and which one of several wins.

use veriboot_wire::{Scope, ScopeKind};

use crate::tx::Param;

/// Where a VM belongs: everything that baselines and profiles can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Id of the VM.
    pub vm_id: &'a str,
    /// Its group.
    pub group: &'a str,
    /// Its scale set.
    pub scale_set: Option<&'a str>,
    /// Its image.
    pub image: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// The scopes that it is in, the one that wins first.
    pub fn scopes(self) -> impl Iterator<Item = Scope> + use<'a> {
        let group = self.group;
        [
            (ScopeKind::Vm, Some(self.vm_id)),
            (ScopeKind::ScaleSet, self.scale_set),
            (ScopeKind::Image, self.image),
            (ScopeKind::Group, Some("")),
        ]
        .into_iter()
        .filter_map(move |(kind, id)| Some(Scope { kind, group: group.to_owned(), id: id?.to_owned() }))
    }

    /// Parameters $1 to $4 of [`most_specific`].
    pub(crate) fn params(&self) -> [Param<'a>; 4] {
        [self.group.into(), self.vm_id.into(), self.scale_set.into(), self.image.into()]
    }
}

/// SQL for `columns` of the row of the most specific scope, by four look-ups in the index over the scope's columns.
/// `and` is a further condition on each, such as ` AND is_current = 1`.
pub(crate) fn most_specific(table: &str, columns: &str, and: &str) -> String {
    let scopes = [("vm", "$2"), ("scale-set", "$3"), ("image", "$4"), ("group", "''")];
    let looked_up: Vec<String> = scopes
        .iter()
        .enumerate()
        .map(|(place, (kind, id))| {
            format!(
                "SELECT {place} AS place, {columns} FROM {table} \
                 WHERE scope_kind = '{kind}' AND scope_group = $1 AND scope_id = {id}{and}"
            )
        })
        .collect();
    format!("SELECT {columns} FROM ({}) AS found ORDER BY place LIMIT 1", looked_up.join(" UNION ALL "))
}
