use veriboot_store::settings;
use veriboot_store::signing_keys::{self, Purpose, SigningKeyRow};

use crate::harness::{at, on_both};

on_both! {
async fn settings_are_set_once_or_again(db) {
    db.store.write(|tx| {
        assert_eq!(settings::value(tx, "k")?, None);
        assert_eq!(settings::value_or_insert(tx, "k", b"one")?, b"one");
        assert_eq!(settings::value_or_insert(tx, "k", b"two")?, b"one");
        settings::set(tx, "k", b"")?;
        assert_eq!(settings::value(tx, "k")?, Some(Vec::new()));
        settings::set(tx, "k", &[0, 255])?;
        assert_eq!(settings::value(tx, "k")?, Some(vec![0, 255]));
        assert!(settings::delete(tx, "k")?);
        assert!(!settings::delete(tx, "k")?);
        Ok(())
    }).await.unwrap();
}
}

on_both! {
async fn signing_keys_rotate(db) {
    let key = |kid: &str, from, until| SigningKeyRow {
        kid: kid.into(), algorithm: "ES256".into(), private_pkcs8: vec![1, 2], public_jwk: "{}".into(),
        created_at: at(0), signs_from: at(from), published_until: until,
    };
    let (one, two) = (key("one", 0, None), key("two", 100, None));
    assert!(!format!("{one:?}").contains("private"));
    db.store.write(move |tx| {
        assert_eq!(signing_keys::active(tx, at(0))?, None);
        signing_keys::insert(tx, Purpose::Result, &one)?;
        signing_keys::insert(tx, Purpose::Result, &two)?;
        assert_eq!(signing_keys::active(tx, at(99))?.as_ref(), Some(&one));
        assert_eq!(signing_keys::active(tx, at(100))?.as_ref(), Some(&two));
        assert!(signing_keys::set_published_until(tx, "one", at(200))?);
        let kids = |tx: &mut dyn veriboot_store::Tx, ms| -> Result<Vec<String>, veriboot_store::StoreError> {
            Ok(signing_keys::published(tx, at(ms))?.into_iter().map(|k| k.kid).collect())
        };
        assert_eq!(kids(tx, 0)?, ["two", "one"], "published before it signs");
        assert_eq!(kids(tx, 199)?, ["two", "one"]);
        assert_eq!(kids(tx, 200)?, ["two"]);
        Ok(())
    }).await.unwrap();
}
}
