//! The OpenAPI 3.1 document: made from the handlers, kept in docs/openapi.json.

use utoipa::OpenApi as _;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::{AppState, StartError};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Veriboot",
        description = "Boot integrity monitoring for fleets of virtual machines. Refusals have one shape (Problem); \
                       docs/errors.md lists their codes. Lists come in pages: give `next_cursor` back as `cursor`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    security(("token" = [])),
    modifiers(&Schemes),
    tags(
        (name = "fleet", description = "The fleet at a glance"),
        (name = "vms", description = "Virtual machines"),
        (name = "attestations", description = "Appraised evidence"),
        (name = "boots", description = "Starts of VMs and their logs"),
        (name = "alerts", description = "Alerts and their life, incidents, suppression rules"),
        (name = "maintenance", description = "Times in which VMs may be silent"),
        (name = "baselines", description = "What is expected"),
        (name = "profiles", description = "What a boot must look like whatever its baseline says"),
        (name = "policies", description = "Conditions of profiles, tried before they judge"),
        (name = "proposals", description = "Changes that VMs booted and that wait for a decision"),
        (name = "monitoring", description = "Where integrity monitoring is on"),
        (name = "posture", description = "Checks, assessments, recommendations and the score"),
        (name = "scale-sets", description = "What members of scale sets booted"),
        (name = "inventory", description = "Which VMs exist, as sources say, and which of them are enrolled"),
        (name = "join-tokens", description = "Admission of VMs"),
        (name = "api-tokens", description = "Credentials of people and machines"),
        (name = "events", description = "What happened, as pages and as a stream"),
        (name = "notifications", description = "Who is told of events, and what became of it"),
        (name = "audit", description = "Who changed what"),
        (name = "agent", description = "What agents say"),
        (name = "results", description = "How relying parties check results"),
        (name = "install", description = "Installing the agent"),
        (name = "health", description = "The service itself"),
    ),
)]
struct Document;

struct Schemes;

impl utoipa::Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut api = Http::new(HttpAuthScheme::Bearer);
        api.description = Some("API token (`vbt_…`) with scope viewer, operator or admin".to_owned());
        let mut agent = Http::new(HttpAuthScheme::Bearer);
        agent.description = Some("Agent token of the enrolment".to_owned());
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(api));
        components.add_security_scheme("agent", SecurityScheme::Http(agent));
    }
}

/// Every route of the service with its description.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(crate::api::routes())
        .merge(crate::agent_api::routes())
        .merge(crate::result_token::routes())
        .merge(crate::install::routes())
        .merge(crate::health::routes())
}

/// The document as JSON, the same for the same build.
///
/// # Errors
/// [`StartError::Internal`] when it cannot be written as JSON.
pub fn json() -> Result<String, StartError> {
    let (_, document) = routes().split_for_parts();
    document
        .to_pretty_json()
        .map(|text| text + "\n")
        .map_err(|e| StartError::Internal(format!("the OpenAPI document cannot be written: {e}")))
}
