//! CloudEvents 1.0 by HTTP POST, signed in the manner of Standard Webhooks.
//!
//! `webhook-signature` is `v1,` and base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`: who has the secret made this body, at
//! this time, for this id. A receiver refuses old times and ids that it has seen.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Time};

use super::http::{self, Post};
use super::tell::SendError;
use crate::traceparent::Traceparent;

/// How a signing secret starts.
pub(super) const SECRET_PREFIX: &str = "whsec_";

/// One event, or a digest of several.
pub(super) fn send(
    target: &TargetRow,
    events: &[Event],
    digest: bool,
    public_url: &str,
    trace: Traceparent,
    now: Time,
) -> Result<(), SendError> {
    let mut cloud: Vec<Value> = events.iter().map(|event| cloud_event(event, public_url)).collect();
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
    let (id, body, kind) = if digest {
        let id = format!("{}..{}", event_id(first), event_id(last));
        (id, Value::Array(cloud), "application/cloudevents-batch+json; charset=utf-8")
    } else {
        (event_id(first), cloud.swap_remove(0), "application/cloudevents+json; charset=utf-8")
    };
    let body = serde_json::to_vec(&body).map_err(|error| SendError::refused(error.to_string()))?;
    let timestamp = now.unix_ms().div_euclid(1000);
    let mut headers = vec![
        ("content-type", kind.to_owned()),
        ("webhook-id", id.clone()),
        ("webhook-timestamp", timestamp.to_string()),
        ("traceparent", trace.to_string()),
    ];
    if let Some(secret) = &target.secrets.signing_secret {
        let key = key(secret).map_err(SendError::refused)?;
        headers.push(("webhook-signature", signature(&key, &id, timestamp, &body)));
    }
    if let Some(value) = &target.secrets.authorization {
        headers.push(("authorization", value.clone()));
    }
    http::post(Post { target, path: "", headers, body, now }).map(drop)
}

/// The same for every attempt to tell one event.
pub(super) fn event_id(event: &Event) -> String {
    format!("{}-{}", event.at.unix_ms(), event.sequence)
}

fn cloud_event(event: &Event, public_url: &str) -> Value {
    let mut cloud = json!({
        "specversion": "1.0",
        "id": event_id(event),
        "source": public_url,
        "type": format!("veriboot.{}", event.kind),
        "time": event.at,
        "datacontenttype": "application/json",
        "severity": event.severity,
        "sequence": format!("{:020}", event.sequence),
        "data": event,
    });
    if let (Some(subject), Some(members)) =
        (event.subject.as_ref().or(event.vm_id.as_ref()), cloud.as_object_mut())
    {
        members.insert("subject".to_owned(), subject.as_str().into());
    }
    cloud
}

/// The key of a secret.
pub(super) fn key(secret: &str) -> Result<hmac::Key, String> {
    let bytes = secret
        .strip_prefix(SECRET_PREFIX)
        .and_then(|text| STANDARD.decode(text).ok())
        .filter(|bytes| (24..=64).contains(&bytes.len()))
        .ok_or_else(|| format!("signing_secret must be {SECRET_PREFIX} and base64 of 24 to 64 bytes"))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn signature(key: &hmac::Key, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_a_form_and_a_length() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        assert!([24, 64].iter().all(|bytes| key(&of(*bytes)).is_ok()));
        for bad in [of(23), of(65), "whsec_!".into(), "x".into(), String::new()] {
            assert!(key(&bad).is_err(), "{bad}");
        }
    }
}
