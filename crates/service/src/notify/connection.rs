//! A connection to a receiver that does not speak HTTP: bounded in time and in what is read, whatever the other side does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use veriboot_wire::TargetSettings;

use super::tell::SendError;
use super::{address, roots};

/// Time to connect to one address.
const CONNECT: Duration = Duration::from_secs(5);

/// A stream that ends at its deadline, and when it said more than it may.
#[derive(Debug)]
pub(super) struct Bounded {
    stream: TcpStream,
    deadline: Instant,
    left: u64,
}

/// The same below TLS.
pub(super) type Tls = StreamOwned<ClientConnection, Bounded>;

impl Bounded {
    /// Connects to the target's server, at an address that was checked.
    ///
    /// # Errors
    /// [`SendError::failed`].
    pub(super) fn connect(
        settings: &TargetSettings,
        port: u16,
        within: Duration,
        most_bytes: u64,
    ) -> Result<Self, SendError> {
        let host = settings.host.as_deref().unwrap_or_default();
        let deadline = Instant::now() + within;
        let mut last = SendError::failed(format!("{host} has no address"));
        for address in address::resolve(host, port, settings.allow_local)? {
            let wait = CONNECT.min(deadline.saturating_duration_since(Instant::now()));
            if wait.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, wait) {
                Ok(stream) => return Ok(Self { stream, deadline, left: most_bytes }),
                Err(error) => last = failed("the server cannot be reached", &error),
            }
        }
        Err(last)
    }

    /// The same with TLS: the server has a certificate for its name.
    ///
    /// # Errors
    /// [`SendError::failed`] when TLS cannot be begun; its handshake is made with the first bytes.
    pub(super) fn secured(self, settings: &TargetSettings) -> Result<Tls, SendError> {
        let host = settings.host.as_deref().unwrap_or_default();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed("TLS cannot be used", &error))?
            .with_root_certificates(roots::store(settings.ca.as_deref())?)
            .with_no_client_auth();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|error| failed("the host is no name", &error))?;
        let connection = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| failed("TLS cannot be used", &error))?;
        Ok(StreamOwned::new(connection, self))
    }

    /// Ends within `time` from now, if not before.
    pub(super) fn end_within(&mut self, time: Duration) {
        self.deadline = self.deadline.min(Instant::now() + time);
    }

    /// Nothing more is written.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    fn rest(&self) -> io::Result<Duration> {
        let rest = self.deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() { Err(late()) } else { Ok(rest) }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.rest()?;
        if self.left == 0 {
            return Err(io::Error::new(ErrorKind::InvalidData, "the server says more than is read"));
        }
        self.stream.set_read_timeout(Some(rest))?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.stream.read(buffer.get_mut(..most).unwrap_or_default()).map_err(timed)?;
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.rest()?))?;
        self.stream.write(bytes).map_err(timed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the server took too long")
}

/// The system says of a time-out that the call would block.
fn timed(error: io::Error) -> io::Error {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) { late() } else { error }
}

/// What did not work, and why.
pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> SendError {
    SendError::failed(format!("{what}: {error}"))
}
