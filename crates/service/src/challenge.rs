//! Challenges: stateless, bound to one VM, used once.
//!
//! A challenge is 32 bytes: 8 bytes issue time (big-endian microseconds since 1970) ‖ 1 byte [`Life`] ‖ 7 random
//! bytes ‖ the first 16 bytes of HMAC-SHA-256(key, label ‖ vm id length ‖ vm id ‖ issue time ‖ life ‖ random).
//! Nothing is stored when one is issued, so any replica can issue and any other can check.
//!
//! A quote that was made and not sent can be sent for as long as its challenge lives, whatever was booted since.
//! Only the challenge on an answer has to outlast an interval; one that was asked for lives for a minute, so that
//! asking for more of them gives nothing to put aside.
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
/// How long a challenge lives that the agent asked for: it quotes at once.
const ASKED_LIFETIME_S: u32 = 60;
/// How far the clocks of replicas may be apart.
const MAX_AHEAD_US: i64 = 60_000_000;
/// The clock may be this far behind the last issue time before it counts as set back.
const STEP_BACK_US: i64 = 1_000_000;

/// Why a challenge does not count. None of these changes the VM's record or raises an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Not 32 bytes, or the MAC is not ours for this VM: invented, or issued for another VM.
    #[error("this service did not issue that challenge to this VM")]
    Unknown,
    /// Issued longer ago than challenges live, or too far ahead of the clock.
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

/// How a challenge reached the agent, which says how long it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The agent asked for it.
    Asked,
    /// It rides on the answer to evidence, for the next time.
    Riding,
}

