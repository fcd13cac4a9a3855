//! The variables that conditions may use: one table for the type checker, the documentation and `policy variables`.
//!
//! Every top-level name is there for every log. What a log may lack is a member, and a list that cannot be known
//! completely is absent, never empty. Reading what is absent makes a condition fail; `has()`, `.?` and `orValue()` ask
//! first.

use serde::Serialize;
use veriboot_eventlog::ComponentKind;
use veriboot_wire::{ChangeClass, Severity};

/// Type of a variable.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// Truth value.
    Bool,
    /// Whole number of 64 bits.
    Int,
    /// Text.
    Text,
    /// List of texts.
    Texts,
    /// Map from text to whole number.
    Numbers,
    /// Record of named members.
    Object(&'static Schema),
    /// List of records.
    Objects(&'static Schema),
}

/// What a member's value rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The digest in a PCR covers it: with a believed quote it is what was measured.
    Proven,
    /// The log merely names it; who owns the guest may choose the words. Good for people, not enough to accept by.
    Claim,
    /// The service or the appraisal says so.
    Service,
}

/// A record with named members.
#[derive(Debug)]
pub struct Schema {
    /// What the record is, in words: `certificate`.
    pub name: &'static str,
    /// Its members.
    pub members: &'static [Member],
}

/// A variable or a member of one.
#[derive(Debug)]
pub struct Member {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub ty: Type,
    /// What it rests on; for records, that of their members counts.
    pub basis: Basis,
    /// What it means.
    pub meaning: &'static str,
    /// When it is absent; empty when it never is.
    pub absent: &'static str,
    /// Whether an empty list is something to be wary of: a condition over all of its elements then holds for none.
    pub empty_is_odd: bool,
    /// The words that a text can be, where they are a closed set.
    pub words: fn() -> Vec<&'static str>,
}

impl Schema {
    /// Position and description of a member.
    pub fn find(&self, name: &str) -> Option<(usize, &'static Member)> {
        self.members.iter().enumerate().find(|(_, member)| member.name == name)
    }
}

fn any() -> Vec<&'static str> {
    Vec::new()
}

fn roles() -> Vec<&'static str> {
    ComponentKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

fn modes() -> Vec<&'static str> {
    vec!["user", "setup", "audit", "deployed"]
}

fn formats() -> Vec<&'static str> {
    vec!["tcg1.2", "tcg2", "ccel"]
}

fn severities() -> Vec<&'static str> {
    Severity::ALL.iter().map(|s| s.as_str()).collect()
}

fn changes() -> Vec<&'static str> {
    ChangeClass::ALL.iter().map(|c| c.as_str()).collect()
}

const fn member(name: &'static str, ty: Type, basis: Basis, meaning: &'static str) -> Member {
    Member { name, ty, basis, meaning, absent: "", empty_is_odd: false, words: any }
}

impl Member {
    const fn absent(mut self, when: &'static str) -> Self {
        self.absent = when;
        self
    }

    const fn odd_when_empty(mut self) -> Self {
        self.empty_is_odd = true;
        self
    }

    const fn words(mut self, words: fn() -> Vec<&'static str>) -> Self {
        self.words = words;
        self
    }
}

use Basis::{Claim, Proven, Service};

const NOT_WINDOWS: &str = "Windows did not measure it, or something else is among its measurements";
const NO_COMMAND_LINE: &str = "the log does not prove exactly one command line";

/// A certificate.
pub static CERTIFICATE: Schema = Schema {
    name: "certificate",
    members: &[
        member("name", Type::Text, Proven, "Common name of the subject"),
        member("subject", Type::Text, Proven, "Subject"),
        member("issuer", Type::Text, Proven, "Issuer"),
        member("not_after", Type::Text, Proven, "End of validity, `2026-06-27`; compares as text"),
        member("sha256", Type::Text, Proven, "SHA-256 of the certificate, hex"),
    ],
};

/// A file or an image.
pub static IMAGE: Schema = Schema {
    name: "image",
    members: &[
        member("role", Type::Text, Claim, "Part it plays, a component kind of docs/findings.md").words(roles),
        member("path", Type::Text, Claim, "Path, or what is known of it"),
        member("digest", Type::Text, Proven, "Authenticode digest in the quoted bank, hex"),
        member("authority", Type::Text, Claim, "Common name of the certificate that the log shows before it")
            .absent(
                "no certificate is shown for it; one certificate is measured once, so later images lack it",
            ),
    ],
};

