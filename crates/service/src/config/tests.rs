use super::*;

fn none(_: &str) -> Option<String> {
    None
}

#[test]
fn defaults_pass_their_own_check() {
    let config = Config::load(None, none).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.silence_limit_s(), 900);
    assert_eq!(config.database_url(), "sqlite:/var/lib/veriboot/veriboot.db");
}

#[test]
fn environment_wins_over_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "interval_s = 60\nlisten = \"127.0.0.1:1\"\n[tls]\nnames = [\"a.example\"]\n")
        .unwrap();
    let config = Config::load(Some(&path), |name| match name {
        "VERIBOOT_INTERVAL_S" => Some("600".into()),
        "VERIBOOT_TLS_NAMES" => Some("b.example, 192.0.2.1".into()),
        "VERIBOOT_LOG_FORMAT" => Some("json".into()),
        _ => None,
    })
    .unwrap();
    assert_eq!(config.interval_s, 600);
    assert_eq!(config.silence_limit_s(), 1800);
    assert_eq!(config.listen, "127.0.0.1:1".parse().unwrap());
    assert_eq!(config.tls.names, ["b.example", "192.0.2.1"]);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn every_setting_is_settable_and_every_field_is_documented() {
    for setting in SETTINGS {
        let value = match (setting.name, setting.kind) {
            ("listen", _) => "127.0.0.1:9",
            ("database", _) => "sqlite:/x",
            ("public_url", _) => "https://a.example",
            ("log.format", _) => "json",
            ("endorsement.expired", _) => "refuse",
            ("traces.otlp_endpoint", _) => "http://127.0.0.1:4318",
            ("silence_limit_s", _) => "4000",
            ("tokens.lifetime_s", _) => "333",
            ("inventory.sources", _) => "lab=/srv/inventory",
            ("notifications.give_up_s", _) => "3600",
            ("notifications.retention_s", _) => "86400",
            ("posture.sbat_level", _) => "2099010100",
            ("posture.dbx_revision", _) => "2024-03-01",
            ("posture.agent_version", _) => "9.9.9",
            ("posture.sweep_interval_s", _) => "120",
            (_, ValueType::Number) => "33",
            _ => "other",
        };
        let wanted = setting.env();
        let loaded = Config::load(None, |name| {
            let pair = matches!(setting.name, "tls.cert" | "tls.key" | "tls.ca")
                && name.starts_with("VERIBOOT_TLS_")
                && !matches!(name, "VERIBOOT_TLS_NAMES" | "VERIBOOT_TLS_CA");
            (name == wanted || pair).then(|| value.to_owned())
        })
        .unwrap_or_else(|e| panic!("{}: {e}", setting.name));
        assert_ne!(loaded, Config::default(), "{} changes nothing", setting.name);
    }
    // A field that the table does not know could not be set by environment nor found in the docs.
    let full = Config {
        database: Some(String::new()),
        public_url: Some(String::new()),
        silence_limit_s: Some(1),
        agent_binary: Some(PathBuf::new()),
        tls: TlsConfig {
            cert: Some(PathBuf::new()),
            key: Some(PathBuf::new()),
            ca: Some(PathBuf::new()),
            names: vec![],
        },
        notifications: NotificationConfig {
            export_dir: Some(PathBuf::new()),
            ..NotificationConfig::default()
        },
        traces: TracesConfig { otlp_endpoint: Some(String::new()), ..TracesConfig::default() },
        tokens: TokenConfig { lifetime_s: Some(1), ..TokenConfig::default() },
        posture: PostureConfig {
            dbx_revision: Some(String::new()),
            dbx_entries_aarch64: Some(1),
            sbat_level: Some(1),
            agent_version: Some(String::new()),
            ..PostureConfig::default()
        },
        ..Config::default()
    };
    let mut names = Vec::new();
    for (key, value) in toml::Table::try_from(full).unwrap() {
        match value {
            toml::Value::Table(inner) => names.extend(inner.keys().map(|k| format!("{key}.{k}"))),
            _ => names.push(key),
        }
    }
    names.sort();
    let mut documented: Vec<_> = SETTINGS.iter().map(|s| s.name.to_owned()).collect();
    documented.sort();
    assert_eq!(names, documented);
}

#[test]
fn refusals_name_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let e = Config::load(Some(&path), none).unwrap_err();
        (e.code(), e.to_string())
    };
    let (code, text) = load("intervall_s = 1\n");
    assert_eq!(code, "config-invalid");
    assert!(text.contains("intervall_s") && text.contains("line 1"), "{text}");
    assert!(load("[tls]\ncert = \"x\"\n").1.contains("tls.key"));
    assert!(load("interval_s = 0\n").1.contains("interval_s"));
    assert!(load("database = \"mysql://x\"\n").1.contains("database"));
    assert!(load("public_url = \"http://x\"\n").1.contains("public_url"));
    assert!(load("[tls]\nnames = [\"a b\"]\n").1.contains("tls.names"));
    assert!(load("[inventory]\nsources = [\"/etc/x\"]\n").1.contains("inventory.sources"));
    assert!(load("[inventory]\nsources = [\"a=vmware:/x\"]\n").1.contains("libvirt"));
    assert!(load("[inventory]\nsources = [\"a=/x\", \"a=/y\"]\n").1.contains("twice"));
    assert!(load("measured_only_groups = [\"a b\"]\n").1.contains("measured_only_groups"));
    assert!(load("interval_s = \"x").1.contains("line 1"));
    assert!(load("[posture]\nsbat_level = 2024\n").1.contains("posture.sbat_level"));
    assert!(load("[posture]\nagent_version = \"new\"\n").1.contains("posture.agent_version"));
    let e = Config::load(Some(&dir.path().join("none")), none).unwrap_err();
    assert_eq!(e.code(), "config-unreadable");
    let e = Config::load(None, |n| (n == "VERIBOOT_INTERVAL_S").then(|| "often".into())).unwrap_err();
    assert!(e.to_string().contains("VERIBOOT_INTERVAL_S"), "{e}");
}

#[test]
fn public_host_takes_only_plain_hosts() {
    for (url, host) in [
        ("https://a.example", Some("a.example")),
        ("https://a.example/", Some("a.example")),
        ("https://a.example:8443", Some("a.example:8443")),
        ("https://192.0.2.1:1", Some("192.0.2.1:1")),
        ("https://[2001:db8::1]:8443", Some("[2001:db8::1]:8443")),
        ("https://[2001:db8::1]", Some("[2001:db8::1]")),
        ("https://[2001:db8::g]", None),
        ("https://2001:db8::1", None),
        ("https://a.example:0", None),
        ("https://a.example:70000", None),
        ("https://a.example/x", None),
        ("https://user@a.example", None),
        ("https://a$(id).example", None),
        ("https://", None),
        ("http://a.example", None),
    ] {
        assert_eq!(public_host(url), host, "{url}");
    }
}

#[test]
fn documentation_is_current() {
    crate::blessed::compare("docs/configuration.md", &markdown());
}
