//! Documents that are wrong: what is wrong is told with its element and place, and nothing panics.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::{Duration, Instant};

use common::{SAMPLES, sample};
use veriboot_inventory::{InventoryFormat, MAX_TEXT_CHARS, Options, ReadError, merge, read};

fn text(name: &str) -> String {
    String::from_utf8(sample(name)).unwrap()
}

/// What is said about a sample in which one text was replaced.
fn broken(name: &str, from: &str, to: &str) -> String {
    let text = text(name);
    assert!(text.contains(from), "{name} has no {from:?}");
    let format = SAMPLES.iter().find(|(n, _)| *n == name).map(|(_, format)| *format);
    let error = read(text.replacen(from, to, 1).as_bytes(), &Options { format, group: None }).unwrap_err();
    assert!(!error.hint().is_empty());
    format!("{}: {error}", error.code())
}

#[test]
fn a_value_of_another_kind_is_told_with_path_and_place() {
    assert_eq!(
        broken("az-vm.json", "\"secureBootEnabled\": true", "\"secureBootEnabled\": \"yes\""),
        "inventory-element: [0].securityProfile.uefiSettings.secureBootEnabled (line 14, column 50): \
         invalid type: string \"yes\", expected a boolean"
    );
    assert_eq!(
        broken("gcloud.json", "\"id\": \"4000000000000000002\"", "\"id\": []"),
        "inventory-element: [1].id (line 27, column 12): invalid type: sequence, expected an id: a text or a whole number"
    );
    assert_eq!(
        broken("aws-ec2.json", "\"InstanceId\": \"i-00000000000000002\",", ""),
        "inventory-element: Reservations[0].Instances[1] (line 31, column 9): missing field `InstanceId`"
    );
    assert_eq!(
        broken("proxmox.json", "\"vmid\": 101", "\"vmid\": null"),
        "inventory-element: resources.data[1].vmid (line 5, column 38): invalid type: null, expected an id: a text or a whole number"
    );
    assert_eq!(
        broken("fleet.toml", "secure_boot = \"off\"", "secure_boot = \"maybe\""),
        "inventory-element: vms[1].secure_boot (line 22, column 15): unknown variant `maybe`, expected one of `on`, `off`, `unsupported`, `unknown`"
    );
    assert_eq!(
        broken("fleet.toml", "power = \"stopped\"", "powr = \"stopped\"").split(", expected").next().unwrap(),
        "inventory-element: vms[1].powr (line 21, column 1): unknown field `powr`"
    );
    assert!(broken("fleet.json", "veriboot-inventory/1", "veriboot-inventory/2").contains("format (line 2"));
    assert!(broken("az-vmss.json", "\"capacity\": 3", "\"capacity\": -3").contains("[0].sku.capacity"));
    assert!(
        broken("az-vm.json", "\"name\": \"front-0\"", "\"name\": \"\"")
            .contains("[0].name (line 7, column 13): it is empty")
    );
}

#[test]
fn elements_of_a_domain_are_told_with_their_place() {
    let several = "libvirt/several.xml";
    assert_eq!(
        broken(several, "<name>named-loader</name>", ""),
        "inventory-element: domain[3] (line 19, column 3): <name> is missing"
    );
    assert_eq!(
        broken(several, "<uuid>0a1b2c3d-0001-4000-8000-000000000004", "<uuid>0a1b"),
        "inventory-element: domain[3]/uuid (line 21, column 5): \"0a1b\" is not a UUID"
    );
    assert_eq!(
        broken(several, "secure='yes' type='pflash'", "secure='often' type='pflash'"),
        "inventory-element: domain[3]/os/loader (line 24, column 7): secure is \"often\", neither yes nor no"
    );
    assert!(
        broken(several, "type='passthrough'", "type='magic'")
            .contains("domain[2]/devices/tpm/backend (line 17")
    );
    assert!(broken("libvirt/secure.xml", "scale-set=", "scale_set=").contains("domain/metadata/vm (line 8"));
    assert!(broken(several, "</domains>", "</domain>").starts_with("inventory-malformed"));
    assert!(broken(several, "<?xml version=\"1.0\"?>", "<networks/>").contains("line"));
    assert!(
        broken("libvirt/secure.xml", "<domain type='kvm'>", "<network><domain type='kvm'>")
            .contains("malformed")
    );
}

