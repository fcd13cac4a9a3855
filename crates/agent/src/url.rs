//! The address of the service.

use std::fmt;
use std::net::IpAddr;

/// Base URL of the service; parsed once, so that later code cannot be sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    https: bool,
    host: String,
    port: u16,
}

impl ServerUrl {
    /// `https://HOST[:PORT]`; `http://` only with `insecure_http` and a loopback host.
    ///
    /// # Errors
    /// What is wrong with the URL, in one clause.
    pub fn parse(text: &str, insecure_http: bool) -> Result<Self, String> {
        let uri: ureq::http::Uri = text.parse().map_err(|e| format!("{text:?} is not a URL: {e}"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{text:?}: give https://HOST[:PORT]")),
        };
        if uri.query().is_some() || uri.path() != "/" || text.contains('@') || text.contains('#') {
            return Err(format!("{text:?}: give host and port only, without user, path or query"));
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(format!("{text:?} names no host"));
        }
        let url = Self { https, port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }), host };
        if !(url.https || insecure_http && url.is_loopback()) {
            return Err(format!(
                "{text:?}: http:// is allowed for loopback addresses with --insecure-http only"
            ));
        }
        Ok(url)
    }

    /// Name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// `HOST:PORT`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::ServerUrl;

    #[test]
    fn accepts_https_and_loopback_http_on_request() {
        for (text, shown) in [
            ("https://veriboot.example", "https://veriboot.example:443"),
            ("https://veriboot.example:8443/", "https://veriboot.example:8443"),
            ("https://[fd00::1]:8443", "https://[fd00::1]:8443"),
        ] {
            assert_eq!(ServerUrl::parse(text, false).unwrap().to_string(), shown);
        }
        assert_eq!(ServerUrl::parse("http://127.0.0.1:80", true).unwrap().to_string(), "http://127.0.0.1:80");
        assert!(ServerUrl::parse("http://[::1]:80", true).is_ok());
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "http://127.0.0.1:80",
            "veriboot.example",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://u:p@a",
            "https://a#b",
            "",
        ] {
            assert!(ServerUrl::parse(text, false).is_err(), "{text}");
        }
        assert!(ServerUrl::parse("http://192.0.2.1:80", true).is_err());
        assert!(ServerUrl::parse("http://localhost.example:80", true).is_err());
    }
}
