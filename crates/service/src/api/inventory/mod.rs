//! The inventory: which VMs exist, what is configured for them, and which of them are enrolled.

mod items;
mod links;
mod sources;
mod sync;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

/// Longest document that is posted, bytes.
pub(crate) const DOCUMENT_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Routes about the inventory.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    let documents =
        OpenApiRouter::new().routes(routes!(sync::sync)).layer(DefaultBodyLimit::max(DOCUMENT_LIMIT_BYTES));
    OpenApiRouter::new()
        .routes(routes!(sources::list))
        .routes(routes!(sources::show, sources::put, sources::retire))
        .routes(routes!(items::list))
        .routes(routes!(items::export))
        .routes(routes!(items::show))
        .routes(routes!(items::changes))
        .routes(routes!(items::unlisted))
        .routes(routes!(links::link, links::unlink))
        .routes(routes!(links::link_suggested))
        .merge(documents)
}
