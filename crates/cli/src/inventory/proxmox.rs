//! Asks the API of Proxmox VE.

use std::path::Path;

use serde_json::{Map, Value, json};
use veriboot_inventory::{InventoryFormat, Listing, Options, merge, read};

use super::gather::unreadable;
use crate::client::{http_agent, segment};
use crate::context::{self, check_url};
use crate::error::CliError;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// An API and a token for it.
struct Api {
    agent: ureq::Agent,
    url: String,
    authorization: String,
}

/// What the API says about every VM.
pub fn listing(url: &str, token_file: &Path, ca: Option<&Path>) -> Result<Listing, CliError> {
    check_url(url)?;
    let token = context::read(token_file)?.trim().to_owned();
    if !token.contains('!') || !token.contains('=') || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CliError::usage(
            "bad-proxmox-token",
            format!("{} holds no API token", token_file.display()),
        )
        .hint("it is one line: USER@REALM!TOKENID=SECRET, as `pveum user token add` prints its parts"));
    }
    let ca = ca.map(context::read).transpose()?;
    let api = Api {
        agent: http_agent(ca.as_deref())?,
        url: url.trim_end_matches('/').to_owned(),
        authorization: format!("PVEAPIToken={token}"),
    };
    let resources = api.get("/cluster/resources?type=vm")?;
    let mut configs = Map::new();
    for vm in resources.get("data").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| vm.get(name).and_then(Value::as_str);
        let (Some(node), Some(vmid)) = (of("node"), vm.get("vmid").and_then(Value::as_u64)) else { continue };
        if of("type") != Some("qemu") || vm.get("template").and_then(Value::as_u64) == Some(1) {
            continue;
        }
        match api.get(&format!("/nodes/{}/qemu/{vmid}/config", segment(node))) {
            Ok(config) => {
                configs.insert(format!("{node}/{vmid}"), config);
            }
            // Removed meanwhile, its node is down, or not for this token: its configuration is unknown.
            Err(error) if error.code == "proxmox-refused" => {}
            Err(error) => return Err(error),
        }
    }
    let document = json!({ "resources": resources, "configs": configs }).to_string();
    let options = Options { format: Some(InventoryFormat::Proxmox), group: None };
    let listing = read(document.as_bytes(), &options).map_err(|e| unreadable(url, &e))?;
    merge(vec![listing]).map_err(|e| unreadable(url, &e))
}

impl Api {
    fn get(&self, path: &str) -> Result<Value, CliError> {
        let url = format!("{}/api2/json{path}", self.url);
        let unreachable = |error: ureq::Error| {
            CliError::unreachable("cannot-connect", format!("cannot reach {}: {error}", self.url))
                .hint("is it https://HOST:8006, and is its CA given with --proxmox-ca?")
        };
        let request = self.agent.get(&url).header("authorization", &self.authorization);
        let mut response = request.call().map_err(unreachable)?;
        let status = response.status();
        if status == 401 {
            return Err(CliError::unreachable(
                "proxmox-token",
                format!("{} does not take the API token", self.url),
            )
            .hint(
                "is it USER@REALM!TOKENID=SECRET, not expired, and has it (or its user) the role PVEAuditor?",
            ));
        }
        if !status.is_success() {
            return Err(CliError::unreachable(
                "proxmox-refused",
                format!("{url} answered with status {status}"),
            )
            .hint("the token needs VM.Audit on /vms: give it the role PVEAuditor"));
        }
        let body =
            response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(unreachable)?;
        serde_json::from_slice(&body).map_err(|e| {
            CliError::unreachable("proxmox-answer", format!("{url} answered with no JSON: {e}"))
                .hint("is this URL really the API of Proxmox VE?")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// Answers with what was recorded: path, status, body. Gives the paths that were asked for.
    fn server(answers: Vec<(&'static str, u16, String)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let expected = answers.len();
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            while asked.len() < expected {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                reader.read_line(&mut first).unwrap();
                let mut authorised = false;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    authorised |= line.trim() == "authorization: PVEAPIToken=audit@pve!veriboot=secret";
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let path = first.split(' ').nth(1).unwrap().to_owned();
                let known = answers.iter().find(|(p, _, _)| path == format!("/api2/json{p}"));
                let (status, body) = match known {
                    Some((_, status, body)) if authorised => (*status, body.clone()),
                    Some(_) => (401, String::new()),
                    None => (404, String::new()),
                };
                write!(
                    stream,
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
                asked.push(path);
            }
            asked
        });
        (url, thread)
    }

    fn token(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn recorded_answers_become_an_inventory() {
        let list = r#"{"data":[
            {"vmid":100,"node":"pve1","name":"mail","status":"running","type":"qemu"},
            {"vmid":101,"node":"pve1","name":"gone","status":"stopped","type":"qemu"},
            {"vmid":200,"node":"pve1","name":"box","status":"running","type":"lxc"}]}"#;
        let config = r#"{"data":{"bios":"ovmf","efidisk0":"l:d,efitype=4m,pre-enrolled-keys=1",
            "tpmstate0":"l:t,version=v2.0","ostype":"l26"}}"#;
        let (url, thread) = server(vec![
            ("/cluster/resources?type=vm", 200, list.to_owned()),
            ("/nodes/pve1/qemu/100/config", 200, config.to_owned()),
            ("/nodes/pve1/qemu/101/config", 500, String::new()),
        ]);
        let token = token("audit@pve!veriboot=secret\n");
        let listing = listing(&url, token.path(), None).unwrap();
        assert_eq!(thread.join().unwrap().len(), 3);
        let said: Vec<String> = listing
            .items
            .iter()
            .map(|i| format!("{} {} {} {}", i.name, i.power, i.secure_boot, i.vtpm))
            .collect();
        assert_eq!(said, ["mail running on on", "gone stopped unknown unknown"]);
        assert_eq!(listing.notes.len(), 2, "{:?}", listing.notes);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let (url, thread) = server(vec![("/cluster/resources?type=vm", 200, "{}".to_owned())]);
        let wrong = token("audit@pve!veriboot=guess");
        let error = listing(&url, wrong.path(), None).unwrap_err();
        thread.join().unwrap();
        assert_eq!((error.code.as_str(), error.exit), ("proxmox-token", 3));
        assert!(error.hint.unwrap().contains("PVEAuditor"));
        let none = token("hunter2");
        assert_eq!(listing(&url, none.path(), None).unwrap_err().code, "bad-proxmox-token");
        assert_eq!(
            listing("http://pve.example:8006", wrong.path(), None).unwrap_err().code,
            "bad-server-url"
        );
    }
}
