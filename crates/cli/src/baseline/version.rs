//! A stored version, by id, `name` or `name@version`.

use veriboot_wire::BaselineSummary;

use crate::client::Client;
use crate::error::CliError;
use crate::output::safe;

/// The id of a version that the service stores. A name alone is its current version, else its newest one.
pub fn id_of(client: &Client, key: &str) -> Result<String, CliError> {
    if !key.contains('/') {
        return Ok(key.to_owned());
    }
    let (name, version) = match key.rsplit_once('@') {
        Some((name, version)) => match version.parse::<u32>() {
            Ok(version) => (name, Some(version)),
            Err(_) => return Err(unknown(key)),
        },
        None => (key, None),
    };
    let query = [("name", name.to_owned()), ("all_versions", "true".to_owned())];
    // A baseline has few versions; beyond these an id is needed.
    let (rows, _): (Vec<BaselineSummary>, bool) = client.list("/v1/baselines", &query, 10_000)?;
    let found = match version {
        Some(version) => rows.iter().find(|row| row.version == version),
        None => rows.iter().find(|row| row.current).or(rows.first()),
    };
    found.map(|row| row.id.clone()).ok_or_else(|| unknown(key))
}

/// Nothing is called `key`.
pub fn unknown(key: &str) -> CliError {
    CliError::usage("baseline-unknown", format!("there is no baseline {:?}", safe(key)))
        .hint("`veriboot baseline list --all` shows all of them")
}
