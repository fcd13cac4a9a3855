//! A signed document becomes the next version.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use veriboot_appraisal::EnvelopeError;
use veriboot_wire::{BaselineChanged, BaselineImport, BaselineOrigin, DocumentFormat, Problem};

use super::apply::{Checked, Next, off_the_network, read, store};
use super::tagged;
use crate::api::check_comment;
use crate::api::replaces::Replaces;
use crate::auth::Operator;
use crate::etag::IfMatch;
use crate::extract::Json as Body;
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Import a signed baseline
///
/// As applying a document, for one in a DSSE envelope that this service or a key of `baseline_trusted_keys` signed. An
/// envelope that is unsigned, signed by an unknown key, or changed after it was signed is refused.
#[utoipa::path(post, path = "/v1/baselines/import", tag = "baselines", operation_id = "import_baseline",
    request_body = BaselineImport,
    params(("If-Match" = Option<String>, Header, description = "ETag of the version that was looked at")),
    responses((status = 200, body = BaselineChanged), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn import(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Body(request): Body<BaselineImport>,
) -> Result<Response, ApiError> {
    let replaces = Replaces::new(if_match, request.expected_version)?;
    check_comment(request.comment.as_deref())?;
    let BaselineImport { scope, envelope, comment, allow_flaws, .. } = request;
    let signer = state.attest.baseline_signer().clone();
    let (checked, key_id) = off_the_network(move || {
        let verified = signer.import(envelope.as_bytes()).map_err(refused)?;
        let text = String::from_utf8(verified.payload)
            .map_err(|_| ApiError::new(&kinds::BASELINE_MALFORMED, "the signed document is not UTF-8"))?;
        let baseline = read(&text, DocumentFormat::Json)?;
        Ok((Checked::new(&baseline, &allow_flaws)?, verified.key_id))
    })
    .await?;
    let next = Next {
        scope,
        replaces,
        origin: BaselineOrigin::Imported,
        action: "baseline.import",
        comment,
        detail: json!({ "signed_by": key_id }),
        checked,
    };
    store(&state, caller, next).await.map(tagged)
}

fn refused(error: EnvelopeError) -> ApiError {
    let kind = match &error {
        EnvelopeError::Unsigned => &kinds::UNSIGNED,
        EnvelopeError::UnknownKey(_) => &kinds::SIGNED_BY_UNKNOWN_KEY,
        EnvelopeError::Invalid(_) => &kinds::SIGNATURE_INVALID,
        _ => &kinds::ENVELOPE_MALFORMED,
    };
    ApiError::new(kind, error.to_string())
}
