//! As much of DER and X.509 as naming a certificate needs (RFC 5280). No signature is checked here.

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::reader::Reader;
use crate::text::{Shown, plain_ascii, write_printable};
use crate::{Digest, HashAlg};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OID_COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Tag and content of the next value; definite lengths of at most four bytes.
fn value<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let tag = reader.u8()?;
    let len = match reader.u8()? {
        short @ 0..=0x7F => usize::from(short),
        long @ 0x81..=0x84 => {
            let bytes = reader.take(usize::from(long & 0x0F))?;
            bytes.iter().fold(0_usize, |len, byte| (len << 8) | usize::from(*byte))
        }
        _ => return None,
    };
    Some((tag, reader.take(len)?))
}

fn expect<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<&'a [u8]> {
    value(reader).filter(|(seen, _)| *seen == tag).map(|(_, content)| content)
}

/// A certificate as a log carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// The certificate, without bytes that follow it.
    pub der: &'a [u8],
    /// Subject.
    pub subject: Name<'a>,
    /// Issuer.
    pub issuer: Name<'a>,
    /// Serial number, big-endian.
    pub serial: &'a [u8],
    /// Start of validity.
    pub not_before: Time<'a>,
    /// End of validity.
    pub not_after: Time<'a>,
}

impl<'a> Certificate<'a> {
    /// Reads the certificate at the start of `bytes`; what follows it is ignored (quirk 11: shim can leave a stray
    /// byte). `None` when there is none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut all = Reader::new(bytes);
        let mut outer = Reader::new(expect(&mut all, SEQUENCE)?);
        let der = bytes.get(..bytes.len() - all.rest().len())?;
        let mut tbs = Reader::new(expect(&mut outer, SEQUENCE)?);
        let (mut tag, mut content) = value(&mut tbs)?;
        if tag == 0xA0 {
            (tag, content) = value(&mut tbs)?;
        }
        let serial = (tag == 0x02).then_some(content)?;
        expect(&mut tbs, SEQUENCE)?;
        let issuer = Name(expect(&mut tbs, SEQUENCE)?);
        let mut validity = Reader::new(expect(&mut tbs, SEQUENCE)?);
        let not_before = Time::parse(value(&mut validity)?)?;
        let not_after = Time::parse(value(&mut validity)?)?;
        let subject = Name(expect(&mut tbs, SEQUENCE)?);
        Some(Self { der, subject, issuer, serial, not_before, not_after })
    }

    /// SHA-256 over the certificate.
    pub fn fingerprint(&self) -> Digest {
        HashAlg::Sha256.hash(&[self.der])
    }

    /// Common name of the subject, or the whole subject where it has none.
    pub fn short_name(&self) -> ShortName<'a> {
        ShortName(self.subject)
    }
}

impl Serialize for Certificate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Certificate", 6)?;
        out.serialize_field("subject", &self.subject)?;
        out.serialize_field("issuer", &self.issuer)?;
        out.serialize_field("serial", &crate::text::Hex(self.serial))?;
        out.serialize_field("not_before", &self.not_before)?;
        out.serialize_field("not_after", &self.not_after)?;
        out.serialize_field("sha256", &self.fingerprint())?;
        out.end()
    }
}

