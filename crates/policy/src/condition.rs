//! Compiled conditions, what they come to, and the findings of that.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use veriboot_appraisal::{Condition, Outcome};
use veriboot_wire::{AlertReason, FactState, Finding, Severity};

use crate::boot::{Boot, record};
use crate::check::check;
use crate::code::Code;
use crate::evaluate::{Fault, Variables, describe, evaluate, witnesses};
use crate::fact::{Fact, Record};
use crate::limits::{MAX_CONDITIONS, MAX_ID_CHARS, MAX_MESSAGE_CHARS, MAX_SEEN_CHARS};
use crate::problem::{Level, Problem, printable};
use crate::syntax::parse;
use crate::variables::{FINDING, FINDINGS, ROOT, VM_NAME};

/// Code of the finding of a condition that does not hold.
pub const POLICY_CONDITION: &str = "policy-condition";
/// Code of the finding of a condition about data that the boot does not have.
pub const POLICY_DATA_ABSENT: &str = "policy-data-absent";
/// Code of the finding of a condition that could not be evaluated.
pub const POLICY_CONDITION_ERROR: &str = "policy-condition-error";

/// What conditions may know beside the boot.
#[derive(Debug)]
pub struct Subject<'a> {
    vm: Vm<'a>,
    findings: &'a [Finding],
    as_facts: OnceCell<(Fact, Fact)>,
}

/// The VM as conditions see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vm<'a> {
    /// Name.
    pub name: Option<&'a str>,
    /// Group.
    pub group: Option<&'a str>,
    /// Scale set.
    pub scale_set: Option<&'a str>,
    /// Operating system, as the agent names it.
    pub os: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// A VM with the findings of its attestation. Findings of conditions are left out: conditions do not see each other.
    pub fn new(vm: Vm<'a>, findings: &'a [Finding]) -> Self {
        Self { vm, findings, as_facts: OnceCell::new() }
    }

    fn facts(&self) -> &(Fact, Fact) {
        self.as_facts.get_or_init(|| {
            let vm = record(VM_NAME)
                .with_some("name", self.vm.name)
                .with_some("group", self.vm.group)
                .with_some("scale_set", self.vm.scale_set)
                .with_some("os", self.vm.os.filter(|os| !os.is_empty()));
            let findings = self.findings.iter().filter(|f| !is_of_a_condition(f)).map(finding_fact).collect();
            (vm.into(), Fact::List(findings))
        })
    }
}

/// Whether a finding is one of this crate's.
pub fn is_of_a_condition(finding: &Finding) -> bool {
    [POLICY_CONDITION, POLICY_DATA_ABSENT, POLICY_CONDITION_ERROR].contains(&finding.code.as_str())
}

fn finding_fact(finding: &Finding) -> Fact {
    Record::new(&FINDING)
        .with("code", finding.code.clone())
        .with("severity", finding.severity.as_str())
        .with("fails", finding.fails())
        .with_some("change", finding.change.map(|change| change.as_str()))
        .with_some("component", finding.component.clone())
        .with_some("pcr", finding.pcr.map(i64::from))
        .into()
}

/// Boot and subject together.
struct All<'a> {
    boot: &'a Record,
    subject: &'a Subject<'a>,
}

impl<'a> Variables<'a> for &All<'a> {
    fn variable(&self, index: usize) -> Option<&'a Fact> {
        match ROOT.members.get(index).map(|member| member.name) {
            Some(VM_NAME) => Some(&self.subject.facts().0),
            Some(FINDINGS) => Some(&self.subject.facts().1),
            _ => self.boot.at(index),
        }
    }
}

/// What a condition came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Evaluated {
    /// It holds.
    Holds,
    /// It does not.
    Fails {
        /// What was seen, in words; empty when nothing can be shown.
        seen: String,
    },
    /// It asks for data that the boot does not have.
    Absent {
        /// Path of the variable.
        variable: String,
    },
    /// It could not be evaluated.
    Error {
        /// Why.
        why: String,
    },
}

impl Evaluated {
    /// Whether it holds; everything else counts as not holding.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Holds)
    }
}

