//! Names and contents of UEFI variables.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::{Label, value};
use crate::decode::firmware::Loose;
use crate::decode::variable::{Content, Variable};
use crate::limits::{MAX_NAME_CHARS, MAX_VALUE_CHARS};
use crate::text::{Utf16, bounded, guids, push_bounded};
use crate::{ComponentKind, Event};

/// The name of a variable.
pub(super) fn variable_name(name: &Utf16<'_>) -> Cow<'static, str> {
    let known = match name.short_ascii().as_bytes() {
        b"SecureBoot" => "SecureBoot",
        b"PK" => "PK",
        b"KEK" => "KEK",
        b"db" => "db",
        b"dbx" => "dbx",
        b"BootOrder" => "BootOrder",
        b"Shim" => "Shim",
        b"SbatLevel" => "SbatLevel",
        b"MokList" => "MokList",
        b"MokListTrusted" => "MokListTrusted",
        _ => return super::name(name),
    };
    known.into()
}

pub(super) fn label_secure_boot(label: &mut Label, event: &Event<'_>, variable: &Variable<'_>) {
    label.name = variable_name(&variable.name);
    let genuine = variable.is_secure_boot_configuration();
    label.kind = match variable.name.short_ascii().as_bytes() {
        b"SecureBoot" if genuine => ComponentKind::SecureBootState,
        b"PK" if genuine => ComponentKind::PlatformKey,
        b"KEK" if genuine => ComponentKind::KeyExchangeKey,
        b"db" if genuine => ComponentKind::SignatureDb,
        b"dbx" if genuine => ComponentKind::RevocationDb,
        _ if variable.vendor == guids::SHIM_LOCK => ComponentKind::MokState,
        _ if event.pcr == 7 || genuine => ComponentKind::SecureBootVariable,
        _ => ComponentKind::PlatformConfig,
    };
    label.value = Some(content_words(&variable.content(), variable.data));
}

/// A variable's content in words.
fn content_words(content: &Content<'_>, data: &[u8]) -> String {
    match content {
        Content::Flag(Some(true)) => "on".to_owned(),
        Content::Flag(Some(false)) => "off".to_owned(),
        Content::Flag(None) => "empty".to_owned(),
        Content::Signatures(database) => {
            let (mut words, mut members) = (String::new(), 0_usize);
            for certificate in database.certificates() {
                words.push_str(if members == 0 { "" } else { ", " });
                push_bounded(&mut words, &certificate.short_name(), MAX_NAME_CHARS);
                members += 1;
            }
            let hashes = database.hash_count();
            if (members, hashes) == (1, 0) {
                return words;
            }
            if hashes > 0 {
                words.push_str(if members == 0 { "" } else { ", " });
                // A text takes all that is written.
                let _ = match hashes {
                    1 => words.write_str("1 hash"),
                    count => write!(words, "{count} hashes"),
                };
            }
            match words.len() {
                0 => "empty".to_owned(),
                1..=MAX_VALUE_CHARS => words,
                _ => bounded(&words, MAX_VALUE_CHARS),
            }
        }
        Content::BootOrder(order) => {
            let words: Vec<String> = order.iter().take(256).map(|n| format!("Boot{n:04X}")).collect();
            words.join(", ")
        }
        Content::BootEntry(entry) => {
            let optional = if entry.optional_data.is_empty() { "" } else { " with " };
            bounded(
                &format_args!("{}: {}{optional}{}", entry.description, entry.path, entry.optional_data),
                MAX_VALUE_CHARS,
            )
        }
        Content::Text(text) => value(text),
        Content::Unknown => value(&Loose(data)),
    }
}

pub(super) fn label_boot_variable(label: &mut Label, variable: &Variable<'_>) {
    label.name = variable_name(&variable.name);
    label.kind = if variable.name.is("BootOrder") || variable.name.is("BootNext") {
        ComponentKind::BootOrder
    } else if variable.boot_number().is_some() {
        ComponentKind::BootEntry
    } else if variable.vendor == guids::SHIM_LOCK {
        ComponentKind::MokState
    } else {
        ComponentKind::PlatformConfig
    };
    label.value = Some(content_words(&variable.content(), variable.data));
}
