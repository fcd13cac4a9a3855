//! Somebody with an API token.

use serde_json::{Value, json};
use veriboot_store::api_tokens::{self, ApiTokenRow, Role};
use veriboot_store::new_id;

use super::World;
use super::raw::{self, Answer};

/// An API token and the service that it is of.
#[derive(Clone, Debug)]
pub struct Operator {
    address: std::net::SocketAddr,
    ca_file: std::path::PathBuf,
    token: String,
}

impl Operator {
    /// With the scope of operators.
    pub fn new(world: &World, name: &str) -> Self {
        Self::with_role(world, name, Role::Operator)
    }

    /// With another scope.
    pub fn with_role(world: &World, name: &str, role: Role) -> Self {
        let token = veriboot_service::auth::new_secret("vbt_").unwrap();
        let (now, hash) = (world.clock.now(), veriboot_service::auth::secret_hash(&token));
        let row = ApiTokenRow {
            id: new_id(now),
            name: name.to_owned(),
            role,
            created_at: now,
            created_by: "test".into(),
            expires_at: None,
            revoked: false,
        };
        world.write(move |tx| api_tokens::insert(tx, &row, &hash));
        Self { address: world.address(), ca_file: world.ca_file(), token }
    }

    /// The same token at another replica.
    pub fn at(&self, url: &str) -> Self {
        Self { address: url.strip_prefix("https://").unwrap().parse().unwrap(), ..self.clone() }
    }

    /// Its secret.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request with a JSON body and further header lines.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{headers}Content-Type: \
             application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.token,
            body.len()
        );
        raw::exchange(self.address, &self.ca_file, &head, &body)
    }

    /// What a request answers that is taken.
    #[track_caller]
    pub fn done(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.send(method, path, "", body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        answer.body
    }

    /// The body of a GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.done("GET", path, None)
    }

    /// The body of a POST.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.done("POST", path, Some(body))
    }

    /// The body of a PUT.
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Value {
        self.done("PUT", path, Some(body))
    }

    /// Gives the group a profile with these conditions.
    #[track_caller]
    pub fn judge_by(&self, conditions: &[Value]) {
        let document = json!({ "name": "house", "secure_boot": "required", "conditions": conditions });
        self.put("/v1/profiles/house", &json!({ "document": document.to_string(), "format": "json" }));
        let scope = json!({ "kind": "group", "group": "default", "id": "" });
        self.put("/v1/profile-assignments", &json!({ "scope": scope, "profile": "house" }));
    }

    /// Status and code of a request that is refused.
    #[track_caller]
    pub fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let answer = self.send(method, path, "", Some(body));
        assert!(answer.status >= 400, "{method} {path} was taken: {}", answer.body);
        (answer.status, answer.code().to_owned())
    }
}
