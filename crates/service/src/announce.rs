//! What an operator is told when the service starts. Secrets are told once, on the first start.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use veriboot_store::api_tokens::{self, ApiTokenRow, Role};
use veriboot_store::{audit, new_id};
use veriboot_wire::JoinTokenRequest;

use crate::{ApiError, AppState, ServeOptions, StartError, api, auth, install, tls};

/// Name of the first admin token.
pub const FIRST_ADMIN: &str = "admin";
/// VMs that the first join token admits.
const FIRST_JOIN_USES: u32 = 100;
/// What an operator is told when there is no agent to hand out.
const NO_AGENT: &str = "/install.sh is off: there is no agent binary to hand out; set agent_binary";

/// What an operator is told. `--json` prints exactly this as one line.
#[derive(Clone, Serialize)]
pub struct Announcement {
    /// How others reach the service.
    pub url: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// File with the CA that agents and the CLI trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// SHA-256 of the CA certificate, lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<String>,
    /// What does not work and what to set, one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Only on the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_start: Option<FirstStart>,
}

/// The secrets of the first start; the database has their hashes only.
#[derive(Clone, Serialize)]
pub struct FirstStart {
    /// The first admin token; absent when it was written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token: Option<String>,
    /// The file with the admin token, when one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<String>,
    /// One line that installs and starts an agent; its join token works for a day.
    pub install: String,
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcement")
            .field("url", &self.url)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Makes the first admin token where there is none, and says what is to be said.
pub(crate) async fn prepare(
    state: &AppState,
    listen: SocketAddr,
    options: &ServeOptions,
) -> Result<Announcement, StartError> {
    let first_start = first_start(state, options).await?;
    let warning = state.agent.is_none().then(|| NO_AGENT.to_owned());
    if let Some(warning) = &warning {
        tracing::warn!("{warning}");
    }
    Ok(Announcement {
        url: state.public_url.clone(),
        listen,
        ca_file: state.identity.ca_pem.as_ref().map(|_| tls::ca_path(&state.config).display().to_string()),
        ca_sha256: state.identity.ca_sha256.clone(),
        warning,
        first_start,
    })
}

async fn first_start(state: &AppState, options: &ServeOptions) -> Result<Option<FirstStart>, StartError> {
    // A service that ever had a token is not new, even when all of its tokens are expired or revoked.
    let known = state.store.read(|tx| Ok(!api_tokens::list(tx, Some(1), None)?.items.is_empty())).await?;
    if known {
        return Ok(None);
    }
    let now = state.clock.now();
    let secret = auth::new_secret(auth::API_TOKEN_PREFIX)?;
    let row = ApiTokenRow {
        id: new_id(now),
        name: FIRST_ADMIN.to_owned(),
        role: Role::Admin,
        created_at: now,
        created_by: "service".to_owned(),
        expires_at: None,
        revoked: false,
    };
    let internal = |e: ApiError| StartError::Internal(format!("the first tokens cannot be made: {e:?}"));
    let request = JoinTokenRequest {
        group: None,
        scale_set: None,
        image: None,
        uses: Some(FIRST_JOIN_USES),
        expires_in_s: None,
        comment: Some("made at the first start".to_owned()),
    };
    let (join, join_secret) = api::join_tokens::prepare(request, "service", now).map_err(internal)?;
    let install = install::command(state, &join_secret);
    // The file before the row: a token that is stored and told to nobody would lock everybody out.
    if let Some(path) = &options.admin_token_file {
        write_new(path, &secret).map_err(|source| StartError::TokenFile { path: path.clone(), source })?;
    }
    let to_store = secret.clone();
    let stored = state
        .write(move |tx| {
            // Two replicas that start at once: one of them is first.
            if !api_tokens::list(tx, Some(1), None)?.items.is_empty() {
                return Ok(false);
            }
            api::api_tokens::store(tx, &row, &to_store)?;
            api::join_tokens::store(tx, &join, &join_secret)?;
            for (action, target) in [("api-token.create", &row.id), ("join-token.create", &join.id)] {
                let detail = json!({ "first_start": true });
                audit::append(
                    tx,
                    &audit::NewEntry { at: now, actor: "service", action, target, detail: &detail },
                )?;
            }
            Ok(true)
        })
        .await
        .map_err(internal);
    if !matches!(stored, Ok(true))
        && let Some(path) = &options.admin_token_file
    {
        let _ = std::fs::remove_file(path);
    }
    Ok(stored?.then(|| FirstStart {
        admin_token: options.admin_token_file.is_none().then_some(secret),
        admin_token_file: options.admin_token_file.as_ref().map(|p| p.display().to_string()),
        install,
    }))
}

/// A file that did not exist before, readable by its owner only.
fn write_new(path: &Path, secret: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

impl std::fmt::Display for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "Veriboot answers at {} (listening on {})", self.url, self.listen)?;
        if let (Some(file), Some(sha256)) = (&self.ca_file, &self.ca_sha256) {
            writeln!(f, "CA certificate:  {file}")?;
            writeln!(f, "CA fingerprint:  sha256:{sha256}")?;
        }
        if let Some(warning) = &self.warning {
            writeln!(f, "Warning:         {warning}")?;
        }
        let Some(first) = &self.first_start else { return Ok(()) };
        writeln!(f)?;
        writeln!(f, "This is the first start. What follows is shown this once.")?;
        match (&first.admin_token, &first.admin_token_file) {
            (Some(token), _) => writeln!(f, "Admin token:     {token}")?,
            (None, Some(file)) => writeln!(f, "Admin token:     in {file}")?,
            (None, None) => {}
        }
        writeln!(f, "Agent on a VM:   {}", first.install)?;
        writeln!(
            f,
            "  (its join token admits {FIRST_JOIN_USES} VMs within a day; `veriboot token create` makes others)"
        )
    }
}

/// Prints the announcement to standard output. A closed output does not stop the service.
pub(crate) fn print(announcement: &Announcement, as_json: bool) {
    let text = if as_json {
        serde_json::to_string(announcement).unwrap_or_default() + "\n"
    } else {
        announcement.to_string()
    };
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
