//! What of a target only an admin may see, and how it is kept out of what others read.
//!
//! Paths and queries of URLs are secrets too: the address of a chat's webhook is all that it takes to write there. A
//! receiver may repeat in its answer what it was told, headers and address included, and the answer becomes a stored error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;
use veriboot_store::targets::TargetRow;
use veriboot_wire::TargetSettings;

/// What stands for the path and query of a URL.
pub(super) const HIDDEN_PATH: &str = "/…";
/// What stands for a secret in a text.
const HIDDEN: &str = "***";
/// Bytes of a part of a path from which on it is looked for by itself: shorter ones are words.
const MIN_PART: usize = 8;

/// A URL without what may be secret of it: `https://HOST[:PORT]/…`.
fn shown_url(url: &str) -> String {
    let parsed: Option<Uri> = url.parse().ok();
    let Some((scheme, host)) =
        parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?.as_str())))
    else {
        return HIDDEN_PATH.to_owned();
    };
    let hidden = parsed.as_ref().and_then(Uri::path_and_query).is_some_and(|rest| rest.as_str() != "/");
    format!("{scheme}://{host}{}", if hidden { HIDDEN_PATH } else { "" })
}

/// Settings as everybody may see them.
pub(crate) fn shown_settings(settings: &TargetSettings) -> TargetSettings {
    TargetSettings { url: settings.url.as_deref().map(shown_url), ..settings.clone() }
}

/// The secrets of a target in the forms in which a receiver may repeat them.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(target: &TargetRow) -> Self {
        let mut known = Vec::new();
        let secrets = &target.secrets;
        known.extend(secrets.signing_secret.clone());
        if let Some(value) = &secrets.authorization {
            known.push(value.clone());
            if let Some((_, credential)) = value.split_once(' ') {
                known.push(credential.trim().to_owned());
                let decoded = STANDARD.decode(credential.trim()).ok().and_then(|b| String::from_utf8(b).ok());
                if let Some((user, password)) = decoded.as_deref().and_then(|both| both.split_once(':')) {
                    known.extend([format!("{user}:{password}"), password.to_owned()]);
                }
            }
        }
        if let Some(password) = &secrets.password {
            let user = target.settings.username.as_deref().unwrap_or_default();
            known.extend([
                password.clone(),
                STANDARD.encode(password),
                STANDARD.encode(format!("\0{user}\0{password}")),
            ]);
        }
        if let Some(uri) = target.settings.url.as_deref().and_then(|url| url.parse::<Uri>().ok()) {
            let path = uri.path();
            if path.len() > 1 {
                known.push(path.to_owned());
            }
            known.extend(uri.query().map(str::to_owned));
            let values = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').nth(1));
            let parts = path.split('/').chain(values).filter(|part| part.len() >= MIN_PART);
            known.extend(parts.map(str::to_owned));
        }
        let mut forms: Vec<String> = known.iter().flat_map(|text| forms(text)).collect();
        forms.retain(|form| !form.is_empty());
        forms.sort_unstable();
        forms.dedup();
        Self(forms)
    }

    /// A text without them, in letters of whatever case.
    pub(super) fn out_of(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let mut found: Vec<(usize, usize)> = Vec::new();
        for secret in &self.0 {
            let mut from = 0;
            while let Some(at) = lower.get(from..).and_then(|rest| rest.find(secret)) {
                let (start, end) = (from + at, from + at + secret.len());
                found.push((start, end));
                // The next one may begin within this one.
                from = lower
                    .get(start..)
                    .and_then(|rest| rest.chars().next())
                    .map_or(end, |c| start + c.len_utf8());
            }
        }
        found.sort_unstable();
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        for (start, end) in found {
            if start >= done {
                out.push_str(text.get(done..start).unwrap_or_default());
                out.push_str(HIDDEN);
            }
            done = done.max(end);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }
}

/// A text as it is, and quoted for JSON, HTML and URLs; lower case.
fn forms(text: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(text).to_string();
    let json = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let html = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    let percent = |all: bool| -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (!all && b == b'/');
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
    };
    [text.to_owned(), json.replace('/', "\\/"), json, html, percent(true), percent(false)]
        .map(|form| form.to_ascii_lowercase())
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use veriboot_wire::{Route, TargetKind, TargetSecrets, Time};

    fn target(url: &str, secrets: TargetSecrets) -> TargetRow {
        let at = Time::from_unix_ms(0);
        let settings = TargetSettings {
            url: Some(url.into()),
            username: Some("veriboot".into()),
            ..TargetSettings::default()
        };
        TargetRow {
            id: "1".into(),
            name: "t".into(),
            kind: TargetKind::Webhook,
            enabled: true,
            settings,
            secrets,
            route: Route::default(),
            revision: 1,
            created_at: at,
            created_by: "ann".into(),
            changed_at: at,
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            ("https://hooks.example.com/services/T0/B0/XYZ", "https://hooks.example.com/…"),
            ("http://[2001:db8::1]:8080/?token=x", "http://[2001:db8::1]:8080/…"),
            ("https://am.example.com:9093", "https://am.example.com:9093"),
            ("https://am.example.com/", "https://am.example.com"),
            ("no url", "/…"),
        ] {
            assert_eq!(shown_url(url), shown, "{url}");
        }
    }

    #[test]
    fn nothing_that_a_receiver_repeats_gets_out() {
        let secrets = TargetSecrets {
            signing_secret: Some("whsec_QUJDREVG".into()),
            authorization: Some("Basic YW5uOm9wZW4gc2VzYW1lLzw+".into()), // ann:open sesame/<>
            password: Some("pa\"ss/wörd&".into()),
        };
        let url = "https://hooks.example.com/services/T0/secretpart99?key=0123456789&b=c";
        let secrets = Secrets::of(&target(url, secrets));
        for said in [
            "authorization: Basic YW5uOm9wZW4gc2VzYW1lLzw+",
            "AUTHORIZATION: BASIC YW5UOM9WZW4GC2VZYW1LLZW+",
            "token YW5uOm9wZW4gc2VzYW1lLzw+ is wrong",
            "no ann:open sesame/<> here",
            "no open%20sesame%2F%3C%3E here",
            "POST /services/T0/secretpart99?key=0123456789&b=c HTTP/1.1",
            "no route services/secretpart99",
            "bad key 0123456789",
            "signed with whsec_QUJDREVG",
            r#"{"password":"pa\"ss/wörd&"}"#,
            r#"{"password":"pa\"ss\/wörd&"}"#,
            "pa&quot;ss/wörd&amp;",
            "pa%22ss%2fw%c3%b6rd%26",
            "535 cGEic3Mvd8O2cmQm",
            "535 AHZlcmlib290AHBhInNzL3fDtnJkJg==",
            "whsec_QUJDREVGwhsec_QUJDREVG",
        ] {
            let told = secrets.out_of(said);
            assert!(told.contains(HIDDEN), "{told}");
            for word in ["yw5u", "open", "secretpart99", "0123456789", "qujd", "ss", "cgeic", "ahzl"] {
                assert!(
                    !told.to_lowercase().replace("password", "").replace("services", "").contains(word),
                    "{word}: {told}"
                );
            }
        }
        assert_eq!(secrets.out_of("nothing to hide, öäü"), "nothing to hide, öäü");
        assert_eq!(Secrets(vec!["aa".into()]).out_of("xaaay"), "x***y");
        assert_eq!(Secrets(vec!["é".into()]).out_of("éé"), "******");
    }
}