/// A condition that can be evaluated.
#[derive(Clone, Debug)]
pub struct Compiled {
    source: Condition,
    pub(crate) code: Code,
}

impl Compiled {
    /// Checks a condition. With it come notes, which do not hinder its use.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Condition) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = head_problems(source);
        let checked = parse(&source.expression).and_then(|parsed| check(&parsed));
        let of = |list: Vec<Problem>| list.into_iter().map(|p| p.of(&source.id)).collect::<Vec<_>>();
        match checked {
            Ok(checked) if problems.is_empty() => {
                Ok((Self { source: source.clone(), code: checked.code }, of(checked.notes)))
            }
            Ok(_) => Err(of(problems)),
            Err(more) => {
                problems.extend(more);
                Err(of(problems))
            }
        }
    }

    /// What was compiled.
    pub fn source(&self) -> &Condition {
        &self.source
    }

    /// Evaluates it. Bounded by [`crate::limits::MAX_STEPS`] steps.
    pub fn evaluate(&self, boot: &Boot, subject: &Subject<'_>) -> Evaluated {
        let all = All { boot: &boot.root, subject };
        match evaluate(&self.code, &all) {
            Ok(true) => Evaluated::Holds,
            Ok(false) => Evaluated::Fails { seen: self.seen(&all) },
            Err(Fault::Absent(variable)) => Evaluated::Absent { variable },
            Err(fault) => Evaluated::Error { why: fault.to_string() },
        }
    }

    /// What the condition looked at: elements that decided, then plain values.
    fn seen(&self, all: &All<'_>) -> String {
        let mut words = witnesses(&self.code, all);
        let mut known = BTreeSet::new();
        self.code.walk(&mut |code| {
            if let Code::Member { of, index, path } = code
                && let Code::Variable { index: top, .. } = &**of
                && let Some(Fact::Record(record)) = all.variable(*top)
                && let Some(fact @ (Fact::Bool(_) | Fact::Int(_) | Fact::Text(_))) = record.at(*index)
                && known.len() < 5
                && known.insert(path.clone())
            {
                words.push(format!("{path} is {}", describe(fact)));
            }
        });
        printable(&words.join("; "), MAX_SEEN_CHARS)
    }

    /// The finding of a result; `None` when the condition holds.
    pub fn finding(&self, evaluated: &Evaluated) -> Option<Finding> {
        let id = printable(&self.source.id, MAX_ID_CHARS);
        let (code, message, seen) = match evaluated {
            Evaluated::Holds => return None,
            Evaluated::Fails { seen } => (POLICY_CONDITION, self.source.message.clone(), Some(seen.clone())),
            Evaluated::Absent { variable } => (
                POLICY_DATA_ABSENT,
                format!(
                    "The condition `{id}` asks for `{variable}`, which this boot does not show; that counts as not holding"
                ),
                None,
            ),
            Evaluated::Error { why } => (
                POLICY_CONDITION_ERROR,
                format!("The condition `{id}` cannot be evaluated: {why}; that counts as not holding"),
                None,
            ),
        };
        let mut finding =
            Finding::new(code, self.source.severity, printable(&message, MAX_MESSAGE_CHARS + 200));
        finding.component = Some(format!("condition {id}"));
        finding.expected = Some(printable(&self.source.expression, MAX_SEEN_CHARS));
        finding.seen = seen.filter(|seen| !seen.is_empty());
        finding.hint = self.source.hint.as_ref().map(|hint| printable(hint, MAX_MESSAGE_CHARS));
        if code == POLICY_DATA_ABSENT && finding.hint.is_none() {
            finding.hint = Some(
                "`veriboot policy variables` says when a variable is absent; `has(…)` asks first.".to_owned(),
            );
        }
        finding.reason = finding.fails().then_some(AlertReason::BaselineDeviation);
        Some(finding)
    }

    /// Whether it reads `findings` or `vm`.
    pub fn reads(&self, name: &str) -> bool {
        let mut reads = false;
        self.code.walk(&mut |code| reads |= matches!(code, Code::Variable { path, .. } if path == name));
        reads
    }
}

/// Conditions that are judged together.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    conditions: Vec<Compiled>,
}

