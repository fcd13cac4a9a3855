//! A document of an operator becomes the next version.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use veriboot_appraisal::{Baseline, BaselineError, Flaw};
use veriboot_eventlog::ComponentKind;
use veriboot_store::baselines::{self, CurrentBaseline, NewBaseline, name_of};
use veriboot_store::reappraisals::{self as again, NewReappraisal};
use veriboot_store::{StoreError, Tx, vms};
use veriboot_wire::{
    BaselineApply, BaselineChanged, BaselineFlaw, BaselineOrigin, BaselineSummary, DocumentFormat, Problem,
    Reappraisal, Scope, ScopeKind, Time,
};

use super::tagged;
use crate::api::replaces::Replaces;
use crate::api::{audit, check_comment, check_name, find_vm, invalid};
use crate::auth::{Caller, Operator};
use crate::etag::IfMatch;
use crate::extract::Json as Body;
use crate::problem::{Kind, kinds};
use crate::{ApiError, AppState, reappraisals};

/// Most codes in `allow_flaws`.
const MAX_ALLOWED_FLAWS: usize = 32;

/// Apply a baseline document
///
/// Makes a document, JSON or TOML, the next version of the baseline of a scope and judges the scope's VMs again. Refused
/// when the document is malformed, empty, contradictory or accepts everything; other weaknesses must be allowed by their
/// codes. Names the version that it replaces, in `expected_version` or `If-Match`, so that of two operators at once the
/// second is told. A document that is the current version already changes nothing: `changed` is false.
#[utoipa::path(post, path = "/v1/baselines", tag = "baselines", operation_id = "apply_baseline",
    request_body = BaselineApply,
    params(("If-Match" = Option<String>, Header, description = "ETag of the version that was looked at")),
    responses((status = 200, body = BaselineChanged), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn apply(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Body(request): Body<BaselineApply>,
) -> Result<Response, ApiError> {
    let replaces = Replaces::new(if_match, request.expected_version)?;
    check_comment(request.comment.as_deref())?;
    let BaselineApply { scope, document, format, comment, allow_flaws, .. } = request;
    let checked = off_the_network(move || {
        let baseline = read(&document, format)?;
        Checked::new(&baseline, &allow_flaws)
    })
    .await?;
    let next = Next {
        scope,
        replaces,
        origin: BaselineOrigin::Applied,
        action: "baseline.apply",
        comment,
        detail: json!({}),
        checked,
    };
    store(&state, caller, next).await.map(tagged)
}

/// Reading a document of up to 16 MiB is work for a thread that is not the network's.
pub(crate) async fn off_the_network<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?
}

/// A document as an operator wrote it.
pub(crate) fn read(document: &str, format: DocumentFormat) -> Result<Baseline, ApiError> {
    let read = match format {
        DocumentFormat::Json => Baseline::from_json(document.as_bytes()),
        DocumentFormat::Toml => Baseline::from_toml(document),
    };
    read.map_err(|error| {
        let text = error.to_string();
        let kind = match &error {
            BaselineError::TooLarge(_) => &kinds::BASELINE_TOO_LARGE,
            BaselineError::Schema(_) => &kinds::BASELINE_SCHEMA_UNKNOWN,
            BaselineError::Shape(reason) if names_unknown_class(reason) => &kinds::BASELINE_UNKNOWN_CLASS,
            _ => &kinds::BASELINE_MALFORMED,
        };
        let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n').take(1000).collect();
        ApiError::new(kind, text).hint(error.hint())
    })
}

/// Whether a rule is of a component class that does not exist: the words that it could have been are those classes.
fn names_unknown_class(reason: &str) -> bool {
    reason.contains("unknown variant") && reason.contains(ComponentKind::KernelCommandLine.as_str())
}

/// A document without weaknesses, or with those that were allowed.
pub(crate) struct Checked {
    pub document: String,
    pub components: u32,
    pub flaws: Vec<BaselineFlaw>,
}

