//! One transaction, whatever the database: SQL text with `$1` parameters in, rows of plain values out.
//!
//! Invariants that make both databases behave alike:
//! * Values are NULL, BIGINT, TEXT or BYTEA and nothing else.
//! * TEXT is ordered by its UTF-8 bytes and holds no NUL character (a NUL becomes U+FFFD when bound).
//! * After a statement failed, every later statement of the transaction fails with the same error and nothing of
//!   it is committed, even when the caller swallowed the error (PostgreSQL's rule, kept on SQLite too).

use serde::Serialize;
use serde::de::DeserializeOwned;
use veriboot_wire::Time;

use crate::StoreError;
use crate::ops::events::Held;

/// Which database is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite in this process.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// A transaction in progress.
pub trait Tx {
    /// Which database is below.
    fn backend(&self) -> Backend;
    /// Runs a statement and gives the number of rows that it changed.
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError>;
    /// Runs a statement and gives all of its rows. Callers bound the number with LIMIT.
    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError>;
    /// Where events wait for the end of the transaction; `None` when they are written as they come.
    fn held(&mut self) -> Option<&mut Held> {
        None
    }
}

/// At most one row of a query.
pub(crate) fn query_one(tx: &mut dyn Tx, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, StoreError> {
    Ok(tx.query(sql, params)?.into_iter().next())
}

/// Value of a `$n` parameter.
#[derive(Clone, Copy, Debug)]
pub enum Param<'a> {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(&'a str),
    /// BYTEA.
    Bytes(&'a [u8]),
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Param<'_> {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

/// Counters of the TPM use all 64 bits; they are stored as the signed number with the same bits and are never
/// compared in SQL.
impl From<u64> for Param<'_> {
    fn from(value: u64) -> Self {
        Self::Int(value.cast_signed())
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<Time> for Param<'_> {
    fn from(value: Time) -> Self {
        Self::Int(value.unix_ms())
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// `params![a, b]` is a `&[Param]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::tx::Param::from($value)),*] };
}
pub(crate) use params;

/// Value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(String),
    /// BYTEA.
    Bytes(Vec<u8>),
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Reads the columns from left to right.
    pub fn columns(self) -> Columns {
        Columns { values: self.0.into_iter(), index: 0 }
    }
}

/// Reads the columns of a row from left to right; a value of another type than asked is
/// [`StoreError::Corrupt`].
#[derive(Debug)]
pub struct Columns {
    values: std::vec::IntoIter<Value>,
    index: usize,
}

macro_rules! pair {
    ($required:ident, $optional:ident, $type:ty, $what:literal, $pattern:pat => $value:expr) => {
        #[doc = concat!("The next column, ", $what, " or NULL.")]
        pub fn $optional(&mut self) -> Result<Option<$type>, StoreError> {
            match self.next()? {
                Value::Null => Ok(None),
                $pattern => Ok(Some($value)),
                _ => Err(self.wrong($what)),
            }
        }

        #[doc = concat!("The next column, ", $what, ".")]
        pub fn $required(&mut self) -> Result<$type, StoreError> {
            self.$optional()?.ok_or_else(|| self.wrong($what))
        }
    };
}

impl Columns {
    fn next(&mut self) -> Result<Value, StoreError> {
        self.index += 1;
        self.values.next().ok_or_else(|| self.wrong("a column"))
    }

    fn wrong(&self, what: &str) -> StoreError {
        StoreError::corrupt(format_args!("column {} is not {what}", self.index))
    }

    pair!(int, opt_int, i64, "BIGINT", Value::Int(v) => v);
    pair!(text, opt_text, String, "TEXT", Value::Text(v) => v);
    pair!(bytes, opt_bytes, Vec<u8>, "BYTEA", Value::Bytes(v) => v);
    pair!(time, opt_time, Time, "a time", Value::Int(v) => Time::from_unix_ms(v));
    pair!(u64, opt_u64, u64, "64 bits", Value::Int(v) => v.cast_unsigned());

    /// The next column, a number of 32 bits or NULL.
    pub fn opt_u32(&mut self) -> Result<Option<u32>, StoreError> {
        self.opt_int()?.map(|v| u32::try_from(v).map_err(|_| self.wrong("32 bits"))).transpose()
    }

    /// The next column, a number of 32 bits.
    pub fn u32(&mut self) -> Result<u32, StoreError> {
        self.opt_u32()?.ok_or_else(|| self.wrong("32 bits"))
    }

    /// The next column, 0 or 1.
    pub fn bool(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    /// The next column, a word of a closed set.
    pub fn word<T: std::str::FromStr>(&mut self) -> Result<T, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        self.text()?.parse().map_err(StoreError::corrupt)
    }

    /// The next column, a word of a closed set or NULL.
    pub fn opt_word<T: std::str::FromStr>(&mut self) -> Result<Option<T>, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        self.opt_text()?.map(|word| word.parse().map_err(StoreError::corrupt)).transpose()
    }

    /// The next column, JSON.
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        serde_json::from_str(&self.text()?).map_err(StoreError::corrupt)
    }

    /// The next column, JSON or NULL.
    pub fn opt_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        self.opt_text()?.map(|text| serde_json::from_str(&text).map_err(StoreError::corrupt)).transpose()
    }
}

/// JSON for a TEXT column.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::failed)
}
