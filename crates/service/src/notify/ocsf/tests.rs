//! Findings against the attributes that OCSF 1.3.0 requires: of `events/base_event.json`, `events/findings/finding.json`,
//! `detection_finding.json`, `compliance_finding.json` and of the objects below them in github.com/ocsf/ocsf-schema.

use super::*;

/// Required of every finding.
const FINDING: [&str; 10] = [
    "activity_id",
    "category_uid",
    "class_uid",
    "finding_info",
    "metadata",
    "severity_id",
    "time",
    "type_uid",
    "finding_info/uid",
    "finding_info/title",
];
const METADATA: [&str; 3] = ["metadata/version", "metadata/product/vendor_name", "metadata/product/name"];
const COMPLIANCE: [&str; 2] = ["compliance", "compliance/standards"];
/// Attributes of the two classes that we write, and `unmapped`; anything else would be none of OCSF's.
const KNOWN: [&str; 20] = [
    "activity_id",
    "activity_name",
    "category_uid",
    "category_name",
    "class_uid",
    "class_name",
    "type_uid",
    "type_name",
    "time",
    "severity_id",
    "severity",
    "status_id",
    "status",
    "message",
    "metadata",
    "finding_info",
    "resources",
    "unmapped",
    "remediation",
    "compliance",
];

fn event(kind: &str, data: Value) -> Event {
    Event {
        sequence: 42,
        at: Time::from_unix_ms(1_790_000_000_000),
        kind: kind.into(),
        severity: Severity::High,
        group: Some("prod".into()),
        scale_set: None,
        vm_id: Some("vm-1".into()),
        vm_name: Some("web-0".into()),
        subject: Some("alert-1".into()),
        data,
    }
}

#[track_caller]
fn check(event: &Event) -> Value {
    let finding = finding(event, "https://veriboot.example:8443");
    assert!(finding.to_string().starts_with(export::BEGINNING));
    let compliance = event.kind.starts_with("assessment.");
    let required = FINDING.iter().chain(&METADATA).chain(COMPLIANCE.iter().filter(|_| compliance));
    for path in required {
        let value = finding.pointer(&format!("/{path}")).unwrap_or(&Value::Null);
        assert!(!value.is_null() && value != "", "{path} of {} is missing: {finding:#}", event.kind);
    }
    for name in finding.as_object().unwrap().keys() {
        assert!(
            KNOWN.contains(&name.as_str()) || (name == "is_alert" && !compliance),
            "{name} is no attribute"
        );
    }
    let number = |name: &str| finding[name].as_u64().unwrap();
    assert_eq!(number("category_uid"), 2);
    assert_eq!(number("class_uid"), if compliance { 2003 } else { 2004 });
    assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
    assert!((1..=3).contains(&number("activity_id")) && (1..=4).contains(&number("status_id")));
    assert!((1..=5).contains(&number("severity_id")));
    assert_eq!(number("time"), 1_790_000_000_000);
    assert_eq!(finding["resources"][0]["uid"], "vm-1");
    finding
}

#[test]
fn an_alert_is_a_detection_finding_from_its_begin_to_its_end() {
    let data = |state: &str| {
        json!({
            "id": "alert-1", "kind": "vm-attestation-failed", "title": "VM attestation failed",
            "message": "Secure Boot\nis off", "reason": "baseline-deviation", "state": state,
            "remediation": "turn it on", "first_at": "2026-09-21T14:13:20.000Z",
            "techniques": [{ "id": "T1542.003", "name": "Pre-OS Boot: Bootkit" }, { "id": "T1014" }, "x", {}],
        })
    };
    let opened = check(&event("alert.opened", data("active")));
    assert_eq!((opened["activity_id"].as_u64(), opened["status_id"].as_u64()), (Some(1), Some(1)));
    assert_eq!(opened["finding_info"]["uid"], "alert-1");
    assert_eq!(opened["finding_info"]["first_seen_time"], 1_790_000_000_000_u64);
    let attacks = &opened["finding_info"]["attacks"];
    assert_eq!(attacks[0]["technique"]["uid"], "T1542");
    assert_eq!(attacks[0]["sub_technique"]["uid"], "T1542.003");
    assert_eq!((&attacks[1]["technique"]["uid"], attacks.as_array().unwrap().len()), (&json!("T1014"), 2));
    assert_eq!(opened["remediation"]["desc"], "turn it on");
    assert!(!opened.to_string().contains('\n') && opened["is_alert"] == true);
    for (kind, state, activity, status) in [
        ("alert.reopened", "active", 2, 1),
        ("alert.acknowledged", "in-progress", 2, 2),
        ("alert.resolved", "resolved", 3, 4),
        ("alert.dismissed", "dismissed", 3, 3),
        ("alert.suppressed", "dismissed", 3, 3),
    ] {
        let told = check(&event(kind, data(state)));
        assert_eq!(
            (told["activity_id"].as_u64(), told["status_id"].as_u64()),
            (Some(activity), Some(status)),
            "{kind}"
        );
        assert_eq!(told["finding_info"]["uid"], "alert-1");
    }
    // Whatever the data of an event is, its finding has what is required.
    for data in [json!({}), json!(null), json!([1]), json!({ "title": "", "techniques": 7 })] {
        check(&event("alert.opened", data));
    }
}

#[test]
fn an_assessment_is_a_compliance_finding() {
    let data = |status: &str| {
        json!({
            "check": "secure-boot-enabled", "status": status, "before": "unknown", "cause": "secure-boot-off",
            "description": "Secure Boot is off.", "resource_id": "vm-1",
        })
    };
    for (status, id, finding_status) in [("unhealthy", 3, 1), ("healthy", 1, 4), ("not-applicable", 2, 4)] {
        let told = check(&event("assessment.changed", data(status)));
        assert_eq!(told["compliance"]["status_id"], id, "{status}");
        assert_eq!(told["status_id"], finding_status, "{status}");
        assert_eq!(told["compliance"]["control"], "secure-boot-enabled");
        // The same finding for as long as it is the same check on the same resource.
        assert_eq!(told["finding_info"]["uid"], "secure-boot-enabled/vm-1");
    }
    check(&event("assessment.changed", json!({})));
}
