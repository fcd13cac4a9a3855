//! How many VMs that were judged again are written in one transaction: many, unless others keep getting in their way.

use std::sync::Arc;

use veriboot_store::StoreError;

use super::is_of_one;
use super::judge::Repeat;

/// VMs that are written in one transaction: agents that attest wait for its end, a tenth of a second. Fewer take longer in
/// all.
pub(crate) const MAX_TOGETHER: usize = 300;

/// VMs that were judged, in parts that are written each in one transaction: in halves of it where that failed.
pub(super) struct Parts<T = Arc<Repeat>> {
    waiting: Vec<Vec<T>>,
    /// How many were written together lately without others in their way.
    pub together: usize,
}

impl Parts {
    /// Whoever writes several of these VMs writes them in one order.
    pub fn of(mut repeats: Vec<Arc<Repeat>>, together: usize) -> Self {
        repeats.sort_by(|a, b| a.vm.id.cmp(&b.vm.id));
        Self::in_order(&repeats, together)
    }
}

impl<T: Clone> Parts<T> {
    fn in_order(all: &[T], together: usize) -> Self {
        let together = together.max(1);
        Self { waiting: all.chunks(together).rev().map(<[_]>::to_vec).collect(), together }
    }

    /// The next one to write.
    pub fn next(&mut self) -> Option<Vec<T>> {
        self.waiting.pop()
    }

    /// What became of a part.
    pub fn learn(&mut self, part: &[T], error: Option<&StoreError>) {
        match error {
            None if part.len() >= self.together => {
                self.together = (self.together + self.together / 8 + 1).min(MAX_TOGETHER);
            }
            Some(error) if is_of_one(error) && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                self.waiting.extend([second.to_vec(), first.to_vec()]);
                if *error == StoreError::Contended {
                    self.together = first.len();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes all, with this to say of each part; gives the parts that were written.
    fn written(
        count: usize,
        together: usize,
        fails: impl Fn(&[usize]) -> Option<StoreError>,
    ) -> (Vec<Vec<usize>>, usize) {
        let all: Vec<usize> = (0..count).collect();
        let mut parts = Parts::in_order(&all, together);
        let mut written = Vec::new();
        while let Some(part) = parts.next() {
            let error = fails(&part);
            parts.learn(&part, error.as_ref());
            if error.is_none() || part.len() == 1 {
                written.push(part);
            }
        }
        (written, parts.together)
    }

    #[test]
    fn one_that_cannot_be_written_is_left_alone() {
        let broken = |part: &[usize]| part.contains(&77).then(|| StoreError::Corrupt { cause: "no".into() });
        let (written, together) = written(300, MAX_TOGETHER, broken);
        assert_eq!(written.concat(), (0..300).collect::<Vec<_>>(), "each once, in order");
        assert!(written.contains(&vec![77]));
        assert!(written.len() < 20 && together == MAX_TOGETHER);
    }

    #[test]
    fn parts_become_as_small_as_others_allow_and_grow_again() {
        let busy = |part: &[usize]| (part.len() > 40).then_some(StoreError::Contended);
        let (written, together) = written(300, MAX_TOGETHER, busy);
        assert_eq!(written.concat().len(), 300);
        assert!((1..=45).contains(&together), "{together}");
        let grown = (0..60).fold(together, |together, _| self::written(300, together, |_| None).1);
        assert_eq!(grown, MAX_TOGETHER);
    }

    #[test]
    fn a_database_that_is_gone_is_no_reason_to_try_halves() {
        let all: Vec<usize> = (0..300).collect();
        let mut parts = Parts::in_order(&all, MAX_TOGETHER);
        let part = parts.next().unwrap();
        parts.learn(&part, Some(&StoreError::Busy));
        assert!(parts.next().is_none());
    }
}
