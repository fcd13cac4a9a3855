//! Problems of conditions for people.

use veriboot_policy::{Level, Problem};
use veriboot_wire::PolicyProblem;

use crate::error::CliError;
use crate::output::{Output, Tone, safe};

/// Shows problems, each with its place and what to do.
pub fn show(problems: &[Problem], out: Output) -> Result<(), CliError> {
    problems.iter().map(on_the_wire).try_for_each(|problem| show_one(&problem, out))
}

/// Shows one problem.
pub fn show_one(problem: &PolicyProblem, out: Output) -> Result<(), CliError> {
    let tone = match problem.level.as_str() {
        "error" => Tone::Bad,
        "warning" => Tone::Warn,
        _ => Tone::Dim,
    };
    let level = out.paint(&format!("{:<8}", problem.level), tone);
    let condition = problem.condition.as_deref().map_or(String::new(), |id| format!("{}: ", safe(id)));
    let place = match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        _ => String::new(),
    };
    out.line(&format!("{level}{condition}{place}{} [{}]", safe(&problem.message), safe(&problem.code)))?;
    match &problem.hint {
        Some(hint) => out.line(&format!("        hint: {}", safe(hint))),
        None => Ok(()),
    }
}

fn on_the_wire(problem: &Problem) -> PolicyProblem {
    PolicyProblem {
        code: problem.code.to_owned(),
        level: problem.level.as_str().to_owned(),
        condition: problem.condition.clone(),
        line: problem.line,
        column: problem.column,
        message: problem.message.clone(),
        hint: problem.hint.clone(),
    }
}

/// Refuses conditions with an error, after showing what is wrong.
pub fn refuse_errors(problems: &[Problem], out: Output) -> Result<(), CliError> {
    let errors: Vec<Problem> = problems.iter().filter(|p| p.level == Level::Error).cloned().collect();
    if errors.is_empty() {
        return Ok(());
    }
    if !out.json {
        show(&errors, out)?;
    }
    Err(CliError::usage("policy-invalid", "the conditions cannot be used")
        .hint("`veriboot policy check FILE` says why"))
}
