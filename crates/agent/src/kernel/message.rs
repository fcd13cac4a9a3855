//! Records of the kernel's log, and the messages in them that tell of modules.
//!
//! The wording is read in the sources of Linux, kernel/module.c (kernel/module/signing.c and main.c since 5.18) and
//! security/lockdown/lockdown.c:
//!
//! | message | kernels |
//! |---|---|
//! | `Loading of unsigned module is rejected`, `Loading of module with unsupported crypto …`, `… with unavailable key …` | since 5.4; 6.1 of Debian 12 is in `tests/kmsg` |
//! | `NAME: Loading of unsigned module is rejected` | commit e9f35f634e09 (2020) |
//! | `NAME: loading of unsigned module is rejected` | October 2020, until the signature is checked before the name is known (2021: the first form again) |
//! | `Lockdown: COMM: unsigned module loading is restricted; see man kernel_lockdown.7` | since 5.4; rate-limited since 2022 |
//! | `Lockdown: COMM: Loading of unsigned module is restricted; …`, also without `COMM:` | patches of distributions before 5.4 |
//! | `NAME: module verification failed: signature and/or required key missing - tainting kernel` | older than all of these; the first one only |
//!
//! Stable branches took these changes at different times, so every form is known on every kernel. A kernel before 5.4 without
//! these patches logs no refusal. A module whose signature is broken is refused without a word by all of them.

/// One record of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Numbers of records have no gaps and start at 0 with the boot.
    pub sequence: u64,
    /// Seconds since the start of the kernel.
    pub at_s: u32,
    /// Whether the kernel wrote it. What user space writes to `/dev/kmsg` has another facility: the kernel takes no record of
    /// facility 0 from it.
    pub of_kernel: bool,
    /// The message.
    pub text: &'a str,
}

/// A message about a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AboutModule<'a> {
    /// The kernel refused one.
    Refused {
        /// Its name, where the kernel gives it.
        module: Option<&'a str>,
        /// The process that wanted to load it, where the kernel gives that.
        process: Option<&'a str>,
    },
    /// The kernel loaded one without a signature that it could verify.
    Unsigned {
        /// Its name.
        module: &'a str,
    },
}

/// Reads the first line of a record: `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];MESSAGE`. `None` for anything else, such as
/// the lines with a leading space that say which device it is about.
pub(super) fn record(line: &str) -> Option<Record<'_>> {
    let (head, text) = line.split_once(';')?;
    let mut parts = head.split(',');
    let priority: u32 = number(parts.next()?)?;
    let sequence = number(parts.next()?)?;
    let at_us: u64 = number(parts.next()?)?;
    let at_s = u32::try_from(at_us / 1_000_000).unwrap_or(u32::MAX);
    Some(Record { sequence, at_s, of_kernel: priority >> 3 == 0, text })
}

/// A number of digits alone: `parse` would take a sign too.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// What a message of the kernel says about a module.
pub(super) fn about_module(text: &str) -> Option<AboutModule<'_>> {
    if let Some(rest) = text.strip_prefix("Lockdown: ") {
        return refused_by_lockdown(rest);
    }
    if let Some(what) = text.strip_suffix(" is rejected") {
        return refused_by_signature(what);
    }
    let (module, what) = text.split_once(": ")?;
    (what == "module verification failed: signature and/or required key missing - tainting kernel"
        && is_name(module))
    .then_some(AboutModule::Unsigned { module })
}

fn refused_by_lockdown(rest: &str) -> Option<AboutModule<'_>> {
    let what = rest.strip_suffix("; see man kernel_lockdown.7")?.strip_suffix(" is restricted")?;
    // The name of a process may hold anything, `: ` too; the reason does not.
    let (process, reason) = match what.rsplit_once(": ") {
        Some((process, reason)) => (Some(process), reason),
        None => (None, what),
    };
    (reason == "unsigned module loading" || is_loading(reason))
        .then_some(AboutModule::Refused { module: None, process })
}

fn refused_by_signature(what: &str) -> Option<AboutModule<'_>> {
    let (module, reason) = match what.split_once(": ") {
        Some((module, reason)) if is_name(module) => (Some(module), reason),
        Some(_) => return None,
        None => (None, what),
    };
    is_loading(reason).then_some(AboutModule::Refused { module, process: None })
}

fn is_loading(reason: &str) -> bool {
    let what = reason.strip_prefix("Loading of ").or_else(|| reason.strip_prefix("loading of "));
    matches!(what, Some("unsigned module" | "module with unsupported crypto" | "module with unavailable key"))
}