#[test]
fn entities_are_never_expanded() {
    let laughs = "<!DOCTYPE d [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><domain><name>&b;</name></domain>";
    let error = read(laughs.as_bytes(), &Options::default()).unwrap_err();
    assert!(matches!(error, ReadError::Syntax { .. }), "{error}");
    let external =
        "<!DOCTYPE d [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><domain><name>&a;</name></domain>";
    assert!(read(external.as_bytes(), &Options::default()).is_err());
}

#[test]
fn nothing_is_deep_wide_or_long_without_bound() {
    let started = Instant::now();
    let deep = format!("{}{}", "<a>".repeat(500_000), "</a>".repeat(500_000));
    assert!(read(deep.as_bytes(), &Options::default()).unwrap_err().to_string().contains("deeper than 64"));
    let wide = format!("<domain {}/>", (0..200_000).map(|n| format!("a{n}='>' ")).collect::<String>());
    assert!(
        read(wide.as_bytes(), &Options::default())
            .unwrap_err()
            .to_string()
            .contains("more than 128 attributes")
    );
    let many = format!("<domains>{}</domains>", "<x/>".repeat(4_100_000));
    assert!(read(many.as_bytes(), &Options::default()).is_err());
    let nested = "[".repeat(1_000_000);
    assert!(read(nested.as_bytes(), &Options::default()).is_err());
    let nested = format!("{{\"Reservations\":{}", "{\"a\":".repeat(1_000_000));
    assert!(read(nested.as_bytes(), &Options::default()).is_err());
    let toml = format!("format = \"veriboot-inventory/1\"\nvms = {}", "[".repeat(1_000_000));
    assert!(read(toml.as_bytes(), &Options::default()).is_err());
    let long = broken(
        "gcloud.json",
        "\"name\": \"ledger-0\"",
        &format!("\"name\": \"{}\"", "x".repeat(MAX_TEXT_CHARS + 1)),
    );
    assert!(long.contains("[1].name") && long.contains("more than 512 characters"), "{long}");
    let many =
        format!("[{}]", vec![r#"{"id":1,"name":"a","zone":"z","status":"RUNNING"}"#; 200_001].join(","));
    let options = Options { format: Some(InventoryFormat::Gcloud), group: None };
    assert!(read(many.as_bytes(), &options).unwrap_err().to_string().contains("more than 200000"));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn nothing_steers_a_terminal() {
    assert!(broken("gcloud.json", "ledger-0", "ledger\\u001b[2J").contains("control characters"));
    let listing = read(
        text("az-vm.json").replace("\"team\": \"shop\"", "\"te\\u0007am\": \"sh\\nop\"").as_bytes(),
        &Options::default(),
    )
    .unwrap();
    assert!(
        listing
            .items
            .iter()
            .flat_map(|i| &i.tags)
            .all(|(k, v)| !format!("{k}{v}").contains(char::is_control))
    );
    let error = read(b"{\"format\": \"\\u001b[2J\"}", &Options::default()).unwrap_err().to_string();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn what_no_reader_knows_is_told() {
    let said = |bytes: &[u8]| {
        let error = read(bytes, &Options::default()).unwrap_err();
        (error.code(), error.to_string())
    };
    assert_eq!(said(b"").0, "inventory-format-unknown");
    assert!(said(b"[]").1.contains("empty list"));
    assert!(said(b"[1, 2]").1.contains("something else than objects"));
    assert!(said(b"{\"vms\": []}").1.contains("no member `format`"));
    assert!(said(b"[{\"Instances\": []}]").1.contains("whole output"));
    assert!(said(b"<network/>").1.contains("not <domain>"));
    assert!(said(b"hello").1.contains("neither JSON nor XML"));
    assert_eq!(said(b"[{\"kind\": \"compute#instance\"").0, "inventory-malformed");
    assert_eq!(said(b"\xff\xfe[\0").0, "inventory-not-utf8");
    // An empty list is an empty fleet for who names the format.
    let options = Options { format: Some(InventoryFormat::AzVm), group: None };
    assert_eq!(read(b"[]", &options).unwrap().items.len(), 0);
}

#[test]
fn two_vms_of_one_key_in_one_document_are_refused() {
    let twins = "format = \"veriboot-inventory/1\"\n[[vms]]\nname = \"b\"\n[[vms]]\nname = \"a\"\nos = \"linux\"\n\
                 [[vms]]\nname = \"a\"\nos = \"windows\"\n";
    let error = read(twins.as_bytes(), &Options::default()).unwrap_err();
    assert_eq!(error.code(), "inventory-duplicate");
    assert_eq!(
        error.to_string(),
        "vms[2] (line 7, column 1): the key \"default/a\" is that of vms[1] already"
    );
    let domain = "<domain><name>a</name><uuid>11111111-1111-1111-1111-111111111111</uuid></domain>";
    let error = read(format!("<domains>\n{domain}\n  {domain}\n</domains>").as_bytes(), &Options::default());
    assert_eq!(
        error.unwrap_err().to_string(),
        "domain[2] (line 3, column 3): the key \"11111111-1111-1111-1111-111111111111\" is that of domain[1] already"
    );
    let apart = twins.replace("os = \"windows\"", "os = \"windows\"\nkey = \"other\"");
    assert_eq!(read(apart.as_bytes(), &Options::default()).unwrap().items.len(), 3);
    assert_eq!(
        broken("gcloud.json", "4000000000000000002", "4000000000000000001"),
        "inventory-duplicate: [1] (line 25, column 3): the key \"4000000000000000001\" is that of [0] already"
    );
    let told = broken("aws-ec2.json", "i-00000000000000002", "i-00000000000000001");
    assert_eq!(
        told,
        "inventory-duplicate: Reservations[0].Instances[1] (line 22, column 9): the key \"i-00000000000000001\" is that of \
         Reservations[0].Instances[0] already"
    );
    assert_eq!(
        broken("proxmox.json", "\"vmid\": 101", "\"vmid\": 100"),
        "inventory-duplicate: resources[1] (line 5, column 7): the key \"qemu/100\" is that of resources[0] already"
    );
}

#[test]
fn the_export_of_another_cloud_is_refused_under_a_named_format() {
    let lists = ["az-vm.json", "az-vmss.json", "gcloud.json"];
    let formats = [InventoryFormat::AzVm, InventoryFormat::AzVmss, InventoryFormat::Gcloud];
    for name in lists.into_iter().chain(["az-vmss-instances.json"]) {
        let own = SAMPLES.iter().find(|(n, _)| *n == name).map(|(_, format)| *format);
        for format in formats.into_iter().filter(|format| Some(*format) != own) {
            let options = Options { format: Some(format), group: None };
            let Err(error) = read(&sample(name), &options) else {
                panic!("{name} is read as {format:?}");
            };
            assert_eq!(error.code(), "inventory-element", "{name} as {format:?}: {error}");
        }
    }
    let options = Options { format: Some(InventoryFormat::Gcloud), group: None };
    let error = read(&sample("az-vm.json"), &options).unwrap_err().to_string();
    assert!(error.starts_with("[0] (line ") && error.contains("missing field `zone`"), "{error}");
    let options = Options { format: Some(InventoryFormat::AzVm), group: None };
    let error = read(&sample("gcloud.json"), &options).unwrap_err().to_string();
    assert!(
        error.starts_with("[0].id (line 4, column 11): \"4000000000000000001\" is no id of Azure"),
        "{error}"
    );
}

/// Every sample cut at every byte, and with every byte flipped: an answer or an error, never a panic, and what is read
/// stays within its bounds.
#[test]
fn cut_and_flipped_documents_never_panic() {
    let mut read_anyway = 0_u32;
    for (name, format) in SAMPLES {
        let bytes = sample(name);
        let mut look = |bytes: &[u8], what: &str| {
            for format in [Some(*format), None] {
                match read(bytes, &Options { format, group: None }) {
                    Ok(listing) => {
                        read_anyway += 1;
                        for item in &listing.items {
                            assert!(!item.key.is_empty() && !item.name.is_empty(), "{name} {what}");
                            assert!(!item.name.chars().any(char::is_control), "{name} {what}");
                        }
                        let _ = merge(vec![listing]);
                    }
                    Err(error) => {
                        assert!(!error.to_string().chars().any(char::is_control), "{name} {what}: {error:?}");
                    }
                }
            }
        };
        for cut in 0..bytes.len() {
            look(&bytes[..cut], "cut");
        }
        let mut flipped = bytes.clone();
        for at in 0..bytes.len() {
            for bit in [0x01, 0x10, 0x80] {
                flipped[at] ^= bit;
                look(&flipped, "flipped");
                flipped[at] ^= bit;
            }
            let kept = std::mem::replace(&mut flipped[at], b'"');
            look(&flipped, "quoted");
            flipped[at] = kept;
        }
    }
    assert!(read_anyway > 1000, "{read_anyway}");
}
