//! HTTPS calls to the service.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use veriboot_wire::{Page, Problem};

use crate::context::Target;
use crate::error::CliError;

/// The largest answer that the CLI reads.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// The longest silence of a stream that lives.
const SILENCE: Duration = Duration::from_secs(45);

/// Calls one service with one token.
pub struct Client {
    agent: ureq::Agent,
    target: Target,
}

impl Client {
    /// A client for `target`. Fails when its CA is not PEM.
    pub fn new(target: Target) -> Result<Self, CliError> {
        Ok(Self { agent: http_agent(target.ca_pem.as_deref())?, target })
    }

    /// GET `path`, with a query of name and value pairs.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, CliError> {
        json(&self.get_bytes(path, query)?)
    }

    /// GET `path` as it is.
    pub fn get_bytes(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, CliError> {
        let mut request = self.agent.get(self.url(path)).header("authorization", self.bearer());
        for (name, value) in query {
            request = request.query(name, value);
        }
        self.answer(request.call())
    }

    /// Prints the CSV of `path`; where there is more than `limit` rows, standard error says so.
    pub fn print_csv(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: usize,
        what: &str,
    ) -> Result<(), CliError> {
        let mut request = self.agent.get(self.url(path)).header("authorization", self.bearer());
        for (name, value) in query {
            request = request.query(name, value);
        }
        let result = request.query("limit", limit.to_string()).call();
        let more = result.as_ref().is_ok_and(|response| response.headers().contains_key("x-next-cursor"));
        crate::output::print_csv(&String::from_utf8_lossy(&self.answer(result)?))?;
        if more {
            crate::output::cut(limit, what);
        }
        Ok(())
    }

    /// POST `body` to `path`.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.post_if_match(path, body, None)
    }

    /// GET `path` and the `ETag` of the answer.
    pub fn get_tagged<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>), CliError> {
        let result = self.agent.get(self.url(path)).header("authorization", self.bearer()).call();
        let tag = match &result {
            Ok(response) => response.headers().get("etag").and_then(|v| v.to_str().ok()).map(str::to_owned),
            Err(_) => None,
        };
        Ok((json(&self.answer(result)?)?, tag))
    }

    /// PATCH `path`, only where it is still what `if_match` names.
    pub fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        if_match: Option<&str>,
    ) -> Result<T, CliError> {
        let request = self.agent.patch(self.url(path)).header("authorization", self.bearer());
        json(&self.answer(on_condition(request, if_match).send_json(body))?)
    }

    /// Opens a stream of server-sent events that goes on after `last`. It has no end in time; one that is silent for
    /// longer than its heartbeat breaks.
    pub fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
        last: Option<u64>,
    ) -> Result<impl std::io::BufRead + use<>, CliError> {
        let mut request = self
            .agent
            .get(self.url(path))
            .header("authorization", self.bearer())
            .header("accept", "text/event-stream");
        for (name, value) in query {
            request = request.query(name, value);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let request = request.config().timeout_global(None).timeout_per_read(Some(SILENCE)).build();
        let response = match request.call() {
            Ok(response) if response.status().is_success() => response,
            other => return Err(self.no_stream(other)),
        };
        Ok(std::io::BufReader::new(response.into_body().into_reader()))
    }

    /// Why an answer is no stream.
    fn no_stream(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> CliError {
        match self.answer(result) {
            Err(error) => error,
            Ok(_) => CliError::unreachable("unexpected-answer", "the service answered with no stream"),
        }
    }

    /// POST `body` to `path`, only where it is still what `if_match` names.
    pub fn post_if_match<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        if_match: Option<&str>,
    ) -> Result<T, CliError> {
        let request = self.agent.post(self.url(path)).header("authorization", self.bearer());
        json(&self.answer(on_condition(request, if_match).send_json(body))?)
    }

    /// POST `body` to `path`, only where there is nothing yet that it would follow.
    pub fn post_first<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        let request = self.agent.post(self.url(path)).header("authorization", self.bearer());
        json(&self.answer(request.header("if-none-match", "*").send_json(body))?)
    }

    /// PUT `body` to `path`, only where it is still what `if_match` names.
    pub fn put_if_match<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        if_match: Option<&str>,
    ) -> Result<T, CliError> {
        let request = self.agent.put(self.url(path)).header("authorization", self.bearer());
        json(&self.answer(on_condition(request, if_match).send_json(body))?)
    }

    /// DELETE `path`, only where it is still what `if_match` names, for its answer.
    pub fn delete_if_match<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        if_match: Option<&str>,
    ) -> Result<T, CliError> {
        let mut request = self.agent.delete(self.url(path)).header("authorization", self.bearer());
        for (name, value) in query {
            request = request.query(name, value);
        }
        json(&self.answer(on_condition(request, if_match).call())?)
    }

    /// POST `body` to `path` as it is, with a query of name and value pairs.
    pub fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: &[u8],
    ) -> Result<T, CliError> {
        let mut request = self.agent.post(self.url(path)).header("authorization", self.bearer());
        for (name, value) in query {
            request = request.query(name, value);
        }
        json(&self.answer(request.header("content-type", "application/octet-stream").send(body))?)
    }

    /// PUT `body` to `path`, only where there is nothing yet.
    pub fn put_new<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        let request = self.agent.put(self.url(path)).header("authorization", self.bearer());
        json(&self.answer(request.header("if-none-match", "*").send_json(body))?)
    }

    /// DELETE `path`.
    pub fn delete(&self, path: &str) -> Result<(), CliError> {
        self.remove(path, None)
    }

    /// DELETE `path`, only where it is still what `if_match` names.
    pub fn remove(&self, path: &str, if_match: Option<&str>) -> Result<(), CliError> {
        let request = self.agent.delete(self.url(path)).header("authorization", self.bearer());
        self.answer(on_condition(request, if_match).call()).map(drop)
    }

    /// Reads pages until there are no more or `limit` rows are there. Gives the rows, and whether there
    /// would have been more.
    pub fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: usize,
    ) -> Result<(Vec<T>, bool), CliError> {
        self.list_where(path, query, limit, |_| true)
    }

    /// [`Self::list`] of those rows that are `wanted`: pages are read until there are as many of these.
    pub fn list_where<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: usize,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<(Vec<T>, bool), CliError> {
        let mut rows: Vec<T> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let left = limit.saturating_sub(rows.len());
            // Pages of few rows would be many where most rows are not wanted.
            let want = if cursor.is_some() { left.max(100) } else { left }.clamp(1, 1000);
            let mut query = query.to_vec();
            query.push(("limit", want.to_string()));
            query.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &query)?;
            rows.extend(page.items.into_iter().filter(&wanted));
            match page.next_cursor {
                // A cursor that stays where it is would go on for ever.
                Some(next) if rows.len() < limit && cursor.as_ref() != Some(&next) => cursor = Some(next),
                next => {
                    let more = next.is_some() || rows.len() > limit;
                    rows.truncate(limit);
                    return Ok((rows, more));
                }
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.target.server)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.target.token)
    }

    fn answer(
        &self,
        result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Vec<u8>, CliError> {
        let mut response = result.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|e| self.unreachable(&e))?;
        if status.is_success() {
            return Ok(body);
        }
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => problem.into(),
            Err(_) => CliError::unreachable(
                "not-veriboot",
                format!("{} answered with status {status} and no Veriboot error", self.target.server),
            )
            .hint("is this URL really a Veriboot service, or a proxy in front of it?"),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        let server = &self.target.server;
        let text = error.to_string();
        if text.contains("certificate") || text.contains("UnknownIssuer") || text.contains("tls") {
            return CliError::unreachable("untrusted-server", format!("cannot trust {server}: {text}"))
                .hint("give the CA of the service with --ca FILE (it is served at /ca.pem and printed by `veriboot serve`)");
        }
        CliError::unreachable("cannot-connect", format!("cannot reach {server}: {text}"))
            .hint("is the service up (`veriboot serve`), and is the URL right?")
    }
}

