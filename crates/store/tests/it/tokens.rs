use veriboot_store::api_tokens::{self, ApiTokenRow, Role};
use veriboot_store::enrolments::{self, Bounds, EnrolmentRow, MAX_ATTEMPTS};
use veriboot_store::join_tokens::{self, JoinRefusal};
use veriboot_store::{Constraint, StoreError, new_id};
use veriboot_wire::{JoinToken, MachineInfo};

use crate::harness::{at, on_both};

pub fn join_token(uses_left: u32) -> JoinToken {
    JoinToken {
        id: new_id(at(0)),
        group: "default".into(),
        scale_set: Some("web".into()),
        image: None,
        uses_left,
        expires_at: at(1000),
        created_at: at(0),
        created_by: "admin".into(),
        comment: Some("for web".into()),
        revoked: false,
    }
}

on_both! {
async fn a_join_token_is_used_up(db) {
    let token = join_token(2);
    let inserted = token.clone();
    let used = db.store.write(move |tx| {
        join_tokens::insert(tx, &inserted, &[1; 32])?;
        let id = &inserted.id;
        Ok([
            join_tokens::consume(tx, "nobody", at(1))?,
            join_tokens::consume(tx, id, at(1000))?,
            join_tokens::consume(tx, id, at(999))?,
            join_tokens::consume(tx, id, at(999))?,
            join_tokens::consume(tx, id, at(999))?,
        ])
    }).await.unwrap();
    let left = |uses_left| Ok(JoinToken { uses_left, ..token.clone() });
    assert_eq!(
        used,
        [Err(JoinRefusal::Unknown), Err(JoinRefusal::Expired), left(1), left(0), Err(JoinRefusal::UsedUp)]
    );
    let id = token.id.clone();
    let found = db.store.write(move |tx| {
        assert!(join_tokens::revoke(tx, &id)?);
        assert!(!join_tokens::revoke(tx, &id)?);
        assert_eq!(join_tokens::consume(tx, &id, at(1))?, Err(JoinRefusal::Revoked));
        assert_eq!(join_tokens::by_secret_sha256(tx, &[2; 32])?, None);
        join_tokens::by_secret_sha256(tx, &[1; 32])
    }).await.unwrap();
    assert_eq!(found, Some(JoinToken { uses_left: 0, revoked: true, ..token }));
    let twin = join_token(1);
    let error = db.store.write(move |tx| join_tokens::insert(tx, &twin, &[1; 32])).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict { constraint: Constraint::TokenSecret });
}
}

on_both! {
async fn join_tokens_are_listed_newest_first(db) {
    db.store.write(move |tx| {
        for n in 0..5_u8 {
            let mut token = join_token(1);
            token.created_at = at(i64::from(n / 2));
            join_tokens::insert(tx, &token, &[n; 32])?;
        }
        Ok(())
    }).await.unwrap();
    let (one, two) = db.store.read(|tx| {
        let one = join_tokens::list(tx, Some(3), None)?;
        let two = join_tokens::list(tx, Some(3), one.next_cursor.as_deref())?;
        Ok((one, two))
    }).await.unwrap();
    let times: Vec<_> = one.items.iter().chain(&two.items).map(|t| t.created_at).collect();
    assert_eq!(times, [at(2), at(1), at(1), at(0), at(0)]);
    assert_eq!(two.next_cursor, None);
}
}

on_both! {
async fn api_tokens_expire_and_are_revoked(db) {
    let token = |name: &str, role, expires_at| ApiTokenRow {
        id: new_id(at(0)), name: name.into(), role, created_at: at(0), created_by: "service".into(), expires_at,
        revoked: false,
    };
    let (root, guest, twin) =
        (token("root", Role::Admin, None), token("guest", Role::Viewer, Some(at(10))), token("root", Role::Viewer, None));
    let (a, b) = (root.clone(), guest.clone());
    db.store.write(move |tx| {
        assert_eq!(api_tokens::count_admins(tx, at(0))?, 0);
        api_tokens::insert(tx, &a, &[1; 32])?;
        api_tokens::insert(tx, &b, &[2; 32])?;
        assert_eq!(api_tokens::by_secret_sha256(tx, &[1; 32], at(1 << 40))?.as_ref(), Some(&a));
        assert_eq!(api_tokens::by_secret_sha256(tx, &[2; 32], at(9))?.as_ref(), Some(&b));
        assert_eq!(api_tokens::by_secret_sha256(tx, &[2; 32], at(10))?, None);
        assert_eq!(api_tokens::count_admins(tx, at(0))?, 1);
        Ok(())
    }).await.unwrap();
    let again = twin.clone();
    let error = db.store.write(move |tx| api_tokens::insert(tx, &again, &[3; 32])).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict { constraint: Constraint::ApiTokenName });
    let listed = db.store.write(move |tx| {
        assert!(api_tokens::revoke(tx, &root.id)?);
        assert_eq!(api_tokens::by_secret_sha256(tx, &[1; 32], at(1))?, None);
        assert_eq!(api_tokens::count_admins(tx, at(0))?, 0);
        api_tokens::insert(tx, &twin, &[3; 32])?;
        assert!(api_tokens::by_id(tx, &root.id)?.unwrap().revoked);
        api_tokens::list(tx, None, None)
    }).await.unwrap();
    assert_eq!(listed.items.len(), 3);
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
}
}

