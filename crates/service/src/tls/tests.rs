use super::*;

fn config(dir: &Path) -> Config {
    Config { data_dir: dir.to_owned(), ..Config::default() }
}

const NOW: i64 = 1_763_748_240_000;

#[test]
fn names_are_those_of_the_configuration_and_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.listen = "192.0.2.1:8443".parse().unwrap();
    config.public_url = Some("https://[2001:db8::1]:8443/".into());
    config.tls.names = vec!["B.example".into(), "127.0.0.1".into(), "2001:DB8:0::2".into()];
    let names = names(&config);
    for name in ["localhost", "127.0.0.1", "::1", "192.0.2.1", "2001:db8::1", "b.example", "2001:db8::2"] {
        assert_eq!(names.iter().filter(|n| *n == name).count(), 1, "{name} in {names:?}");
    }
}

#[test]
fn an_interrupted_first_start_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let now = Time::from_unix_ms(NOW);
    // The key is there, the certificate is not: the process died between the two.
    write_secret(&dir.path().join("ca.key"), KeyPair::generate().unwrap().serialize_pem().as_bytes())
        .unwrap();
    let first = load(&config, now).unwrap();
    assert_eq!(load(&config, now).unwrap().ca_sha256, first.ca_sha256);
}

#[test]
fn damaged_files_are_refused_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let now = Time::from_unix_ms(NOW);
    load(&config, now).unwrap();
    for name in ["ca.pem", "ca.key", "tls.key"] {
        let path = dir.path().join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(load(&config, now).unwrap_err().code(), "certificate-unusable", "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), b"garbage");
        std::fs::write(&path, good).unwrap();
    }
    // The leaf is nothing that somebody trusts by itself: it is made again.
    std::fs::write(dir.path().join("tls.pem"), "garbage").unwrap();
    load(&config, now).unwrap();
}

#[test]
fn the_pin_is_that_of_the_leaf_key() {
    let dir = tempfile::tempdir().unwrap();
    let identity = load(&config(dir.path()), Time::from_unix_ms(NOW)).unwrap();
    let key = KeyPair::from_pem(&read_secret(&dir.path().join("tls.key")).unwrap()).unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    assert_eq!(identity.pin, STANDARD.encode(digest(&SHA256, &spki)));
    assert!(identity.expires_at > Time::from_unix_ms(NOW).plus_s(80 * DAY_S));
}