impl Checked {
    /// Refuses what must not judge, and weaknesses that nobody allowed.
    pub fn new(baseline: &Baseline, allowed: &[String]) -> Result<Self, ApiError> {
        let flaws = check_flaws(&baseline.flaws(), allowed, |code| match code {
            "baseline-empty" => &kinds::BASELINE_EMPTY,
            "baseline-accepts-everything" | "rule-accepts-everything" => &kinds::BASELINE_ACCEPTS_EVERYTHING,
            "baseline-contradictory" | "boot-pcr-contradictory" => &kinds::BASELINE_CONTRADICTORY,
            _ => &kinds::BASELINE_REFUSED,
        })?;
        Ok(Self {
            document: baseline.to_json().map_err(ApiError::internal)?,
            components: u32::try_from(baseline.components()).unwrap_or(u32::MAX),
            flaws,
        })
    }
}

/// Gives the weaknesses of a document that were allowed. One that must not judge is refused in words of its own, and so is
/// one that nobody allowed.
pub(crate) fn check_flaws(
    flaws: &[Flaw],
    allowed: &[String],
    refusal: impl Fn(&str) -> &'static Kind,
) -> Result<Vec<BaselineFlaw>, ApiError> {
    if allowed.len() > MAX_ALLOWED_FLAWS {
        return Err(invalid(format!("allow_flaws must have at most {MAX_ALLOWED_FLAWS} codes")));
    }
    if let Some(flaw) = flaws.iter().find(|flaw| flaw.refused) {
        let kind = refusal(flaw.code);
        let mut message = placed(&flaw.place, &flaw.message);
        if kind.code != flaw.code {
            message = format!("{message} ({})", flaw.code);
        }
        return Err(ApiError::new(kind, message).hint(flaw.hint));
    }
    if let Some(flaw) = flaws.iter().find(|flaw| !allowed.iter().any(|code| code == flaw.code)) {
        let message = format!("{} ({})", placed(&flaw.place, &flaw.message), flaw.code);
        let hint = format!("{}; or allow it: put {:?} in allow_flaws (--allow-flaw)", flaw.hint, flaw.code);
        return Err(ApiError::new(&kinds::DOCUMENT_FLAWED, message).hint(hint));
    }
    let accepted = |flaw: &Flaw| BaselineFlaw {
        code: flaw.code.to_owned(),
        message: placed(&flaw.place, &flaw.message),
    };
    Ok(flaws.iter().map(accepted).collect())
}

fn placed(place: &str, message: &str) -> String {
    if place.is_empty() { message.to_owned() } else { format!("{place}: {message}") }
}

/// A version that is about to be stored.
pub(crate) struct Next {
    pub scope: Scope,
    /// What it was decided on.
    pub replaces: Replaces,
    pub origin: BaselineOrigin,
    /// Of the audit log.
    pub action: &'static str,
    pub comment: Option<String>,
    /// Further members of the audit entry.
    pub detail: Value,
    pub checked: Checked,
}

/// Stores it and judges the scope's VMs again, unless it is what judges already.
pub(crate) async fn store(state: &AppState, caller: Caller, next: Next) -> Result<BaselineChanged, ApiError> {
    let now = state.clock.now();
    let by = caller.name.clone();
    let flaws = next.checked.flaws.clone();
    let shared = state.clone();
    let stored = state.write(move |tx| in_transaction(tx, &shared, &caller, &next, now)).await?;
    let (summary, reappraisal) = match stored {
        Stored::Unchanged(summary) => {
            let baseline = Some(summary);
            return Ok(BaselineChanged { changed: false, baseline, flaws, reappraisal: None });
        }
        Stored::Next(summary, reappraisal) => (summary, reappraisal),
    };
    let baseline = format!("{}@{}", summary.name, summary.version);
    tracing::info!(baseline, by, origin = summary.origin.as_str(), "baseline changed");
    let reappraisal = Some(reappraisals::drive(state, reappraisal).await?);
    Ok(BaselineChanged { changed: true, baseline: Some(summary), flaws, reappraisal })
}

