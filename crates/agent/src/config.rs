//! What an agent needs to know, after flags, environment and file were merged.

use std::path::PathBuf;

use crate::transport::TpmAddress;

/// Settings of one agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Base URL of the service: `https://veriboot.example:8443`.
    pub server: String,
    /// Admission for the first enrolment.
    pub join_token: Option<String>,
    /// How the service is recognised.
    pub trust: Trust,
    /// Folder for the AK blob and the enrolment; made when absent, mode 0700.
    pub state_dir: PathBuf,
    /// Which TPM.
    pub tpm: TpmAddress,
    /// The measured-boot event log.
    pub event_log: PathBuf,
    /// Name to ask for; the host name when absent.
    pub name: Option<String>,
    /// Kind of attestation key.
    pub ak_algorithm: AkAlgorithm,
    /// Folder below which the running kernel shows itself in `dev`, `proc` and `sys`: `/`.
    pub kernel_root: PathBuf,
    /// Allows `http://` to a loopback address, for tests and local try-outs.
    pub insecure_http: bool,
}

/// Where Linux shows the log that firmware left.
pub const DEFAULT_EVENT_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Where the agent keeps its state.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/veriboot-agent";

impl AgentConfig {
    /// The defaults for one service and one state folder.
    pub fn new(server: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            server: server.into(),
            join_token: None,
            trust: Trust::System,
            state_dir: state_dir.into(),
            tpm: TpmAddress::Auto,
            event_log: PathBuf::from(DEFAULT_EVENT_LOG),
            name: None,
            ak_algorithm: AkAlgorithm::Auto,
            kernel_root: PathBuf::from("/"),
            insecure_http: false,
        }
    }
}

/// How the service's certificate is checked. In every case its chain, name and validity are checked by rustls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The CA certificates in this PEM file.
    CaFile(PathBuf),
    /// SHA-256 over the DER of the CA certificate. On first contact the service must show that certificate in its
    /// chain; it is kept in the state folder.
    CaFingerprint([u8; 32]),
    /// The CA that an earlier run pinned, else the CA bundle of the distribution.
    System,
}

/// Kind of attestation key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AkAlgorithm {
    /// ECC where the TPM offers P-256, else RSA.
    #[default]
    Auto,
    /// ECC P-256, ECDSA with SHA-256.
    Ecc,
    /// RSA-2048, RSASSA-PKCS1-v1_5 with SHA-256.
    Rsa,
}
