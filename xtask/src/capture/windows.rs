//! What Windows' boot manager and loader measure, in their format, for the program that has the firmware measure it
//! (`measure.c`): Windows itself cannot be given away and is not booted here. Numbers are those of wbcl.h (Windows SDK); no
//! module of these names exists.

use sha2::{Digest as _, Sha256};

use super::variants::WindowsSettings;

const SEPARATOR: u32 = 4;
const EVENT_TAG: u32 = 6;
const TRUST_BOUNDARY: u32 = 0x4001_0001;
const LOADED_MODULE: u32 = 0x4001_0003;

/// The file beside the program.
pub fn events(settings: WindowsSettings) -> Vec<u8> {
    let boot_manager = [
        number(0x0002_0002, 7),
        flag(0x0004_0001, false),
        module(r"\EFI\Microsoft\Boot\bootmgfw.efi"),
        number(0x0002_0005, 0),
    ];
    let loader = [
        flag(0x0005_0002, true),
        flag(0x0005_0003, settings.test_signing),
        flag(0x0005_0021, false),
        flag(0x0005_0001, false),
        flag(0x0005_0005, false),
        flag(0x0005_0006, false),
        number(0x0005_0004, 1),
        number(0x0005_000A, 1),
        number(0x0005_0012, 1),
        number(0x0005_000E, 1),
        tagged(0x0005_0009, &utf16(r"\Windows")),
        flag(0x000A_0001, true),
        number(0x000A_0007, u64::from(settings.hvci)),
    ];
    let mut file = Vec::new();
    let mut measure = |pcr: u32, kind: u32, data: &[u8]| {
        for field in [pcr, kind, u32::try_from(data.len()).unwrap_or(u32::MAX)] {
            file.extend(field.to_le_bytes());
        }
        file.extend(data);
    };
    measure(12, EVENT_TAG, &tagged(TRUST_BOUNDARY, &boot_manager.concat()));
    measure(12, EVENT_TAG, &tagged(TRUST_BOUNDARY, &loader.concat()));
    for name in [r"\Windows\System32\winload.efi", r"\Windows\System32\ntoskrnl.exe"] {
        measure(13, EVENT_TAG, &tagged(TRUST_BOUNDARY, &module(name)));
    }
    for pcr in 11..=13 {
        measure(pcr, SEPARATOR, b"WBCL");
    }
    file
}

fn module(path: &str) -> Vec<u8> {
    let members = [
        tagged(0x0007_0001, &utf16(path)),
        number(0x0007_0002, 0x1000),
        number(0x0007_0003, 0x800C),
        tagged(0x0007_0004, &Sha256::digest(path)),
        flag(0x0007_000A, true),
        tagged(0x0007_0005, &utf16("Lab Production CA")),
        tagged(0x0007_0008, &utf16("Lab Windows")),
    ];
    tagged(LOADED_MODULE, &members.concat())
}

fn tagged(id: u32, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&id.to_le_bytes()[..], &size.to_le_bytes(), data].concat()
}

fn flag(id: u32, on: bool) -> Vec<u8> {
    tagged(id, &[u8::from(on)])
}

fn number(id: u32, value: u64) -> Vec<u8> {
    tagged(id, &value.to_le_bytes())
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}
