//! How the score went: a point per group and hour.

use veriboot_wire::Time;

use crate::StoreError;
use crate::tx::{Tx, params};

/// Points of one trend.
const MAX_POINTS: u32 = 10_000;
/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

/// What a group came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPoint {
    /// The group; empty for the fleet.
    pub group: String,
    /// Sum of the weights of its healthy assessments.
    pub healthy_weight: u64,
    /// Sum of the weights of those that apply.
    pub applicable_weight: u64,
    /// Resources in it.
    pub resources: u64,
}

/// What a group came to in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Start of the hour.
    pub hour: Time,
    /// Sum of the weights of its healthy assessments.
    pub healthy_weight: u64,
    /// Sum of the weights of those that apply.
    pub applicable_weight: u64,
    /// Resources in it.
    pub resources: u64,
}

/// Notes points of the hour of `now`; a later one of the same hour takes the place of an earlier one.
pub fn put_points(tx: &mut dyn Tx, points: &[NewPoint], now: Time) -> Result<(), StoreError> {
    let hour = now.unix_ms().div_euclid(HOUR_MS) * HOUR_MS;
    let sql = "INSERT INTO score_points (group_name, hour, healthy_weight, applicable_weight, resources) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (group_name, hour) DO UPDATE SET \
               healthy_weight = excluded.healthy_weight, applicable_weight = excluded.applicable_weight, \
               resources = excluded.resources";
    for point in points {
        tx.execute(
            sql,
            params![&point.group, hour, point.healthy_weight, point.applicable_weight, point.resources],
        )?;
    }
    Ok(())
}

/// Points of a group (empty: the fleet) since then, oldest first.
pub fn points(tx: &mut dyn Tx, group: &str, since: Time) -> Result<Vec<Point>, StoreError> {
    let sql = "SELECT hour, healthy_weight, applicable_weight, resources FROM score_points \
               WHERE group_name = $1 AND hour >= $2 ORDER BY hour LIMIT $3";
    tx.query(sql, params![group, since, MAX_POINTS])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(Point {
                hour: c.time()?,
                healthy_weight: c.u64()?,
                applicable_weight: c.u64()?,
                resources: c.u64()?,
            })
        })
        .collect()
}

/// Forgets points from before then.
pub fn purge_points(tx: &mut dyn Tx, before: Time) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM score_points WHERE hour < $1", params![before])
}
