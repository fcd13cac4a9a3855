//! Which settings, secrets and routes a target can have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;
use veriboot_wire::{MAX_ROUTE_WORDS, Route, TargetKind, TargetSecrets, TargetSettings, kind_matches};

use super::secrets::HIDDEN_PATH;
use super::{address, email, roots, webhook, words};

const MAX_URL_BYTES: usize = 2048;
const MAX_SECRET_BYTES: usize = 4096;
const MAX_CA_BYTES: usize = 128 * 1024;
const MAX_RECEIVERS: usize = 32;
/// A digest is collected over a minute to a day.
const DIGEST_S: std::ops::RangeInclusive<u32> = 60..=86_400;

/// A new key to sign with.
///
/// # Errors
/// When the system gives no randomness.
pub(crate) fn new_signing_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{}{}", webhook::SECRET_PREFIX, STANDARD.encode(bytes)))
}

/// Refuses what the kind of target has no use for, and what it cannot be told with.
///
/// # Errors
/// One sentence that names the member.
pub(crate) fn check_settings(
    kind: TargetKind,
    settings: &TargetSettings,
    secrets: &TargetSecrets,
) -> Result<(), String> {
    use TargetKind::{Alertmanager, Email, Ocsf, Syslog, Webhook};
    let http = matches!(kind, Webhook | Alertmanager | Ocsf);
    let members = [
        ("settings.url", settings.url.is_some(), http),
        ("settings.file", settings.file.is_some(), kind == Ocsf),
        ("settings.host", settings.host.is_some(), matches!(kind, Email | Syslog)),
        ("settings.port", settings.port.is_some(), matches!(kind, Email | Syslog)),
        ("settings.tls", settings.tls.is_some(), matches!(kind, Email | Syslog)),
        ("settings.username", settings.username.is_some(), kind == Email),
        ("settings.from", settings.from.is_some(), kind == Email),
        ("settings.to", !settings.to.is_empty(), kind == Email),
        ("secrets.signing_secret", secrets.signing_secret.is_some(), kind == Webhook),
        ("secrets.authorization", secrets.authorization.is_some(), http),
        ("secrets.password", secrets.password.is_some(), kind == Email),
    ];
    if let Some((member, ..)) = members.iter().find(|(_, given, meant)| *given && !meant) {
        return Err(format!("{member} has no meaning for a target of kind {kind}"));
    }
    if let Some(ca) = &settings.ca {
        if ca.len() > MAX_CA_BYTES {
            return Err(format!("settings.ca must have at most {MAX_CA_BYTES} bytes"));
        }
        roots::from_pem(ca).map_err(|reason| format!("settings.{reason}"))?;
    }
    check_secrets(secrets)?;
    match kind {
        Webhook | Alertmanager => check_url(settings),
        Ocsf => match (&settings.file, &settings.url) {
            (Some(file), None) => check_file(file),
            (None, Some(_)) => check_url(settings),
            _ => Err("a target of kind ocsf needs one of settings.url and settings.file".to_owned()),
        },
        Email => check_email(settings, secrets),
        Syslog => {
            check_host(settings)?;
            if settings.port.is_none() {
                return Err("settings.port is missing; 6514 is that of syslog over TLS".to_owned());
            }
            match settings.tls.as_deref() {
                None | Some("tls" | "none") => Ok(()),
                Some(_) => Err("settings.tls must be tls or none".to_owned()),
            }
        }
    }
}

fn check_secrets(secrets: &TargetSecrets) -> Result<(), String> {
    for (member, value) in
        [("secrets.authorization", &secrets.authorization), ("secrets.password", &secrets.password)]
    {
        let Some(value) = value else { continue };
        if value.is_empty()
            || value.len() > MAX_SECRET_BYTES
            || !value.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        {
            return Err(format!("{member} must be 1 to {MAX_SECRET_BYTES} printable ASCII characters"));
        }
    }
    match &secrets.signing_secret {
        Some(secret) => webhook::key(secret).map(drop).map_err(|reason| format!("secrets.{reason}")),
        None => Ok(()),
    }
}

fn check_url(settings: &TargetSettings) -> Result<(), String> {
    let text = settings.url.as_deref().ok_or("settings.url is missing")?;
    if text.len() > MAX_URL_BYTES {
        return Err(format!("settings.url must have at most {MAX_URL_BYTES} bytes"));
    }
    if text.ends_with(HIDDEN_PATH) {
        return Err("settings.url is as it is shown to those that may not see all of it".to_owned());
    }
    let url: Uri = text.parse().map_err(|_| "settings.url is no URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("settings.url must start with https:// or http://".to_owned());
    }
    let authority = url.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or("settings.url names no host")?;
    if authority.as_str().contains('@') {
        return Err(
            "settings.url must not hold a user or password: secrets.authorization is for them".to_owned()
        );
    }
    check_literal("settings.url", authority.host(), settings.allow_local)
}

