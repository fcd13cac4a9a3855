//! The profile that `--profile` names: one that comes with Veriboot, or a file.

use std::io::Read as _;
use std::path::Path;

use veriboot_appraisal::{Profile, ProfileError};

use crate::error::CliError;

/// Bytes of a profile; what is longer is refused by whoever reads it.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a profile by name, or from a file in JSON or TOML.
pub fn read(name: &str) -> Result<Profile, CliError> {
    if let Some(profile) = Profile::named(name) {
        return Ok(profile);
    }
    let path = Path::new(name);
    if !path.exists() {
        let message = format!("there is no profile {name:?}, and no file of that name");
        return Err(CliError::usage("profile-unknown", message)
            .hint(format!("known profiles: {}", Profile::NAMES.join(", "))));
    }
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|e| CliError::unreadable("cannot-read", path, &e))?;
    let read = if text.trim_start().starts_with('{') {
        Profile::from_json(text.as_bytes())
    } else {
        Profile::from_toml(&text)
    };
    read.map_err(|error: ProfileError| {
        CliError::usage(error.code(), format!("{name}: {error}")).hint(error.hint())
    })
}
