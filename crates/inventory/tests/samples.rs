//! What is read of a sample of each format, said in one line per VM.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{SAMPLES, sample};
use veriboot_inventory::{InventoryFacts, InventoryFormat, Listing, Options, merge, read, to_json};

fn line(f: &InventoryFacts) -> String {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    format!(
        "{} {} {} set={} {} {} {} {} {} sb={} tpm={} at={}",
        f.key,
        f.group,
        f.name,
        or(&f.scale_set),
        f.platform,
        or(&f.os),
        f.power,
        f.security_type,
        or(&f.confidential_kind),
        f.secure_boot,
        f.vtpm,
        or(&f.region),
    )
}

fn lines(name: &str) -> Vec<String> {
    let listing = read(&sample(name), &Options::default()).unwrap();
    listing.items.iter().map(line).collect()
}

#[test]
fn declarative_toml_and_json() {
    assert_eq!(
        lines("fleet.toml"),
        [
            "lab/web-0 lab web-0 set=web qemu linux running trusted-launch - sb=on tpm=on at=-",
            "hv3/web-1 lab web-1 set=web qemu linux stopped standard - sb=off tpm=on at=-",
            "data/db-0 data db-0 set=- proxmox linux unknown confidential sev-snp sb=unknown tpm=unknown at=-",
        ]
    );
    let items = read(&sample("fleet.toml"), &Options::default()).unwrap().items;
    assert_eq!(items[0].machine_uuid.as_deref(), Some("6b0d6c1e-3d2f-4c55-9b5b-0a4b7f0e1d01"));
    assert_eq!(items[0].tags["owner"], "platform team");
    assert!(items[2].ek_sha256.as_deref().unwrap().ends_with("ccddeeff"));
    assert_eq!(
        lines("fleet.json"),
        [
            "ci/build-0 ci build-0 set=- other windows unknown standard - sb=unsupported tpm=unsupported at=-",
            "ci/build-1 ci build-1 set=- other - unknown unknown - sb=unknown tpm=unknown at=rack 4",
        ]
    );
}

#[test]
fn libvirt() {
    assert_eq!(
        lines("libvirt/secure.xml"),
        [
            "0a1b2c3d-0001-4000-8000-000000000001 lab web-a set=web libvirt linux unknown trusted-launch - sb=on tpm=on at=-"
        ]
    );
    let secure = read(&sample("libvirt/secure.xml"), &Options::default()).unwrap();
    assert_eq!(secure.items[0].ek_sha256.as_deref(), Some("1".repeat(64).as_str()));
    let id = "0a1b2c3d-0001-4000-8000-00000000000";
    assert_eq!(
        lines("libvirt/several.xml"),
        [
            format!("{id}2 default bios set=- libvirt - unknown standard - sb=unsupported tpm=off at=-"),
            format!("{id}3 default uefi-without-keys set=- libvirt - unknown standard - sb=off tpm=on at=-"),
            format!("{id}4 default named-loader set=- libvirt - unknown standard - sb=on tpm=off at=-"),
            format!(
                "{id}5 default keys-not-known set=- libvirt - unknown standard - sb=unknown tpm=off at=-"
            ),
            format!(
                "{id}6 default snp set=- libvirt - unknown confidential sev-snp sb=unsupported tpm=off at=-"
            ),
        ]
    );
    let running = format!(
        "<domstatus state='running' reason='booted' pid='7'>{}</domstatus>",
        String::from_utf8(sample("libvirt/secure.xml")).unwrap()
    );
    assert_eq!(
        read(running.as_bytes(), &Options::default()).unwrap().items[0].power,
        veriboot_wire::PowerState::Running
    );
}

#[test]
fn azure() {
    let id = "11111111-aaaa-4bbb-8ccc-00000000000";
    assert_eq!(
        lines("az-vm.json"),
        [
            format!(
                "{id}1 shop-rg front-0 set=front azure linux running trusted-launch - sb=on tpm=on at=westeurope"
            ),
            format!(
                "{id}2 shop-rg vault-0 set=- azure windows stopped confidential sev-snp sb=off tpm=on at=westeurope"
            ),
            format!(
                "{id}3 shop-rg old-0 set=flex azure - unknown standard - sb=unsupported tpm=unsupported at=-"
            ),
        ]
    );
    let notes = read(&sample("az-vm.json"), &Options::default()).unwrap().notes;
    assert_eq!(notes, ["1 VM without powerState: make the export with `az vm list -d`"]);
}

#[test]
fn members_of_a_scale_set_inherit_what_it_says() {
    let of = |name| read(&sample(name), &Options::default()).unwrap();
    let alone = of("az-vmss-instances.json");
    assert_eq!(alone.items[0].security_type, veriboot_wire::ConfiguredSecurity::Unknown);
    let listing = merge(vec![alone, of("az-vmss.json")]).unwrap();
    let id = "22222222-aaaa-4bbb-8ccc-00000000000";
    assert_eq!(
        listing.items.iter().map(line).collect::<Vec<_>>(),
        [
            format!(
                "{id}0 shop-rg api000000 set=api azure linux running trusted-launch - sb=on tpm=on at=westeurope"
            ),
            format!("{id}4 shop-rg api_4 set=api azure linux unknown trusted-launch - sb=off tpm=on at=-"),
        ]
    );
    assert_eq!(
        listing.notes,
        ["scale set api of shop-rg has 3 instances and 2 are listed: add the output of \
          `az vmss list-instances -g shop-rg -n api -o json`"]
    );
}

