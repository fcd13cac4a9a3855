//! Real parts for tests: swtpm, PostgreSQL and QEMU machines.

pub mod corpus;
pub mod postgres;
pub mod service;
pub mod swtpm;
pub mod vm;