/// What is wrong with an address that needs no look-up is said at once; names are looked up when they are used.
fn check_literal(member: &str, host: &str, allow_local: bool) -> Result<(), String> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let named = bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost");
    let local = bare.parse().map_or(named, address::is_local);
    if local && !allow_local {
        return Err(format!(
            "{member} is an address of this machine, its link or of cloud metadata: set settings.allow_local to permit that"
        ));
    }
    Ok(())
}

fn check_host(settings: &TargetSettings) -> Result<(), String> {
    let host = settings.host.as_deref().ok_or("settings.host is missing")?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if bare.parse::<std::net::IpAddr>().is_err() && !crate::config::is_host_name(host) {
        return Err("settings.host is neither a host name nor an IP address".to_owned());
    }
    if settings.port == Some(0) {
        return Err("settings.port must be 1 to 65535".to_owned());
    }
    check_literal("settings.host", host, settings.allow_local)
}

fn check_email(settings: &TargetSettings, secrets: &TargetSecrets) -> Result<(), String> {
    check_host(settings)?;
    let mode = settings.tls.as_deref().unwrap_or("starttls");
    if !matches!(mode, "starttls" | "tls" | "none") {
        return Err("settings.tls must be starttls, tls or none".to_owned());
    }
    if mode == "none" && (secrets.password.is_some() || !settings.allow_local) {
        return Err(
            "settings.tls none is only for a server on this machine (allow_local), and without password"
                .to_owned(),
        );
    }
    if settings.username.is_some() != secrets.password.is_some() {
        return Err("settings.username and secrets.password go together".to_owned());
    }
    let from = settings.from.as_deref().ok_or("settings.from is missing")?;
    email::mailbox(from).map_err(|reason| format!("settings.from: {reason}"))?;
    if settings.to.is_empty() || settings.to.len() > MAX_RECEIVERS {
        return Err(format!("settings.to must have 1 to {MAX_RECEIVERS} addresses"));
    }
    for to in &settings.to {
        email::mailbox(to).map_err(|reason| format!("settings.to: {reason}"))?;
    }
    Ok(())
}

/// A bare name: it stays inside of the folder for exports.
fn check_file(name: &str) -> Result<(), String> {
    if crate::api::is_name(name) && !name.starts_with('.') {
        Ok(())
    } else {
        Err("settings.file must be a name of 1 to 63 characters of A-Z a-z 0-9 . _ - that does not start with a dot; \
             the folder is notifications.export_dir of the service"
            .to_owned())
    }
}

