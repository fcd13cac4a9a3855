//! The REST API: what each route answers, and that nothing is stored or told without permission.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that fails here says where

mod common;

use common::TestServer;
use serde_json::{Value, json};

/// Every operation of the OpenAPI document: method, path with its parameters filled in, whether it needs a token.
fn operations(server: &TestServer) -> Vec<(String, String, bool)> {
    let document = server.anonymous().get("/openapi.json").json();
    let mut list = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if !["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                continue;
            }
            let open = operation["security"].as_array().is_some_and(|s| s == &[json!({})]);
            let mut filled = String::new();
            for part in path.split('/').skip(1) {
                filled.push('/');
                filled.push_str(if part.starts_with('{') {
                    "0193530e-7a5b-7c11-a7a4-3b5e1c0f2d9a"
                } else {
                    part
                });
            }
            list.push((method.to_uppercase(), filled, !open));
        }
    }
    assert!(list.len() > 30, "only {} operations", list.len());
    list
}

#[test]
fn no_route_answers_without_its_credential() {
    let server = TestServer::start();
    let revoked = server.admin().post("/v1/api-tokens", &json!({ "name": "gone", "scope": "admin" })).json();
    let id = revoked["id"].as_str().unwrap();
    assert_eq!(server.admin().delete(&format!("/v1/api-tokens/{id}")).status, 204);
    let short = json!({ "name": "short", "scope": "admin", "expires_in_s": 60 });
    let expired = server.admin().post("/v1/api-tokens", &short).json();
    server.clock().step_ms(61_000);
    let join = server.join_token("default", None, 1);
    let mut credentials = vec![None];
    let bad = [
        "vbt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "x",
        "' OR 1=1 --",
        &join,
        revoked["secret"].as_str().unwrap(),
        expired["secret"].as_str().unwrap(),
    ];
    credentials.extend(bad.map(Some));
    let before = server.admin().get("/v1/audit").json();
    let mut protected = 0;
    for (method, path, needs_token) in operations(&server) {
        if !needs_token || path == "/v1/agent/enroll" || path.ends_with("/activate") {
            continue;
        }
        protected += 1;
        for credential in &credentials {
            let client = server.anonymous().token(*credential);
            let reply = client.send(&method, &path, Some("application/json"), b"{}");
            assert_eq!(reply.status, 401, "{method} {path} with {credential:?}: {}", reply.text());
            assert_eq!(reply.code(), "unauthenticated");
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    assert!(protected >= 24, "only {protected} protected operations");
    assert_eq!(
        server.admin().get("/v1/audit").json(),
        before,
        "a refused request left a trace in the records"
    );
}

#[test]
fn scopes_hold() {
    let server = TestServer::start();
    let viewer = server.with_scope("viewer");
    let operator = server.with_scope("operator");
    let agent_route = |path: &str| path.starts_with("/v1/agent/");
    for (method, path, needs_token) in operations(&server) {
        if !needs_token || agent_route(&path) {
            continue;
        }
        // A stream has no end, and a scope has to be named.
        let path = match path.as_str() {
            "/v1/events" => "/v1/events?format=json".to_owned(),
            "/v1/monitoring/status" | "/v1/profile-assignments/status" => {
                format!("{path}?kind=group&group=default")
            }
            _ => path,
        };
        let as_viewer = viewer.send(&method, &path, Some("application/json"), b"{}");
        let as_operator = operator.send(&method, &path, Some("application/json"), b"{}");
        let targets = path.starts_with("/v1/notification-targets") && !path.ends_with("/test");
        let admin_only = path.starts_with("/v1/api-tokens") || (targets && method != "GET");
        // Questions with a body: nothing is written.
        let asks = [
            "/v1/policies/check",
            "/v1/policies/test",
            "/v1/reappraise",
            "/v1/suppressions/simulate",
            "/v1/baselines/accept/preview",
        ]
        .contains(&path.as_str());
        if asks {
            assert_ne!(as_viewer.status, 403, "{method} {path}: {}", as_viewer.text());
        } else if method == "GET" && !admin_only {
            assert!(
                as_viewer.status == 200 || as_viewer.status == 404,
                "{method} {path}: {}",
                as_viewer.text()
            );
        } else {
            assert_eq!(as_viewer.status, 403, "{method} {path}: {}", as_viewer.text());
            assert_eq!(as_viewer.code(), "forbidden");
        }
        assert_eq!(as_operator.status == 403, admin_only, "{method} {path}: {}", as_operator.text());
    }
    // An API token is no agent token.
    for (method, path, _) in
        operations(&server).into_iter().filter(|(_, p, _)| agent_route(p) && p.contains("/vms/"))
    {
        let reply = server.admin().send(&method, &path, Some("application/json"), b"{}");
        assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text());
    }
}

#[test]
fn forged_headers_are_refused() {
    let server = TestServer::start();
    // Doubled and malformed credentials, by hand: no client library writes them.
    let token = server.admin_token().to_owned();
    for headers in [
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer  {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Bearer {}\r\n", "x".repeat(300)),
    ] {
        let reply = common::raw(
            &server,
            format!("GET /v1/version HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n").as_bytes(),
        );
        assert!(reply.starts_with("HTTP/1.1 401"), "{headers}: {reply}");
    }
    // Request smuggling: two lengths, a length and chunks, a broken length.
    let auth = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\nHost: x\r\n");
    for request in [
        format!("POST /v1/join-tokens HTTP/1.1\r\n{auth}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} "),
        format!("POST /v1/join-tokens HTTP/1.1\r\n{auth}Content-Length: -1\r\n\r\n{{}}"),
        format!("POST /v1/join-tokens HTTP/1.1\r\n{auth}Transfer-Encoding: chunked, x\r\n\r\n{{}}"),
        "GET / HTTP/1.1\r\nHost: x\r\nX: ".to_owned() + &"y".repeat(200_000) + "\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n".to_owned() + &"X: y\r\n".repeat(500) + "\r\n",
    ] {
        let reply = common::raw(&server, request.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 4") || reply.is_empty(), "{reply}");
    }
    assert_eq!(
        server.admin().get("/v1/join-tokens").json()["items"].as_array().unwrap().len(),
        1,
        "only the first start's"
    );
}

#[test]
fn bodies_and_queries_are_checked() {
    let server = TestServer::start();
    let admin = server.admin();
    let json = Some("application/json");
    let refused = |reply: common::Reply, status: u16, code: &str| {
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    };
    let path = "/v1/join-tokens";
    refused(admin.send("POST", path, json, b"{"), 400, "invalid-body");
    refused(admin.send("POST", path, json, b"\xff\xfe"), 400, "invalid-body");
    refused(admin.send("POST", path, json, &vec![b'['; 100_000]), 400, "invalid-body");
    refused(admin.send("POST", path, json, br#"{"uses":1,"admin":true}"#), 400, "invalid-body");
    refused(admin.send("POST", path, json, br#"{"uses":-1}"#), 400, "invalid-body");
    refused(admin.send("POST", path, None, b"{}"), 415, "unsupported-media-type");
    refused(admin.send("POST", path, Some("text/plain"), b"{}"), 415, "unsupported-media-type");
    refused(admin.send("POST", path, json, &vec![b' '; 256 * 1024 + 1]), 413, "body-too-large");
    for body in [
        json!({ "uses": 0 }),
        json!({ "uses": 1_000_001 }),
        json!({ "expires_in_s": 59 }),
        json!({ "group": "" }),
        json!({ "group": "a b" }),
        json!({ "group": "../x" }),
        json!({ "scale_set": "x".repeat(64) }),
        json!({ "comment": "x".repeat(1001) }),
        json!({ "comment": "a\u{1b}[2Jb" }),
    ] {
        refused(admin.post(path, &body), 400, "invalid-value");
    }
    for name in ["service", "", "a b", "vm:1", "\u{202e}x"] {
        refused(
            admin.post("/v1/api-tokens", &json!({ "name": name, "scope": "admin" })),
            400,
            "invalid-value",
        );
    }
    refused(admin.post("/v1/api-tokens", &json!({ "name": "x", "scope": "root" })), 400, "invalid-body");
    refused(admin.post("/v1/api-tokens", &json!({ "name": "admin", "scope": "viewer" })), 409, "name-in-use");
    for query in ["limit=0", "limit=1001", "limit=x", "color=red", "cursor=zz&color=1"] {
        refused(admin.get(&format!("/v1/vms?{query}")), 400, "invalid-query");
    }
    for query in ["cursor=zz", "cursor=00ff", "cursor=6175646974", "cursor="] {
        refused(admin.get(&format!("/v1/vms?{query}")), 400, "invalid-cursor");
    }
    refused(admin.get("/v1/alerts?state=sleeping"), 400, "invalid-query");
    refused(admin.get("/nothing"), 404, "no-such-route");
    refused(admin.get("/v1/vms/..%2f..%2fetc"), 404, "not-found");
    refused(admin.get(&format!("/v1/vms/{}", "x".repeat(300))), 404, "not-found");
    refused(admin.get("/v1/vms/%ff"), 400, "bad-request");
    refused(admin.send("PUT", "/v1/vms", json, b"{}"), 405, "method-not-allowed");
    let reply = admin.send("DELETE", "/v1/audit", None, b"");
    assert_eq!(reply.header("allow"), Some("GET,HEAD"));
    // A refusal names its request, and says nothing of the inside.
    let reply = admin.get("/v1/vms/none");
    assert_eq!(reply.json()["error"]["request_id"], reply.header("x-request-id").unwrap());
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[test]
fn tokens_live_and_die() {
    let server = TestServer::start();
    let admin = server.admin();
    let made =
        admin.post("/v1/api-tokens", &json!({ "name": "ci", "scope": "operator", "expires_in_s": 3600 }));
    assert_eq!(made.status, 201);
    let made = made.json();
    let client = server.with_token(made["secret"].as_str().unwrap());
    assert_eq!(client.get("/v1/vms").status, 200);
    let listed = admin.get("/v1/api-tokens").text();
    assert!(!listed.contains(made["secret"].as_str().unwrap()) && listed.contains("\"ci\""));
    let path = format!("/v1/api-tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).status, 204);
    assert_eq!(client.get("/v1/vms").code(), "unauthenticated");
    assert_eq!(admin.delete(&path).status, 204, "a retried request");
    assert_eq!(admin.delete("/v1/api-tokens/none").code(), "not-found");
    // The name is free again, the last admin stays.
    assert_eq!(admin.post("/v1/api-tokens", &json!({ "name": "ci", "scope": "viewer" })).status, 201);
    let tokens = admin.get("/v1/api-tokens").json();
    let me = tokens["items"].as_array().unwrap().iter().find(|t| t["name"] == "admin").unwrap();
    assert_eq!(admin.delete(&format!("/v1/api-tokens/{}", me["id"].as_str().unwrap())).code(), "last-admin");
    assert_eq!(admin.get("/v1/vms").status, 200);

    let join = admin
        .post("/v1/join-tokens", &json!({ "group": "web", "scale_set": "front", "uses": 3, "comment": "x" }));
    let join = join.json();
    assert!(join["secret"].as_str().unwrap().starts_with("vbj_"));
    assert!(join["install"].as_str().unwrap().contains(join["secret"].as_str().unwrap()));
    let path = format!("/v1/join-tokens/{}", join["id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).status, 204);
    let listed = admin.get("/v1/join-tokens").json();
    assert_eq!(listed["items"][0]["revoked"], true);
    assert_eq!(listed["items"][0]["created_by"], "admin");
    assert!(!listed.to_string().contains(join["secret"].as_str().unwrap()));

    let actions: Vec<_> = admin.get("/v1/audit").json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["actor"].as_str().unwrap().to_owned(), e["action"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        ("admin", "join-token.revoke"),
        ("admin", "join-token.create"),
        ("admin", "api-token.create"),
        ("admin", "api-token.revoke"),
        ("admin", "api-token.create"),
        ("service", "join-token.create"),
        ("service", "api-token.create"),
        ("service", "baseline-key.create"),
    ];
    assert_eq!(actions, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let verified = admin.get("/v1/audit/verify").json();
    assert_eq!((&verified["intact"], &verified["entries"]), (&json!(true), &json!(8)));
}

#[test]
fn lists_page_without_gaps_or_repeats() {
    let server = TestServer::start();
    let admin = server.admin();
    for i in 0..7 {
        assert_eq!(admin.post("/v1/join-tokens", &json!({ "group": format!("g{i}") })).status, 201);
    }
    for path in ["/v1/join-tokens", "/v1/audit"] {
        let all = admin.get(path).json()["items"].as_array().unwrap().clone();
        let mut paged: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let query = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
            let page = admin.get(&format!("{path}?limit=3{query}")).json();
            assert!(page["items"].as_array().unwrap().len() <= 3);
            paged.extend(page["items"].as_array().unwrap().clone());
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(paged, all, "{path}");
        assert!(all.len() >= 8);
    }
}

#[test]
fn health_metrics_and_documents_need_no_token() {
    let server = TestServer::start();
    let client = server.anonymous();
    assert_eq!(client.get("/healthz").json(), json!({ "status": "ok" }));
    assert_eq!(client.get("/readyz").json(), json!({ "status": "ok" }));
    let _ = client.get("/v1/vms/some-vm-name");
    let metrics = client.get("/metrics").text();
    for line in [
        "veriboot_http_requests_total{method=\"GET\",route=\"/readyz\",status=\"200\"} 1",
        "veriboot_http_refusals_total{code=\"unauthenticated\"} 1",
        "veriboot_attestations_total{verdict=\"unhealthy\"} 0",
        "veriboot_alerts_open{reason=\"log-mismatch\"} 0",
        "veriboot_store_queue_depth{queue=\"write\"} 0",
        "veriboot_vms{status=\"healthy\"} 0",
        "veriboot_http_request_duration_seconds_bucket",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    assert!(!metrics.contains("some-vm-name"), "paths are not labels");
    let document = client.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let committed = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let committed: Value = serde_json::from_slice(&std::fs::read(committed).unwrap()).unwrap();
    assert_eq!(document, committed);
}
