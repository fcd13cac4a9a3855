//! docs/alerts.md, made from the tables of alert types, reasons and classes of change.

use veriboot_wire::{ALERT_TYPES, CLASSES, REASONS, TECHNIQUES};

const HEAD: &str = "# Alerts\n\n\
     <!-- Made from crates/wire/src/alert_type.rs and crates/service/src/alerts_doc.rs; `VERIBOOT_BLESS=1 cargo nextest run -p veriboot-service` writes it. -->\n\n\
     An alert says that one VM needs somebody. At most one is open per VM and reason; members of a scale set that fail\n\
     alike share an incident. Ids of types, reasons and classes are a contract: they are added, never renamed.\n\n\
     ## The life of an alert\n\
     | state | means |\n|---|---|\n\
     | `active` | raised, nobody works on it |\n\
     | `in-progress` | somebody took it on (`veriboot alert acknowledge`) |\n\
     | `resolved` | the cause is gone: a healthy attestation followed, or somebody said so |\n\
     | `dismissed` | closed on purpose although the cause may remain, by somebody or by a [suppression rule](suppression.md) |\n\n\
     What becomes of a failed attestation, in this order:\n\
     1. An alert that somebody **dismissed** stands for its very findings (codes, components and what was seen): they are\n\
     \x20  counted on it and open nothing, until a healthy attestation. Other findings of the same reason are a new alert.\n\
     2. A **suppression rule** that matches dismisses it, unless somebody works on it.\n\
     3. An **open** alert of the reason is counted up and takes over what describes the cause. Its state stays. What it shows\n\
     \x20  and did not show before since it was opened (another code, component or digest) is an entry of its timeline and an\n\
     \x20  event (`alert.changed`). An agent can boot something else each time: every new kind of finding is told, and of other\n\
     \x20  components and digests the first 32.\n\
     4. One of the same cause that was **resolved** at most `alerts.reopen_window_s` ago (7 days) is **opened again**, with\n\
     \x20  its history: `reopened` counts how often. The same cause means the same codes, components and classes of change;\n\
     \x20  digests may differ. An alert that a rule had dismissed comes back in the same way once the rule no longer holds.\n\
     5. Else it is **new**.\n\n\
     The timeline of an alert has every change of its state with who and why, the newest 200. `ETag` names state and cause\n\
     of an alert, not how often it was raised: a change with `If-Match` is refused with 412 `precondition-failed` when\n\
     somebody was faster, or when the VM fails for another cause by now.\n\n\
     ## Incidents\n\
     Open alerts of members of one scale set with one reason and one cause are one **incident**: a bad roll-out of 500 VMs\n\
     is one incident with 500 members (`veriboot incident list`). It is open while one of its alerts is, and is opened\n\
     again within the same window as alerts. Events and notifications tell it when it opens, whenever its members have\n\
     doubled, and when it closes. An alert whose cause changes leaves for the incident of its new cause. VMs of no scale set\n\
     have no incidents, and neither has what a rule hides. E-mail targets that take incidents are told of those and not of\n\
     each member; other targets get both. Acting on an incident acts on all of its open alerts.\n\n\
     ## Many at once\n\
     `veriboot alert resolve --all --scale-set web --reason agent-silent` finds the open alerts, says how many they are,\n\
     asks, and changes them only if they are still as many (409 `count-differs` otherwise). `POST /v1/alerts/bulk` is the\n\
     same: a dry run gives the count, the change names it as `expected`. At most 10,000 alerts, changed 200 at a time, each\n\
     batch with one entry in the audit log. `GET /v1/alerts.csv` and `veriboot alert list --csv` export up to 10,000 rows.\n\n";

/// Text of docs/alerts.md.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    text.push_str("## Types\n| type | title | severity | meaning |\n|---|---|---|---|\n");
    for row in &ALERT_TYPES {
        text.push_str(&format!("| `{}` | {} | {} | {} |\n", row.id, row.title, row.severity, row.meaning));
    }
    text.push_str("\n## Reasons\n");
    for row in &REASONS {
        text.push_str(&format!(
            "### `{}`\n**{}.** {}\n\n* Type: `{}`\n* ATT&CK: {}\n\n{}\n\n",
            row.reason,
            row.title,
            row.meaning,
            row.kind,
            techniques(row.techniques),
            row.remediation
        ));
        numbered(&mut text, row.steps);
    }
    text.push_str(
        "## Classes of change\nWhat the class of a change adds to an alert `baseline-deviation`: its techniques stand for \
         those of the reason, its steps come first. *No update* marks what routine updates never look like; \
         `suppression simulate` counts it.\n\n",
    );
    for row in &CLASSES {
        let attack = if row.attack { " · *no update*" } else { "" };
        text.push_str(&format!("### `{}`\nATT&CK: {}{attack}\n\n", row.class, techniques(row.techniques)));
        numbered(&mut text, row.steps);
    }
    text.push_str("## Techniques\n| id | name |\n|---|---|\n");
    for (id, name) in TECHNIQUES {
        text.push_str(&format!(
            "| [{id}](https://attack.mitre.org/techniques/{}/) | {name} |\n",
            id.replace('.', "/")
        ));
    }
    text
}

fn techniques(ids: &[&str]) -> String {
    let named = TECHNIQUES.iter().filter(|(id, _)| ids.contains(id));
    named.map(|(id, name)| format!("{id} {name}")).collect::<Vec<_>>().join("; ")
}

fn numbered(text: &mut String, steps: &[&str]) {
    for (number, step) in (1..).zip(steps) {
        let step = step.replace("{since}", "the alert began").replace("{good_boot}", "{last-healthy-boot}");
        text.push_str(&format!("{number}. {}\n", named(&step).unwrap_or(step)));
    }
    text.push('\n');
}

/// Names in braces in capitals, as help texts write what stands for something.
fn named(step: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = step;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(&name.to_ascii_uppercase());
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}
