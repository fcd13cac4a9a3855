//! Members of measured lists in plain words, so that a change of db names the certificate and not a digest.

use veriboot_eventlog::decode::variable::Content;
use veriboot_eventlog::{ComponentKind, Decoded, Event};
use veriboot_wire::counted;

use crate::text::certificate_name;

/// Certificates named per list; a list with more ends in a count.
const MAX_CERTIFICATES: usize = 64;
/// Characters of one name.
const MAX_NAME_CHARS: usize = 200;

/// The members of a signature list: names of certificates, then the number of hashes. Empty for everything else.
pub(crate) fn items(kind: ComponentKind, event: &Event<'_>) -> Vec<String> {
    use ComponentKind as K;
    let is_list = matches!(
        kind,
        K::PlatformKey
            | K::KeyExchangeKey
            | K::SignatureDb
            | K::RevocationDb
            | K::SecureBootVariable
            | K::MokState
    );
    if !is_list {
        return Vec::new();
    }
    let variable = match event.decode() {
        Decoded::SecureBootVariable(variable) => variable,
        Decoded::Authority(authority) => authority.0,
        _ => return Vec::new(),
    };
    let Content::Signatures(database) = variable.content() else { return Vec::new() };
    let mut items = Vec::new();
    let mut certificates = database.certificates();
    for certificate in certificates.by_ref().take(MAX_CERTIFICATES) {
        items.push(certificate_name(&certificate, MAX_NAME_CHARS));
    }
    match certificates.count() {
        0 => {}
        more => items.push(counted(more, "more certificate")),
    }
    match database.hash_count() {
        0 => {}
        count => items.push(counted(count, "hash")),
    }
    items
}

/// Whether an item counts hashes.
pub(crate) fn counts_hashes(item: &str) -> bool {
    item.ends_with(" hashes") || item == "1 hash"
}
