//! Builds the program that has the firmware measure what a file says (`measure.c`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use veriboot_testkit::vm::Package;

const SOURCE: &str = include_str!("measure.c");
/// Sections of the shared object that an EFI program needs.
const SECTIONS: [&str; 10] =
    [".text", ".sdata", ".data", ".dynamic", ".dynsym", ".rel", ".rela", ".rel.*", ".rela.*", ".reloc"];

/// Compiles the program with Debian's gnu-efi into this folder. The same source gives the same bytes.
pub fn build(gnu_efi: &Package, folder: &Path) -> Result<PathBuf> {
    let (source, object) = (folder.join("measure.c"), folder.join("measure.o"));
    let (shared, program) = (folder.join("measure.so"), folder.join("measure.efi"));
    fs::write(&source, SOURCE)?;
    let headers = gnu_efi.path("usr/include/efi")?;
    run(Command::new("gcc")
        .arg("-I")
        .arg(&headers)
        .arg("-I")
        .arg(headers.join("x86_64"))
        .args(["-DGNU_EFI_USE_MS_ABI", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-fpic"])
        .args(["-ffreestanding", "-fno-stack-protector", "-fshort-wchar", "-mno-red-zone"])
        .args(["-maccumulate-outgoing-args", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object))?;
    run(Command::new("ld")
        .args(["-nostdlib", "-znocombreloc", "-shared", "-Bsymbolic", "-T"])
        .arg(gnu_efi.path("usr/lib/elf_x86_64_efi.lds")?)
        .arg(gnu_efi.path("usr/lib/crt0-efi-x86_64.o")?)
        .arg(&object)
        .arg(gnu_efi.path("usr/lib/libefi.a")?)
        .arg(gnu_efi.path("usr/lib/libgnuefi.a")?)
        .arg("-o")
        .arg(&shared))?;
    let mut command = Command::new("objcopy");
    for section in SECTIONS {
        command.args(["-j", section]);
    }
    run(command.args(["--target", "efi-app-x86_64", "--subsystem=10"]).arg(&shared).arg(&program))?;
    Ok(program)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let status = command.status().with_context(|| format!("{} (gcc, binutils)", program.display()))?;
    if !status.success() {
        bail!("{} failed: {status}", program.display());
    }
    Ok(())
}
