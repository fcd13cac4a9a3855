//! Settings as a log proves them: Secure Boot and its mode, shim's, and those of Windows.

use std::collections::BTreeMap;

use veriboot_eventlog::{ComponentKind, Digest, EventType, Format};

use crate::authority::admitted;
use crate::content::{Content, Signatures};
use crate::known_authorities::{AuthorityRole, known_authority};
use crate::report::{Entry, LogReport};
use crate::rule::{StateFlag, Switch};
use crate::structure_checks::{SECURE_BOOT_PCR, SHIM_STATE_PCR};

/// Certificates that sign the Windows boot manager.
const WINDOWS_SIGNERS: [&str; 3] = [
    "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961",
    "076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330",
    "df545bf919a2439c36983b54cdfc903dfa4f37d3996d8d84b4c31eec6f3c163e",
];
/// The PCR to which access to the volume's key is bound; Windows measures there that it was used, and no settings.
const BITLOCKER_PCR: u32 = 11;
/// PCRs in which Windows measures its settings.
const WINDOWS_PCRS: [u32; 3] = [11, 12, 13];

/// One setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Whether this boot can have it.
    pub applies: bool,
    /// What is proven.
    pub value: Option<Switch>,
    pub pcr: Option<u32>,
    pub event: Option<u32>,
}

/// All settings of a boot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(BTreeMap<StateFlag, Shown>);

impl Settings {
    pub fn get(&self, flag: StateFlag) -> Shown {
        self.0.get(&flag).copied().unwrap_or_default()
    }
}

/// Whether Windows ran and nothing else: every certificate that admitted something signs Windows.
pub(crate) fn is_windows(report: &LogReport) -> bool {
    let signer = |sha256: String| WINDOWS_SIGNERS.contains(&sha256.as_str());
    match admitted(report) {
        Ok(all) => all.iter().all(|authority| signer(authority.sha256.to_string())),
        Err(_) => false,
    }
}

/// Whether Windows may have run: one of the certificates that admitted something signs Windows, or nobody knows.
fn may_be_windows(report: &LogReport) -> bool {
    let signer = |sha256: String| WINDOWS_SIGNERS.contains(&sha256.as_str());
    let measured = report
        .entries
        .iter()
        .any(|e| matches!(e.kind, ComponentKind::WindowsPolicy | ComponentKind::WindowsModule));
    match admitted(report) {
        Ok(all) => all.iter().any(|authority| signer(authority.sha256.to_string())),
        Err(_) => measured,
    }
}

/// Reads the settings. Where one is measured several times, the weakest reading counts.
pub(crate) fn of_report(report: &LogReport) -> Settings {
    let mut settings = Settings::default();
    secure_boot(report, &mut settings);
    machine_owner_keys(report, &mut settings);
    third_party_keys(report, &mut settings);
    windows(report, &mut settings);
    settings
}

fn secure_boot(report: &LogReport, settings: &mut Settings) {
    let event = report.first(ComponentKind::SecureBootState).map(|e| e.event);
    let mut set = |flag, value: Option<Switch>, event| {
        settings.0.insert(flag, Shown { applies: true, value, pcr: Some(SECURE_BOOT_PCR), event });
    };
    set(StateFlag::SecureBoot, report.secure_boot.map(Switch::from), event);
    let validation = match report.secure_boot {
        Some(true) => Some(Switch::from(!report.shim_validation_off)),
        _ => None,
    };
    set(StateFlag::ShimValidation, validation, None);
    // SecureBoot is on in user and deployed mode alone (UEFI 2.11, section 32.3).
    let implied = report.secure_boot.filter(|on| *on).map(|_| Switch::Off);
    for flag in [StateFlag::SetupMode, StateFlag::AuditMode, StateFlag::DeployedMode] {
        let entry = report.entries.iter().filter(|e| e.pcr == SECURE_BOOT_PCR).find_map(|entry| match &entry
            .content
        {
            Content::Settings(all) => all.iter().find(|(of, _)| *of == flag).map(|(_, on)| (entry, *on)),
            _ => None,
        });
        let value = match entry {
            Some((_, on)) => Some(Switch::from(on)),
            None if flag == StateFlag::DeployedMode => None,
            None => implied,
        };
        set(flag, value, entry.map(|(entry, _)| entry.event));
    }
}

