//! `veriboot baseline predict`: what files will measure, before they are rolled out.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;
use veriboot_predict::disk::{Disk, DiskError};
use veriboot_predict::limits::MAX_FILE_BYTES;
use veriboot_predict::{
    InputError, Inputs, Prediction, ReadError, Row, RowChange, Source, predict, sha256_of,
};

use super::document::{self, Form};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Styled, Tone, safe};

/// Arguments of `baseline predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Baseline whose newest accepted boot is the reference: JSON, TOML, what `baseline show --json` prints, or signed
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// Debian packages with shim, GRUB, systemd-boot or kernels
    #[arg(long, num_args = 1.., value_name = "FILE")]
    deb: Vec<PathBuf>,
    /// RPM packages with shim, GRUB, systemd-boot or kernels
    #[arg(long, num_args = 1.., value_name = "FILE")]
    rpm: Vec<PathBuf>,
    /// EFI images: shim, GRUB, systemd-boot, kernels
    #[arg(long, num_args = 1.., value_name = "FILE")]
    efi: Vec<PathBuf>,
    /// Kernel with its EFI stub
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disks, in the order in which they are loaded
    #[arg(long, num_args = 1.., value_name = "FILE")]
    initrd: Vec<PathBuf>,
    /// Unified kernel image
    #[arg(long, value_name = "FILE")]
    uki: Option<PathBuf>,
    /// Disk image that will boot, raw or qcow2: its EFI system partition and /boot are read without mounting it
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// GRUB configuration (`/boot/grub/grub.cfg`)
    #[arg(long, value_name = "FILE")]
    grub_cfg: Option<PathBuf>,
    /// Entry of systemd-boot (`/loader/entries/….conf`)
    #[arg(long, value_name = "FILE")]
    loader_entry: Option<PathBuf>,
    /// Kernel command line, where it is in no file that is given
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// Certificates (PEM or DER) that admit images: shows how far signatures go, and changes nothing else
    #[arg(long, num_args = 1.., value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// Public key in PEM that must have signed the baseline
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where to write the baseline with the predicted boot; nothing is written without it
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the document; by the name of the file without it, else JSON
    #[arg(long, value_enum)]
    format: Option<Form>,
}

/// `baseline predict --json`.
#[derive(Serialize)]
struct Predicted<'a> {
    complete: bool,
    bank: &'static str,
    output: Option<String>,
    #[serde(flatten)]
    prediction: &'a Prediction,
}

/// Runs it. Exit code 1 when something that the files change cannot be predicted.
pub fn run(args: &PredictArgs, out: Output) -> Result<u8, CliError> {
    if out.json && args.output.as_deref() == Some(Path::new("-")) {
        return Err(CliError::usage("output-missing", "with --json the baseline needs a file of its own")
            .hint("give it with --output; the baseline itself is JSON without --json"));
    }
    let form = Form::of(args.format, args.output.as_deref())?;
    let baseline = document::read(&args.baseline, args.key.as_deref())?.baseline;
    let inputs = inputs(args)?;
    let prediction = predict(&baseline, &inputs).map_err(|error| {
        CliError::usage(error.code(), error.to_string())
            .hint("`veriboot baseline learn` makes a baseline from a boot; --deb, --kernel, --disk and others give files")
    })?;
    let next = match &prediction.boot {
        Some(boot) => baseline.with_measurements(boot.clone()).map_err(|error| {
            CliError::usage(error.code(), error.to_string())
                .hint("retire boots that no machine has any more from the baseline")
        })?,
        None => baseline.clone(),
    };
    if let Some(path) = &args.output {
        document::write(&next, form, Some(path))?;
    }
    let exit = if prediction.is_complete() { 0 } else { EXIT_NEGATIVE };
    if out.json {
        out.print_json(&Predicted {
            complete: prediction.is_complete(),
            bank: baseline.bank.name(),
            output: args.output.as_ref().map(|path| path.display().to_string()),
            prediction: &prediction,
        })?;
    } else if args.output.as_deref() != Some(Path::new("-")) {
        tell(&prediction, args.output.as_deref(), out)?;
    }
    Ok(exit)
}

fn inputs(args: &PredictArgs) -> Result<Inputs, CliError> {
    let mut inputs = Inputs::new();
    for path in &args.deb {
        inputs.add_deb(&name(path), &read(path)?).map_err(refuse)?;
    }
    for path in &args.rpm {
        inputs.add_rpm(&name(path), &read(path)?).map_err(refuse)?;
    }
    for path in &args.efi {
        inputs.add_efi(&name(path), read(path)?).map_err(refuse)?;
    }
    if let Some(path) = &args.kernel {
        inputs.add_kernel(&name(path), read(path)?).map_err(refuse)?;
    }
    if let Some(path) = &args.uki {
        inputs.add_uki(&name(path), read(path)?).map_err(refuse)?;
    }
    for path in &args.initrd {
        inputs.add_initrd(&name(path), read(path)?).map_err(refuse)?;
    }
    if let Some(path) = &args.grub_cfg {
        inputs.add_grub_config(&name(path), read(path)?).map_err(refuse)?;
    }
    if let Some(path) = &args.loader_entry {
        inputs.add_loader_entry(&name(path), read(path)?).map_err(refuse)?;
    }
    for path in &args.certificate {
        let bytes = read(path)?;
        let der = match CertificateDer::from_pem_slice(&bytes) {
            Ok(der) => der.to_vec(),
            Err(_) => bytes,
        };
        inputs.add_certificate(&name(path), &der).map_err(refuse)?;
    }
    if let Some(path) = &args.disk {
        let image = Rc::new(Image::open(path)?);
        let of_image = |error: DiskError| {
            CliError::usage(error.code(), format!("{}: {error}", name(path)))
                .hint("give a raw or qcow2 image with a GPT, an MBR or a bare file system")
        };
        let sha256 = sha256_of(image.as_ref()).map_err(|e| of_image(e.into()))?;
        inputs.set_disk(&name(path), sha256, Disk::open(image).map_err(of_image)?).map_err(refuse)?;
    }
    if let Some(text) = &args.cmdline {
        inputs.set_cmdline(text);
    }
    Ok(inputs)
}