impl Policy {
    /// Compiles all conditions of a profile. With them come notes.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn compile(conditions: &[Condition]) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = list_problems(conditions);
        let (mut compiled, mut notes) = (Vec::new(), Vec::new());
        for condition in conditions.iter().take(MAX_CONDITIONS) {
            match Compiled::compile(condition) {
                Ok((condition, more)) => {
                    compiled.push(condition);
                    notes.extend(more);
                }
                Err(more) => problems.extend(more),
            }
        }
        match problems.is_empty() {
            true => Ok((Self { conditions: compiled }, notes)),
            false => {
                problems.extend(notes);
                Err(problems)
            }
        }
    }

    /// Its conditions.
    pub fn conditions(&self) -> &[Compiled] {
        &self.conditions
    }

    /// Whether there is nothing to evaluate.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Findings of the conditions that do not hold for this boot.
    pub fn findings(&self, boot: &Boot, subject: &Subject<'_>) -> Vec<Finding> {
        self.conditions.iter().filter_map(|c| c.finding(&c.evaluate(boot, subject))).collect()
    }
}

/// The outcome of an appraisal with the findings of the profile's conditions: it can only become worse. What is not believed
/// is not asked about, for it fails by itself; what nobody can evaluate holds for nobody.
pub fn judge(
    outcome: Outcome,
    policy: Result<&Policy, &[Problem]>,
    boot: Option<&Boot>,
    vm: Vm<'_>,
) -> Outcome {
    if policy.is_ok_and(Policy::is_empty) {
        return outcome;
    }
    let believed = outcome.facts.quote == FactState::Valid && outcome.facts.log == FactState::Valid;
    if !believed && outcome.findings.iter().any(Finding::fails) {
        return outcome;
    }
    let findings = match (policy, boot) {
        (Ok(policy), Some(boot)) => policy.findings(boot, &Subject::new(vm, &outcome.findings)),
        (Ok(_), None) => vec![unusable("there is no event log that they could be asked of")],
        (Err(problems), _) => {
            vec![unusable(problems.first().map_or("nobody knows why", |problem| problem.message.as_str()))]
        }
    };
    outcome.and(findings)
}

/// Conditions that nobody can evaluate hold for nobody.
fn unusable(why: &str) -> Finding {
    let mut finding = Finding::new(
        POLICY_CONDITION_ERROR,
        Severity::High,
        format!("The conditions of the profile cannot be evaluated, which counts as not holding: {why}"),
    );
    finding.reason = Some(AlertReason::BaselineDeviation);
    finding.hint = Some("Check the profile with `veriboot policy check`.".to_owned());
    finding
}

/// What is wrong with a list of conditions as such.
pub(crate) fn list_problems(conditions: &[Condition]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if conditions.len() > MAX_CONDITIONS {
        problems.push(Problem::error(
            "too-many-conditions",
            format!("There are {} conditions; {MAX_CONDITIONS} are allowed", conditions.len()),
        ));
    }
    let mut known = BTreeSet::new();
    for condition in conditions.iter().take(MAX_CONDITIONS) {
        if !known.insert(&condition.id) {
            problems.push(
                Problem::error("duplicate-id", "Another condition has the same id")
                    .hint("findings name conditions by their ids")
                    .of(&condition.id),
            );
        }
    }
    problems
}

/// What is wrong beside the expression.
fn head_problems(condition: &Condition) -> Vec<Problem> {
    let mut problems = Vec::new();
    let id = &condition.id;
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || id.len() > MAX_ID_CHARS || !id.chars().all(is_word) || id.starts_with('-') {
        problems.push(Problem::error(
            "bad-id",
            format!(
                "The id must be 1 to {MAX_ID_CHARS} characters of a-z 0-9 and -, such as `no-init-override`"
            ),
        ));
    }
    let texts = [("message", Some(&condition.message)), ("hint", condition.hint.as_ref())];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        if text.trim().is_empty()
            || text.chars().count() > MAX_MESSAGE_CHARS
            || text.chars().any(char::is_control)
        {
            problems.push(Problem::new(
                "bad-text",
                Level::Error,
                format!("The {name} must be one line of 1 to {MAX_MESSAGE_CHARS} characters"),
            ));
        }
    }
    problems
}
