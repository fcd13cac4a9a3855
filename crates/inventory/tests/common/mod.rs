//! The samples: written by us after the documented shapes, with made-up ids.

#![allow(dead_code, clippy::unwrap_used)]

use veriboot_inventory::InventoryFormat;

pub const SAMPLES: &[(&str, InventoryFormat)] = &[
    ("fleet.toml", InventoryFormat::Declarative),
    ("fleet.json", InventoryFormat::Declarative),
    ("libvirt/secure.xml", InventoryFormat::Libvirt),
    ("libvirt/several.xml", InventoryFormat::Libvirt),
    ("az-vm.json", InventoryFormat::AzVm),
    ("az-vmss.json", InventoryFormat::AzVmss),
    ("az-vmss-instances.json", InventoryFormat::AzVmssInstances),
    ("gcloud.json", InventoryFormat::Gcloud),
    ("aws-ec2.json", InventoryFormat::AwsEc2),
    ("proxmox.json", InventoryFormat::Proxmox),
];

pub fn sample(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}
