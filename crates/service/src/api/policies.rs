//! Policy conditions: what they may use, what is wrong with them, what they would say about stored attestations.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use veriboot_appraisal::Condition;
use veriboot_eventlog::HashAlg;
use veriboot_policy::limits::MAX_CONDITIONS;
use veriboot_policy::{Boot, Level, Policy, Problem as Found, Subject, lint, variables};
use veriboot_store::{attestations, vms};
use veriboot_wire::{
    Attestation, FactState, Finding, MAX_PAGE_ROWS, PolicyCheck, PolicyChecked, PolicyCondition,
    PolicyProblem, PolicyTest, PolicyTested, PolicyTestedAttestation, PolicyVariable, Problem, VmQuery,
};

use super::{check_range, invalid};
use crate::attest::{self, dry_run_boot};
use crate::auth::Viewer;
use crate::extract::Json as Body;
use crate::{ApiError, AppState};

/// VMs of a page when the caller names no limit, and the most.
const PAGE_VMS: (u32, u32) = (50, 100);
/// Attestations per VM at most.
const MAX_LAST: u32 = 20;
/// Attestations of one answer at most.
const MAX_ATTESTATIONS: u32 = 500;

/// List the variables of conditions
///
/// In the order of docs/policies.md.
#[utoipa::path(get, path = "/v1/policies/variables", tag = "policies", operation_id = "list_policy_variables",
    responses((status = 200, body = Vec<PolicyVariable>)))]
pub(crate) async fn list_variables(_: Viewer) -> Json<Vec<PolicyVariable>> {
    let basis = |basis| serde_json::to_value(basis).ok().and_then(|v| v.as_str().map(str::to_owned));
    Json(
        variables()
            .into_iter()
            .map(|variable| PolicyVariable {
                name: variable.name,
                kind: variable.ty,
                meaning: variable.meaning.to_owned(),
                absent: variable.absent.map(str::to_owned),
                basis: basis(variable.basis).unwrap_or_default(),
                words: variable.words.into_iter().map(str::to_owned).collect(),
            })
            .collect(),
    )
}

/// Check conditions
///
/// Says what is wrong with them: what cannot be used, what says nothing, and what passes when data is absent.
#[utoipa::path(post, path = "/v1/policies/check", tag = "policies", operation_id = "check_policy",
    request_body = PolicyCheck, responses((status = 200, body = PolicyChecked)))]
pub(crate) async fn check(
    _: Viewer,
    State(state): State<AppState>,
    Body(request): Body<PolicyCheck>,
) -> Result<Json<PolicyChecked>, ApiError> {
    let (_, problems) = linted(&state, request.conditions).await?;
    Ok(Json(PolicyChecked { problems: problems.into_iter().map(on_the_wire).collect() }))
}

/// Try conditions
///
/// Evaluates them for the last attestations of VMs, in the order of the VM list, and changes nothing. Attestations for which
/// all of them hold are only counted.
#[utoipa::path(post, path = "/v1/policies/test", tag = "policies", operation_id = "test_policy",
    request_body = PolicyTest, responses((status = 200, body = PolicyTested), (status = 400, body = Problem)))]
pub(crate) async fn test(
    _: Viewer,
    State(state): State<AppState>,
    Body(request): Body<PolicyTest>,
) -> Result<Json<PolicyTested>, ApiError> {
    let last = check_range("last", request.last.unwrap_or(1), 1, MAX_LAST)?;
    let limit = check_range("limit", request.limit.unwrap_or(PAGE_VMS.0), 1, PAGE_VMS.1)?;
    let limit = limit.min(MAX_ATTESTATIONS / last).max(1);
    let (conditions, problems) = linted(&state, request.conditions).await?;
    let unusable = problems.iter().any(|problem| problem.level == Level::Error);
    let mut tested = PolicyTested {
        problems: problems.into_iter().map(on_the_wire).collect(),
        vms: 0,
        attestations: 0,
        failing_vms: 0,
        items: Vec::new(),
        next_cursor: None,
    };
    if unusable {
        return Ok(Json(tested));
    }
    let (policy, _) = Policy::compile(&conditions).map_err(|_| invalid("the conditions cannot be used"))?;
    let policy = Arc::new(policy);
    let query = VmQuery {
        group: request.group,
        scale_set: request.scale_set,
        limit: Some(limit.min(MAX_PAGE_ROWS)),
        cursor: request.cursor,
        ..VmQuery::default()
    };
    let (rows, next) = state.read(move |tx| history(tx, &query, last)).await?;
    tested.next_cursor = next;
    let mut boots: HashMap<BootKey, Result<Arc<Boot>, String>> = HashMap::new();
    for (vm, attested) in rows {
        tested.vms = tested.vms.saturating_add(1);
        let mut failing = false;
        for (attestation, bank) in attested {
            tested.attestations = tested.attestations.saturating_add(1);
            let (findings, not_tried) = match boot_of(&state, &mut boots, &vm, &attestation, bank).await? {
                Ok(boot) => (evaluated(&state, &policy, boot, &vm, &attestation).await?, None),
                Err(why) => (Vec::new(), Some(why)),
            };
            if findings.is_empty() && not_tried.is_none() {
                continue;
            }
            let would_fail = findings.iter().any(Finding::fails);
            failing |= would_fail;
            tested.items.push(PolicyTestedAttestation {
                vm_id: vm.id.clone(),
                vm_name: vm.name.clone(),
                group: vm.group.clone(),
                attestation_id: attestation.id,
                at: attestation.at,
                verdict: attestation.verdict,
                would_fail,
                findings,
                not_tried,
            });
        }
        tested.failing_vms = tested.failing_vms.saturating_add(u32::from(failing));
    }
    Ok(Json(tested))
}

