//! What happened: as pages, and as a stream that goes on.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use veriboot_store::events::{self, Wanted};
use veriboot_wire::{EVENT_KINDS, Event, EventQuery, Page, Problem, kind_matches};

use super::{check_limit, invalid};
use crate::auth::Viewer;
use crate::extract::Query;
use crate::notify::{Full, Listener, Told};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// How often a silent stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// When a client whose stream broke comes again.
const RETRY: Duration = Duration::from_secs(2);
/// Kinds that one query names.
const MAX_KINDS: usize = 64;

/// Follow or list events
///
/// As a stream (`text/event-stream`): each event has its sequence number as `id`, its kind as `event` and itself as JSON
/// in `data`. A stream begins after `Last-Event-ID`, else after `after`, else with what comes next. `event: gap` says
/// that events that should have been sent are gone already; a comment every 15 seconds says that the stream lives.
///
/// With `format=json`, or `Accept: application/json`: a page, oldest first.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(EventQuery, ("Last-Event-ID" = Option<u64>, Header, description = "The last event that the caller has")),
    responses((status = 200, content((Page<Event> = "application/json"), (String = "text/event-stream"))),
        (status = 400, body = Problem), (status = 429, body = Problem)))]
pub(crate) async fn list(
    Viewer(caller): Viewer,
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Result<Response, ApiError> {
    check_limit(query.limit)?;
    let wanted = Wanted::of(&query);
    if wanted.kinds.len() > MAX_KINDS {
        return Err(invalid(format!("kind must name at most {MAX_KINDS} kinds")));
    }
    let unknown =
        wanted.kinds.iter().find(|pattern| !EVENT_KINDS.iter().any(|(kind, _)| kind_matches(pattern, kind)));
    if let Some(unknown) = unknown {
        let unknown: String = unknown.chars().take(64).collect();
        return Err(ApiError::new(&kinds::INVALID_QUERY, format!("kind: no event is of kind {unknown:?}"))
            .hint("docs/events.md lists the kinds; alert.* stands for all that begin so"));
    }
    if pages(&headers, query.format.as_deref())? {
        let page = state.read(move |tx| Ok(events::list(tx, &query)?)).await?;
        return Ok(Json(page).into_response());
    }
    if query.limit.is_some() || query.cursor.is_some() {
        return Err(ApiError::new(&kinds::INVALID_QUERY, "limit and cursor are for format=json"));
    }
    let last = match headers.get("last-event-id") {
        None => query.after,
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| invalid("Last-Event-ID must be the id of an event, a number"))?,
        ),
    };
    let listener =
        Listener::begin(&state, &caller.token_id, wanted, last).await?.map_err(|full| match full {
            Full::All => {
                ApiError::new(&kinds::TOO_MANY, "too many streams of events are open").retry_after_s(10)
            }
            Full::OfToken => {
                let message = format!("the token {} has too many streams of events open", caller.name);
                ApiError::new(&kinds::TOO_MANY_STREAMS, message)
            }
        })?;
    Ok(stream(listener))
}

/// Whether a page is asked for, and not a stream.
fn pages(headers: &HeaderMap, format: Option<&str>) -> Result<bool, ApiError> {
    match format {
        Some("json") => Ok(true),
        Some("stream") => Ok(false),
        Some(_) => Err(ApiError::new(&kinds::INVALID_QUERY, "format must be json or stream")),
        None => {
            let accept =
                headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            Ok(accept.contains("application/json") && !accept.contains("text/event-stream"))
        }
    }
}

fn stream(listener: Listener) -> Response {
    let begin = Frame::default().retry(RETRY).id(listener.position().to_string()).comment("veriboot");
    let frames = stream::unfold(
        (Some(begin), Vec::new(), Some(listener)),
        |(begin, mut waiting, listener)| async move {
            if let Some(begin) = begin {
                return Some((Ok::<_, Infallible>(begin), (None, waiting, listener)));
            }
            let mut listener = listener?;
            while waiting.is_empty() {
                waiting = match listener.next().await {
                    // A position without an event: who comes again does not read the same events once more.
                    Told::Events(events, position) if events.is_empty() => {
                        vec![Frame::default().id(position.to_string()).comment("position")]
                    }
                    Told::Events(events, _) => events.iter().rev().filter_map(frame).collect(),
                    Told::Gap(gap) => Frame::default().event("gap").json_data(gap).into_iter().collect(),
                    Told::End => return None,
                };
            }
            let next = waiting.pop()?;
            Some((Ok(next), (None, waiting, Some(listener))))
        },
    );
    let mut response =
        Sse::new(frames).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")).into_response();
    // Proxies that collect answers would hold a stream back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn frame(event: &Event) -> Option<Frame> {
    Frame::default().id(event.sequence.to_string()).event(&event.kind).json_data(event).ok()
}
