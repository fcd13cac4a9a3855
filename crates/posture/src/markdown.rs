//! docs/checks.md, made from the document of the checks.

use std::fmt::Write as _;

use crate::document::checks;
use crate::references::{AUTHORITIES_OF_2011, SOURCES, references};

/// The page, with the references of this release; `service_version` as for [`references`].
pub fn markdown(service_version: &str) -> String {
    let mut page = String::from(
        "# Checks\n\nMade from `crates/posture/checks.json`, which the API serves at `GET /v1/checks`; do not edit. How and when \
         checks are made, and how the score comes about, is in [posture.md](posture.md).\n\n\
         | check | severity | weight | applies to |\n|---|---|---|---|\n",
    );
    // Writing to a String cannot fail.
    for check in checks() {
        let _ = writeln!(
            page,
            "| [`{id}`](#{id}) | {} | {} | {} |",
            check.severity,
            check.weight,
            check.applies_to,
            id = check.id
        );
    }
    for check in checks() {
        let _ = write!(
            page,
            "\n## {}\n**{}.** {}\n\n| cause | status | meaning |\n|---|---|---|\n",
            check.id, check.title, check.description
        );
        for cause in &check.causes {
            let _ = writeln!(page, "| `{}` | {} | {} |", cause.id, cause.status, cause.meaning);
        }
        let _ = write!(page, "\nWhat to do: {}\n", check.remediation.text);
        if !check.remediation.commands.is_empty() {
            page.push_str("\n| platform | command |\n|---|---|\n");
        }
        for command in &check.remediation.commands {
            let _ = writeln!(page, "| {} | `{}` |", command.platform, command.command.replace('|', "\\|"));
        }
        page.push_str("\nRead on: ");
        let links: Vec<String> =
            check.references.iter().map(|r| format!("[{}]({})", r.title, r.url)).collect();
        let _ = writeln!(page, "{}.", links.join(", "));
        let tags: Vec<String> = check.tags.iter().map(|tag| format!("`{tag}`")).collect();
        let _ = writeln!(page, "\nTags: {}", tags.join(" "));
    }
    page.push_str(&revisions(service_version));
    page
}

fn revisions(service_version: &str) -> String {
    let mut text = String::from(
        "\n## Revisions\nWhat evidence is held against. Each can be set in the configuration (`posture.*` in \
         [configuration.md](configuration.md)).\n\n| reference | value | of | source |\n|---|---|---|---|\n",
    );
    let known = references(service_version);
    for source in SOURCES {
        let value = match source.name {
            "dbx_revision" => known.dbx_revision.clone(),
            "dbx_entries_aarch64" => known.dbx_entries_aarch64.to_string(),
            "sbat_level" => known.sbat_level.to_string(),
            _ => "the service's version".to_owned(),
        };
        let _ = writeln!(text, "| `{}` | {value} | {} | {} |", source.name, source.date, source.source);
    }
    text.push_str("\n| certificate of 2011 | list | ends | replaced by |\n|---|---|---|---|\n");
    for authority in &AUTHORITIES_OF_2011 {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            authority.old_name, authority.list, authority.ends_on, authority.new_name
        );
    }
    text
}