/// The lint takes some milliseconds for each condition: beside the network's threads.
async fn linted(
    state: &AppState,
    conditions: Vec<PolicyCondition>,
) -> Result<(Vec<Condition>, Vec<Found>), ApiError> {
    if conditions.is_empty() || conditions.len() > MAX_CONDITIONS {
        return Err(invalid(format!("conditions must have 1 to {MAX_CONDITIONS} members")));
    }
    let conditions: Vec<Condition> = conditions
        .into_iter()
        .map(|c| Condition {
            id: c.id,
            expression: c.expression,
            severity: c.severity,
            message: c.message,
            hint: c.hint,
        })
        .collect();
    attest::long_work(state, move || {
        let linted = lint(&conditions);
        (conditions, linted.problems)
    })
    .await
}

/// Log, VM and bank.
type BootKey = (String, String, HashAlg);
/// VMs with their attestations and the banks of their quotes.
type History = Vec<(vms::VmRow, Vec<(Attestation, Option<HashAlg>)>)>;

fn history(
    tx: &mut dyn veriboot_store::Tx,
    query: &VmQuery,
    last: u32,
) -> Result<(History, Option<String>), ApiError> {
    let page = vms::list(tx, query)?;
    let mut rows = Vec::with_capacity(page.items.len());
    for summary in page.items {
        let Some(vm) = vms::by_id(tx, &summary.id)? else { continue };
        let mut attested = Vec::new();
        for attestation in attestations::list(tx, &vm.id, Some(last), None)?.items {
            let evidence = attestations::evidence(tx, &attestation.id)?;
            let bank = evidence.and_then(|evidence| evidence.bank).and_then(|bank| HashAlg::from_name(&bank));
            attested.push((attestation, bank));
        }
        rows.push((vm, attested));
    }
    Ok((rows, page.next_cursor))
}

/// What conditions may know of an attested boot, or why they know nothing.
async fn boot_of(
    state: &AppState,
    known: &mut HashMap<BootKey, Result<Arc<Boot>, String>>,
    vm: &vms::VmRow,
    attestation: &Attestation,
    bank: Option<HashAlg>,
) -> Result<Result<Arc<Boot>, String>, ApiError> {
    if attestation.facts.quote != FactState::Valid || attestation.facts.log != FactState::Valid {
        return Ok(Err("its quote or its event log was not believed: it fails by itself".to_owned()));
    }
    let (Some(sha256), Some(bank)) = (&attestation.log_sha256, bank) else {
        return Ok(Err("its event log or its quote is not kept".to_owned()));
    };
    let key = (sha256.clone(), vm.id.clone(), bank);
    if let Some(boot) = known.get(&key) {
        return Ok(boot.clone());
    }
    let boot = dry_run_boot(state, vm, sha256, bank).await?;
    known.insert(key, boot.clone());
    Ok(boot)
}

async fn evaluated(
    state: &AppState,
    policy: &Arc<Policy>,
    boot: Arc<Boot>,
    vm: &vms::VmRow,
    attestation: &Attestation,
) -> Result<Vec<Finding>, ApiError> {
    let (policy, vm, findings) = (Arc::clone(policy), vm.clone(), attestation.findings.clone());
    attest::long_work(state, move || {
        policy.findings(&boot, &Subject::new(attest::seen_by_conditions(&vm, &vm.machine), &findings))
    })
    .await
}

fn on_the_wire(problem: Found) -> PolicyProblem {
    PolicyProblem {
        code: problem.code.to_owned(),
        level: problem.level.as_str().to_owned(),
        condition: problem.condition,
        line: problem.line,
        column: problem.column,
        message: problem.message,
        hint: problem.hint,
    }
}

/// What is wrong with conditions that cannot be used: a profile with such must not judge.
///
/// # Errors
/// The first thing that is wrong, in one sentence.
pub(crate) fn usable(conditions: &[Condition]) -> Result<(), String> {
    let Err(problems) = Policy::compile(conditions) else { return Ok(()) };
    let Some(problem) = problems.into_iter().find(|problem| problem.level == Level::Error) else {
        return Err("its conditions cannot be used".to_owned());
    };
    let of = problem.condition.map_or(String::new(), |id| format!(" `{id}`"));
    let place = match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!(" at line {line}, column {column}"),
        _ => String::new(),
    };
    let hint = problem.hint.map_or(String::new(), |hint| format!(" ({hint})"));
    Err(format!("condition{of}{place}: {}{hint}", problem.message))
}