/// A change that is made only to what `tag` names.
fn on_condition<B>(request: ureq::RequestBuilder<B>, tag: Option<&str>) -> ureq::RequestBuilder<B> {
    match tag {
        Some(tag) => request.header("if-match", tag),
        None => request,
    }
}

/// An HTTPS client that trusts `ca_pem`, or the public roots when there is none, and follows no redirect.
pub fn http_agent(ca_pem: Option<&str>) -> Result<ureq::Agent, CliError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ureq::tls::TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if let Some(pem) = ca_pem {
        let certificates: Vec<_> = ureq::tls::parse_pem(pem.as_bytes())
            .filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(CliError::usage("bad-ca", "the CA file holds no PEM certificate"));
        }
        tls = tls.root_certs(ureq::tls::RootCerts::Specific(Arc::new(certificates)));
    } else {
        tls = tls.root_certs(ureq::tls::RootCerts::Specific(Arc::new(system_roots())));
    }
    let config = ureq::Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(Duration::from_secs(60)))
        .user_agent(concat!("veriboot/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}

/// Roots of the operating system, from the bundles that Linux distributions ship.
fn system_roots() -> Vec<ureq::tls::Certificate<'static>> {
    const BUNDLES: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let from_env = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let bundle =
        from_env.into_iter().chain(BUNDLES.iter().map(Into::into)).find_map(|p| std::fs::read(p).ok());
    ureq::tls::parse_pem(&bundle.unwrap_or_default())
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect()
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|e| {
        CliError::unreachable(
            "unexpected-answer",
            format!("the service sent an answer of another shape: {e}"),
        )
        .hint("are CLI and service of the same version? see `veriboot --version`")
    })
}

/// Percent-encodes one path segment.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(segment("web-0"), "web-0");
        assert_eq!(segment("../x?y#z/é"), "..%2Fx%3Fy%23z%2F%C3%A9");
    }
}