fn refuse(error: InputError) -> CliError {
    CliError::usage(error.code(), error.to_string()).hint(error.hint())
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Reads at most one byte more than is taken, so that no file makes the CLI run out of memory.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|e| cannot_read(path, &e))?;
    Ok(bytes)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> CliError {
    CliError::unreadable("cannot-read", path, error)
}

/// A disk image that is read where it is asked.
struct Image {
    file: RefCell<File>,
    bytes: u64,
}

impl Image {
    fn open(path: &Path) -> Result<Self, CliError> {
        let mut file = File::open(path).map_err(|e| cannot_read(path, &e))?;
        // Also right for block devices, whose metadata has no size.
        let bytes = file.seek(SeekFrom::End(0)).map_err(|e| cannot_read(path, &e))?;
        Ok(Self { file: RefCell::new(file), bytes })
    }
}

impl Source for Image {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let mut file = self.file.borrow_mut();
        let done = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buffer));
        done.map_err(|e| ReadError { offset, bytes: buffer.len(), reason: e.to_string() })
    }
}

fn tell(prediction: &Prediction, output: Option<&Path>, out: Output) -> Result<(), CliError> {
    let mut rows: Vec<&Row> = prediction.measurements.iter().chain(&prediction.removed).collect();
    // Order counts within a PCR only.
    rows.sort_by_key(|row| row.pcr);
    out.table(
        &["PCR", "COMPONENT", "CHANGE", "DIGEST", "FROM", "WHAT"],
        rows.into_iter().map(cells).collect(),
        "Nothing that was given changes what is measured.",
    )?;
    if !prediction.images.is_empty() {
        out.line("")?;
        let images = prediction.images.iter().map(|image| {
            let admitted = match &image.admitted_by {
                Some(by) if by.proven => Styled::new(&by.authority, Tone::Good),
                Some(by) => Styled::new(format!("{} (by its name only)", by.authority), Tone::Warn),
                None => Styled::new("-", Tone::Warn),
            };
            let signers: Vec<&str> = image.signatures.iter().map(|s| s.signer.as_str()).collect();
            let sbat: Vec<String> =
                image.sbat.iter().map(|(name, generation)| format!("{name} {generation}")).collect();
            let signers = if signers.is_empty() { "not signed".to_owned() } else { signers.join(", ") };
            vec![
                image.role.title().into(),
                signers.into(),
                admitted,
                sbat.join(", ").into(),
                image.from.clone().into(),
            ]
        });
        out.table(&["IMAGE", "SIGNED BY", "ADMITTED BY", "SBAT", "FROM"], images.collect(), "")?;
    }
    if !prediction.is_complete() {
        out.line("")?;
        out.line(&out.paint("Not predicted:", Tone::Warn))?;
        for problem in &prediction.unpredicted {
            out.line(&format!("  {}", safe(&problem.message)))?;
            let pcr = problem.pcr.map(|pcr| format!(" · PCR {pcr}")).unwrap_or_default();
            out.line(&format!("           {}{pcr} · {}", problem.code, problem.component.title()))?;
            out.line(&format!("           hint: {}", problem.hint))?;
        }
    }
    if let Some(path) = output {
        out.line("")?;
        out.line(&format!("Written to {}.", safe(&path.display().to_string())))?;
    }
    Ok(())
}

fn cells(row: &Row) -> Vec<Styled> {
    let (change, tone) = match row.change {
        RowChange::Same => ("same", Tone::Dim),
        RowChange::Changed => ("changed", Tone::Warn),
        RowChange::Added => ("added", Tone::Warn),
        RowChange::Removed => ("removed", Tone::Warn),
    };
    let digest: String = row.digest.to_string().chars().take(16).collect();
    // The value of an image is its device path, which is longer and says no more.
    let value = row.value.as_deref().filter(|_| row.pcr != 4);
    let what: String = value.unwrap_or(&row.name).chars().take(160).collect();
    vec![
        row.pcr.to_string().into(),
        row.component.title().into(),
        Styled::new(change, tone),
        digest.into(),
        row.from.as_deref().unwrap_or("reference boot").into(),
        what.into(),
    ]
}