#[test]
fn google() {
    assert_eq!(
        lines("gcloud.json"),
        [
            "4000000000000000001 shop-prod cache-x1y2 set=cache gcp linux running trusted-launch - sb=on tpm=on at=europe-west4-a",
            "4000000000000000002 shop-prod ledger-0 set=- gcp windows stopped confidential tdx sb=off tpm=on at=europe-west4-b",
            "4000000000000000003 shop-prod bios-0 set=- gcp - running standard - sb=unsupported tpm=unsupported at=europe-west4-b",
        ]
    );
}

#[test]
fn amazon() {
    assert_eq!(
        lines("aws-ec2.json"),
        [
            "i-00000000000000001 shop queue-0 set=queue aws linux running confidential sev-snp sb=unknown tpm=on at=eu-central-1a",
            "i-00000000000000002 default i-00000000000000002 set=- aws windows stopped standard - sb=unsupported tpm=unsupported at=eu-central-1b",
            "i-00000000000000004 default i-00000000000000004 set=- aws linux running standard - sb=unknown tpm=off at=-",
        ]
    );
    let notes = read(&sample("aws-ec2.json"), &Options::default()).unwrap().notes;
    assert_eq!(notes, ["1 terminated instances are left out"]);
}

#[test]
fn proxmox() {
    assert_eq!(
        lines("proxmox.json"),
        [
            "qemu/100 default mail set=- proxmox linux running trusted-launch - sb=on tpm=on at=pve1",
            "qemu/101 default legacy set=- proxmox windows stopped standard - sb=unsupported tpm=off at=pve1",
            "qemu/102 default empty-vars set=- proxmox linux running confidential sev-snp sb=off tpm=off at=pve2",
            "qemu/103 default not-readable set=- proxmox - running unknown - sb=unknown tpm=unknown at=pve2",
        ]
    );
    let listing = read(&sample("proxmox.json"), &Options::default()).unwrap();
    assert_eq!(listing.items[0].machine_uuid.as_deref(), Some("33333333-aaaa-4bbb-8ccc-000000000100"));
    assert_eq!(listing.items[0].tags.keys().collect::<Vec<_>>(), ["mail", "prod"]);
    assert_eq!(listing.notes.len(), 3, "{:?}", listing.notes);
}

#[test]
fn every_sample_is_recognised_and_travels_as_declarative() {
    for (name, format) in SAMPLES {
        let bytes = sample(name);
        let read_as = |format| read(&bytes, &Options { format, group: None }).unwrap();
        let recognised: Listing = read_as(None);
        assert_eq!(recognised.format, *format, "{name}");
        assert_eq!(recognised, read_as(Some(*format)), "{name}");
        let written = to_json(&recognised.items).unwrap();
        let again = read(written.as_bytes(), &Options::default()).unwrap();
        assert_eq!(again.format, InventoryFormat::Declarative);
        assert_eq!(again.items, recognised.items, "{name}");
    }
}

#[test]
fn one_group_for_all() {
    let options = Options { format: None, group: Some("mine") };
    let listing = read(&sample("az-vm.json"), &options).unwrap();
    assert!(listing.items.iter().all(|item| item.group == "mine"));
}

#[test]
fn documents_of_one_source_are_one_list() {
    let of = |name| read(&sample(name), &Options::default()).unwrap();
    let twice = merge(vec![of("gcloud.json"), of("aws-ec2.json"), of("gcloud.json")]).unwrap();
    assert_eq!(twice.items.len(), 6);
    assert!(twice.items.is_sorted_by(|a, b| a.key < b.key));
    let mut other = of("gcloud.json");
    other.items[0].name = "another".into();
    let error = merge(vec![of("gcloud.json"), other]).unwrap_err();
    assert_eq!(error.code(), "inventory-duplicate");
    assert!(error.to_string().contains("\"cache-x1y2\" and \"another\""), "{error}");
}

#[test]
fn the_schema_has_the_words_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema/inventory.schema.json");
    let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vm = &schema["properties"]["vms"]["items"]["properties"];
    let mut full = read(&sample("fleet.toml"), &Options::default()).unwrap().items.remove(0);
    full.os = Some("linux".into());
    full.region = Some("a".into());
    full.confidential_kind = Some("tdx".into());
    full.cloud_id = Some("a".into());
    full.ek_sha256 = Some("00".repeat(32));
    let written = serde_json::to_value(&full).unwrap();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(vm), keys(&written));
    let words = |name: &str| -> Vec<String> {
        vm[name]["enum"].as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_owned()).collect()
    };
    let of = |all: Vec<&str>| -> Vec<String> { all.into_iter().map(str::to_owned).collect() };
    use veriboot_wire::{Configured, ConfiguredSecurity, PowerState};
    assert_eq!(words("power"), of(PowerState::ALL.iter().map(|w| w.as_str()).collect()));
    assert_eq!(words("secure_boot"), of(Configured::ALL.iter().map(|w| w.as_str()).collect()));
    assert_eq!(words("vtpm"), words("secure_boot"));
    assert_eq!(words("security_type"), of(ConfiguredSecurity::ALL.iter().map(|w| w.as_str()).collect()));
    // Every word that the schema allows is read, and everything that is read can be written.
    let document = to_json(&[full.clone()]).unwrap();
    assert_eq!(read(document.as_bytes(), &Options::default()).unwrap().items, [full]);
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/inventory.md");
    let page = std::fs::read_to_string(page).unwrap();
    let example = page.split("```toml\nformat = ").nth(1).unwrap().split("```").next().unwrap();
    let example = format!("format = {example}").replace("\"…\"", &format!("\"{}\"", "0a".repeat(32)));
    let items = read(example.as_bytes(), &Options::default()).unwrap().items;
    assert_eq!(
        items.iter().map(line).collect::<Vec<_>>(),
        ["rack4/web-0 lab web-0 set=web qemu linux running trusted-launch - sb=on tpm=on at=-"]
    );
}