/// A file that a boot loader read.
pub static FILE: Schema = Schema {
    name: "file",
    members: &[
        member("path", Type::Text, Claim, "Path, or what is known of it"),
        member("digest", Type::Text, Proven, "Digest in the quoted bank, hex"),
    ],
};

/// A parameter of the kernel command line.
pub static PARAMETER: Schema = Schema {
    name: "parameter",
    members: &[
        member("name", Type::Text, Proven, "What stands before `=`"),
        member("value", Type::Text, Proven, "What stands after `=`, without the quotes around it")
            .absent("the parameter has no `=`"),
    ],
};

/// A module that Windows loaded.
pub static MODULE: Schema = Schema {
    name: "module",
    members: &[
        member("path", Type::Text, Proven, "Path"),
        member("digest", Type::Text, Proven, "Authenticode digest, hex"),
        member("publisher", Type::Text, Proven, "Who signed it").absent("Windows did not say"),
        member("validated", Type::Bool, Proven, "Whether the signature was valid")
            .absent("Windows did not say"),
    ],
};

/// A finding of the appraisal.
pub static FINDING: Schema = Schema {
    name: "finding",
    members: &[
        member("code", Type::Text, Service, "Code of docs/findings.md"),
        member("severity", Type::Text, Service, "Severity").words(severities),
        member("fails", Type::Bool, Service, "Whether it makes the attestation fail"),
        member("change", Type::Text, Service, "Class of the change")
            .absent("it is no deviation")
            .words(changes),
        member("component", Type::Text, Service, "Component in plain words").absent("it names none"),
        member("pcr", Type::Int, Service, "PCR").absent("it names none"),
    ],
};

static LOG: Schema = Schema {
    name: "log",
    members: &[
        member("format", Type::Text, Claim, "Layout").words(formats),
        member("banks", Type::Texts, Claim, "Banks that the log extends: `sha256`"),
        member("events", Type::Int, Claim, "Events of the last session"),
    ],
};

static SECURE_BOOT: Schema = Schema {
    name: "secure boot",
    members: &[
        member("enabled", Type::Bool, Proven, "Whether Secure Boot is on")
            .absent("the log does not say, or says both"),
        member("shim_validates", Type::Bool, Proven, "Whether shim verifies what it starts (MokSBState)"),
        member("mode", Type::Text, Proven, "Mode").absent("the log lacks the variables").words(modes),
    ],
};

static FIRMWARE: Schema = Schema {
    name: "firmware",
    members: &[
        member("version", Type::Text, Proven, "Version of the static root of trust")
            .absent("the firmware measures none"),
        member("vendor", Type::Text, Proven, "Vendor, as far as the version tells it")
            .absent("the version does not tell it"),
        member("drivers", Type::Int, Claim, "Drivers from option ROMs and disks"),
    ],
};

static KEYS: Schema = Schema {
    name: "keys",
    members: &[
        member("pk", Type::Objects(&CERTIFICATE), Proven, "Owner of the platform (PK)")
            .absent("the variable is not measured")
            .odd_when_empty(),
        member("kek", Type::Objects(&CERTIFICATE), Proven, "Who may change db and dbx (KEK)")
            .absent("the variable is not measured")
            .odd_when_empty(),
        member("db", Type::Objects(&CERTIFICATE), Proven, "Who may sign what runs (db)")
            .absent("the variable is not measured")
            .odd_when_empty(),
        member("db_hashes", Type::Int, Proven, "Digests in db").absent("the variable is not measured"),
        member("microsoft_2011", Type::Bool, Proven, "Whether KEK or db has a Microsoft certificate of 2011")
            .absent("neither variable is measured"),
        member("microsoft_2023", Type::Bool, Proven, "Whether KEK or db has a Microsoft certificate of 2023")
            .absent("neither variable is measured"),
    ],
};

static DBX: Schema = Schema {
    name: "dbx",
    members: &[
        member("certificates", Type::Objects(&CERTIFICATE), Proven, "Certificates that must not be used")
            .absent("the variable is not measured"),
        member("hashes", Type::Int, Proven, "Digests in dbx").absent("the variable is not measured"),
        member("sha256", Type::Text, Proven, "SHA-256 of the variable, which names its revision, hex")
            .absent("the variable is not measured"),
    ],
};

