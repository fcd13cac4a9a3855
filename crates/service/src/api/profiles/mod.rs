//! Profiles: what a boot must look like whatever its baseline says.

pub(crate) mod assignments;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use veriboot_appraisal::Profile;
use veriboot_store::profiles::{self, NewProfile, ProfileRow};
use veriboot_store::reappraisals::{self as again, NewReappraisal};
use veriboot_wire::{
    BaselineFlaw, DocumentFormat, HistoryQuery, Page, Problem, ProfileChanged, ProfileDetail, ProfilePut,
    ProfileSummary, ProfileVersionQuery,
};

use super::baselines::apply::{check_flaws, off_the_network};
use super::replaces::Replaces;
use super::{audit, check_comment, check_limit, check_name, no_such};
use crate::auth::{Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch};
use crate::extract::{Json as Body, Path, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState, reappraisals};

/// Scopes that are shown beside a profile, and judged again after it changed.
const MAX_SCOPES: u32 = 100;
/// Scopes of one profile, so that a change of it is bounded.
const MAX_ASSIGNED: u32 = 10_000;

fn stored(row: &ProfileRow) -> Result<ProfileSummary, ApiError> {
    let profile = Profile::from_json(row.document.as_bytes()).map_err(ApiError::internal)?;
    Ok(ProfileSummary {
        name: row.name.clone(),
        version: Some(row.version),
        built_in: false,
        current: row.current,
        description: profile.description,
        sha256: row.sha256.clone(),
        created_at: Some(row.created_at),
        created_by: Some(row.created_by.clone()),
        comment: row.comment.clone(),
    })
}

fn built_in(name: &str) -> Result<Option<(ProfileSummary, serde_json::Value)>, ApiError> {
    let Some(profile) = Profile::named(name) else { return Ok(None) };
    let document = profile.to_json().map_err(ApiError::internal)?;
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, document.as_bytes());
    let summary = ProfileSummary {
        name: name.to_owned(),
        version: None,
        built_in: true,
        current: true,
        description: profile.description,
        sha256: hex::encode(sha256),
        created_at: None,
        created_by: None,
        comment: None,
    };
    Ok(Some((summary, serde_json::from_str(&document).map_err(ApiError::internal)?)))
}

