//! Files in docs/ that are made from code: compared by tests, written when `VERIBOOT_BLESS` is set.

/// Compares `text` with a file of the repository.
pub(crate) fn compare(path: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("VERIBOOT_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{path} is not what the code makes; run the tests once with VERIBOOT_BLESS=1");
}

/// Compares the part of a file between `<!-- NAME -->` and `<!-- /NAME -->` with `text`.
pub(crate) fn section(path: &str, name: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let whole = std::fs::read_to_string(&file).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = whole.split_once(&begin).unwrap_or_else(|| panic!("{path} has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{path} has no {end}"));
    compare(path, &format!("{before}{begin}{text}{end}{after}"));
}

#[test]
fn error_codes_are_documented() {
    compare("docs/errors.md", &crate::errors_doc::markdown());
}

#[test]
fn alert_types_are_documented() {
    compare("docs/alerts.md", &crate::alerts_doc::markdown());
}

#[test]
fn checks_are_documented() {
    compare("docs/checks.md", &veriboot_posture::markdown("the service's version"));
}

#[test]
fn openapi_document_is_current() {
    compare("docs/openapi.json", &crate::openapi::json().unwrap());
}

#[test]
fn schema_of_bundles_is_current() {
    let document: serde_json::Value = serde_json::from_str(&crate::openapi::json().unwrap()).unwrap();
    let schema = schema_of(&document, "EvidenceBundle");
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    compare("docs/schema/bundle.schema.json", &text);
}

/// The JSON Schema of one shape of the API, with all shapes that it names.
fn schema_of(document: &serde_json::Value, name: &str) -> serde_json::Value {
    use serde_json::{Value, json};

    /// References point into the document itself; names of members are strings there, whatever they spell.
    fn adapt(value: &mut Value, named: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                members.remove("propertyNames");
                if let Some(Value::String(reference)) = members.get_mut("$ref")
                    && let Some(name) = reference.strip_prefix("#/components/schemas/").map(str::to_owned)
                {
                    *reference = format!("#/$defs/{name}");
                    named.push(name);
                }
                members.values_mut().for_each(|member| adapt(member, named));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, named)),
            _ => {}
        }
    }

    let mut named = Vec::new();
    let mut root = document["components"]["schemas"][name].clone();
    adapt(&mut root, &mut named);
    let mut shapes = serde_json::Map::new();
    while let Some(name) = named.pop() {
        if shapes.contains_key(&name) {
            continue;
        }
        let mut shape = document["components"]["schemas"][&name].clone();
        adapt(&mut shape, &mut named);
        shapes.insert(name, shape);
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["$id"] = json!("https://veriboot.dev/schema/bundle.json");
    root["title"] = json!("Veriboot evidence bundle");
    root["required"] = json!(["quote", "signature"]);
    root["anyOf"] = json!([{ "required": ["ak_public"] }, { "required": ["ak_certificate"] }]);
    root["$defs"] = Value::Object(shapes);
    root
}