enum Stored {
    /// The document is that of the current version.
    Unchanged(BaselineSummary),
    /// The next version.
    Next(BaselineSummary, Reappraisal),
}

fn in_transaction(
    tx: &mut dyn Tx,
    state: &AppState,
    caller: &Caller,
    next: &Next,
    now: Time,
) -> Result<Stored, ApiError> {
    let (scope, name) = resolve(tx, &next.scope)?;
    let current = baselines::current_summary_of(tx, &scope)?;
    let replaced = current.as_ref().map(|current| current.version);
    next.replaces.check_named(current.as_ref().map(|current| (&*current.name, current.version)))?;
    if let Some(current) = current
        && is_unchanged(tx, state, &current, next)?
    {
        return Ok(Stored::Unchanged(current));
    }
    let new = NewBaseline {
        name: &name,
        scope: &scope,
        origin: next.origin,
        document: &next.checked.document,
        components: next.checked.components,
        boot_id: None,
        comment: next.comment.as_deref(),
        created_by: &caller.name,
        created_at: now,
    };
    let row = baselines::insert_next(tx, &new, state.attest.baseline_signer())?;
    let codes: Vec<&str> = next.checked.flaws.iter().map(|flaw| flaw.code.as_str()).collect();
    let mut detail = json!({
        "baseline": row.reference(), "sha256": row.summary.sha256, "scope": scope, "replaces": replaced,
        "allowed_flaws": codes, "comment": next.comment,
    });
    if let (Value::Object(detail), Value::Object(more)) = (&mut detail, next.detail.clone()) {
        detail.extend(more);
    }
    audit(tx, now, caller, next.action, &row.summary.id, &detail)?;
    let because = format!("baseline {} {}", row.reference(), next.origin);
    let new = NewReappraisal {
        scope: &scope,
        because: &because,
        always: false,
        created_by: &caller.name,
        created_at: now,
    };
    let reappraisal = again::enqueue(tx, &new)?;
    Ok(Stored::Next(row.summary, reappraisal))
}

/// Whether a document is that of the current version. One that cannot be read back or believed any more is replaced by the
/// same one, and one that boots to come are learned into by one that stays as it is.
fn is_unchanged(
    tx: &mut dyn Tx,
    state: &AppState,
    current: &BaselineSummary,
    next: &Next,
) -> Result<bool, ApiError> {
    let row = match baselines::by_id(tx, &current.id) {
        Ok(row) => row.filter(|row| row.document == next.checked.document),
        Err(StoreError::Corrupt { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let believed = row.is_some_and(|row| state.attest.baseline_signer().verify_baseline(&row).is_ok());
    let judging = CurrentBaseline {
        id: current.id.clone(),
        reference: format!("{}@{}", current.name, current.version),
        scope: current.scope.kind,
    };
    Ok(believed && !state.attest.is_learning(tx, &judging)?)
}

/// The scope with the VM's id for its name, and the name of its baseline.
pub(crate) fn resolve(tx: &mut dyn Tx, scope: &Scope) -> Result<(Scope, String), ApiError> {
    match scope.kind {
        ScopeKind::Vm => {
            let group = Some(scope.group.as_str()).filter(|group| !group.is_empty());
            let vm: vms::VmRow = find_vm(tx, &scope.id, group)?;
            let resolved = Scope { kind: ScopeKind::Vm, group: vm.group.clone(), id: vm.id.clone() };
            let name = name_of(&resolved, Some(&vm.name));
            return Ok((resolved, name));
        }
        ScopeKind::ScaleSet | ScopeKind::Image => check_name("scope.id", &scope.id)?,
        ScopeKind::Group if !scope.id.is_empty() => {
            return Err(invalid("scope.id must be empty for a group, which scope.group names"));
        }
        ScopeKind::Group => {}
    }
    check_name("scope.group", &scope.group)?;
    Ok((scope.clone(), name_of(scope, None)))
}
