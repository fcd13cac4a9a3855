//! Reads baselines from files: our document as JSON or TOML, what `baseline show --json` prints, and signed envelopes.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use serde_json::Value;
use veriboot_appraisal::{
    BASELINE_PAYLOAD_TYPE, Baseline, BaselineError, Envelope, EnvelopeError, MAX_ENVELOPE_BYTES, Source,
    VerifyingKey,
};

use crate::error::CliError;
use crate::output::safe;

/// A baseline out of a file.
#[derive(Debug)]
pub struct Document {
    pub baseline: Baseline,
    /// How sure it is who made it.
    pub signature: Signature,
}

/// Who signed a baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Nobody: a plain document.
    None,
    /// Somebody; no key was given to check it.
    NotChecked,
    /// The key of this id, which was given.
    By(String),
}

impl Signature {
    /// The word in `--json`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NotChecked => "not-checked",
            Self::By(_) => "valid",
        }
    }
}

/// Reads a baseline; `-` is standard input. With `key` (PEM) it must be an envelope that this key signed.
pub fn read(path: &Path, key: Option<&Path>) -> Result<Document, CliError> {
    let bytes = bytes(path)?;
    let name = safe(&path.display().to_string());
    let refuse =
        |error: BaselineError| CliError::usage(error.code(), format!("{name}: {error}")).hint(error.hint());
    let value = serde_json::from_slice::<Value>(&bytes).ok();
    if value.as_ref().is_some_and(|value| value.get("payloadType").is_some()) {
        return opened(&name, &bytes, value.as_ref(), key);
    }
    if key.is_some() {
        let message = format!("{name} is not signed, and --key wants a signed baseline");
        return Err(CliError::usage("baseline-unsigned", message)
            .hint("`veriboot baseline export` writes signed baselines; without --key a plain one is read"));
    }
    let signature = Signature::None;
    let baseline = match value {
        // The answer of the service has the document among other things.
        Some(Value::Object(mut members)) if members.contains_key("document") => {
            let document = members.remove("document").unwrap_or_default().to_string();
            Baseline::from_json(document.as_bytes()).map_err(refuse)?
        }
        Some(_) => Baseline::from_json(&bytes).map_err(refuse)?,
        None => match std::str::from_utf8(&bytes) {
            Ok(text) if !text.trim_start().starts_with('{') => Baseline::from_toml(text).map_err(refuse)?,
            _ => Baseline::from_json(&bytes).map_err(refuse)?,
        },
    };
    Ok(Document { baseline, signature })
}

fn bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    let limit = u64::try_from(MAX_ENVELOPE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|opened| opened.take(limit).read_to_end(&mut bytes))
    };
    done.map_err(|e| CliError::unreadable("cannot-read", path, &e))?;
    Ok(bytes)
}

fn opened(name: &str, bytes: &[u8], value: Option<&Value>, key: Option<&Path>) -> Result<Document, CliError> {
    let refuse = |error: EnvelopeError| {
        CliError::usage(error.code(), format!("{name}: {error}"))
            .hint("`veriboot baseline export` writes signed baselines")
    };
    let envelope = Envelope::from_json(bytes).map_err(refuse)?;
    let (payload, signature) = match key {
        Some(path) => {
            let key = public_key(path)?;
            let verified = envelope.verify(BASELINE_PAYLOAD_TYPE, &[&key]).map_err(refuse)?;
            (verified.payload, Signature::By(verified.key_id))
        }
        None => {
            let payload =
                value.and_then(|value| value.get("payload")).and_then(Value::as_str).unwrap_or_default();
            let decoded = base64::engine::general_purpose::STANDARD.decode(payload);
            let payload = decoded.map_err(|e| refuse(EnvelopeError::Shape(format!("payload: {e}"))))?;
            (payload, Signature::NotChecked)
        }
    };
    let baseline = Baseline::from_json(&payload)
        .map_err(|error| CliError::usage(error.code(), format!("{name}: {error}")).hint(error.hint()))?;
    Ok(Document { baseline, signature })
}

/// A public key in PEM.
pub fn public_key(path: &Path) -> Result<VerifyingKey, CliError> {
    use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
    let content = bytes(path)?;
    let refuse = |message: String| {
        CliError::usage("key-unreadable", format!("{}: {message}", path.display()))
            .hint("--key takes a public key in PEM (BEGIN PUBLIC KEY)")
    };
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&content).map_err(|e| refuse(e.to_string()))?;
    VerifyingKey::from_spki(der.as_ref()).map_err(|e| refuse(e.to_string()))
}

/// How a document is written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON
    Json,
    /// TOML
    Toml,
}

impl Form {
    /// What was asked for, else what the name of the file says; JSON where it says nothing.
    pub fn of(asked: Option<Self>, path: Option<&Path>) -> Result<Self, CliError> {
        let Some(ending) = path.and_then(Path::extension).filter(|_| asked.is_none()) else {
            return Ok(asked.unwrap_or(Self::Json));
        };
        match ending.to_ascii_lowercase().to_str() {
            Some("json") => Ok(Self::Json),
            Some("toml") => Ok(Self::Toml),
            _ => Err(CliError::usage(
                "format-unknown",
                format!("the ending .{} names no form of a baseline", safe(&ending.to_string_lossy())),
            )
            .hint("name the file .json or .toml, or give --format")),
        }
    }
}

/// Writes a document to a file, or to standard output.
pub fn write(baseline: &Baseline, form: Form, path: Option<&Path>) -> Result<(), CliError> {
    let cannot = |e: &dyn std::fmt::Display| {
        CliError::usage("cannot-encode", format!("cannot write the baseline: {e}"))
    };
    let mut text = match form {
        Form::Json => serde_json::to_string_pretty(baseline).map_err(|e| cannot(&e))?,
        Form::Toml => baseline.to_toml().map_err(|e| cannot(&e))?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    match path.filter(|path| *path != Path::new("-")) {
        Some(path) => std::fs::write(path, text).map_err(|e| {
            CliError::usage("cannot-write-file", format!("cannot write {}: {e}", path.display()))
        }),
        None => crate::output::print(&text),
    }
}

/// Whether the document goes to standard output, so that nothing else may.
pub fn is_stdout(path: Option<&Path>) -> bool {
    path.is_none_or(|path| path == Path::new("-"))
}

/// Where a boot comes from, in words.
pub fn source(source: &Source) -> String {
    let log = |sha256: &str| sha256.chars().take(12).collect::<String>();
    match source {
        Source::Learned { log_sha256 } => format!("learned from log {}", log(log_sha256)),
        Source::Approved { log_sha256, proposal } => {
            format!("proposal {}, log {}", safe(proposal), log(log_sha256))
        }
        Source::Predicted { from, .. } => {
            let names: Vec<String> = from.iter().take(4).map(|file| safe(&file.name)).collect();
            let more = if from.len() > 4 { ", …" } else { "" };
            format!("predicted from {}{more}", names.join(", "))
        }
        Source::Written => "written by hand".to_owned(),
    }
}
