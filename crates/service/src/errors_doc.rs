//! docs/errors.md, made from the tables of codes.

use veriboot_wire::Fault;

use crate::problem::kinds::ALL;
use crate::start_error::DOCS;

/// Text of docs/errors.md.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         <!-- Made from crates/service/src/problem/kinds.rs and start_error.rs; `VERIBOOT_BLESS=1 cargo nextest run -p veriboot-service` writes it. -->\n\n\
         Every answer with status 4xx or 5xx is a JSON object of one shape:\n\n\
         ```json\n\
         {\n  \"error\": {\n    \"code\": \"ambiguous-name\",\n    \"message\": \"VMs in several groups have this name: blue (0193…), green (0194…)\",\n    \
         \"fault\": \"client\",\n    \"hint\": \"name the group with `?group=`, or use the id\",\n    \
         \"request_id\": \"0193530e-7a5b-7c11-a7a4-3b5e1c0f2d9a\"\n  }\n}\n\
         ```\n\n\
         `code` is a contract: codes are added, never renamed. `message` and `hint` are for people and may change.\n\
         `fault` is `client` when another request is needed, `service` when the same one may succeed later.\n\
         `retry_after_s` is there, and the header Retry-After, when trying again makes sense. `request_id` finds the\n\
         cause in the service's log; the answer never holds it.\n\n\
         | code | status | fault | meaning | what to do |\n|---|---|---|---|---|\n",
    );
    for kind in ALL {
        let fault = if kind.fault == Fault::Client { "client" } else { "service" };
        text.push_str(&format!(
            "| `{}` | {} | {fault} | {} | {} |\n",
            kind.code, kind.status, kind.meaning, kind.hint
        ));
    }
    text.push_str(
        "\n## When the service does not start\n\n\
         `veriboot serve` ends with exit code 2 and prints code, message and hint.\n\n\
         | code | meaning |\n|---|---|\n",
    );
    for (code, meaning) in DOCS {
        text.push_str(&format!("| `{code}` | {meaning} |\n"));
    }
    text
}
