//! The score: 100 × weights of what is healthy, by weights of what applies.

use veriboot_wire::AssessmentStatus;

use crate::document::check;

/// Sums of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of healthy assessments.
    pub healthy_weight: u64,
    /// Of assessments that apply.
    pub applicable_weight: u64,
    /// Number of unhealthy assessments.
    pub unhealthy: u64,
}

impl Tally {
    /// Adds `count` assessments by a check with this outcome. A check that is not known adds nothing.
    pub fn add(&mut self, check_id: &str, status: AssessmentStatus, count: u64) {
        let Some(check) = check(check_id) else { return };
        let weight = u64::from(check.weight).saturating_mul(count);
        match status {
            AssessmentStatus::Healthy => {
                self.healthy_weight = self.healthy_weight.saturating_add(weight);
                self.applicable_weight = self.applicable_weight.saturating_add(weight);
            }
            AssessmentStatus::Unhealthy => {
                self.applicable_weight = self.applicable_weight.saturating_add(weight);
                self.unhealthy = self.unhealthy.saturating_add(count);
            }
            AssessmentStatus::NotApplicable => {}
        }
    }

    /// The score; `None` while nothing applies.
    pub fn score(&self) -> Option<f64> {
        score(self.healthy_weight, self.applicable_weight)
    }
}

/// 0 to 100 with one decimal; 100 only when everything is healthy, 0 only when nothing is. `None` when nothing applies.
pub fn score(healthy_weight: u64, applicable_weight: u64) -> Option<f64> {
    if applicable_weight == 0 {
        return None;
    }
    let per_mille = u128::from(healthy_weight) * 1000 / u128::from(applicable_weight.max(healthy_weight));
    let per_mille = if healthy_weight > 0 { per_mille.max(1) } else { per_mille };
    u32::try_from(per_mille).ok().map(|per_mille| f64::from(per_mille) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_scale_are_exact() {
        assert_eq!(score(0, 0), None);
        assert_eq!(score(0, 7), Some(0.0));
        assert_eq!(score(7, 7), Some(100.0));
        assert_eq!(score(999_999, 1_000_000), Some(99.9));
        assert_eq!(score(1, 1_000_000), Some(0.1));
        assert_eq!(score(2, 3), Some(66.6));
        assert_eq!(score(u64::MAX, u64::MAX), Some(100.0));
    }

    #[test]
    fn what_does_not_apply_does_not_count() {
        let mut tally = Tally::default();
        tally.add("attestation-healthy", AssessmentStatus::NotApplicable, 5);
        assert_eq!(tally.score(), None);
        tally.add("attestation-healthy", AssessmentStatus::Healthy, 1);
        tally.add("attestation-healthy", AssessmentStatus::Unhealthy, 1);
        assert_eq!((tally.score(), tally.unhealthy), (Some(50.0), 1));
        tally.add("no-such-check", AssessmentStatus::Unhealthy, 9);
        assert_eq!(tally.score(), Some(50.0));
    }
}
