//! Rows of a baseline document for people. Reads the JSON leniently: a newer service may add members.

use serde_json::Value;

use crate::output::{Styled, Tone, short};

/// One row per measurement: PCR, what it is, its name, its value or digest, its signer.
pub fn rows(document: &Value) -> Vec<Vec<Styled>> {
    let array = |of: &Value, key: &str| of.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let of_boots = array(document, "boots").into_iter().flat_map(|boot| array(&boot, "measurements"));
    // A document of the first version has one boot and its measurements at the top.
    array(document, "measurements").into_iter().chain(of_boots).map(|m| row(&m)).collect()
}

fn row(measurement: &Value) -> Vec<Styled> {
    let text = |key: &str| measurement.get(key).and_then(Value::as_str).unwrap_or_default();
    let pcr = measurement.get("pcr").and_then(Value::as_u64).map(|p| p.to_string()).unwrap_or_default();
    let by_bank = || measurement.get("digests").and_then(Value::as_object).and_then(|d| d.values().next());
    let digest = measurement.get("digest").or_else(by_bank);
    let what = match text("value") {
        "" => short(digest.and_then(Value::as_str).unwrap_or_default()),
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

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn every_measurement_of_a_learned_baseline_has_a_row() {
        let log = include_bytes!("../../../testkit/corpus/secure-boot/eventlog.bin");
        let report = veriboot_appraisal::examine(log);
        let bank = veriboot_eventlog::HashAlg::Sha256;
        let baseline = veriboot_appraisal::Baseline::learn(&report, bank).unwrap();
        let document = serde_json::from_str(&baseline.to_json().unwrap()).unwrap();
        let rows = rows(&document);
        assert_eq!(rows.len(), baseline.measurements().count());
        assert!(rows.len() > 30);
        for row in rows {
            assert!(!row[0].text().is_empty() && !row[1].text().is_empty() && !row[3].text().is_empty());
        }
    }
}