impl Life {
    const fn byte(self) -> u8 {
        match self {
            Self::Asked => 0,
            Self::Riding => 1,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Asked),
            1 => Some(Self::Riding),
            _ => None,
        }
    }

    /// Seconds that such a challenge lives when VMs attest every `interval_s`: one that rides must outlast an
    /// interval.
    pub const fn lifetime_s(self, interval_s: u32) -> u32 {
        match self {
            Self::Asked => ASKED_LIFETIME_S,
            Self::Riding => interval_s.saturating_mul(2).saturating_add(60),
        }
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
        life: Life,
    ) -> Result<[u8; CHALLENGE_BYTES], getrandom::Error> {
        let mut random = [0_u8; 7];
        getrandom::fill(&mut random)?;
        let issued_us = self.next_us(now.unix_ms().saturating_mul(1000)).max(used_us.saturating_add(1));
        let mut nonce = [0_u8; CHALLENGE_BYTES];
        let parts = issued_us.to_be_bytes().into_iter().chain([life.byte()]).chain(random);
        nonce.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        let mac = self.mac(vm_id, nonce.get(..SIGNED_BYTES).unwrap_or_default());
        nonce.iter_mut().skip(SIGNED_BYTES).zip(mac.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(nonce)
    }

    /// Checks the MAC and the age. Whether it was used is for [`CheckedChallenge::unused`] to say, inside the
    /// transaction that reads the VM's row.
    ///
    /// `used_us` is the last challenge that the VM used. One that is further ahead of the clock than replicas are
    /// apart was issued before a clock was set back, and would live for as long as it was set back; only the very
    /// next one after `used_us` is taken then, which is what [`Challenges::issue`] gives.
    pub fn check(
        &self,
        vm_id: &str,
        nonce: &[u8],
        used_us: i64,
        now: Time,
        interval_s: u32,
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
        let life = signed.get(8).copied().and_then(Life::from_byte).ok_or(ChallengeError::Unknown)?;
        let lifetime_s = life.lifetime_s(interval_s);
        let age_us = now.unix_ms().saturating_mul(1000).saturating_sub(issued_us);
        let ahead = age_us < -MAX_AHEAD_US && issued_us != used_us.saturating_add(1);
        if ahead || age_us > i64::from(lifetime_s).saturating_mul(1_000_000) {
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
        let nonce = challenges.issue("vm-a", 0, now(), Life::Riding).unwrap();
        let checked = challenges.check("vm-a", &nonce, 0, now().plus_s(600), 300).unwrap();
        assert_eq!(checked.unused(0), Ok(()));
        assert_eq!(checked.unused(checked.issued_us), Err(ChallengeError::Used));
        let next = challenges.issue("vm-a", checked.issued_us, now(), Life::Riding).unwrap();
        let next = challenges.check("vm-a", &next, 0, now(), 300).unwrap();
        assert_eq!(next.unused(checked.issued_us), Ok(()));
    }

    #[test]
    fn two_in_the_same_millisecond_count_in_order() {
        let challenges = Challenges::new(&KEY);
        let first = challenges.issue("vm-a", 0, now(), Life::Riding).unwrap();
        let second = challenges.issue("vm-a", 0, now(), Life::Riding).unwrap();
        let first = challenges.check("vm-a", &first, 0, now(), 300).unwrap();
        let second = challenges.check("vm-a", &second, 0, now(), 300).unwrap();
        assert!(second.issued_us > first.issued_us);
    }

    #[test]
    fn refuses_other_vm_other_key_and_every_flipped_bit() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now(), Life::Riding).unwrap();
        assert_eq!(challenges.check("vm-b", &nonce, 0, now(), 300), Err(ChallengeError::Unknown));
        assert_eq!(
            Challenges::new(&[8; 32]).check("vm-a", &nonce, 0, now(), 300),
            Err(ChallengeError::Unknown)
        );
        for bit in 0..CHALLENGE_BYTES * 8 {
            let mut bent = nonce;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                challenges.check("vm-a", &bent, 0, now(), 300),
                Err(ChallengeError::Unknown),
                "bit {bit}"
            );
        }
        for length in 0..CHALLENGE_BYTES {
            assert_eq!(
                challenges.check("vm-a", &nonce[..length], 0, now(), 300),
                Err(ChallengeError::Unknown)
            );
        }
        let longer = [nonce.as_slice(), &[0]].concat();
        assert_eq!(challenges.check("vm-a", &longer, 0, now(), 300), Err(ChallengeError::Unknown));
    }

    #[test]
    fn expires() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now(), Life::Riding).unwrap();
        assert!(challenges.check("vm-a", &nonce, 0, now().plus_s(660), 300).is_ok());
        assert_eq!(challenges.check("vm-a", &nonce, 0, now().plus_s(661), 300), Err(ChallengeError::Expired));
    }

    #[test]
    fn one_that_was_asked_for_is_not_put_aside() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now(), Life::Asked).unwrap();
        assert!(challenges.check("vm-a", &nonce, 0, now().plus_s(60), 300).is_ok());
        assert_eq!(challenges.check("vm-a", &nonce, 0, now().plus_s(61), 300), Err(ChallengeError::Expired));
        let mut riding = nonce;
        riding[8] = Life::Riding.byte();
        assert_eq!(challenges.check("vm-a", &riding, 0, now(), 300), Err(ChallengeError::Unknown));
    }

    #[test]
    fn clocks_of_replicas_are_a_minute_apart() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now(), Life::Asked).unwrap();
        assert!(challenges.check("vm-a", &nonce, 0, now().plus_s(-60), 300).is_ok());
        assert_eq!(challenges.check("vm-a", &nonce, 0, now().plus_s(-61), 300), Err(ChallengeError::Expired));
    }

    #[test]
    fn clock_set_back_by_a_day_neither_blocks_nor_repeats() {
        let challenges = Challenges::new(&KEY);
        let nonce = challenges.issue("vm-a", 0, now(), Life::Riding).unwrap();
        let used = challenges.check("vm-a", &nonce, 0, now(), 300).unwrap().issued_us;
        let yesterday = now().plus_s(-86_400);
        let put_aside = challenges.issue("vm-a", used, now().plus_s(1), Life::Riding).unwrap();
        let nonce = challenges.issue("vm-a", used, yesterday, Life::Riding).unwrap();
        let next = challenges.check("vm-a", &nonce, used, yesterday, 300).unwrap();
        // One that was put aside before does not live for a day longer.
        assert_eq!(challenges.check("vm-a", &put_aside, used, yesterday, 300), Err(ChallengeError::Expired));
        assert_eq!(next.unused(used), Ok(()));
        let other = challenges.issue("vm-b", 0, yesterday, Life::Riding).unwrap();
        let other = challenges.check("vm-b", &other, 0, yesterday, 300).unwrap();
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
