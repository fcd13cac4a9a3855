//! What differs between two kernel command lines, parameter by parameter.

use std::collections::BTreeMap;

use crate::text::quoted;

/// Parameters named in one sentence before the rest is only counted.
const MAX_NAMED: usize = 6;

/// Difference of two command lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CmdlineDiff<'a> {
    pub added: Vec<&'a str>,
    pub removed: Vec<&'a str>,
    /// Parameters that both have once, with other values: whole old and new parameter.
    pub changed: Vec<(&'a str, &'a str)>,
    /// The same parameters in another order.
    pub reordered: bool,
}

impl<'a> CmdlineDiff<'a> {
    /// Compares parameter by parameter; double quotes keep white space together, as the kernel reads it.
    pub fn between(from: &'a str, to: &'a str) -> Self {
        let (old, new) = (parameters(from), parameters(to));
        let mut surplus: BTreeMap<&str, i64> = BTreeMap::new();
        for parameter in &old {
            *surplus.entry(parameter).or_default() += 1;
        }
        let mut added = Vec::new();
        for parameter in &new {
            let left = surplus.entry(parameter).or_default();
            *left -= 1;
            if *left < 0 {
                added.push(*parameter);
            }
        }
        let mut removed = Vec::new();
        for parameter in &old {
            if let Some(left) = surplus.get_mut(parameter)
                && *left > 0
            {
                *left -= 1;
                removed.push(*parameter);
            }
        }
        let mut changed = Vec::new();
        removed.retain(|gone| {
            let same_key = |p: &&&str| key(p) == key(gone);
            let once = old.iter().filter(same_key).count() == 1 && new.iter().filter(same_key).count() == 1;
            let Some(at) = added.iter().position(|new| once && key(new) == key(gone)) else { return true };
            changed.push((*gone, added.remove(at)));
            false
        });
        let reordered = added.is_empty() && removed.is_empty() && changed.is_empty() && old != new;
        Self { added, removed, changed, reordered }
    }

    /// Takes out what follows by itself from another kernel or initrd: the loader's record of their paths.
    /// Returns whether anything was taken out.
    pub fn drop_image_paths(&mut self) -> bool {
        let before = self.changed.len() + self.added.len() + self.removed.len();
        let is_path = |p: &str| matches!(key(p), "BOOT_IMAGE" | "initrd");
        self.changed.retain(|(old, _)| !is_path(old));
        self.added.retain(|p| !is_path(p));
        self.removed.retain(|p| !is_path(p));
        before != self.changed.len() + self.added.len() + self.removed.len()
    }

    /// Whether nothing differs but white space.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && !self.reordered
    }

    /// In plain words, without a leading subject: "added `init=/bin/sh`; removed `quiet`".
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.added.is_empty() {
            parts.push(format!("added {}", list(self.added.iter().map(|p| quoted(p)))));
        }
        if !self.removed.is_empty() {
            parts.push(format!("removed {}", list(self.removed.iter().map(|p| quoted(p)))));
        }
        if !self.changed.is_empty() {
            let changes =
                self.changed.iter().map(|(old, new)| format!("{} instead of {}", quoted(new), quoted(old)));
            parts.push(format!("now {}", list(changes)));
        }
        if self.reordered {
            parts.push("the same parameters in another order".to_owned());
        }
        if parts.is_empty() {
            parts.push("only white space differs".to_owned());
        }
        parts.join("; ")
    }

    /// What the new parameters do, where they are known to weaken the machine.
    pub fn danger(&self) -> Option<String> {
        let new = self.added.iter().copied().chain(self.changed.iter().map(|(_, new)| *new));
        let gone = self.removed.iter().copied().chain(self.changed.iter().map(|(old, _)| *old));
        let worse = new.filter_map(|p| known(WEAKENS, p)).chain(gone.filter_map(|p| known(PROTECTS, p)));
        let said: Vec<String> = worse.take(3).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// Parameters that weaken a machine when they appear. A name that ends in `=` stands for every value.
const WEAKENS: &[(&str, &str)] = &[
    ("init=", "starts another program as the first process, past every login"),
    ("rdinit=", "starts another program from the initrd, past every login"),
    ("rd.break", "opens a root shell in the initrd"),
    ("rd.break=", "opens a root shell in the initrd"),
    ("break", "opens a root shell in the initrd"),
    ("break=", "opens a root shell in the initrd"),
    ("single", "boots to a maintenance shell"),
    ("1", "boots to a maintenance shell"),
    ("systemd.debug-shell", "leaves a root shell open on a console"),
    ("systemd.debug-shell=1", "leaves a root shell open on a console"),
    ("systemd.debug_shell", "leaves a root shell open on a console"),
    ("systemd.unit=rescue.target", "boots to a maintenance shell"),
    ("systemd.unit=emergency.target", "boots to a maintenance shell"),
    ("systemd.run=", "runs a command at boot"),
    ("lockdown=none", "switches kernel lockdown off"),
    ("module.sig_enforce=0", "lets unsigned kernel modules load"),
    ("module_blacklist=", "keeps kernel modules from loading"),
    ("selinux=0", "switches SELinux off"),
    ("enforcing=0", "makes SELinux permissive"),
    ("apparmor=0", "switches AppArmor off"),
    ("audit=0", "switches auditing off"),
    ("ima_appraise=off", "switches IMA appraisal off"),
    ("ima_appraise=fix", "makes IMA accept and relabel changed files"),
    ("mitigations=off", "switches CPU mitigations off"),
    ("efi=disable_early_pci_dma", "changes DMA protection at boot"),
    ("iommu=off", "switches DMA protection off"),
    ("intel_iommu=off", "switches DMA protection off"),
    ("amd_iommu=off", "switches DMA protection off"),
    ("kgdboc=", "opens the kernel debugger"),
    ("kgdbwait", "opens the kernel debugger"),
];

/// Programs that every Linux starts first. Named in `init=` they change nothing.
const USUAL_INIT: &[&str] =
    &["init=/sbin/init", "init=/usr/sbin/init", "init=/lib/systemd/systemd", "init=/usr/lib/systemd/systemd"];

/// Parameters that protect a machine and are missed when they go.
const PROTECTS: &[(&str, &str)] = &[
    ("lockdown=", "kernel lockdown is no longer asked for"),
    ("module.sig_enforce", "module signatures are no longer enforced"),
    ("module.sig_enforce=1", "module signatures are no longer enforced"),
    ("ima_appraise=enforce", "IMA appraisal is no longer enforced"),
    ("ima_policy=", "the IMA policy is no longer asked for"),
    ("rd.luks.uuid=", "the encrypted root is no longer named"),
    ("roothash=", "dm-verity is no longer asked for"),
    ("systemd.verity", "dm-verity is no longer asked for"),
];

fn known(table: &[(&str, &str)], parameter: &str) -> Option<String> {
    let hit = |name: &str| match name.strip_suffix('=') {
        Some(prefix) => parameter.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('=')),
        None => name == parameter,
    };
    table
        .iter()
        .find(|(name, _)| hit(name))
        .map(|(_, effect)| format!("{} {effect}", quoted(parameter)))
        .filter(|_| !parameter.is_empty() && !USUAL_INIT.contains(&parameter))
}