static SBAT: Schema = Schema {
    name: "sbat",
    members: &[
        member("level", Type::Text, Proven, "First line of the level: `sbat,1,2024010900`")
            .absent("no level is measured, or several"),
        member("date", Type::Text, Proven, "Date of the level, `2024-01-09`; compares as text")
            .absent("the level has none"),
        member(
            "generations",
            Type::Numbers,
            Proven,
            "Least generation by component: `sbat.generations['shim']`",
        )
        .absent("no level is measured, or several"),
    ],
};

static MOK: Schema = Schema {
    name: "mok",
    members: &[member(
        "variables",
        Type::Texts,
        Claim,
        "Machine-owner-key variables that shim measured: `MokList`",
    )],
};

static BOOT_LOADER: Schema = Schema {
    name: "boot loader",
    members: &[
        member("path", Type::Text, Claim, "Path, or what is known of it")
            .absent("the log names no boot loader"),
        member("digest", Type::Text, Claim, "Digest of the image that the log calls boot loader, hex")
            .absent("the log names no boot loader"),
        member("commands", Type::Int, Claim, "Commands that GRUB executed"),
    ],
};

static KERNEL: Schema = Schema {
    name: "kernel",
    members: &[
        member("path", Type::Text, Claim, "Path, or what is known of it").absent("the log names no kernel"),
        member("version", Type::Text, Claim, "Version, from the path").absent("the path has none"),
        member("digest", Type::Text, Claim, "Digest of the file that the log calls kernel, hex")
            .absent("the log names no kernel"),
    ],
};

static COMMAND_LINE: Schema = Schema {
    name: "command line",
    members: &[member("text", Type::Text, Proven, "Kernel command line, without the path of the image")
        .absent(NO_COMMAND_LINE)],
};

static UKI: Schema = Schema {
    name: "uki",
    members: &[member("sections", Type::Texts, Claim, "Sections of the unified kernel image")],
};

static WINDOWS: Schema = Schema {
    name: "windows",
    members: &[
        member("measured", Type::Bool, Proven, "Whether Windows measured its boot"),
        member("code_integrity", Type::Bool, Proven, "Code integrity").absent(NOT_WINDOWS),
        member("test_signing", Type::Bool, Proven, "Test-signed code allowed").absent(NOT_WINDOWS),
        member("flight_signing", Type::Bool, Proven, "Flight-signed code allowed").absent(NOT_WINDOWS),
        member("boot_debugging", Type::Bool, Proven, "Boot debugging").absent(NOT_WINDOWS),
        member("kernel_debugging", Type::Bool, Proven, "Kernel debugging").absent(NOT_WINDOWS),
        member("safe_mode", Type::Bool, Proven, "Safe mode").absent(NOT_WINDOWS),
        member("win_pe", Type::Bool, Proven, "Windows PE").absent(NOT_WINDOWS),
        member("data_execution_prevention", Type::Text, Proven, "Data execution prevention")
            .absent(NOT_WINDOWS),
        member("driver_load_policy", Type::Text, Proven, "Driver load policy").absent(NOT_WINDOWS),
        member("hypervisor", Type::Text, Proven, "Hypervisor launch type").absent(NOT_WINDOWS),
        member("virtual_secure_mode", Type::Text, Proven, "Virtual secure mode launch type")
            .absent(NOT_WINDOWS),
        member("vbs_required", Type::Bool, Proven, "Virtualisation-based security required by policy")
            .absent(NOT_WINDOWS),
        member("hvci", Type::Bool, Proven, "Hypervisor-enforced code integrity (memory integrity)")
            .absent(NOT_WINDOWS),
        member("bitlocker_unlock", Type::Int, Proven, "How BitLocker was unlocked; 0 means it was not")
            .absent(NOT_WINDOWS),
        member("elam", Type::Texts, Proven, "Early-launch anti-malware").absent(NOT_WINDOWS).odd_when_empty(),
        member("modules", Type::Objects(&MODULE), Proven, "Modules that were loaded")
            .absent(NOT_WINDOWS)
            .odd_when_empty(),
    ],
};

static CONFIDENTIAL: Schema = Schema {
    name: "confidential",
    members: &[member(
        "technology",
        Type::Text,
        Claim,
        "Confidential-computing technology, where firmware names it",
    )
    .absent("firmware names none")],
};

