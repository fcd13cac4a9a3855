//! Rejections stand for what is new in a boot, whatever else it has.

pub(super) const DDL: &[&str] = &[];
