//! How TPM commands reach a TPM: one command in, one answer out.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::tpm::TpmError;

/// Behind the in-kernel resource manager.
const RESOURCE_MANAGED: &str = "/dev/tpmrm0";
/// Without one; Linux lets one process at a time open it.
const RAW: &str = "/dev/tpm0";
/// No TPM answer is longer (TPM_PT_MAX_RESPONSE_SIZE is 4096 in all profiles).
const MAX_RESPONSE: usize = 8192;
/// The slowest command, RSA key generation, takes up to a minute on discrete TPMs.
const TCP_PATIENCE: Duration = Duration::from_secs(120);

/// A connection to a TPM.
pub trait Transport: Send {
    /// Sends one marshalled command and waits for its whole answer.
    ///
    /// # Errors
    /// When the TPM cannot be reached any more. A response code is not an error here.
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;

    /// Whether a resource manager keeps other users' handles apart from ours (and drops ours on close).
    fn resource_managed(&self) -> bool;
}

/// Opens a connection per job, so that no handle or device stays occupied between attestations.
pub trait Connector: Send + Sync {
    /// Connects to the TPM.
    ///
    /// # Errors
    /// `tpm-missing`, `tpm-unreachable`, `tpm-permission`, `tpm-busy` or `tpm-io`.
    fn connect(&self) -> Result<Box<dyn Transport>, TpmError>;
}

/// Which TPM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TpmAddress {
    /// /dev/tpmrm0, else /dev/tpm0.
    #[default]
    Auto,
    /// A character device.
    Device(PathBuf),
    /// swtpm's data channel, `HOST:PORT`: raw TPM commands over TCP.
    Tcp(String),
}

impl FromStr for TpmAddress {
    type Err = String;

    /// `auto`, `tcp:HOST:PORT`, or the path of a device.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match text.strip_prefix("tcp:") {
                Some(address) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
                Some(_) => Err(format!("{text:?}: give tcp:HOST:PORT")),
                None if text.starts_with('/') => Ok(Self::Device(PathBuf::from(text))),
                None => {
                    Err(format!("{text:?} is neither `auto`, nor tcp:HOST:PORT, nor the path of a device"))
                }
            },
        }
    }
}

impl fmt::Display for TpmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Device(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl Connector for TpmAddress {
    fn connect(&self) -> Result<Box<dyn Transport>, TpmError> {
        match self {
            Self::Auto => match open_device(RESOURCE_MANAGED.into()) {
                Err(TpmError::Missing { .. }) => match open_device(RAW.into()) {
                    Err(TpmError::Missing { .. }) => {
                        Err(TpmError::Missing { tried: format!("{RESOURCE_MANAGED} and {RAW}") })
                    }
                    other => other,
                },
                other => other,
            },
            Self::Device(path) => open_device(path.clone()),
            Self::Tcp(address) => open_tcp(address),
        }
    }
}

fn open_device(path: PathBuf) -> Result<Box<dyn Transport>, TpmError> {
    let device = path.display().to_string();
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => {
            let resource_managed = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("tpmrm"));
            Ok(Box::new(DeviceTransport { file, resource_managed }))
        }
        Err(e) => Err(match e.kind() {
            io::ErrorKind::NotFound => TpmError::Missing { tried: device },
            io::ErrorKind::PermissionDenied => TpmError::Denied { device },
            io::ErrorKind::ResourceBusy => {
                TpmError::Busy { what: format!("{device} is in use by another process") }
            }
            // ENXIO and ENODEV: the node exists, the device does not.
            _ if matches!(e.raw_os_error(), Some(6 | 19)) => TpmError::Missing { tried: device },
            _ => TpmError::Io { source: e },
        }),
    }
}

fn open_tcp(address: &str) -> Result<Box<dyn Transport>, TpmError> {
    let connect = || -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, Duration::from_secs(10)) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TCP_PATIENCE))?;
                    stream.set_write_timeout(Some(TCP_PATIENCE))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    };
    match connect() {
        Ok(stream) => Ok(Box::new(TcpTransport { stream })),
        Err(source) => Err(TpmError::Unreachable { address: format!("tcp:{address}"), source }),
    }
}

/// A TPM character device: one write is one command, one read is its whole answer.
struct DeviceTransport {
    file: File,
    resource_managed: bool,
}

impl Transport for DeviceTransport {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.file.write_all(command)?;
        let mut answer = vec![0; MAX_RESPONSE];
        let size = self.file.read(&mut answer)?;
        answer.truncate(size);
        Ok(answer)
    }

    fn resource_managed(&self) -> bool {
        self.resource_managed
    }
}

/// swtpm's data channel.
struct TcpTransport {
    stream: TcpStream,
}

impl Transport for TcpTransport {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(command)?;
        let mut header = [0u8; 10];
        self.stream.read_exact(&mut header)?;
        let [_, _, a, b, c, d, ..] = header;
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(rest) = size.checked_sub(header.len()).filter(|_| size <= MAX_RESPONSE) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a TPM answer of {size} bytes")));
        };
        let mut body = vec![0; rest];
        self.stream.read_exact(&mut body)?;
        let mut answer = header.to_vec();
        answer.append(&mut body);
        Ok(answer)
    }

    fn resource_managed(&self) -> bool {
        false
    }
}
