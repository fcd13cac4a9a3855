//! Which scope a command is about.

use clap::Args;
use veriboot_wire::{BaselineSummary, Scope, ScopeKind, VmDetail};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::vm::NameArgs;

/// A VM, a scale set, an image, or a whole group.
#[derive(Args, Debug)]
pub struct ScopeArgs {
    /// One VM, by id or name
    #[arg(long, conflicts_with_all = ["scale_set", "image"])]
    pub vm: Option<String>,
    /// A scale set
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    pub scale_set: Option<String>,
    /// The VMs of an image, in the words of their join tokens
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// The group of these, or, alone, all of its VMs [default with the others: default]
    #[arg(long)]
    pub group: Option<String>,
}

impl ScopeArgs {
    /// The scope; a VM's by its id.
    pub fn resolve(&self, client: &Client) -> Result<Scope, CliError> {
        self.given()?;
        if let Some(name) = &self.vm {
            let query = NameArgs::query(self.group.as_ref());
            let vm: VmDetail = client.get(&format!("/v1/vms/{}", segment(name)), &query)?;
            return Ok(Scope { kind: ScopeKind::Vm, group: vm.summary.group, id: vm.summary.id });
        }
        let group = self.group.clone().unwrap_or_else(|| "default".to_owned());
        Ok(match (&self.scale_set, &self.image) {
            (Some(set), _) => Scope { kind: ScopeKind::ScaleSet, group, id: set.clone() },
            (None, Some(image)) => Scope { kind: ScopeKind::Image, group, id: image.clone() },
            (None, None) => Scope { kind: ScopeKind::Group, group, id: String::new() },
        })
    }

    /// What selects the same VMs in a request: VM, group, scale set, image.
    pub fn parts(&self) -> Result<[Option<String>; 4], CliError> {
        self.given()?;
        Ok([self.vm.clone(), self.group.clone(), self.scale_set.clone(), self.image.clone()])
    }

    /// Nobody means every VM by saying nothing.
    fn given(&self) -> Result<(), CliError> {
        if [&self.vm, &self.scale_set, &self.image, &self.group].into_iter().any(Option::is_some) {
            return Ok(());
        }
        Err(CliError::usage("no-scope", "nothing says which VMs this is about")
            .hint("give --vm, --scale-set, --image or --group"))
    }
}

/// The version that judges exactly this scope now.
pub fn current(client: &Client, scope: &Scope) -> Result<Option<BaselineSummary>, CliError> {
    let query = [
        ("scope_kind", scope.kind.to_string()),
        ("scope_group", scope.group.clone()),
        ("scope_id", scope.id.clone()),
    ];
    let (rows, _): (Vec<BaselineSummary>, bool) = client.list("/v1/baselines", &query, 1)?;
    Ok(rows.into_iter().next())
}

/// `scale set web in group default`, for people.
pub fn words(scope: &Scope, name: Option<&str>) -> String {
    let id = name.unwrap_or(&scope.id);
    match scope.kind {
        ScopeKind::Vm => format!("VM {id} in group {}", scope.group),
        ScopeKind::ScaleSet => format!("scale set {id} in group {}", scope.group),
        ScopeKind::Image => format!("image {id} in group {}", scope.group),
        ScopeKind::Group => format!("group {}", scope.group),
    }
}