/// shim ran when it measured its state, or when its SBAT level or a certificate of its lists is in PCR 7.
fn machine_owner_keys(report: &LogReport, settings: &mut Settings) {
    let list = report.entries.iter().find(|entry| entry.pcr == SHIM_STATE_PCR);
    let of_shim = |entry: &Entry| {
        entry.pcr == SECURE_BOOT_PCR
            && (matches!(entry.content, Content::Sbat(_))
                || matches!(&entry.content, Content::Authority(admission) if admission.variable != "db"))
    };
    let applies = !is_windows(report) && (list.is_some() || report.entries.iter().any(of_shim));
    let value = list.filter(|entry| entry.content == Content::VendorKeysOnly).map(|_| Switch::Off);
    let shown = Shown { applies, value, pcr: Some(SHIM_STATE_PCR), event: list.map(|entry| entry.event) };
    settings.0.insert(StateFlag::MachineOwnerKeys, shown);
}

/// KEK and db as they are measured, and what admitted images. A list that cannot be read shows nothing.
fn third_party_keys(report: &LogReport, settings: &mut Settings) {
    let lists = |kind| {
        let in_place = move |e: &&Entry| e.kind == kind && e.pcr == SECURE_BOOT_PCR;
        report.entries.iter().filter(in_place).filter_map(|entry| Some((entry, entry.content.signatures()?)))
    };
    let db: Vec<(&Entry, Signatures)> = lists(ComponentKind::SignatureDb).collect();
    let kek: Vec<(&Entry, Signatures)> = lists(ComponentKind::KeyExchangeKey).collect();
    let stranger = |list: &Signatures| list.certificates.iter().any(|c| of_third_party(&c.sha256));
    let found = kek.iter().chain(&db).find(|(_, list)| stranger(list)).map(|(entry, _)| entry.event);
    // One that is not there is shown as something else.
    let there = !db.is_empty() && !kek.is_empty();
    let readable = there && kek.iter().chain(&db).all(|(_, list)| list.complete);
    let admitted = admitted(report).is_ok_and(|all| all.iter().any(|a| of_third_party(&a.sha256)));
    let value = match (found.is_some() || admitted, readable) {
        (true, _) => Some(Switch::On),
        (false, true) => Some(Switch::Off),
        (false, false) => None,
    };
    let shown = Shown { applies: true, value, pcr: Some(SECURE_BOOT_PCR), event: found };
    settings.0.insert(StateFlag::ThirdPartyKeys, shown);
}

fn of_third_party(sha256: &Digest) -> bool {
    known_authority(sha256).is_some_and(|known| {
        known.role == AuthorityRole::Everybody
            || known.role == AuthorityRole::KeyExchange && known.who == "Microsoft"
    })
}

/// Windows measures its settings as tagged events, each with data that its digest covers. One that cannot be read could
/// hide any setting.
fn windows(report: &LogReport, settings: &mut Settings) {
    if report.format == Some(Format::Ccel) || !may_be_windows(report) {
        return;
    }
    let measured = || report.entries.iter().filter(|entry| WINDOWS_PCRS.contains(&entry.pcr));
    let readable = |entry: &Entry| {
        matches!(entry.content, Content::Settings(_))
            || (entry.event_type == EventType::EV_COMPACT_HASH && entry.pcr == BITLOCKER_PCR)
    };
    let hidden = measured().find(|entry| !readable(entry));
    for flag in StateFlag::ALL.iter().filter(|flag| flag.component() == ComponentKind::WindowsPolicy) {
        let mut shown = Shown {
            applies: true,
            value: None,
            pcr: hidden.map(|entry| entry.pcr),
            event: hidden.map(|entry| entry.event),
        };
        let said = measured().filter_map(|entry| match &entry.content {
            Content::Settings(all) => Some((entry, all)),
            _ => None,
        });
        let weak = flag.weakest();
        for (entry, all) in said {
            for (_, on) in all.iter().filter(|(of, _)| of == flag) {
                let is = Switch::from(*on);
                if shown.value != Some(weak) {
                    shown =
                        Shown { value: Some(is), pcr: Some(entry.pcr), event: Some(entry.event), ..shown };
                }
            }
        }
        // A setting that nothing shows is off; what cannot be read may be it.
        if hidden.is_some() && shown.value != Some(weak) {
            shown.value = None;
        } else if shown.value.is_none() && *flag != StateFlag::CodeIntegrity && measured().next().is_some() {
            shown.value = Some(Switch::Off);
        }
        settings.0.insert(*flag, shown);
    }
}
