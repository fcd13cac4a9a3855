use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use tower::ServiceExt as _;
use veriboot_wire::Problem;

use super::*;
use crate::Limits;

async fn ask(router: &Router, method: &str, path: &str) -> (u16, Option<String>, Problem) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let retry = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, retry, serde_json::from_slice(&body).unwrap())
}

fn config() -> Config {
    let limits = Limits { requests: 4, request_timeout_s: 1, ..Limits::default() };
    Config { limits, ..Config::default() }
}

#[tokio::test]
async fn a_panic_is_an_answer_without_its_text() {
    async fn fails() -> &'static str {
        panic!("the secret reason")
    }
    let metrics = Metrics::default();
    let router = wrap(Router::new().route("/x", get(fails)), &config(), metrics);
    for _ in 0..10 {
        let (status, _, problem) = ask(&router, "GET", "/x").await;
        assert_eq!((status, problem.error.code.as_str()), (500, "internal"));
        assert!(!format!("{problem:?}").contains("secret"));
        assert!(problem.error.request_id.is_some());
    }
}

#[tokio::test]
async fn more_requests_than_allowed_are_told_to_come_back() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let router = Router::new()
        .route("/wait", post(move || async move { drop(waits.acquire().await) }))
        .route("/healthz", get(|| async { "\"ok\"" }));
    let mut config = config();
    config.limits.request_timeout_s = 30;
    let router = wrap(router, &config, Metrics::default());
    let mut running = Vec::new();
    for _ in 0..4 {
        let request = Request::builder().method("POST").uri("/wait").body(Body::empty()).unwrap();
        running.push(tokio::spawn(router.clone().oneshot(request)));
    }
    // On this one thread the four have started once each of them was polled.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let (status, retry, problem) = ask(&router, "POST", "/wait").await;
    assert_eq!((status, problem.error.code.as_str()), (503, "overloaded"));
    assert!((1..=8).contains(&retry.unwrap().parse::<u32>().unwrap()));
    let request = Request::builder().uri("/healthz").body(Body::empty()).unwrap();
    assert_eq!(
        router.clone().oneshot(request).await.unwrap().status(),
        200,
        "liveness does not depend on load"
    );
    gate.add_permits(4);
    for task in running {
        assert_eq!(task.await.unwrap().unwrap().status(), 200);
    }
    gate.add_permits(1);
    let request = Request::builder().method("POST").uri("/wait").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), 200, "slots are given back");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let router = Router::new().route("/x", get(std::future::pending::<&'static str>));
    let router = wrap(router, &config(), Metrics::default());
    let (status, _, problem) = ask(&router, "GET", "/x").await;
    assert_eq!((status, problem.error.code.as_str()), (408, "timeout"));
}
