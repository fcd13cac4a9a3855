//! What is wrong with conditions beyond their grammar: those that say nothing, and those that pass for want of data.
//!
//! A condition is tried on boots that are made up of what it reads, with the values that it compares with and others. What
//! no such boot makes true probably never holds. Where a boot fails and passes once something is taken away from it, who
//! owns the guest passes by not showing that.

use std::cell::Cell;

use serde::Serialize;
use veriboot_appraisal::Condition;
use veriboot_wire::Severity;

use crate::code::Code;
use crate::condition::{Compiled, list_problems};
use crate::evaluate::{Fault, evaluate_counted};
use crate::fact::Record;
use crate::limits::MAX_CONDITIONS;
use crate::problem::{Level, Problem};
use crate::samples::{Choices, Reads, gaps, loosened, mixed, sample, without};

/// Made-up boots per question.
const SAMPLES: u64 = 1500;
/// Steps of the search for a boot that satisfies a condition of many parts, and how often it starts anew.
const SEARCH: (u64, usize) = (12, 150);

/// Steps of evaluation for one condition, about half a second; what was not tried by then is not claimed.
const MAX_STEPS: u64 = 20_000_000;

/// Evaluations on made-up boots, as far as there is time.
struct Tries(Cell<u64>);

impl Tries {
    fn evaluate(&self, code: &Code, boot: &Record) -> Result<bool, Fault> {
        let (result, steps) = evaluate_counted(code, boot);
        // Making a boot up takes time too.
        self.0.set(self.0.get().saturating_add(u64::from(steps) + 200));
        result
    }

    fn is_over(&self) -> bool {
        self.0.get() > MAX_STEPS
    }
}

/// What the lint found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Linted {
    /// Conditions that were looked at.
    pub conditions: usize,
    /// What is wrong, in the order of the conditions, worst first for each.
    pub problems: Vec<Problem>,
}

impl Linted {
    /// The worst level.
    pub fn worst(&self) -> Option<Level> {
        self.problems.iter().map(|problem| problem.level).max()
    }

    /// Whether nothing but notes was found.
    pub fn is_clean(&self) -> bool {
        self.worst().is_none_or(|worst| worst == Level::Note)
    }
}

/// Looks at all conditions of a policy.
pub fn lint(conditions: &[Condition]) -> Linted {
    let mut problems = list_problems(conditions);
    for condition in conditions.iter().take(MAX_CONDITIONS) {
        let mut found = match Compiled::compile(condition) {
            Ok((compiled, mut found)) => {
                found.extend(sense(&compiled).into_iter().map(|problem| problem.of(&condition.id)));
                found
            }
            Err(found) => found,
        };
        found.sort_by_key(|problem| std::cmp::Reverse(problem.level));
        problems.extend(found);
    }
    Linted { conditions: conditions.len(), problems }
}

/// What a condition that can be used says.
fn sense(compiled: &Compiled) -> Vec<Problem> {
    let mut found = Vec::new();
    if compiled.source().severity < Severity::High {
        found.push(Problem::new(
            "does-not-fail",
            Level::Note,
            format!(
                "With the severity {} a condition that does not hold is shown and fails nothing",
                compiled.source().severity
            ),
        ));
    }
    let code = loosened(&compiled.code);
    let tries = Tries(Cell::new(0));
    let reads = Reads::of(&code);
    if reads.is_empty() {
        let always = tries.evaluate(&code, &Record::new(&crate::variables::ROOT)) == Ok(true);
        found.push(if always { always_holds() } else { never_holds() });
        return found;
    }
    let (mut holds, mut fails) = (false, false);
    let mut choices = Choices::new(1);
    for _ in 0..SAMPLES {
        let absent_in = if choices.below(2) == 0 { 1 } else { 5 };
        match tries.evaluate(&code, &sample(&reads, absent_in, &mut choices)) {
            Ok(true) => holds = true,
            _ => fails = true,
        }
        if holds && fails || tries.is_over() {
            break;
        }
    }
    if !holds && !satisfiable(&code, &reads, &tries) && !tries.is_over() {
        found.push(never_holds());
    } else if !fails && !tries.is_over() {
        found.push(always_holds());
    } else {
        found.extend(passes_for_want_of_data(&code, &reads, &tries));
    }
    found
}

fn never_holds() -> Problem {
    Problem::warning("never-holds", "No boot that was tried makes this condition true: every VM would fail")
        .hint("look for parts that contradict each other, and for values that cannot be")
}

fn always_holds() -> Problem {
    Problem::warning("always-holds", "Every boot that was tried makes this condition true: it says nothing")
        .hint("look for `||` with a part that is always true")
}

/// Parts of a chain of `&&`.
fn parts<'a>(code: &'a Code, out: &mut Vec<&'a Code>) {
    match code {
        Code::And(left, right) => {
            parts(left, out);
            parts(right, out);
        }
        part => out.push(part),
    }
}

/// Looks for a boot that makes all parts true, one variable after the other.
fn satisfiable(code: &Code, reads: &Reads, tries: &Tries) -> bool {
    let mut all = Vec::new();
    parts(code, &mut all);
    let score = |boot: &Record| all.iter().filter(|part| tries.evaluate(part, boot) == Ok(true)).count();
    for start in 0..SEARCH.0 {
        let mut choices = Choices::new(start + 100);
        let mut best = sample(reads, 1, &mut choices);
        let mut reached = score(&best);
        for _ in 0..SEARCH.1 {
            if reached == all.len() || tries.is_over() {
                break;
            }
            let other = sample(reads, 4, &mut choices);
            let next = mixed(&best, &other, reads, &mut choices);
            let now = score(&next);
            if now >= reached {
                (best, reached) = (next, now);
            }
        }
        if reached == all.len() {
            return true;
        }
    }
    false
}

fn passes_for_want_of_data(code: &Code, reads: &Reads, tries: &Tries) -> Vec<Problem> {
    let mut open = gaps(reads);
    let mut found = Vec::new();
    let mut choices = Choices::new(2);
    for _ in 0..SAMPLES {
        if open.is_empty() || tries.is_over() {
            break;
        }
        let boot = sample(reads, 1, &mut choices);
        if tries.evaluate(code, &boot) != Ok(false) {
            continue;
        }
        open.retain(|gap| {
            let passes = tries.evaluate(code, &without(&boot, gap)) == Ok(true);
            if passes {
                found.push(if gap.empty {
                    passes_when_empty(&gap.name)
                } else {
                    passes_when_absent(&gap.name)
                });
            }
            !passes
        });
    }
    found.sort_by(|a, b| a.message.cmp(&b.message));
    found
}

fn passes_when_absent(name: &str) -> Problem {
    Problem::warning(
        "passes-when-absent",
        format!("A boot that fails this condition passes it when `{name}` is absent"),
    )
    .hint("leave `has(…)`, `.?` and `!` around it away, or say `has(…) && …`: what is absent then fails")
}

fn passes_when_empty(name: &str) -> Problem {
    Problem::warning(
        "passes-when-empty",
        format!("A boot that fails this condition passes it when `{name}` is empty"),
    )
    .hint(format!("add `size({name}) > 0 && …`"))
}
