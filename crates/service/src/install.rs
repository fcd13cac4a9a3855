//! Installing an agent: one line, a script, the binary.
//!
//! The line is `curl -fsSk --pinnedpubkey sha256//PIN URL/install.sh | sudo sh -s -- --join-token TOKEN`. `-k` only
//! takes the place of the certificate authorities, which do not know a self-made CA: curl still checks that the
//! server's key is the pinned one. The script carries the CA and the digest of the binary, so that everything after it
//! is checked too.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use veriboot_wire::Problem;

use crate::extract::Path as UrlPath;
use crate::problem::kinds;
use crate::{ApiError, AppState, StartError, api};

const MAX_AGENT_BYTES: u64 = 64 * 1024 * 1024;
const AGENT_NAME: &str = "veriboot-agent";
const SCRIPT: &str = include_str!("install/install.sh");

/// The agent's binary as it is handed out.
#[derive(Clone)]
pub struct AgentDownload {
    /// `linux-x86_64` or `linux-aarch64`.
    pub platform: &'static str,
    /// The file.
    pub bytes: Bytes,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

impl std::fmt::Debug for AgentDownload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AgentDownload({}, {} bytes)", self.platform, self.bytes.len())
    }
}

/// Reads the agent's binary: the configured one, else the one beside this executable, else none.
///
/// # Errors
/// [`StartError::AgentBinary`] when the configured file cannot be handed out.
pub(crate) fn load_agent(configured: Option<&Path>) -> Result<Option<AgentDownload>, StartError> {
    let path = match configured {
        Some(path) => path.to_owned(),
        None => match beside_this_executable() {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    let bad = |reason: String| StartError::AgentBinary { path: path.clone(), reason };
    let mut bytes = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_AGENT_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| bad(e.to_string()))?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n > MAX_AGENT_BYTES) {
        return Err(bad("it is larger than 64 MiB".to_owned()));
    }
    let platform =
        platform(&bytes).ok_or_else(|| bad("it is no Linux executable for x86-64 or AArch64".to_owned()))?;
    let sha256 = hex::encode(digest(&SHA256, &bytes));
    Ok(Some(AgentDownload { platform, bytes: bytes.into(), sha256 }))
}

fn beside_this_executable() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(AGENT_NAME);
    path.is_file().then_some(path)
}

/// From the ELF header: class 64, little-endian, e_machine (ELF-64, figure 3).
fn platform(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    match bytes.get(18..20)? {
        [0x3e, 0] => Some("linux-x86_64"),
        [0xb7, 0] => Some("linux-aarch64"),
        _ => None,
    }
}

/// Routes that need no credential: what they hand out is public.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(script)).routes(routes!(agent)).routes(routes!(ca))
}

/// One line that installs and starts an agent on a Linux VM; without a binary to hand out, the line that starts an
/// agent that is there already. The arguments hold no character that a shell looks at.
pub(crate) fn command(state: &AppState, join_token: &str) -> String {
    let url = &state.public_url;
    if state.agent.is_some() {
        let pin = &state.identity.pin;
        return format!(
            "curl -fsSk --pinnedpubkey sha256//{pin} {url}/install.sh | sudo sh -s -- --join-token {join_token}"
        );
    }
    let trust = match &state.identity.ca_sha256 {
        Some(sha256) => format!(" --ca-fingerprint sha256:{sha256}"),
        None => String::new(),
    };
    format!("sudo veriboot-agent --server {url}{trust} --join-token {join_token}")
}

/// The install script with everything filled in.
pub(crate) fn render(state: &AppState) -> Option<String> {
    let agent = state.agent.as_ref()?;
    let ca = state.identity.ca_pem.as_deref().unwrap_or_default();
    Some(
        SCRIPT
            .replace("@SERVER@", &state.public_url)
            .replace("@ARCHITECTURE@", agent.platform.trim_start_matches("linux-"))
            .replace("@SHA256@", &agent.sha256)
            .replace("@PIN@", &state.identity.pin)
            .replace("@CA_PEM@", ca.trim_end()),
    )
}

fn no_agent() -> ApiError {
    ApiError::new(&kinds::NOT_FOUND, "this service hands out no agent for that platform")
        .hint("set agent_binary in the service's configuration, or install the agent another way")
}

/// The install script
///
/// POSIX shell; run it as root with `--join-token TOKEN`. Running it again updates the agent.
#[utoipa::path(get, path = "/install.sh", tag = "install", operation_id = "install_script", security(()),
    responses((status = 200, body = String, content_type = "text/x-shellscript"), (status = 404, body = Problem)))]
async fn script(State(state): State<AppState>) -> Result<Response, ApiError> {
    let text = render(&state).ok_or_else(no_agent)?;
    Ok(([(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8")], text).into_response())
}

/// The agent's binary
#[utoipa::path(get, path = "/agent/{platform}", tag = "install", operation_id = "agent_binary", security(()),
    params(("platform" = String, Path, description = "`linux-x86_64` or `linux-aarch64`")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
              (status = 404, body = Problem)))]
async fn agent(
    State(state): State<AppState>,
    UrlPath(platform): UrlPath<String>,
) -> Result<Response, ApiError> {
    let agent = state.agent.as_ref().filter(|a| a.platform == platform).ok_or_else(no_agent)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], agent.bytes.clone()).into_response())
}

/// The CA certificate
///
/// PEM. Fetched without prior trust it proves nothing: compare its fingerprint.
#[utoipa::path(get, path = "/ca.pem", tag = "install", operation_id = "ca_certificate", security(()),
    responses((status = 200, body = String, content_type = "application/x-pem-file"), (status = 404, body = Problem)))]
async fn ca(State(state): State<AppState>) -> Result<Response, ApiError> {
    let pem = state
        .identity
        .ca_pem
        .clone()
        .ok_or_else(|| api::not_found("CA: the certificate is of a public one"))?;
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}