static VM: Schema = Schema {
    name: "vm",
    members: &[
        member("name", Type::Text, Service, "Name").absent("in offline tests without `--vm-name`"),
        member("group", Type::Text, Service, "Group").absent("in offline tests without `--group`"),
        member("scale_set", Type::Text, Service, "Scale set").absent("the VM is in none"),
        member("os", Type::Text, Claim, "Operating system as the agent names it: `linux`, `windows`")
            .absent("in offline tests, and where the agent does not say"),
    ],
};

/// The top level.
pub static ROOT: Schema = Schema {
    name: "variables",
    members: &[
        member("log", Type::Object(&LOG), Claim, "The event log"),
        member("secure_boot", Type::Object(&SECURE_BOOT), Proven, "State of Secure Boot"),
        member("firmware", Type::Object(&FIRMWARE), Proven, "Firmware"),
        member("keys", Type::Object(&KEYS), Proven, "Keys of Secure Boot"),
        member("dbx", Type::Object(&DBX), Proven, "Revoked signatures"),
        member("sbat", Type::Object(&SBAT), Proven, "SBAT revocation level of shim"),
        member("mok", Type::Object(&MOK), Claim, "Machine owner keys of shim"),
        member(
            "authorities",
            Type::Objects(&CERTIFICATE),
            Proven,
            "Certificates that admitted what ran, in the order of PCR 7",
        )
        .odd_when_empty(),
        member(
            "images",
            Type::Objects(&IMAGE),
            Proven,
            "EFI applications that ran: everything in PCR 4 but separators and actions, in order",
        )
        .odd_when_empty(),
        member("boot_loader", Type::Object(&BOOT_LOADER), Claim, "Boot loader"),
        member("kernel", Type::Object(&KERNEL), Claim, "Kernel"),
        member("initrds", Type::Objects(&FILE), Claim, "Initial RAM disks that the log names")
            .odd_when_empty(),
        member("command_line", Type::Object(&COMMAND_LINE), Proven, "Kernel command line"),
        member(
            "parameters",
            Type::Objects(&PARAMETER),
            Proven,
            "Parameters of the kernel command line, in order",
        )
        .absent(NO_COMMAND_LINE),
        member("uki", Type::Object(&UKI), Claim, "Unified kernel image"),
        member("boot_order", Type::Texts, Proven, "Titles of the boot entries in boot order")
            .odd_when_empty(),
        member("windows", Type::Object(&WINDOWS), Proven, "What Windows measured about its own security"),
        member("confidential", Type::Object(&CONFIDENTIAL), Claim, "Confidential computing"),
        member(
            "findings",
            Type::Objects(&FINDING),
            Service,
            "Findings of this attestation, without those of conditions",
        ),
        member("vm", Type::Object(&VM), Service, "The VM"),
    ],
};

/// Position of `findings` in [`ROOT`].
pub(crate) const FINDINGS: &str = "findings";
/// Position of `vm` in [`ROOT`].
pub(crate) const VM_NAME: &str = "vm";

/// One row of the documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Path: `images[].path`.
    pub name: String,
    /// Type in words: `bool`, `int`, `string`, `list(image)`.
    #[serde(rename = "type")]
    pub ty: String,
    /// What it means.
    pub meaning: &'static str,
    /// When it is absent; `None` when it never is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<&'static str>,
    /// What it rests on.
    pub basis: Basis,
    /// The words that it can be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<&'static str>,
}

/// Every variable with its members, in the order of the table.
pub fn variables() -> Vec<Variable> {
    let mut rows = Vec::new();
    list(&mut rows, "", &ROOT);
    rows
}

fn list(rows: &mut Vec<Variable>, prefix: &str, schema: &'static Schema) {
    for member in schema.members {
        let name = format!("{prefix}{}", member.name);
        rows.push(Variable {
            name: name.clone(),
            ty: member.ty.words(),
            meaning: member.meaning,
            absent: Some(member.absent).filter(|when| !when.is_empty()),
            basis: member.basis,
            words: (member.words)(),
        });
        match member.ty {
            Type::Object(schema) => list(rows, &format!("{name}."), schema),
            Type::Objects(schema) => list(rows, &format!("{name}[]."), schema),
            Type::Bool | Type::Int | Type::Text | Type::Texts | Type::Numbers => {}
        }
    }
}

impl Type {
    /// In the words of CEL.
    pub fn words(self) -> String {
        match self {
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Texts => "list(string)".to_owned(),
            Self::Numbers => "map(string, int)".to_owned(),
            Self::Object(schema) => schema.name.to_owned(),
            Self::Objects(schema) => format!("list({})", schema.name),
        }
    }
}
