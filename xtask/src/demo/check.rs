//! Whether the service judged the cast as the demo promises.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use veriboot_testkit::service::Service;

use super::cast::Role;

/// What differs, one line each; empty when all is as it should be.
pub fn differences(service: &Service, cast: &[Role]) -> Result<Vec<String>> {
    let vms = service.json(&["vm", "list"])?;
    let alerts = service.json(&["alert", "list"])?;
    let mut details = BTreeMap::new();
    for role in cast.iter().filter(|role| role.verdict.recommendation.is_some()) {
        details.insert(role.name, service.json(&["vm", "show", role.name])?);
    }
    Ok(compare(&vms, &alerts, &details, cast))
}

fn compare(vms: &Value, alerts: &Value, details: &BTreeMap<&str, Value>, cast: &[Role]) -> Vec<String> {
    let mut wrong = Vec::new();
    if rows(vms).len() != cast.len() {
        wrong.push(format!("{} VMs instead of {}", rows(vms).len(), cast.len()));
    }
    for role in cast {
        let Some(vm) = rows(vms).iter().find(|vm| text(vm, "name") == role.name) else {
            wrong.push(format!("{} is not in the list", role.name));
            continue;
        };
        let mut expect = |what: &str, expected: &str, seen: &str, holds: bool| {
            if !holds {
                wrong.push(format!("{}: {what} is {seen:?} instead of {expected:?}", role.name));
            }
        };
        let verdict = &role.verdict;
        let status = text(vm, "status");
        expect("status", verdict.status, status, status == verdict.status);
        let secure_boot = vm.get("facts").map(|facts| text(facts, "secure_boot")).unwrap_or_default();
        let holds = verdict.secure_boot.is_empty() || secure_boot == verdict.secure_boot;
        expect("fact secure_boot", verdict.secure_boot, secure_boot, holds);
        let open: Vec<&Value> = rows(alerts)
            .iter()
            .filter(|alert| text(alert, "vm_name") == role.name && text(alert, "state") == "active")
            .collect();
        let reasons = open.iter().map(|alert| text(alert, "reason")).collect::<Vec<_>>().join(", ");
        let expected = verdict.reason.unwrap_or_default();
        expect("open alerts", expected, &reasons, reasons == expected);
        if let Some(alert) = open.first() {
            for (member, words) in [("component", verdict.component), ("message", verdict.message)] {
                let seen = text(alert, member);
                let holds = seen.to_lowercase().contains(&words.to_lowercase());
                expect(&format!("{member} of the alert"), words, seen, holds);
            }
        }
        if let Some(check) = verdict.recommendation {
            let checks: Vec<&str> = details
                .get(role.name)
                .and_then(|detail| detail.get("assessments"))
                .map(|list| rows(list).iter().filter(|item| text(item, "status") == "unhealthy"))
                .map(|unhealthy| unhealthy.map(|item| text(item, "check")).collect())
                .unwrap_or_default();
            expect("recommendations", check, &checks.join(", "), checks.contains(&check));
        }
    }
    wrong
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::cast::CAST;
    use super::*;

    /// What a service that judges as promised would answer.
    fn answers() -> (Value, Value, BTreeMap<&'static str, Value>) {
        let vms = CAST
            .iter()
            .map(|role| {
                let facts = json!({ "secure_boot": role.verdict.secure_boot });
                json!({ "name": role.name, "status": role.verdict.status, "facts": facts })
            })
            .collect();
        let alerts = CAST
            .iter()
            .filter_map(|role| {
                let verdict = &role.verdict;
                Some(json!({
                    "vm_name": role.name, "state": "active", "reason": verdict.reason?,
                    "component": verdict.component, "message": verdict.message,
                }))
            })
            .collect();
        let details =
            [("db-0", json!({ "assessments": [{ "check": "secure-boot-enabled", "status": "unhealthy" }] }))]
                .into();
        (vms, alerts, details)
    }

    #[test]
    fn promised_verdicts_pass() {
        let (vms, alerts, details) = answers();
        assert_eq!(compare(&vms, &alerts, &details, CAST), Vec::<String>::new());
    }

    #[test]
    fn every_broken_promise_is_named() {
        let (good_vms, good_alerts, details) = answers();
        for (at, role) in CAST.iter().enumerate() {
            let mut vms = good_vms.clone();
            vms[at]["status"] = json!("pending");
            let wrong = compare(&vms, &good_alerts, &details, CAST);
            assert!(wrong.len() == 1 && wrong[0].starts_with(role.name), "{wrong:?}");
        }
        for at in 0..good_alerts.as_array().unwrap().len() {
            for member in ["reason", "state"] {
                let mut alerts = good_alerts.clone();
                alerts[at][member] = json!("other");
                assert_eq!(compare(&good_vms, &alerts, &details, CAST).len(), 1);
            }
        }
        let mut alerts = good_alerts;
        alerts[0]["message"] = json!("something changed");
        assert_eq!(compare(&good_vms, &alerts, &details, CAST).len(), 1);
        assert_eq!(compare(&good_vms, &answers().1, &BTreeMap::new(), CAST).len(), 1);
    }
}