/// Whether this can be the name of a module: drivers put other things in front of a colon.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<'a>(module: Option<&'a str>, process: Option<&'a str>) -> Option<AboutModule<'a>> {
        Some(AboutModule::Refused { module, process })
    }

    #[test]
    fn refusals_of_all_kernels_are_known() {
        for reason in ["unsigned module", "module with unsupported crypto", "module with unavailable key"] {
            assert_eq!(about_module(&format!("Loading of {reason} is rejected")), refused(None, None));
            for named in [
                format!("nvidia_drm: Loading of {reason} is rejected"),
                format!("nvidia_drm: loading of {reason} is rejected"),
            ] {
                assert_eq!(about_module(&named), refused(Some("nvidia_drm"), None), "{named}");
            }
            let by =
                format!("Lockdown: insmod: Loading of {reason} is restricted; see man kernel_lockdown.7");
            assert_eq!(about_module(&by), refused(None, Some("insmod")));
        }
        let of = |process: &str| {
            format!("Lockdown: {process}unsigned module loading is restricted; see man kernel_lockdown.7")
        };
        assert_eq!(about_module(&of("modprobe: ")), refused(None, Some("modprobe")));
        assert_eq!(about_module(&of("(udev-worker): ")), refused(None, Some("(udev-worker)")));
        assert_eq!(about_module(&of("a: b: ")), refused(None, Some("a: b")));
        assert_eq!(about_module(&of("")), refused(None, None));
    }

    #[test]
    fn an_unsigned_module_that_was_loaded_is_known() {
        let text =
            "dummy: module verification failed: signature and/or required key missing - tainting kernel";
        assert_eq!(about_module(text), Some(AboutModule::Unsigned { module: "dummy" }));
    }

    #[test]
    fn other_messages_tell_nothing() {
        for text in [
            "",
            " is rejected",
            "Loading of  is rejected",
            "Loading of something is rejected",
            "usb 1-1: device descriptor is rejected",
            "a driver: of two words: loading of unsigned module is rejected",
            "Loading of unsigned module is rejected.",
            "x Loading of unsigned module is rejected",
            "Lockdown: swapper/0: hibernation is restricted; see man kernel_lockdown.7",
            "Lockdown: modprobe: unsigned module loading is restricted",
            "Lockdown: ",
            "Kernel is locked down from EFI Secure Boot; see man kernel_lockdown.7",
            "dummy: loading out-of-tree module taints kernel.",
            ": module verification failed: signature and/or required key missing - tainting kernel",
            "module verification failed: signature and/or required key missing - tainting kernel",
        ] {
            assert_eq!(about_module(text), None, "{text}");
        }
    }

    #[test]
    fn records_are_read_and_nothing_else() {
        let expected = Record { sequence: 401, at_s: 6, of_kernel: true, text: "a;b" };
        assert_eq!(record("5,401,6717669,-;a;b"), Some(expected));
        assert_eq!(record("5,401,6717669,-,caller=T1;a;b"), Some(expected));
        let user = record("13,402,7199857,-;Lockdown: x").unwrap();
        assert!(!user.of_kernel);
        assert_eq!(record("4,1,18446744073709551615,c;").unwrap().at_s, u32::MAX);
        for bad in [
            "",
            ";",
            "5;x",
            "5,1;x",
            "5,1,2",
            " SUBSYSTEM=acpi",
            " a;b",
            "-5,1,2,-;x",
            "+5,1,2,-;x",
            "5,,2,-;x",
            "5,18446744073709551616,2,-;x",
            "99999999999,1,2,-;x",
            "x,1,2,-;x",
        ] {
            assert_eq!(record(bad), None, "{bad}");
        }
    }

    #[test]
    fn cut_and_bent_records_are_no_trouble() {
        let line = "5,401,6717669,-;nvidia: loading of unsigned module is rejected";
        for at in 0..=line.len() {
            let _ = record(line.get(..at).unwrap()).and_then(|r| about_module(r.text));
            for new in [b' ', b';', b',', b':', b'9', 0x7f, 0] {
                let mut bent = line.as_bytes().to_vec();
                if let Some(byte) = bent.get_mut(at) {
                    *byte = new;
                }
                let bent = String::from_utf8(bent).unwrap();
                let _ = record(&bent).and_then(|r| about_module(r.text));
            }
        }
    }
}
