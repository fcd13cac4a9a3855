//! Whether the service judged the cast as the demo promises.

use anyhow::Result;
use serde_json::Value;
use veriboot_testkit::service::Service;

use super::cast::Role;

/// What differs, one line each; empty when all is as it should be.
pub fn differences(service: &Service, cast: &[Role]) -> Result<Vec<String>> {
    let vms = service.json(&["vm", "list"])?;
    let alerts = service.json(&["alert", "list"])?;
    let mut wrong = Vec::new();
    if rows(&vms).len() != cast.len() {
        wrong.push(format!("{} VMs instead of {}", rows(&vms).len(), cast.len()));
    }
    for role in cast {
        let Some(vm) = rows(&vms).iter().find(|vm| text(vm, "name") == role.name) else {
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
        let open: Vec<&Value> = rows(&alerts)
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
            let detail = service.json(&["vm", "show", role.name])?;
            let checks: Vec<&str> = detail
                .get("recommendations")
                .map(|list| rows(list).iter().map(|item| text(item, "check")).collect())
                .unwrap_or_default();
            expect("recommendations", check, &checks.join(", "), checks.contains(&check));
        }
    }
    Ok(wrong)
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}
