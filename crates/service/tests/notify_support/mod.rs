//! Receivers of notifications.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod alertmanager;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The event of a CloudEvent.
    pub fn sequence(&self) -> u64 {
        self.json()["data"]["sequence"].as_u64().unwrap()
    }
}

/// An answer: status line and headers, or none at all.
#[derive(Clone, Debug)]
pub enum Answer {
    Say(&'static str),
    /// 400 when the body holds this text, else 204.
    Refuse(&'static str),
    /// 400, with all that came after so many spaces, as some servers do.
    Echo(usize),
    Nothing,
    /// 200, with this `Date` where the path ends so.
    Dated {
        path: &'static str,
        date: &'static str,
    },
}

/// An HTTP server that keeps what it got.
pub struct Receiver {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Mutex<Answer>>,
}

pub const OK: Answer = Answer::Say("HTTP/1.1 204 No Content\r\n");
pub const BROKEN: Answer = Answer::Say("HTTP/1.1 500 Internal Server Error\r\n");

impl Receiver {
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = Self { port, requests: Arc::default(), answer: Arc::new(Mutex::new(answer)) };
        let (requests, answer) = (receiver.requests.clone(), receiver.answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (requests, answer) = (requests.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &requests, &answer));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        until(
            || Some(self.requests()).filter(|requests| requests.len() >= count),
            || format!("{count} requests; there are {}", self.requests().len()),
        )
    }
}

fn serve(mut stream: TcpStream, requests: &Mutex<Vec<Request>>, answer: &Mutex<Answer>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut echo = String::new();
    let said = match answer.lock().unwrap().clone() {
        Answer::Echo(spaces) => {
            echo = format!("{}{path} {headers:?}", " ".repeat(spaces));
            Answer::Say("HTTP/1.1 400 Bad Request\r\n")
        }
        Answer::Refuse(text) if String::from_utf8_lossy(&body).contains(text) => {
            Answer::Say("HTTP/1.1 400 Bad Request\r\n")
        }
        Answer::Refuse(_) => OK,
        other => other,
    };
    let path_ends = matches!(&said, Answer::Dated { path: end, .. } if path.ends_with(end));
    requests.lock().unwrap().push(Request { path, headers, body });
    match said {
        Answer::Refuse(_) | Answer::Echo(_) => {}
        Answer::Dated { date, .. } => {
            let date = if path_ends { format!("date: {date}\r\n") } else { String::new() };
            let answer = format!("HTTP/1.1 200 OK\r\n{date}content-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
        Answer::Say(head) => {
            let _ = stream.write_all(
                format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{echo}", echo.len()).as_bytes(),
            );
        }
        Answer::Nothing => std::thread::sleep(Duration::from_secs(60)),
    }
}

/// Waits until there is something, twenty seconds at most.
#[track_caller]
pub fn until<T>(mut look: impl FnMut() -> Option<T>, missing: impl Fn() -> String) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {}", missing());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that ends with the test.
pub struct Running(pub std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
