//! Exports of three clouds and a folder of libvirt: 150 virtual machines, three scale sets. The shapes are those that the
//! tools print; names and ids are made up.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// An id that looks like one.
fn uuid(cloud: u32, n: u32) -> String {
    format!("{cloud:08x}-0000-4000-8000-{n:012x}")
}

/// `az vm list -d -o json`: 30 machines of the group `office`. Every third is of the security type `Standard`, which
/// has neither Secure Boot nor vTPM; the others have trusted launch, one of them with Secure Boot off.
pub fn az_vms() -> Value {
    let machine = |n: u32| {
        let name = format!("office-{n:02}");
        let profile = match n {
            n if n.is_multiple_of(3) => json!({ "securityType": "Standard" }),
            n => json!({
                "securityType": "TrustedLaunch",
                "uefiSettings": { "secureBootEnabled": n != 1, "vTpmEnabled": true }
            }),
        };
        json!({
            "id": format!("/subscriptions/{}/resourceGroups/office/providers/Microsoft.Compute/virtualMachines/{name}", uuid(1, 0)),
            "name": name,
            "resourceGroup": "OFFICE",
            "location": "westeurope",
            "vmId": uuid(2, n),
            "powerState": "VM running",
            "provisioningState": "Succeeded",
            "securityProfile": profile,
            "storageProfile": { "osDisk": { "osType": if n.is_multiple_of(2) { "Windows" } else { "Linux" } } },
            "tags": { "owner": "office-it" }
        })
    };
    (0..30).map(machine).collect()
}

/// `az vmss list-instances -o json`: the 20 members of the scale set `web`, which all have trusted launch.
pub fn az_scale_set() -> Value {
    let member = |n: u32| {
        json!({
            "id": format!("/subscriptions/{}/resourceGroups/shop/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/{n}", uuid(1, 0)),
            "instanceId": n.to_string(),
            "name": format!("web_{n}"),
            "resourceGroup": "shop",
            "location": "westeurope",
            "vmId": uuid(3, n),
            "osProfile": { "computerName": format!("web-{n}") },
            "provisioningState": "Succeeded",
            "securityProfile": {
                "securityType": "TrustedLaunch",
                "uefiSettings": { "secureBootEnabled": true, "vTpmEnabled": true }
            },
            "storageProfile": { "osDisk": { "osType": "Linux" } }
        })
    };
    (0..20).map(member).collect()
}

/// `gcloud compute instances list --format=json`: 25 machines, and 20 of the managed group `batch` without Secure Boot.
pub fn gcloud() -> Value {
    let zone = "https://www.googleapis.com/compute/v1/projects/shop-1/zones/europe-west3-b";
    let machine = |n: u32| {
        let member = n >= 25;
        let name = if member { format!("batch-{:04x}", n * 7919) } else { format!("db-{n:02}") };
        let mut machine = json!({
            "id": (5_000_000_000_000_000_000_u64 + u64::from(n)).to_string(),
            "name": name,
            "zone": zone,
            "status": "RUNNING",
            "selfLink": format!("{zone}/instances/{name}"),
            "shieldedInstanceConfig": {
                "enableIntegrityMonitoring": true,
                "enableSecureBoot": !member,
                "enableVtpm": true
            },
            "disks": [{ "boot": true, "guestOsFeatures": [{ "type": "UEFI_COMPATIBLE" }] }],
            "metadata": { "items": [] },
            "labels": { "team": "data" }
        });
        if member {
            machine["metadata"]["items"] = json!([{
                "key": "created-by",
                "value": "projects/1/zones/europe-west3-b/instanceGroupManagers/batch"
            }]);
        }
        if n == 0 {
            machine["confidentialInstanceConfig"] =
                json!({ "enableConfidentialCompute": true, "confidentialInstanceType": "SEV_SNP" });
        }
        machine
    };
    (0..45).map(machine).collect()
}

/// `aws ec2 describe-instances`: 30 machines, half of them too old for UEFI, and 15 of the group `api`.
pub fn aws() -> Value {
    let machine = |n: u32| {
        let member = n >= 30;
        let uefi = member || n.is_multiple_of(2);
        let mut tags = vec![
            json!({ "Key": "Name", "Value": if member { format!("api-{}", n - 30) } else { format!("shop-{n:02}") } }),
        ];
        if member {
            tags.push(json!({ "Key": "aws:autoscaling:groupName", "Value": "api" }));
        }
        let mut instance = json!({
            "InstanceId": format!("i-{n:017x}"),
            "InstanceType": "m7i.large",
            "State": { "Code": 16, "Name": "running" },
            "Placement": { "AvailabilityZone": "eu-central-1a" },
            "BootMode": if uefi { "uefi" } else { "legacy-bios" },
            "CurrentInstanceBootMode": if uefi { "uefi" } else { "legacy-bios" },
            "CpuOptions": { "CoreCount": 1, "ThreadsPerCore": 2 },
            "PlatformDetails": "Linux/UNIX",
            "Tags": tags
        });
        if uefi {
            instance["TpmSupport"] = json!("v2.0");
        }
        json!({ "ReservationId": format!("r-{n:017x}"), "Instances": [instance] })
    };
    json!({ "Reservations": (0..45).map(machine).collect::<Vec<_>>() })
}

/// The ten machines of a host, as `virsh dumpxml` prints them: the first eight have Secure Boot and a TPM.
pub fn libvirt(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for n in 0..10 {
        let name = format!("lab-{n}");
        let (secure, tpm) = if n < 8 {
            ("yes", "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>")
        } else {
            ("no", "")
        };
        let xml = format!(
            "<domain type='kvm' id='{n}'>\n  <name>{name}</name>\n  <uuid>{}</uuid>\n  <memory unit='KiB'>2097152</memory>\n  \
             <os firmware='efi'>\n    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n    <firmware>\n      \
             <feature enabled='{secure}' name='enrolled-keys'/>\n      <feature enabled='{secure}' name='secure-boot'/>\n    \
             </firmware>\n    <loader readonly='yes' secure='{secure}' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>\n    \
             <nvram>/var/lib/libvirt/qemu/nvram/{name}_VARS.fd</nvram>\n  </os>\n  <devices>{tpm}</devices>\n</domain>\n",
            uuid(9, n)
        );
        fs::write(folder.join(format!("{name}.xml")), xml).unwrap();
    }
}

/// Writes all of them into a folder.
pub fn write(folder: &Path) {
    let files = [
        ("az-vms.json", az_vms()),
        ("az-web.json", az_scale_set()),
        ("gcloud.json", gcloud()),
        ("aws.json", aws()),
    ];
    for (name, export) in files {
        fs::write(folder.join(name), serde_json::to_vec_pretty(&export).unwrap()).unwrap();
    }
    libvirt(&folder.join("libvirt"));
}