/// Parameters that weaken a machine, with what they do. A name that ends in `=` stands for every value.
pub fn dangerous_parameters() -> &'static [(&'static str, &'static str)] {
    WEAKENS
}

/// What a parameter does, where it is known to weaken the machine.
pub(crate) fn weakens(parameter: &str) -> Option<String> {
    known(WEAKENS, parameter)
}

/// Name of a parameter: what stands before `=`.
pub(crate) fn key(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or(parameter)
}

/// Splits a command line at white space outside of double quotes.
pub(crate) fn parameters(line: &str) -> Vec<&str> {
    let mut in_quotes = false;
    line.split(|c: char| {
        in_quotes ^= c == '"';
        !in_quotes && c.is_ascii_whitespace()
    })
    .filter(|p| !p.is_empty())
    .collect()
}

fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let total = items.len();
    let mut text = items.take(MAX_NAMED).collect::<Vec<_>>().join(", ");
    if total > MAX_NAMED {
        text.push_str(&format!(" and {} more", total - MAX_NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(from: &str, to: &str) -> String {
        CmdlineDiff::between(from, to).describe()
    }

    #[test]
    fn one_parameter_more_is_named() {
        assert_eq!(said("root=/dev/vda1 ro", "root=/dev/vda1 ro init=/bin/sh"), "added `init=/bin/sh`");
    }

    #[test]
    fn a_value_that_changed_is_named_with_both_values() {
        assert_eq!(
            said("root=/dev/vda1 ro quiet", "root=/dev/vdb1 ro"),
            "removed `quiet`; now `root=/dev/vdb1` instead of `root=/dev/vda1`"
        );
    }

    #[test]
    fn repeated_parameters_are_counted() {
        assert_eq!(said("console=tty0 console=ttyS0", "console=ttyS0"), "removed `console=tty0`");
        assert_eq!(said("a a", "a a a"), "added `a`");
    }

    #[test]
    fn order_matters_to_the_kernel() {
        assert_eq!(
            said("console=tty0 console=ttyS0", "console=ttyS0 console=tty0"),
            "the same parameters in another order"
        );
        assert_eq!(said("a  b", "a b"), "only white space differs");
    }

    #[test]
    fn quotes_keep_white_space_together() {
        assert_eq!(said("a=\"x y\" b", "a=\"x z\" b"), "now `a=\"x z\"` instead of `a=\"x y\"`");
    }

    #[test]
    fn long_lists_and_long_parameters_are_bounded() {
        let many: Vec<String> = (0..500).map(|i| format!("p{i}={}", "x".repeat(5000))).collect();
        assert!(said("", &many.join(" ")).len() < 2000);
        assert!(said("", &many.join(" ")).ends_with("and 494 more"));
    }

    #[test]
    fn what_weakens_the_machine_is_explained() {
        let diff = CmdlineDiff::between("ro lockdown=integrity", "ro lockdown=none init=/bin/sh");
        let danger = diff.danger().unwrap_or_default();
        assert!(danger.contains("`init=/bin/sh` starts another program"), "{danger}");
        assert!(danger.contains("`lockdown=none` switches kernel lockdown off"), "{danger}");
        assert_eq!(CmdlineDiff::between("ro", "ro initcall_debug").danger(), None);
    }

    #[test]
    fn image_paths_follow_from_another_kernel() {
        let mut diff = CmdlineDiff::between("BOOT_IMAGE=/vmlinuz-1 ro", "BOOT_IMAGE=/vmlinuz-2 ro");
        assert!(diff.drop_image_paths());
        assert!(diff.is_empty());
    }
}
