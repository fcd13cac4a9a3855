//! Lists of deliveries hold what was asked for, whatever index they are read along.

use std::collections::BTreeMap;

use serde_json::json;
use veriboot_store::events::{self, NewEvent};
use veriboot_store::targets::{self, TargetRow};
use veriboot_store::{Param, StoreError, Tx, deliveries};
use veriboot_wire::{DeliveryQuery, DeliveryState, Severity};

use crate::harness::{at, on_both, target};

const EVENTS: u64 = 40;

/// The events of every target, and what became of each.
fn deliver(tx: &mut dyn Tx) -> Result<BTreeMap<(u64, &'static str), DeliveryState>, StoreError> {
    let rows: Vec<(&'static str, TargetRow)> = ["a", "b", "c"].map(|name| (name, target(name))).into();
    for (_, row) in &rows {
        targets::insert(tx, row)?;
    }
    let mut all = BTreeMap::new();
    for sequence in 1..=EVENTS {
        let event = NewEvent {
            at: at(sequence as i64),
            kind: "alert.opened",
            severity: Severity::High,
            group: None,
            scale_set: None,
            vm_id: None,
            vm_name: None,
            subject: None,
            data: &json!({}),
        };
        events::append(tx, &event)?;
        for (n, (name, row)) in rows.iter().enumerate() {
            let state = match (sequence as usize + n) % 5 {
                0 => DeliveryState::Dead,
                1 => DeliveryState::Waiting,
                _ => DeliveryState::Delivered,
            };
            tx.execute(
                "UPDATE deliveries SET state = $1 WHERE target_id = $2 AND sequence = $3",
                &[Param::from(state.as_str()), Param::from(row.id.as_str()), Param::Int(sequence as i64)],
            )?;
            all.insert((sequence, *name), state);
        }
    }
    Ok(all)
}

on_both! {
async fn every_filter_gives_its_rows_in_pages(db) {
    db.store.write(|tx| {
        let all = deliver(tx)?;
        let states = [None, Some(DeliveryState::Waiting), Some(DeliveryState::Dead), Some(DeliveryState::Delivered)];
        for state in states {
            for name in [None, Some("a"), Some("b"), Some("c"), Some("nobody")] {
                let wanted: Vec<(u64, String, DeliveryState)> = all
                    .iter()
                    .rev()
                    .filter(|((_, n), s)| name.is_none_or(|name| name == *n) && state.is_none_or(|state| state == **s))
                    .map(|((sequence, n), s)| (*sequence, (*n).to_owned(), *s))
                    .collect();
                let (mut found, mut cursor) = (Vec::new(), None);
                loop {
                    let query = DeliveryQuery { target: name.map(str::to_owned), state, limit: Some(7), cursor };
                    let page = deliveries::list(tx, &query)?;
                    found.extend(page.items.into_iter().map(|d| (d.event.sequence, d.target, d.state)));
                    cursor = page.next_cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                assert_eq!(found, wanted, "{state:?} of {name:?}");
            }
        }
        Ok(())
    }).await.unwrap();
}
}