/// A distinguished name. Shown like RFC 4514 does, most specific part first, escaped for terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let mut names = Reader::new(self.0);
        let mut set = Reader::new(&[]);
        std::iter::from_fn(move || {
            while set.is_empty() {
                set = Reader::new(expect(&mut names, SET)?);
            }
            let mut pair = Reader::new(expect(&mut set, SEQUENCE)?);
            let oid = expect(&mut pair, OID)?;
            let (tag, text) = value(&mut pair)?;
            Some(Attribute { oid, tag, text })
        })
        .take(64)
    }

    /// The last common name.
    fn common_name(&self) -> Option<Attribute<'a>> {
        self.attributes().filter(|attribute| attribute.oid == OID_COMMON_NAME).last()
    }

    /// Whether the common name is exactly this.
    pub fn has_common_name(&self, name: &str) -> bool {
        self.common_name().is_some_and(|cn| cn.text == name.as_bytes())
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attributes: Vec<_> = self.attributes().collect();
        for (i, attribute) in attributes.iter().rev().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match attribute.short_type() {
                Some(name) => write!(f, "{name}=")?,
                None => write!(f, "{}=", crate::text::Hex(attribute.oid))?,
            }
            for c in attribute.to_text().chars() {
                if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
                    f.write_str("\\")?;
                }
                write_printable(f, c.encode_utf8(&mut [0; 4]))?;
            }
        }
        Ok(())
    }
}

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name that people call a certificate by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortName<'a>(Name<'a>);

impl fmt::Display for ShortName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.common_name() {
            Some(name) => match name.plain() {
                Some(plain) => f.write_str(plain),
                None => write_printable(f, &name.to_text()),
            },
            None => self.0.fmt(f),
        }
    }
}

impl Shown for ShortName<'_> {
    fn plain(&self) -> Option<&str> {
        self.as_plain()
    }
}

impl<'a> ShortName<'a> {
    /// The name as it stands in the certificate, when it is a common name in printable ASCII.
    pub fn as_plain(&self) -> Option<&'a str> {
        self.0.common_name()?.plain()
    }
}

struct Attribute<'a> {
    oid: &'a [u8],
    tag: u8,
    text: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn plain(&self) -> Option<&'a str> {
        // A BMPString has two bytes per character.
        if self.tag == 0x1E { None } else { plain_ascii(self.text) }
    }

    fn short_type(&self) -> Option<&'static str> {
        Some(match self.oid {
            OID_COMMON_NAME => "CN",
            [0x55, 0x04, 0x05] => "serialNumber",
            [0x55, 0x04, 0x06] => "C",
            [0x55, 0x04, 0x07] => "L",
            [0x55, 0x04, 0x08] => "ST",
            [0x55, 0x04, 0x09] => "STREET",
            [0x55, 0x04, 0x0A] => "O",
            [0x55, 0x04, 0x0B] => "OU",
            [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x01] => "emailAddress",
            [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x19] => "DC",
            _ => return None,
        })
    }

    fn to_text(&self) -> String {
        match self.tag {
            0x1E => {
                let units = self.text.chunks_exact(2).map(|pair| match pair {
                    [high, low] => u16::from_be_bytes([*high, *low]),
                    _ => 0,
                });
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            0x14 => self.text.iter().map(|byte| char::from(*byte)).collect(),
            _ => String::from_utf8_lossy(self.text).into_owned(),
        }
    }
}

/// UTCTime or GeneralizedTime. Shown as `2011-06-27`; what is not a date is shown as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<'a> {
    century_given: bool,
    text: &'a [u8],
}

impl<'a> Time<'a> {
    fn parse((tag, text): (u8, &'a [u8])) -> Option<Self> {
        matches!(tag, 0x17 | 0x18).then_some(Self { century_given: tag == 0x18, text })
    }
}

impl fmt::Display for Time<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.text.get(..if self.century_given { 8 } else { 6 });
        match digits
            .and_then(|d| std::str::from_utf8(d).ok())
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
        {
            Some(digits) => {
                let (year, rest) = digits.split_at(digits.len() - 4);
                let (month, day) = rest.split_at(2);
                // RFC 5280, section 4.1.2.5.1: two-digit years from 50 on are of the last century.
                let century = match (self.century_given, year.parse::<u8>()) {
                    (true, _) => "",
                    (false, Ok(50..)) => "19",
                    (false, _) => "20",
                };
                write!(f, "{century}{year}-{month}-{day}")
            }
            None => crate::text::Text(self.text).fmt(f),
        }
    }
}

impl Serialize for Time<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
