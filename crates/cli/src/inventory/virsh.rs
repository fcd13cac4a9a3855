//! Asks libvirt through `virsh`, whose answers are bounded in size and time: behind a URI there may be any host.

use std::collections::BTreeSet;
use std::time::Duration;

use veriboot_inventory::{InventoryFormat, Listing, MAX_ITEMS, MAX_XML_BYTES, Options, merge, read};
use veriboot_wire::PowerState;

use super::gather::unreadable;
use super::program::{Failed, run};
use crate::error::CliError;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a list: a UUID and a line end for each domain.
const MAX_LIST_BYTES: usize = MAX_ITEMS * 40;

/// What `virsh` says about every domain.
pub fn listing(uri: &str) -> Result<Listing, CliError> {
    Virsh { program: "virsh", uri, patience: PATIENCE }.listing()
}

struct Virsh<'a> {
    program: &'a str,
    uri: &'a str,
    patience: Duration,
}

impl Virsh<'_> {
    fn listing(&self) -> Result<Listing, CliError> {
        let running: BTreeSet<String> = self.uuids(&["list", "--uuid"])?.into_iter().collect();
        let mut listings = Vec::new();
        for uuid in self.uuids(&["list", "--all", "--uuid"])? {
            let xml = match self.ask(&["dumpxml", &uuid], MAX_XML_BYTES) {
                Ok(xml) => xml,
                // It was removed since the list was made; what virsh says of that differs from driver to driver.
                Err(_) if !self.uuids(&["list", "--all", "--uuid"])?.contains(&uuid) => continue,
                Err(error) => return Err(error),
            };
            let options = Options { format: Some(InventoryFormat::Libvirt), group: None };
            let mut listing = read(&xml, &options).map_err(|e| unreadable(&format!("domain {uuid}"), &e))?;
            let power = if running.contains(&uuid) { PowerState::Running } else { PowerState::Stopped };
            listing.items.iter_mut().for_each(|item| item.power = power);
            listings.push(listing);
        }
        if listings.is_empty() {
            // No domains is an answer: everything that was there is gone.
            listings.push(read(b"<domains/>", &Options::default()).map_err(|e| unreadable("virsh", &e))?);
        }
        merge(listings).map_err(|e| unreadable("virsh", &e))
    }

    fn uuids(&self, args: &[&str]) -> Result<Vec<String>, CliError> {
        let said = self.ask(args, MAX_LIST_BYTES)?;
        let said = String::from_utf8_lossy(&said);
        let uuids = said.lines().map(str::trim).filter(|line| !line.is_empty());
        uuids
            .map(|uuid| {
                if uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                    return Ok(uuid.to_ascii_lowercase());
                }
                let shown: String = uuid.chars().take(100).collect();
                let message = format!("virsh printed {shown:?} where a UUID was expected");
                Err(CliError::usage("virsh-failed", message))
            })
            .collect()
    }

    fn ask(&self, args: &[&str], most: usize) -> Result<Vec<u8>, CliError> {
        let mut all = Vec::new();
        if !self.uri.is_empty() {
            all.extend(["-c", self.uri]);
        }
        all.push("-q");
        all.extend(args);
        let failed = |message: String| CliError::usage("virsh-failed", message);
        let words = args.join(" ");
        run(self.program, &all, most, self.patience).map_err(|error| match error {
            Failed::Absent => CliError::usage("no-virsh", "there is no `virsh` on this machine").hint(
                "install libvirt-clients, or give domain XML: a folder such as /etc/libvirt/qemu, or `virsh dumpxml` of each",
            ),
            Failed::Start(error) => failed(format!("cannot run virsh: {error}")),
            Failed::TooMuch => {
                CliError::usage("inventory-too-large", format!("virsh {words} prints more than {most} bytes"))
            }
            Failed::TooLong => {
                failed(format!("virsh {words} gave no answer within {} s", self.patience.as_secs()))
                    .hint("does `virsh -c URI list --all` answer? libvirt, or the host behind the URI, may hang")
            }
            Failed::Said(said) => failed(format!("virsh {words}: {said}"))
                .hint("does `virsh -c URI list --all` work for this user? name the URI: --virsh qemu:///system"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use veriboot_wire::{Configured, InventoryFacts};

    use super::*;

    const DOMAIN: &str = "<domain type='test'><name>NAME</name><uuid>11111111-2222-4333-8444-55555555550N</uuid>\
        <memory>65536</memory><os firmware='efi'><type arch='x86_64'>hvm</type><loader secure='yes'/><firmware>\
        <feature enabled='yes' name='enrolled-keys'/><feature enabled='yes' name='secure-boot'/></firmware></os><devices><tpm model='tpm-crb'><backend \
        type='emulator' version='2.0'/></tpm></devices></domain>";

    /// The real `virsh` over libvirt's own driver for tests, with these domains; both run.
    fn real(names: &[&str]) -> Result<Listing, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.xml");
        let domains: Vec<String> = (0..)
            .zip(names)
            .map(|(n, name)| DOMAIN.replace("NAME", name).replace('N', &n.to_string()))
            .collect();
        std::fs::write(&path, format!("<node>{}</node>", domains.concat())).unwrap();
        listing(&format!("test://{}", path.display()))
    }

    #[test]
    fn the_real_virsh_lists_what_runs() {
        let found = real(&["web-0", "db-0"]).unwrap();
        let mut items: Vec<&InventoryFacts> = found.items.iter().collect();
        items.sort_by(|a, b| b.name.cmp(&a.name));
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["web-0", "db-0"]);
        for item in items {
            assert_eq!(item.power, PowerState::Running);
            assert_eq!((item.secure_boot, item.vtpm), (Configured::On, Configured::On));
            assert!(item.machine_uuid.as_ref().unwrap().starts_with("11111111-2222-4333-8444-5555555555"));
        }
        // A domain of the driver that nobody configured.
        let found = listing("test:///default").unwrap();
        assert_eq!(found.items.len(), 1);
        assert_eq!((found.items[0].name.as_str(), found.items[0].vtpm), ("test", Configured::Off));
    }

    #[test]
    fn names_of_the_real_virsh_are_only_text() {
        for name in [
            "a&#9;b not found",
            "x&#10;11111111-2222-4333-8444-555555555509",
            "--all",
            "&lt;b&gt;&amp;&#27;[2J",
        ] {
            match real(&[name]) {
                Ok(found) => {
                    assert_eq!(found.items.len(), 1, "{name}");
                    assert!(!found.items[0].name.contains(char::is_control), "{:?}", found.items[0].name);
                }
                Err(error) => assert!(!error.message.contains(char::is_control), "{:?}", error.message),
            }
        }
    }

    #[test]
    fn the_real_virsh_says_why_it_cannot() {
        let error = listing("test:///nothing/here.xml").unwrap_err();
        assert_eq!(error.code, "virsh-failed");
        assert!(error.message.starts_with("virsh list --uuid: "), "{}", error.message);
        let error = listing("nothing://").unwrap_err();
        assert_eq!(error.code, "virsh-failed");
    }

    /// A `virsh` that is a script.
    fn script(body: &str, patience: Duration) -> Result<Listing, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("virsh");
        std::fs::write(&path, format!("#!/bin/sh\nfolder={}\n{body}\n", folder.path().display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let program = path.to_str().unwrap();
        Virsh { program, uri: "", patience }.listing()
    }

    #[test]
    fn a_domain_that_goes_meanwhile_is_left_out() {
        let gone = r#"case "$*" in
            *dumpxml*) touch "$folder/gone"; echo "error: failed to get domain" >&2; exit 1;;
            *) [ -e "$folder/gone" ] || echo 11111111-2222-4333-8444-555555555501;;
        esac"#;
        assert_eq!(script(gone, PATIENCE).unwrap().items.len(), 0);
        let stays = gone.replace("touch \"$folder/gone\";", "");
        assert_eq!(script(&stays, PATIENCE).unwrap_err().code, "virsh-failed");
    }

    #[test]
    fn answers_are_bounded() {
        let error = script("sleep 60", Duration::from_millis(200)).unwrap_err();
        assert!(error.message.contains("no answer"), "{}", error.message);
        // Something that it started keeps its output open.
        let error = script("sleep 60 & exit 0", Duration::from_millis(200)).unwrap_err();
        assert!(error.message.contains("no answer"), "{}", error.message);
        let error = script("yes", PATIENCE).unwrap_err();
        assert_eq!(error.code, "inventory-too-large");
        let error = script("head -c 100000 /dev/zero | tr '\\0' x", PATIENCE).unwrap_err();
        assert!(error.message.len() < 300, "{}", error.message);
        let error = script("printf '\\033[2Jevil\\n' >&2; yes bad >&2", PATIENCE).unwrap_err();
        assert!(
            error.message.len() < 1000 && !error.message.contains(char::is_control),
            "{:?}",
            error.message
        );
        assert!(!Path::new("/nothing/virsh").exists());
        let absent = Virsh { program: "/nothing/virsh", uri: "", patience: PATIENCE }.listing().unwrap_err();
        assert_eq!(absent.code, "no-virsh");
    }
}
