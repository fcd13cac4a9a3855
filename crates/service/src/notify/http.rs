//! One bounded POST: no redirects, no proxy, no more of the answer than an error text needs.

use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::rfc2822;
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use veriboot_store::targets::TargetRow;
use veriboot_wire::{TargetSettings, Time};

use super::tell::SendError;
use super::{address, roots};

/// Time for the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// A request to make.
pub(super) struct Post<'a> {
    pub target: &'a TargetRow,
    /// Below the target's URL; empty for the URL itself.
    pub path: &'a str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub now: Time,
}

/// Resolves a name and keeps what may be connected to; the connection is made to these addresses.
#[derive(Debug)]
struct Permitted {
    allow_local: bool,
    inner: DefaultResolver,
}

/// How a refused address gets through an error type that is not ours.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

impl Resolver for Permitted {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default();
        let permitted = address::permitted(host, found.iter().copied(), self.allow_local)
            .map_err(|error| ureq::Error::Other(Box::new(Refused(error.message().to_owned()))))?;
        let mut kept = self.empty();
        for address in permitted {
            kept.push(address);
        }
        Ok(kept)
    }
}

fn url(settings: &TargetSettings, path: &str) -> Result<String, SendError> {
    let base =
        settings.url.as_deref().ok_or_else(|| SendError::refused("the target has no url".to_owned()))?;
    Ok(if path.is_empty() { base.to_owned() } else { format!("{}{path}", base.trim_end_matches('/')) })
}

/// What time it is for a receiver, whatever else it answers below its URL; `None` when it does not say. No cache answers for
/// it, or says how old its answer is.
pub(super) fn date(
    target: &TargetRow,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<Option<Time>, SendError> {
    let mut builder =
        agent(&target.settings)?.get(url(&target.settings, path)?).header("cache-control", "no-cache");
    for (name, value) in headers {
        builder = builder.header(*name, value);
    }
    let response = builder.call().map_err(|error| SendError::failed(told(&error)))?;
    Ok(date_of(response.headers()))
}

/// `Date` is when an answer was made, and `Age` for how long caches kept it since (RFC 9111, section 5.1). An answer with an
/// `Age` that is no number of seconds may be of any age.
fn date_of(headers: &HeaderMap) -> Option<Time> {
    let text = headers.get("date")?.to_str().ok()?;
    let age_s = match headers.get("age") {
        Some(age) => i64::from(age.to_str().ok()?.trim().parse::<u32>().ok()?),
        None => 0,
    };
    Some(Time::from_unix_ms(rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond()).plus_s(age_s))
}

/// Sends it, and gives the `Date` of the answer; what is not a 2xx answer is an error.
pub(super) fn post(request: Post<'_>) -> Result<Option<Time>, SendError> {
    let Post { target, path, headers, body, now } = request;
    let settings = &target.settings;
    let mut builder = agent(settings)?.post(url(settings, path)?);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    let mut response = builder.send(body).map_err(|error| SendError::failed(told(&error)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(date_of(response.headers()));
    }
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after_s = retry_after.and_then(|value| retry_after_s(value, now));
    let answer = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    let message = match (status.is_redirection(), answer.trim().is_empty()) {
        (true, _) => format!("the receiver answered {} and redirects are not followed", status.as_u16()),
        (false, true) => format!("the receiver answered {}", status.as_u16()),
        (false, false) => format!("the receiver answered {}: {answer}", status.as_u16()),
    };
    let error = match is_refusal(status.as_u16()) {
        true => SendError::refused(message),
        false => SendError::failed(message),
    };
    Err(error.after(retry_after_s))
}

/// Whether an answer says that the receiver understood the message and does not want it. Everything else passes, or
/// somebody can mend it at the receiver or at the target: it is kept until it is too old.
fn is_refusal(status: u16) -> bool {
    !matches!(status, 300..=399 | 401..=405 | 407 | 408 | 421 | 423 | 425 | 429 | 500..)
}

fn agent(settings: &TargetSettings) -> Result<ureq::Agent, SendError> {
    let roots = roots::roots(settings.ca.as_deref())?;
    let roots: Vec<Certificate<'static>> =
        roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        // A proxy of the environment would resolve names itself, past the check of addresses.
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(16 * 1024)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("veriboot/", env!("CARGO_PKG_VERSION")))
        .build();
    let resolver = Permitted { allow_local: settings.allow_local, inner: DefaultResolver::default() };
    Ok(ureq::Agent::with_parts(config, DefaultConnector::default(), resolver))
}

fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Other(other) if other.is::<Refused>() => other.to_string(),
        ureq::Error::Timeout(what) => {
            format!("no answer within {} s ({what})", TIMEOUT.as_secs())
        }
        error => format!("the receiver cannot be reached: {}", error),
    }
}

/// Seconds, or the time from now to a date.
fn retry_after_s(text: &str, now: Time) -> Option<u32> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(seconds);
    }
    let at = rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    u32::try_from(at.saturating_sub(now.unix_ms()).max(0) / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_understood_is_refused() {
        for kept in
            [301, 307, 308, 401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 429, 500, 501, 503, 599, 999]
        {
            assert!(!is_refusal(kept), "{kept}");
        }
        for refused in [400, 406, 409, 410, 411, 413, 414, 415, 422, 431, 451] {
            assert!(is_refusal(refused), "{refused}");
        }
    }

    #[test]
    fn an_answer_of_a_cache_is_as_old_as_it_says() {
        let date = |age: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
            if let Some(age) = age {
                headers.insert("age", age.parse().unwrap());
            }
            date_of(&headers).map(|at| at.unix_ms() / 1000 - 784_111_777)
        };
        assert_eq!((date(None), date(Some("0")), date(Some(" 3600 "))), (Some(0), Some(0), Some(3600)));
        assert_eq!(date(Some("4294967295")), Some(4_294_967_295));
        for bad in ["", "-1", "1.5", "old", "99999999999999999999"] {
            assert_eq!(date(Some(bad)), None, "{bad}");
        }
        assert_eq!(date_of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_receiver_says_when_to_come_back_in_seconds_or_as_a_date() {
        let now = Time::from_unix_ms(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        assert_eq!(retry_after_s("120", now), Some(120));
        assert_eq!(retry_after_s("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(60));
        assert_eq!(retry_after_s("Sun, 06 Nov 1994 08:40:00 GMT", now), Some(0));
        for bad in ["", "-1", "soon", "1e9", "99999999999999999999"] {
            assert_eq!(retry_after_s(bad, now), None, "{bad}");
        }
    }
}
