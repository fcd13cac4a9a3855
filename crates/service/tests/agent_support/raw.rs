//! HTTP by hand, for requests that no proper client would send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Status and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after_s: Option<u32>,
    pub etag: Option<String>,
    pub body: serde_json::Value,
}

impl Answer {
    /// Code of a refusal.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A TLS connection to the service.
pub fn connect(address: SocketAddr, ca_file: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let name = ServerName::from(address.ip());
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp)
}

/// Sends bytes as they are and reads one answer.
pub fn exchange(address: SocketAddr, ca_file: &Path, head: &str, body: &[u8]) -> Answer {
    let mut stream = connect(address, ca_file);
    stream.write_all(head.as_bytes()).unwrap();
    // The service may answer and close before it took all of an enormous body.
    let _ = stream.write_all(body).and_then(|()| stream.flush());
    answer(&mut stream)
}

/// Reads one answer, until the service closes the connection.
pub fn answer(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> Answer {
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap();
    let retry_after_s = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(name, value)| value.parse().ok().filter(|_| name.eq_ignore_ascii_case("retry-after")));
    let etag = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("etag").then(|| value.to_owned()));
    Answer { status, retry_after_s, etag, body: serde_json::from_str(body).unwrap_or_default() }
}

/// POSTs a body with its true length.
pub fn post(address: SocketAddr, ca_file: &Path, path: &str, token: Option<&str>, body: &[u8]) -> Answer {
    let authorization = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    exchange(address, ca_file, &head, body)
}

/// GETs a path.
pub fn get(address: SocketAddr, ca_file: &Path, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    exchange(address, ca_file, &head, b"")
}

/// GETs a path with a token.
pub fn get_as(address: SocketAddr, ca_file: &Path, path: &str, token: &str) -> Answer {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    exchange(address, ca_file, &head, b"")
}

/// The body of what GETting a path with a token answers, as text.
pub fn get_text_as(address: SocketAddr, ca_file: &Path, path: &str, token: &str) -> String {
    let mut stream = connect(address, ca_file);
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8(answer).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The body of what GETting a path answers, as text.
pub fn get_text(address: SocketAddr, ca_file: &Path, path: &str) -> String {
    let mut stream = connect(address, ca_file);
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
