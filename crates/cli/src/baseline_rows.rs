//! Rows of a baseline document for people. Reads the JSON leniently: a newer service may add members.

use serde_json::Value;

use crate::output::{Styled, Tone, short};

/// One row per component: PCR, what it is, its name, its value or digest, its signer.
pub fn rows(document: &Value) -> Vec<Vec<Styled>> {
    let components = document.get("components").and_then(Value::as_array);
    components.into_iter().flatten().map(row).collect()
}

fn row(component: &Value) -> Vec<Styled> {
    let text = |key: &str| component.get(key).and_then(Value::as_str).unwrap_or_default();
    let pcr = component.get("pcr").and_then(Value::as_u64).map(|p| p.to_string()).unwrap_or_default();
    let what = match text("value") {
        "" => short(text("digest")),
        value => value.chars().take(120).collect(),
    };
    vec![
        pcr.into(),
        text("kind").into(),
        text("name").into(),
        Styled::new(what, Tone::Plain),
        Styled::new(text("signer"), Tone::Dim),
    ]
}
