//! How two sequences of measurements correspond: the longest common subsequence, with a bound on the work.

/// Cells of the comparison table above which a cheaper, still order-keeping match is used.
const MAX_CELLS: usize = 1 << 20;

/// Pairs `(i, j)` with `same(from[i], to[j])`, strictly increasing in both.
pub(crate) fn align<T>(from: &[T], to: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let head = from.iter().zip(to).take_while(|(a, b)| same(a, b)).count();
    let (from_rest, to_rest) = (from.get(head..).unwrap_or_default(), to.get(head..).unwrap_or_default());
    let tail = from_rest.iter().rev().zip(to_rest.iter().rev()).take_while(|(a, b)| same(a, b)).count();
    let from_middle = from_rest.get(..from_rest.len() - tail).unwrap_or_default();
    let to_middle = to_rest.get(..to_rest.len() - tail).unwrap_or_default();

    let mut pairs: Vec<(usize, usize)> = (0..head).map(|i| (i, i)).collect();
    let middle = if from_middle.len().saturating_mul(to_middle.len()) <= MAX_CELLS {
        longest(from_middle, to_middle, same)
    } else {
        greedy(from_middle, to_middle, same)
    };
    pairs.extend(middle.into_iter().map(|(i, j)| (i + head, j + head)));
    pairs.extend((0..tail).map(|k| (from.len() - tail + k, to.len() - tail + k)));
    pairs
}

/// The longest common subsequence by the usual table.
fn longest<T>(from: &[T], to: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let width = to.len() + 1;
    let mut table = vec![0u32; (from.len() + 1) * width];
    let at = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in from.iter().enumerate().rev() {
        for (j, b) in to.iter().enumerate().rev() {
            let best = if same(a, b) {
                at(&table, i + 1, j + 1) + 1
            } else {
                at(&table, i + 1, j).max(at(&table, i, j + 1))
            };
            if let Some(cell) = table.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while let (Some(a), Some(b)) = (from.get(i), to.get(j)) {
        if same(a, b) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if at(&table, i + 1, j) >= at(&table, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Not the longest, but common and in order, within a bounded window per element.
fn greedy<T>(from: &[T], to: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let window = (MAX_CELLS / from.len().max(1)).max(1);
    let (mut next, mut pairs) = (0, Vec::new());
    for (i, a) in from.iter().enumerate() {
        let found = to.iter().enumerate().skip(next).take(window).find(|(_, b)| same(a, b));
        if let Some((j, _)) = found {
            pairs.push((i, j));
            next = j + 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(from: &str, to: &str) -> Vec<(usize, usize)> {
        let (a, b): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
        align(&a, &b, |x, y| x == y)
    }

    #[test]
    fn one_insertion_moves_nothing_else() {
        assert_eq!(pairs("abcd", "abXcd"), [(0, 0), (1, 1), (2, 3), (3, 4)]);
        assert_eq!(pairs("abXcd", "abcd"), [(0, 0), (1, 1), (3, 2), (4, 3)]);
    }

    #[test]
    fn nothing_in_common() {
        assert_eq!(pairs("abc", "xyz"), []);
        assert_eq!(pairs("", "xyz"), []);
    }

    #[test]
    fn head_and_tail_do_not_overlap() {
        assert_eq!(pairs("aaa", "aa"), [(0, 0), (1, 1)]);
    }

    #[test]
    fn large_inputs_stay_bounded_and_in_order() {
        let from: Vec<u32> = (0..20_000).collect();
        let to: Vec<u32> = (0..20_000).rev().collect();
        let pairs = align(&from, &to, |a, b| a == b);
        assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
    }
}
