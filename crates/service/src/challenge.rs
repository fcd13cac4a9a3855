//! Challenges: stateless, bound to one VM, used once.
//!
//! A challenge is 32 bytes: 8 bytes issue time (big-endian microseconds since 1970) ‖ 8 random bytes ‖ the
//! first 16 bytes of HMAC-SHA-256(key, label ‖ vm id length ‖ vm id ‖ issue time ‖ random). Nothing is stored
//! when one is issued, so any replica can issue and any other can check.
//!
//! Single use: the VM's row keeps the issue time of the last challenge that evidence was accepted for, and a
//! challenge counts only when it was issued later than that. Using one therefore also retires every older
//! one. The row is read and written in the transaction that stores the attestation.

use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::{constant_time, hmac};
use veriboot_wire::Time;

/// Bytes of a challenge.
pub const CHALLENGE_BYTES: usize = 32;
/// Bytes of the key that the MAC is made with.
pub const CHALLENGE_KEY_BYTES: usize = 32;

const LABEL: &[u8] = b"veriboot challenge v1\0";
const SIGNED_BYTES: usize = 16;
const MAC_BYTES: usize = 16;
/// The clock may be this far behind the last issue time before it counts as set back.
const STEP_BACK_US: i64 = 1_000_000;

/// Why a challenge does not count. None of these changes the VM's record or raises an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Not 32 bytes, or the MAC is not ours for this VM: invented, or issued for another VM.
    #[error("this service did not issue that challenge to this VM")]
    Unknown,
    /// Issued longer ago than challenges live.
    #[error("the challenge has expired")]
    Expired,
    /// Evidence for this challenge or for a later one was taken already.
    #[error("the challenge was used already, or a later one was")]
    Used,
}

impl ChallengeError {
    /// Stable code of the refusal.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "challenge-unknown",
            Self::Expired => "challenge-expired",
            Self::Used => "challenge-used",
        }
    }
}

/// Issues and checks challenges with one key, which all replicas share.
pub struct Challenges {
    key: hmac::Key,
    last_issued_us: AtomicI64,
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenges")
    }
}

/// A challenge whose MAC holds for the VM that it was checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedChallenge {
    /// When it was issued, microseconds since 1970.
    pub issued_us: i64,
}

impl Challenges {
    /// With the key of this installation.
    pub fn new(key: &[u8; CHALLENGE_KEY_BYTES]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), last_issued_us: AtomicI64::new(0) }
    }

    /// A challenge for `vm_id` that is later than `used_us`, the last one that this VM used.
    ///
    /// Counting from `used_us` keeps a VM able to attest when the clock was set back or when another
    /// replica's clock is ahead.
    pub fn issue(
        &self,
        vm_id: &str,
        used_us: i64,
        now: Time,
    ) -> Result<[u8; CHALLENGE_BYTES], getrandom::Error> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)?;
        let issued_us = self.next_us(now.unix_ms().saturating_mul(1000)).max(used_us.saturating_add(1));
        let mut nonce = [0_u8; CHALLENGE_BYTES];
        let parts = issued_us.to_be_bytes().into_iter().chain(random);
        nonce.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        let mac = self.mac(vm_id, nonce.get(..SIGNED_BYTES).unwrap_or_default());
        nonce.iter_mut().skip(SIGNED_BYTES).zip(mac.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(nonce)
    }

    /// Checks the MAC and the age. Whether it was used is for [`CheckedChallenge::unused`] to say, inside the
    /// transaction that reads the VM's row.
    ///
    /// A challenge from the future passes: its MAC shows that this service issued it before its clock was set
    /// back, and it still counts only once.
    pub fn check(
        &self,
        vm_id: &str,
        nonce: &[u8],
        now: Time,
        lifetime_s: u32,
    ) -> Result<CheckedChallenge, ChallengeError> {
        if nonce.len() != CHALLENGE_BYTES {
            return Err(ChallengeError::Unknown);
        }
        let (signed, mac) = nonce.split_at_checked(SIGNED_BYTES).ok_or(ChallengeError::Unknown)?;
        let ours = self.mac(vm_id, signed);
        let ours = ours.as_ref().get(..MAC_BYTES).ok_or(ChallengeError::Unknown)?;
        constant_time::verify_slices_are_equal(ours, mac).map_err(|_| ChallengeError::Unknown)?;
        let issued = signed.first_chunk::<8>().ok_or(ChallengeError::Unknown)?;
        let issued_us = i64::from_be_bytes(*issued);
        let age_us = now.unix_ms().saturating_mul(1000).saturating_sub(issued_us);
        if age_us > i64::from(lifetime_s).saturating_mul(1_000_000) {
            return Err(ChallengeError::Expired);
        }
        Ok(CheckedChallenge { issued_us })
    }

    fn mac(&self, vm_id: &str, signed: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(LABEL);
        context.update(&(vm_id.len() as u64).to_be_bytes());
        context.update(vm_id.as_bytes());
        context.update(signed);
        context.sign()
    }

    /// Strictly increasing while the clock runs; follows the clock when it was set back.
    fn next_us(&self, now_us: i64) -> i64 {
        let mut last = self.last_issued_us.load(Ordering::Relaxed);
        loop {
            let next = if now_us > last || last.saturating_sub(now_us) > STEP_BACK_US {
                now_us
            } else {
                last.saturating_add(1)
            };
            match self.last_issued_us.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(seen) => last = seen,
            }
        }
    }
}