/// List profiles
///
/// Those that come with Veriboot first, on the first page; then the stored ones by name, each in its current version.
#[utoipa::path(get, path = "/v1/profiles", tag = "profiles", operation_id = "list_profiles",
    params(HistoryQuery), responses((status = 200, body = Page<ProfileSummary>)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<ProfileSummary>>, ApiError> {
    check_limit(query.limit)?;
    let first = query.cursor.is_none();
    let page = state.read(move |tx| Ok(profiles::list(tx, query.limit, query.cursor.as_deref())?)).await?;
    let mut items = Vec::new();
    if first {
        for name in Profile::NAMES {
            // A stored one of the same name is older than the built-in one, and wins.
            if page.items.iter().all(|row| row.name != *name) {
                items.extend(built_in(name)?.map(|(summary, _)| summary));
            }
        }
    }
    for row in &page.items {
        items.push(stored(row)?);
    }
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

/// Show a profile
///
/// Its current version, or another one, with where it is assigned. The answer's `ETag` is its version: give it as `If-Match`
/// to replace exactly this one. Profiles that come with Veriboot cannot be replaced and have none.
#[utoipa::path(get, path = "/v1/profiles/{name}", tag = "profiles", operation_id = "show_profile",
    params(("name" = String, Path, description = "Name of the profile"), ProfileVersionQuery),
    responses((status = 200, body = ProfileDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(query): Query<ProfileVersionQuery>,
) -> Result<Response, ApiError> {
    let wanted = name.clone();
    let (row, assigned) = state
        .read(move |tx| {
            let row = match query.version {
                Some(version) => profiles::by_version(tx, &wanted, version)?,
                None => profiles::current(tx, &wanted)?,
            };
            Ok((row, profiles::assigned_to(tx, &wanted, MAX_SCOPES)?))
        })
        .await?;
    let (summary, document) = match row {
        Some(row) => (stored(&row)?, serde_json::from_str(&row.document).map_err(ApiError::internal)?),
        None => {
            built_in(&name)?.filter(|_| query.version.is_none()).ok_or_else(|| no_such("profile", &name))?
        }
    };
    let version = summary.version;
    let detail = Json(ProfileDetail { summary, document, assigned });
    Ok(match version {
        Some(version) => ETagged::new(ETag::of_revision(version), detail).into_response(),
        None => detail.into_response(),
    })
}

/// List the versions of a profile
///
/// Newest first.
#[utoipa::path(get, path = "/v1/profiles/{name}/versions", tag = "profiles", operation_id = "list_profile_versions",
    params(("name" = String, Path, description = "Name of the profile"), HistoryQuery),
    responses((status = 200, body = Page<ProfileSummary>)))]
pub(crate) async fn versions(
    _: Viewer,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<ProfileSummary>>, ApiError> {
    check_limit(query.limit)?;
    let page = state
        .read(move |tx| Ok(profiles::versions(tx, &name, query.limit, query.cursor.as_deref())?))
        .await?;
    let items = page.items.iter().map(stored).collect::<Result<_, _>>()?;
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

/// A profile as an operator wrote it; its name is that of the path.
fn read(
    name: &str,
    document: &str,
    format: DocumentFormat,
    allowed: &[String],
) -> Result<(String, Vec<BaselineFlaw>), ApiError> {
    let refused = |reason: String| {
        let reason: String = reason.chars().filter(|c| !c.is_control() || *c == '\n').take(1000).collect();
        ApiError::new(&kinds::PROFILE_INVALID, reason)
    };
    let read = match format {
        DocumentFormat::Json => Profile::from_json(document.as_bytes()),
        DocumentFormat::Toml => Profile::from_toml(document),
    };
    let profile = read.map_err(|error| refused(error.to_string()).hint(error.hint()))?;
    if profile.name != name {
        return Err(refused(format!("its name is {:?} and the path's is {name:?}", profile.name)));
    }
    let flaws = check_flaws(&profile.flaws(), allowed, |_| &kinds::PROFILE_REFUSED)?;
    super::policies::usable(&profile.conditions).map_err(refused)?;
    Ok((profile.to_json().map_err(ApiError::internal)?, flaws))
}

/// Store a profile
///
/// Makes a document, JSON or TOML, the next version of a profile, and judges the VMs again that it judges. Names the
/// version that it replaces, in `expected_version` or `If-Match`. A document that is the current version already changes
/// nothing: `changed` is false.
#[utoipa::path(put, path = "/v1/profiles/{name}", tag = "profiles", operation_id = "put_profile",
    params(("name" = String, Path, description = "Name of the profile"),
        ("If-Match" = Option<String>, Header, description = "ETag of the version that was looked at")),
    request_body = ProfilePut,
    responses((status = 200, body = ProfileChanged), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn put(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Path(name): Path<String>,
    Body(request): Body<ProfilePut>,
) -> Result<ETagged<Json<ProfileChanged>>, ApiError> {
    check_name("name", &name)?;
    check_comment(request.comment.as_deref())?;
    let replaces = Replaces::new(if_match, request.expected_version)?;
    if Profile::NAMES.contains(&name.as_str()) {
        return Err(ApiError::new(&kinds::BUILT_IN, format!("{name} comes with Veriboot")));
    }
    let ProfilePut { document, format, comment, allow_flaws, .. } = request;
    let of = name.clone();
    let (document, flaws) = off_the_network(move || read(&of, &document, format, &allow_flaws)).await?;
    let codes: Vec<String> = flaws.iter().map(|flaw| flaw.code.clone()).collect();
    let now = state.clock.now();
    let (signer, by) = (state.attest.baseline_signer().clone(), caller.name.clone());
    let (row, asked) = state
        .write(move |tx| {
            let current = profiles::current(tx, &name)?;
            let replaced = current.as_ref().map(|row| row.version);
            replaces.check(replaced)?;
            if let Some(current) = current
                && current.document == document
                && signer.verify_profile(&current).is_ok()
            {
                return Ok((current, None));
            }
            let new = NewProfile {
                name: &name,
                document: &document,
                comment: comment.as_deref(),
                created_by: &caller.name,
                created_at: now,
            };
            let row = profiles::insert_next(tx, &new, &signer)?;
            let scopes = profiles::assigned_to(tx, &name, MAX_ASSIGNED)?;
            let detail = json!({
                "profile": row.reference(), "sha256": row.sha256, "replaces": replaced, "scopes": scopes.len(),
                "allowed_flaws": codes, "comment": comment,
            });
            audit(tx, now, &caller, "profile.put", &row.id, &detail)?;
            let because = format!("profile {} stored", row.reference());
            let mut asked = Vec::new();
            for scope in &scopes {
                let new = NewReappraisal {
                    scope,
                    because: &because,
                    always: false,
                    created_by: &caller.name,
                    created_at: now,
                };
                asked.push(again::enqueue(tx, &new)?);
            }
            Ok((row, Some(asked)))
        })
        .await?;
    let (tag, profile) = (ETag::of_revision(row.version), stored(&row)?);
    let Some(asked) = asked else {
        let same = ProfileChanged { changed: false, profile, flaws, reappraisals: Vec::new() };
        return Ok(ETagged::new(tag, Json(same)));
    };
    tracing::info!(profile = row.reference(), by, "profile stored");
    let mut done = Vec::new();
    for one in asked {
        // The first scope is judged before the answer; the others follow in the background.
        done.push(if done.is_empty() { reappraisals::drive(&state, one).await? } else { one });
    }
    let changed = ProfileChanged { changed: true, profile, flaws, reappraisals: done };
    Ok(ETagged::new(tag, Json(changed)))
}
