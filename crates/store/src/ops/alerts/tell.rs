//! Events about alerts: many at once.

use std::collections::BTreeMap;

use serde_json::Value;
use veriboot_wire::{Alert, Time};

use super::{SELECT, read};
use crate::StoreError;
use crate::ops::events;
use crate::rows::query_in;
use crate::tx::Tx;

/// Something to tell of an alert.
pub(super) struct News<'a> {
    /// Kind of the event.
    pub kind: &'static str,
    /// The alert's id.
    pub id: &'a str,
    /// When.
    pub at: Time,
}

/// Appends events about alerts as they are stored by now, in this order.
pub(super) fn tell_stored(tx: &mut dyn Tx, news: &[News<'_>]) -> Result<(), StoreError> {
    if news.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = news.iter().map(|news| news.id).collect();
    let rows = query_in(tx, &format!("{SELECT} WHERE a.id"), "", &[], &ids)?;
    let stored = rows.into_iter().map(|row| read(row).map(|alert| (alert.id.clone(), alert)));
    let stored: BTreeMap<String, Alert> = stored.collect::<Result<_, _>>()?;
    let gone = || StoreError::failed("an alert that was just written is gone");
    let told = news
        .iter()
        .map(|news| Ok((news.kind, stored.get(news.id).ok_or_else(gone)?, news.at)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    tell(tx, &told)
}

/// Appends events about these alerts, in this order.
pub(super) fn tell(tx: &mut dyn Tx, told: &[(&'static str, &Alert, Time)]) -> Result<(), StoreError> {
    if told.is_empty() {
        return Ok(());
    }
    let data: Vec<Value> =
        told.iter().map(|(_, alert, _)| events::alert_data(alert)).collect::<Result<_, _>>()?;
    let events: Vec<events::NewEvent<'_>> = told
        .iter()
        .zip(&data)
        .map(|((kind, alert, at), data)| events::NewEvent {
            at: *at,
            kind,
            severity: alert.severity,
            group: Some(&alert.group),
            scale_set: alert.scale_set.as_deref(),
            vm_id: Some(&alert.vm_id),
            vm_name: Some(&alert.vm_name),
            subject: Some(&alert.id),
            data,
        })
        .collect();
    events::append_all(tx, &events)?;
    Ok(())
}
