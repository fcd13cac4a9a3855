//! Which members of a uniform scale set booted something else than most of them, and what.
//!
//! Needs no baseline: members are compared with each other, by everything that is enforced of their boots. Nobody is
//! called odd where no boot is that of more than half of the members that can be compared, or fewer than three can.

use veriboot_store::scale_sets::{self, BootKeyGroup, GroupBoot};
use veriboot_store::vms::VmRow;
use veriboot_wire::{
    BootGroup, BootGroupMember, Finding, Majority, OddOneOut, ScaleSet, ScaleSetDetail, VmStatus, counted,
};

use crate::attest::difference;
use crate::{ApiError, AppState};

/// Groups that are shown.
const MAX_GROUPS: usize = 50;
/// Groups whose difference to the majority is told.
const MAX_COMPARED_GROUPS: usize = 20;
/// Members of a group that are named.
const MAX_MEMBERS: u32 = 20;
/// Members that are named in the sentence.
const MAX_NAMED: usize = 3;

struct Group {
    group: BootKeyGroup,
    members: Vec<BootGroupMember>,
    boot: Option<GroupBoot>,
}

/// A scale set with what its members booted; `None` when it has no members.
pub(crate) async fn detail(
    state: &AppState,
    group: &str,
    name: &str,
) -> Result<Option<ScaleSetDetail>, ApiError> {
    let (of, called) = (group.to_owned(), name.to_owned());
    let found = state
        .read(move |tx| {
            let Some(set) = scale_sets::by_name(tx, &of, &called)? else { return Ok(None) };
            let limit = u32::try_from(MAX_GROUPS).unwrap_or(u32::MAX);
            let mut groups = Vec::new();
            for group in scale_sets::boot_groups(tx, &of, &called, limit)? {
                let members = scale_sets::group_members(tx, &of, &called, &group.boot_key, MAX_MEMBERS)?;
                let boot = scale_sets::group_boot(tx, &of, &called, &group.boot_key)?;
                groups.push(Group { group, members, boot });
            }
            Ok(Some((set, groups)))
        })
        .await?;
    let Some((set, groups)) = found else { return Ok(None) };
    let majority_log = match set.majority {
        Majority::Found => groups.first().and_then(|g| g.boot.as_ref()).map(|boot| boot.log_sha256.clone()),
        Majority::None | Majority::TooFew => None,
    };
    let mut shown = Vec::with_capacity(groups.len());
    for (place, Group { group, members, boot }) in groups.into_iter().enumerate() {
        let is_majority = place == 0 && set.majority == Majority::Found;
        let differences = match (&majority_log, &boot) {
            (Some(from), Some(to)) if !is_majority && place <= MAX_COMPARED_GROUPS => {
                difference(state, from, &to.log_sha256).await?.map(|d| d.to_vec()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        shown.push(BootGroup {
            boot_key: group.boot_key,
            size: group.size,
            majority: is_majority,
            members,
            boot_id: boot.map(|boot| boot.boot_id),
            differences,
        });
    }
    let summary = summary(&set, &shown);
    let more_groups = set.boots.saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
    Ok(Some(ScaleSetDetail { set, summary, groups: shown, more_groups }))
}

fn summary(set: &ScaleSet, groups: &[BootGroup]) -> String {
    let compared = set.compared;
    match set.majority {
        Majority::TooFew => format!(
            "Nobody is called odd: the boots of {compared} of {} can be compared, and it takes three",
            counted(set.members, "member")
        ),
        Majority::None => format!(
            "Nobody is called odd: {compared} members booted {} different things, none of them more than half of the \
             members",
            set.boots
        ),
        Majority::Found if set.odd == 0 => format!("All {compared} compared members booted the same"),
        Majority::Found => {
            let minority = || groups.iter().filter(|group| !group.majority);
            let names: Vec<&str> = minority()
                .flat_map(|group| &group.members)
                .map(|member| member.vm_name.as_str())
                .take(MAX_NAMED)
                .collect();
            let named = u64::try_from(names.len()).unwrap_or(u64::MAX);
            let more = match set.odd.saturating_sub(named) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let what = minority().find_map(|group| group.differences.first());
            let what = what.map(|finding| format!(": {}", finding.message)).unwrap_or_default();
            let verb = if set.odd == 1 { "is" } else { "are" };
            format!("{} of {compared} {verb} odd, {}{more}{what}", set.odd, names.join(", "))
        }
    }
}

/// What tells the boot of a VM apart from most members of its scale set; `None` when nothing does, or nobody can be
/// called odd there.
pub(crate) async fn of_vm(state: &AppState, vm: &VmRow) -> Result<Option<OddOneOut>, ApiError> {
    let (Some(set), Some(key), VmStatus::Healthy | VmStatus::Unhealthy) =
        (&vm.scale_set, &vm.boot_key, vm.status)
    else {
        return Ok(None);
    };
    let (group, name, own) = (vm.group.clone(), set.clone(), key.clone());
    let found = state
        .read(move |tx| {
            let Some(counts) = scale_sets::by_name(tx, &group, &name)? else { return Ok(None) };
            if counts.odd == 0 {
                return Ok(None);
            }
            let Some(largest) = scale_sets::boot_groups(tx, &group, &name, 1)?.pop() else { return Ok(None) };
            if largest.boot_key == own {
                return Ok(None);
            }
            let like_it = scale_sets::group_size(tx, &group, &name, &own)?;
            let boot = scale_sets::group_boot(tx, &group, &name, &largest.boot_key)?;
            Ok(Some((counts.compared, like_it, boot)))
        })
        .await?;
    let Some((compared, like_it, boot)) = found else { return Ok(None) };
    let differences = match (boot, &vm.log_sha256) {
        (Some(boot), Some(log)) => difference(state, &boot.log_sha256, log).await?,
        _ => None,
    };
    let differences = differences.map(|d| d.to_vec()).unwrap_or_default();
    let what = differences.first().map_or("it booted something else than most members", said);
    Ok(Some(OddOneOut {
        message: format!("odd one out of {set}: {what}"),
        scale_set: set.clone(),
        like_it,
        compared,
        differences,
    }))
}

fn said(finding: &Finding) -> &str {
    &finding.message
}
