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

#[test]
fn error_codes_are_documented() {
    compare("docs/errors.md", &crate::errors_doc::markdown());
}

#[test]
fn openapi_document_is_current() {
    compare("docs/openapi.json", &crate::openapi::json().unwrap());
}