impl CheckedChallenge {
    /// Whether it is later than the last one that the VM used.
    pub fn unused(self, used_us: i64) -> Result<(), ChallengeError> {
        if self.issued_us > used_us { Ok(()) } else { Err(ChallengeError::Used) }
    }
}

/// How long a challenge lives: it rides on the previous answer, so it must outlast one interval.
pub fn lifetime_s(interval_s: u32) -> u32 {
    interval_s.saturating_mul(2).saturating_add(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_000;
    const KEY: [u8; 32] = [7; 32];

    fn now() -> Time {
        Time::from_unix_ms(NOW)
    }

    #[test]
    fn accepts_its_own_challenge_once() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now()).unwrap();
        let checked = challenges.check("vm-a", &nonce, now().plus_s(600), 660).unwrap();
        assert_eq!(checked.unused(0), Ok(()));
        assert_eq!(checked.unused(checked.issued_us), Err(ChallengeError::Used));
        let next = challenges.issue("vm-a", checked.issued_us, now()).unwrap();
        let next = challenges.check("vm-a", &next, now(), 660).unwrap();
        assert_eq!(next.unused(checked.issued_us), Ok(()));
    }

    #[test]
    fn two_in_the_same_millisecond_count_in_order() {
        let challenges = Challenges::new(&KEY);
        let first = challenges.issue("vm-a", 0, now()).unwrap();
        let second = challenges.issue("vm-a", 0, now()).unwrap();
        let first = challenges.check("vm-a", &first, now(), 660).unwrap();
        let second = challenges.check("vm-a", &second, now(), 660).unwrap();
        assert!(second.issued_us > first.issued_us);
    }

    #[test]
    fn refuses_other_vm_other_key_and_every_flipped_bit() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now()).unwrap();
        assert_eq!(challenges.check("vm-b", &nonce, now(), 660), Err(ChallengeError::Unknown));
        assert_eq!(Challenges::new(&[8; 32]).check("vm-a", &nonce, now(), 660), Err(ChallengeError::Unknown));
        for bit in 0..CHALLENGE_BYTES * 8 {
            let mut bent = nonce;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                challenges.check("vm-a", &bent, now(), 660),
                Err(ChallengeError::Unknown),
                "bit {bit}"
            );
        }
        for length in 0..CHALLENGE_BYTES {
            assert_eq!(challenges.check("vm-a", &nonce[..length], now(), 660), Err(ChallengeError::Unknown));
        }
        let longer = [nonce.as_slice(), &[0]].concat();
        assert_eq!(challenges.check("vm-a", &longer, now(), 660), Err(ChallengeError::Unknown));
    }

    #[test]
    fn expires() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now()).unwrap();
        assert!(challenges.check("vm-a", &nonce, now().plus_s(660), 660).is_ok());
        assert_eq!(challenges.check("vm-a", &nonce, now().plus_s(661), 660), Err(ChallengeError::Expired));
    }

    #[test]
    fn clock_set_back_by_a_day_neither_blocks_nor_repeats() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now()).unwrap();
        let used = challenges.check("vm-a", &nonce, now(), 660).unwrap().issued_us;
        let yesterday = now().plus_s(-86_400);
        let nonce = challenges.issue("vm-a", used, yesterday).unwrap();
        let next = challenges.check("vm-a", &nonce, yesterday, 660).unwrap();
        assert_eq!(next.unused(used), Ok(()));
        let other = challenges.issue("vm-b", 0, yesterday).unwrap();
        let other = challenges.check("vm-b", &other, yesterday, 660).unwrap();
        assert!(other.issued_us < (NOW - 86_400_000) * 1000 + 10, "the clock is followed");
    }

    /// Golden value from Python's hmac and hashlib, so that replicas of other versions agree.
    #[test]
    fn mac_is_stable() {
        let challenges = Challenges::new(&KEY);
        let nonce = hex::decode("0006608e65a9f4000102030405060708").unwrap();
        let mac = challenges.mac("0193b1c0-0000-7000-8000-000000000001", &nonce);
        assert_eq!(hex::encode(&mac.as_ref()[..16]), "9220043ece80b87b0d1a7d9300f4d4dd");
    }
}
