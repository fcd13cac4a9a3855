//! What the agent tells about its machine. Advisory: the service believes none of it.

use std::fs::File;
use std::io::Read as _;

use veriboot_wire::MachineInfo;

use crate::text::printable;

/// Longest text that is passed on.
const MAX_CHARS: usize = 128;

/// Describes this machine. What cannot be read stays empty.
pub fn describe() -> MachineInfo {
    let vendor = text("/sys/class/dmi/id/sys_vendor");
    let product = text("/sys/class/dmi/id/product_name");
    MachineInfo {
        hostname: text("/proc/sys/kernel/hostname"),
        os: std::env::consts::OS.to_owned(),
        os_version: pretty_name(&raw("/etc/os-release")),
        kernel: text("/proc/sys/kernel/osrelease"),
        arch: std::env::consts::ARCH.to_owned(),
        platform: clean(&format!("{vendor} {product}")),
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        // Readable by root only.
        machine_uuid: text("/sys/class/dmi/id/product_uuid").to_ascii_lowercase(),
    }
}

/// A name that the service takes, from a host name: 1 to 63 characters of `[A-Za-z0-9._-]`.
pub fn vm_name(hostname: &str) -> String {
    let name: String = hostname
        .chars()
        .take(63)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .collect();
    if name.is_empty() || name == "(none)" { "vm".to_owned() } else { name }
}

fn raw(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(4096).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(path: &str) -> String {
    clean(&raw(path))
}

fn clean(text: &str) -> String {
    printable(text.trim(), MAX_CHARS)
}

fn pretty_name(os_release: &str) -> String {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|value| clean(value.trim_matches('"')))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_service() {
        assert_eq!(vm_name("web-0"), "web-0");
        assert_eq!(vm_name("a b/ö"), "a-b--");
        assert_eq!(vm_name(""), "vm");
        assert_eq!(vm_name(&"x".repeat(300)).len(), 63);
    }

    #[test]
    fn control_characters_do_not_travel() {
        assert_eq!(clean(" a\x1b[2J\u{202e}b\n"), "a [2J b");
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
    }
}