pub fn enrolment(n: u8) -> EnrolmentRow {
    EnrolmentRow {
        id: new_id(at(0)),
        created_at: at(0),
        expires_at: at(300_000),
        attempts: 0,
        secret_sha256: vec![n; 32],
        join_token_id: Some("t".into()),
        vm_id: None,
        name: "web-0".into(),
        machine: MachineInfo::default(),
        ek_sha256: "ek".into(),
        ek_public: vec![1],
        ek_certificate: Some(vec![2]),
        ak_public: vec![3],
        ak_name: vec![4],
    }
}

on_both! {
async fn an_enrolment_is_taken_once_and_tried_a_few_times(db) {
    let row = enrolment(1);
    db.store.write(move |tx| {
        enrolments::insert(tx, &row, BOUNDS)?;
        assert_eq!(enrolments::attempt(tx, "nobody", at(1))?, None);
        assert_eq!(enrolments::attempt(tx, &row.id, at(300_000))?, None, "expired");
        let first = enrolments::attempt(tx, &row.id, at(1))?.unwrap();
        assert_eq!(first, EnrolmentRow { attempts: 1, ..row.clone() });
        for _ in 1..MAX_ATTEMPTS {
            assert!(enrolments::attempt(tx, &row.id, at(1))?.is_some());
        }
        assert_eq!(enrolments::attempt(tx, &row.id, at(1))?, None, "no attempts left");
        assert!(enrolments::take(tx, &row.id)?);
        assert!(!enrolments::take(tx, &row.id)?);
        Ok(())
    }).await.unwrap();
}
}

pub const BOUNDS: Bounds = Bounds { per_ek: 3, per_join_token: 10, by_join_tokens: 10 };

on_both! {
async fn pending_enrolments_are_bounded(db) {
    let of = |ek: u8, token: Option<&str>, ms: i64| EnrolmentRow {
        ek_sha256: format!("ek{ek}"),
        join_token_id: token.map(Into::into),
        created_at: at(ms),
        expires_at: at(ms + 300_000),
        ..enrolment(ek)
    };
    let bounds = Bounds { per_ek: 2, per_join_token: 3, by_join_tokens: 5 };
    let add = async |row: EnrolmentRow| {
        db.store.write(move |tx| enrolments::insert(tx, &row, bounds)).await.map_err(|e| e.code())
    };
    // Of one EK the oldest gives way, however often somebody asks; the newest can be answered.
    let rows: Vec<_> = (0..20).map(|n| of(1, None, n)).collect();
    for row in &rows {
        assert_eq!(add(row.clone()).await, Ok(()));
    }
    let there = db.store.write(move |tx| {
        rows.iter().map(|row| Ok(enrolments::attempt(tx, &row.id, at(30))?.is_some())).collect::<Result<Vec<_>, StoreError>>()
    }).await.unwrap();
    assert_eq!(there.iter().filter(|t| **t).count(), 2);
    assert_eq!(there[18..], [true, true]);
    // One join token fills its own room only, and one EK does not fill even that.
    for _ in 0..5 {
        assert_eq!(add(of(2, Some("a"), 40)).await, Ok(()));
    }
    assert_eq!(add(of(3, Some("a"), 40)).await, Ok(()));
    assert_eq!(add(of(4, Some("a"), 40)).await, Err("limit-reached"));
    assert_eq!(add(of(5, Some("b"), 40)).await, Ok(()));
    assert_eq!(add(of(6, Some("b"), 40)).await, Ok(()));
    assert_eq!(add(of(7, Some("b"), 40)).await, Err("limit-reached"), "five by all join tokens");
    // TPMs that are known need no join token and are kept out by none.
    assert_eq!(add(of(8, None, 50)).await, Ok(()));
    // What has expired makes room.
    assert_eq!(add(of(4, Some("a"), 300_040)).await, Ok(()));
    let left = db.store.write(|tx| enrolments::purge_expired(tx, at(700_000))).await.unwrap();
    assert_eq!(left, 2, "the known one of 50 and the last");
}
}
