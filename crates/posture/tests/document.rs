//! The document of the checks has its shape, and says everything that the code can say.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that fails here says where

use std::collections::BTreeSet;

use veriboot_posture::{CheckId, checks};
use veriboot_wire::{AssessmentStatus, Check, Severity};

const PLATFORMS: [&str; 9] =
    ["azure", "gcp", "aws", "libvirt", "proxmox", "hyper-v", "linux", "windows", "veriboot"];

fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[test]
fn the_document_can_be_read_and_has_nothing_else() {
    let text = include_str!("../checks.json");
    let read: Vec<Check> = serde_json::from_str(text).unwrap();
    assert_eq!(read, checks());
    assert_eq!(serde_json::to_string_pretty(&read).unwrap() + "\n", text, "not in the form that is written");
}

#[test]
fn it_has_each_check_once_in_the_order_of_the_code() {
    let ids: Vec<&str> = checks().iter().map(|check| check.id.as_str()).collect();
    let known: Vec<&str> = CheckId::ALL.iter().map(|check| check.as_str()).collect();
    assert_eq!(ids, known);
    for check in CheckId::ALL {
        assert_eq!(check.as_str().parse(), Ok(*check));
    }
}

#[test]
fn every_check_is_whole() {
    for check in checks() {
        let id = &check.id;
        assert!(is_id(id), "{id}");
        for text in [&check.title, &check.applies_to, &check.description, &check.remediation.text] {
            assert!(text.len() > 8 && text.trim() == text && text.is_ascii(), "{id}: {text:?}");
        }
        assert!(check.description.ends_with('.') && check.remediation.text.ends_with('.'), "{id}");
        // SPEC section 6: one check is medium, all others are low.
        let wanted = if id == "attestation-healthy" { Severity::Medium } else { Severity::Low };
        assert_eq!(check.severity, wanted, "{id}");
        assert!((1..=10).contains(&check.weight), "{id}");
        assert!(!check.tags.is_empty() && check.tags.iter().all(|tag| is_id(tag)), "{id}");
        assert!(!check.references.is_empty(), "{id}");
        for reference in &check.references {
            assert!(reference.url.starts_with("https://") && !reference.title.is_empty(), "{id}");
        }
        let mut platforms = BTreeSet::new();
        for command in &check.remediation.commands {
            assert!(PLATFORMS.contains(&command.platform.as_str()), "{id}: {}", command.platform);
            assert!(platforms.insert(&command.platform), "{id}: {} twice", command.platform);
            assert!(!command.command.contains('\n') && !command.command.is_empty(), "{id}");
        }
        let mut causes = BTreeSet::new();
        for cause in &check.causes {
            assert!(is_id(&cause.id) && causes.insert(&cause.id), "{id}: {}", cause.id);
            assert!(cause.status != AssessmentStatus::Healthy && cause.meaning.ends_with('.'), "{id}");
        }
        assert!(check.causes.iter().any(|cause| cause.status == AssessmentStatus::Unhealthy), "{id}");
    }
}

#[test]
fn configuration_checks_have_commands_for_every_platform() {
    for id in ["secure-boot-enabled", "vtpm-enabled"] {
        let check = veriboot_posture::check(id).unwrap();
        let has: Vec<&str> = check.remediation.commands.iter().map(|c| c.platform.as_str()).collect();
        for platform in ["azure", "gcp", "aws", "libvirt", "proxmox", "hyper-v", "linux", "windows"] {
            assert!(has.contains(&platform), "{id}: {platform}");
        }
    }
}