/// Refuses routes that no event could take, or that the kind of target cannot keep.
///
/// # Errors
/// One sentence that names the member.
pub(crate) fn check_route(kind: TargetKind, route: &Route) -> Result<(), String> {
    for (member, words) in [
        ("groups", route.groups.len()),
        ("kinds", route.kinds.len()),
        ("alert_types", route.alert_types.len()),
        ("reasons", route.reasons.len()),
    ] {
        if words > MAX_ROUTE_WORDS {
            return Err(format!("route.{member} must have at most {MAX_ROUTE_WORDS} words"));
        }
    }
    if let Some(group) = route.groups.iter().find(|group| !crate::api::is_name(group)) {
        return Err(format!("route.groups: {:?} is no name of a group", words::excerpt(group)));
    }
    for pattern in &route.kinds {
        let mut known = veriboot_wire::EVENT_KINDS.iter().map(|(kind, _)| *kind);
        if !known.any(|event| veriboot_wire::kind_matches(pattern, event) && kind.speaks_of(event)) {
            return Err(format!(
                "route.kinds: {:?} is no kind of event that a target of kind {kind} is told; docs/events.md lists them",
                words::excerpt(pattern)
            ));
        }
    }
    if route.grouped && !kind.speaks_of("incident.opened") {
        return Err(format!(
            "route.grouped has no meaning for a target of kind {kind}: it is told of alerts, and not of incidents"
        ));
    }
    let known = |name: &String| veriboot_wire::ALERT_TYPES.iter().any(|known| known.id == name);
    if let Some(unknown) = route.alert_types.iter().find(|name| !known(name)) {
        return Err(format!(
            "route.alert_types: {:?} is no type of alert; docs/alerts.md lists them",
            words::excerpt(unknown)
        ));
    }
    let of_alerts = |kind: &str| ["alert.*", "incident.*"].iter().any(|family| kind_matches(family, kind));
    if (!route.alert_types.is_empty() || !route.reasons.is_empty())
        && !route.kinds.is_empty()
        && !route.kinds.iter().any(|pattern| of_alerts(pattern))
    {
        return Err("route.kinds has no kind of event about alerts or incidents, which alone have the types and reasons \
                    of route.alert_types and route.reasons"
            .to_owned());
    }
    match route.digest_s {
        None => Ok(()),
        Some(_) if !matches!(kind, TargetKind::Webhook | TargetKind::Email) => {
            Err(format!("route.digest_s has no meaning for a target of kind {kind}: it is told at once"))
        }
        Some(seconds) if !DIGEST_S.contains(&seconds) => {
            Err(format!("route.digest_s must be {} to {}", DIGEST_S.start(), DIGEST_S.end()))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str, allow_local: bool) -> Result<(), String> {
        let settings = TargetSettings { url: Some(url.into()), allow_local, ..TargetSettings::default() };
        check_settings(TargetKind::Webhook, &settings, &TargetSecrets::default())
    }

    #[test]
    fn urls_are_http_without_credentials_and_not_of_this_machine() {
        for good in ["https://hooks.example.com/x?y=1", "http://10.0.0.7:8080/", "https://[2001:db8::1]/"] {
            assert_eq!(url(good, false), Ok(()), "{good}");
        }
        for bad in [
            "",
            "https://hooks.example.com/…",
            "x",
            "/x",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://x/",
            "https://",
            "https://u:p@example.com/",
            "http://127.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://localhost:9093",
            "http://LOCALHOST/",
            "http://a.localhost/",
        ] {
            assert!(url(bad, false).is_err(), "{bad}");
        }
        assert_eq!(url("http://127.0.0.1:9093", true), Ok(()));
        assert!(url(&format!("https://example.com/{}", "x".repeat(3000)), false).is_err());
    }

    #[test]
    fn members_of_another_kind_are_refused() {
        let settings = TargetSettings {
            url: Some("https://example.com".into()),
            to: vec!["a@example.com".into()],
            ..TargetSettings::default()
        };
        let said = check_settings(TargetKind::Webhook, &settings, &TargetSecrets::default()).unwrap_err();
        assert_eq!(said, "settings.to has no meaning for a target of kind webhook");
    }

    #[test]
    fn files_stay_in_their_folder() {
        let file = |name: &str| {
            let settings = TargetSettings { file: Some(name.into()), ..TargetSettings::default() };
            check_settings(TargetKind::Ocsf, &settings, &TargetSecrets::default())
        };
        assert_eq!(file("findings.jsonl"), Ok(()));
        for bad in ["", ".", "..", "../x", "/etc/passwd", "a/b", ".hidden", "a\0b"] {
            assert!(file(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mail_needs_a_server_a_sender_and_receivers() {
        let good = TargetSettings {
            host: Some("mail.example.com".into()),
            port: Some(587),
            username: Some("veriboot".into()),
            from: Some("Veriboot <veriboot@example.com>".into()),
            to: vec!["ops@example.com".into()],
            ..TargetSettings::default()
        };
        let secrets = TargetSecrets { password: Some("p w".into()), ..TargetSecrets::default() };
        let check = |settings: &TargetSettings| check_settings(TargetKind::Email, settings, &secrets);
        assert_eq!(check(&good), Ok(()));
        let cases: [fn(&mut TargetSettings); 8] = [
            |s| s.host = None,
            |s| s.host = Some("a b".into()),
            |s| s.port = Some(0),
            |s| s.from = None,
            |s| s.from = Some("x\r\nBcc: y@example.com".into()),
            |s| s.to.clear(),
            |s| s.to.push("nobody".into()),
            |s| s.tls = Some("none".into()),
        ];
        for (n, change) in cases.iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(check(&bad).is_err(), "case {n}");
        }
    }

    #[test]
    fn a_route_names_what_can_happen() {
        let kinds = |kind, words: &[&str]| {
            let kinds = words.iter().map(|word| (*word).to_owned()).collect();
            check_route(kind, &Route { kinds, ..Route::default() })
        };
        assert_eq!(kinds(TargetKind::Webhook, &["alert.*", "vm.enrolled"]), Ok(()));
        assert!(kinds(TargetKind::Webhook, &["alerts.*"]).is_err());
        assert!(kinds(TargetKind::Alertmanager, &["vm.enrolled"]).is_err());
        let grouped = |kind| check_route(kind, &Route { grouped: true, ..Route::default() });
        assert_eq!(grouped(TargetKind::Webhook), Ok(()));
        assert!(grouped(TargetKind::Alertmanager).is_err() && grouped(TargetKind::Ocsf).is_err());
        let about = |kinds: &[&str], alert_type: &str| {
            let kinds = kinds.iter().map(|word| (*word).to_owned()).collect();
            let alert_types = vec![alert_type.to_owned()];
            check_route(TargetKind::Webhook, &Route { kinds, alert_types, ..Route::default() })
        };
        assert_eq!(about(&[], "vm-appraisal-failed"), Ok(()));
        assert_eq!(about(&["incident.*", "vm.enrolled"], "vm-appraisal-failed"), Ok(()));
        assert!(about(&["vm.enrolled"], "vm-appraisal-failed").unwrap_err().contains("route.kinds"));
        assert!(about(&[], "nothing").unwrap_err().contains("route.alert_types"));
        let digest = |kind, digest_s| check_route(kind, &Route { digest_s, ..Route::default() });
        assert_eq!(digest(TargetKind::Email, Some(3600)), Ok(()));
        assert!(digest(TargetKind::Email, Some(1)).is_err());
        assert!(digest(TargetKind::Syslog, Some(3600)).is_err());
    }
}
