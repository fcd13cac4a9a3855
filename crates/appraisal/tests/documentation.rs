//! docs/findings.md has every code, with the severity and reason that the code table gives it.

use veriboot_appraisal::CODES;
use veriboot_tpm::QuoteError;

const FINDINGS: &str = include_str!("../../../docs/findings.md");

#[test]
fn every_code_is_explained_as_it_is() {
    for code in CODES {
        let reason = code.reason.map_or("–".to_owned(), |r| format!("`{r}`"));
        let row = format!("| `{}` | {} | {} | {} |", code.code, code.severity, reason, code.meaning);
        assert!(FINDINGS.contains(&row), "docs/findings.md lacks: {row}");
    }
}

#[test]
fn every_code_of_a_quote_error_is_explained() {
    let text = String::new;
    // A variant that is added makes this match incomplete, and then the list below.
    let exhaustive = |error: &QuoteError| match error {
        QuoteError::Malformed(_)
        | QuoteError::TrailingBytes { .. }
        | QuoteError::NotTpmGenerated { .. }
        | QuoteError::NotAQuote { .. }
        | QuoteError::SignatureMalformed(_)
        | QuoteError::SchemeRefused { .. }
        | QuoteError::HashRefused { .. }
        | QuoteError::SchemeMismatch
        | QuoteError::SignatureInvalid
        | QuoteError::DigestSize { .. }
        | QuoteError::NonceMismatch
        | QuoteError::SelectionMismatch { .. }
        | QuoteError::SelectionUnusable { .. } => error.code(),
    };
    let errors = [
        QuoteError::TrailingBytes { offset: 0 },
        QuoteError::NotTpmGenerated { magic: 0 },
        QuoteError::NotAQuote { kind: 0 },
        QuoteError::SchemeRefused { scheme: 0 },
        QuoteError::HashRefused { hash: 0 },
        QuoteError::SchemeMismatch,
        QuoteError::SignatureInvalid,
        QuoteError::DigestSize { size: 0 },
        QuoteError::NonceMismatch,
        QuoteError::SelectionMismatch { asked: text(), seen: text() },
        QuoteError::SelectionUnusable { asked: text() },
    ];
    let malformed = ["quote-malformed", "quote-signature-malformed"];
    for code in errors.iter().map(exhaustive).chain(malformed) {
        assert!(FINDINGS.contains(&format!("| `{code}` |")), "docs/findings.md lacks {code}");
    }
}
