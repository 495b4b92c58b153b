//! The server over a machine without a node.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::Method;
use quorate::error::{NotApplied, Unknown};
use quorate::state_machine::ApplyContext;
use quorate::types::{ClusterId, GroupId, LogIndex, LogTime, Position, Term};
use serde_json::Value;

use super::super::machine::Kv;
use super::*;

/// The time a call was given, and the consistency of a read.
type Seen = (Duration, Option<Consistency>);

/// A machine that applies at once, or refuses everything.
#[derive(Clone, Default)]
struct Bare {
    state: Arc<Mutex<(Kv, u64)>>,
    failure: Option<WriteError>,
    calls: Arc<Mutex<Vec<Seen>>>,
}

impl Bare {
    fn failing(failure: impl Into<WriteError>) -> Self {
        Self { failure: Some(failure.into()), ..Self::default() }
    }

    fn apply<T>(
        &self,
        timeout: Duration,
        apply: impl FnOnce(&mut Kv, &ApplyContext) -> T,
    ) -> Result<T, WriteError> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push((timeout, None));
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (kv, index) = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *index += 1;
        let position = Position { index: LogIndex(*index), ordinal: 3 };
        let ctx = ApplyContext::new(ClusterId([0; 32]), GroupId::MAIN, Term(1), position, LogTime::ZERO);
        Ok(apply(kv, &ctx))
    }

    async fn ask(&self, method: &str, uri: &str, body: impl Into<Body>) -> (u16, String) {
        let response = self.respond(method, uri, body).await;
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    async fn respond(&self, method: &str, uri: &str, body: impl Into<Body>) -> Response {
        let method: Method = method.parse().expect("a method");
        let request =
            axum::extract::Request::builder().method(method).uri(uri).body(body.into()).expect("a request");
        let server = Server { backend: self.clone(), stale: Duration::from_secs(2) };
        respond(State(server), request).await
    }
}

impl Backend for Bare {
    async fn put(&self, key: String, value: String, timeout: Duration) -> Result<Change, WriteError> {
        self.apply(timeout, |kv, ctx| kv.put(ctx, key, value))
    }

    async fn delete(&self, key: String, timeout: Duration) -> Result<Change, WriteError> {
        self.apply(timeout, |kv, ctx| kv.delete(ctx, key))
    }

    async fn cas(
        &self,
        key: String,
        expect: Option<String>,
        value: String,
        timeout: Duration,
    ) -> Result<Result<Change, Conflict>, WriteError> {
        self.apply(timeout, |kv, ctx| kv.cas(ctx, key, expect, value))
    }

    async fn get(
        &self,
        key: String,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<Option<String>, ReadError> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push((timeout, Some(consistency)));
        match &self.failure {
            None => Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).0.get(key)),
            Some(_) => Err(ReadError::TooStale { at_most: timeout }),
        }
    }

    fn status(&self) -> Status {
        let phase = if self.failure.is_some() { "stopped" } else { "running" };
        let reason = self.failure.as_ref().map(ToString::to_string);
        let members = vec![MemberStatus { id: 1, key: "ab".into(), address: "a:1".into(), voter: true }];
        let (role, leader, applied) = ("leader", Some(1), None);
        let waiting_for = None;
        Status {
            id: 1,
            phase,
            waiting_for,
            reason,
            role,
            term: 2,
            leader,
            connected: true,
            last_log: Some(9),
            committed: Some(8),
            applied,
            members,
        }
    }
}

fn value(reply: (u16, String)) -> (u16, Value) {
    (reply.0, serde_json::from_str(&reply.1).unwrap_or_else(|error| panic!("{reply:?}: {error}")))
}

#[tokio::test]
async fn a_key_is_written_read_changed_and_removed() {
    let kv = Bare::default();
    let reply =
        |index, previous: Option<&str>| (200, json!({ "index": index, "ordinal": 3, "previous": previous }));
    assert_eq!(value(kv.ask("PUT", "/kv/a%2Fb", "ä\n").await), reply(1, None));
    assert_eq!(kv.ask("GET", "/kv/a%2fb", "").await, (200, "ä\n".to_owned()));
    assert_eq!(value(kv.ask("PUT", "/kv/a%2Fb", "").await), reply(2, Some("ä\n")));
    assert_eq!(kv.ask("GET", "/kv/a%2fb?read=local", "").await, (200, String::new()));

    let cas = async |body: &'static str| kv.ask("POST", "/kv/a%2Fb/cas", body).await;
    assert_eq!(value(cas(r#"{"expect":"","value":"x"}"#).await), reply(3, Some("")));
    assert_eq!(value(cas(r#"{"expect":null,"value":"y"}"#).await), (409, json!({ "current": "x" })));

    assert_eq!(value(kv.ask("DELETE", "/kv/a%2Fb", "").await), reply(5, Some("x")));
    assert_eq!(value(kv.ask("DELETE", "/kv/a%2Fb", "").await), reply(6, None));
    assert_eq!(value(kv.ask("GET", "/kv/a%2Fb", "").await).0, 404);
    assert_eq!(value(cas(r#"{"expect":"x","value":"y"}"#).await), (409, json!({ "current": null })));
    assert_eq!(value(cas(r#"{"value":"y","expect":null}"#).await), reply(8, None));
}

#[tokio::test]
async fn a_failure_says_whether_it_may_have_been_applied() {
    let refused = Bare::failing(NotApplied::DiskFull);
    let (status, body) = value(refused.ask("PUT", "/kv/a", "x").await);
    assert_eq!((status, &body["outcome"]), (503, &json!("not_applied")));
    assert!(body["reason"].as_str().is_some_and(|reason| reason.contains("disk")), "{body}");
    let (status, body) = value(refused.ask("GET", "/kv/a?read=stale", "").await);
    assert_eq!((status, &body["outcome"]), (503, &json!("not_applied")));
    let health = json!({ "outcome": "not_applied", "reason": "not applied: the disk is nearly full", "phase": "stopped" });
    assert_eq!(value(refused.ask("GET", "/healthz", "").await), (503, health));

    let unknown = WriteError::OutcomeUnknown { log_id: None, why: Unknown::Deadline };
    for (method, uri, body) in [
        ("PUT", "/kv/a", "x"),
        ("DELETE", "/kv/a", ""),
        ("POST", "/kv/a/cas", r#"{"expect":null,"value":""}"#),
    ] {
        let (status, body) = value(Bare::failing(unknown.clone()).ask(method, uri, body).await);
        assert_eq!((status, &body["outcome"]), (503, &json!("unknown")), "{method}");
    }
}

#[tokio::test]
async fn a_body_is_text_of_at_most_one_mebibyte() {
    let kv = Bare::default();
    let full = "v".repeat(MAX_BODY_BYTES);
    assert_eq!(kv.ask("PUT", "/kv/a", full.clone()).await.0, 200);
    assert_eq!(kv.ask("GET", "/kv/a", "").await, (200, full.clone()));
    for length in [MAX_BODY_BYTES + 1, DRAIN_BYTES + 1] {
        assert_eq!(value(kv.ask("PUT", "/kv/b", "v".repeat(length)).await).0, 413);
        assert_eq!(value(kv.ask("POST", "/kv/b/cas", " ".repeat(length)).await).0, 413);
        assert_eq!(value(kv.ask("DELETE", "/kv/a", "v".repeat(length)).await).0, 413);
    }
    // Nothing says how long it is going to be.
    let chunks = ["v".repeat(MAX_BODY_BYTES), "v".to_owned()].map(Ok::<_, std::io::Error>);
    let unknown = Body::from_stream(futures::stream::iter(chunks));
    assert_eq!(value(kv.ask("PUT", "/kv/b", unknown).await).0, 413);
    let (status, body) = value(kv.ask("PUT", "/kv/b", vec![0xff, 0xfe]).await);
    assert_eq!((status, body), (400, json!({ "reason": "the body is not UTF-8" })));
    assert_eq!(kv.ask("GET", "/kv/b", "").await.0, 404);
}

#[tokio::test]
async fn a_compare_and_set_has_both_fields_and_no_other() {
    let kv = Bare::default();
    for body in [
        "",
        "null",
        "[]",
        r#"{"value":"x"}"#,
        r#"{"expect":null}"#,
        r#"{"expect":1,"value":"x"}"#,
        r#"{"expect":null,"value":null}"#,
        r#"{"expect":null,"value":"x","else":1}"#,
        r#"{"expect":null,"value":"x"} x"#,
    ] {
        let (status, reply) = value(kv.ask("POST", "/kv/a/cas", body).await);
        assert_eq!(status, 400, "{body}");
        assert!(reply["reason"].as_str().is_some_and(|reason| reason.contains("expect")), "{reply}");
    }
    assert_eq!(kv.ask("GET", "/kv/a", "").await.0, 404);
}

#[tokio::test]
async fn the_deadline_and_the_consistency_reach_the_node() {
    let kv = Bare::default();
    kv.ask("PUT", "/kv/a?timeout_ms=60000", "x").await;
    kv.ask("GET", "/kv/a", "").await;
    kv.ask("GET", "/kv/a?read=stale", "").await;
    let calls = kv.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let stale = Consistency::Stale { at_most: Duration::from_secs(2) };
    let expected = [(60, None), (5, Some(Consistency::Linearizable)), (5, Some(stale))];
    assert_eq!(calls.len(), expected.len());
    for ((timeout, consistency), (seconds, wanted)) in calls.into_iter().zip(expected) {
        assert_eq!(consistency, wanted);
        // What reading the body took is gone.
        let most = Duration::from_secs(seconds);
        assert!(timeout <= most && timeout > most / 2, "{timeout:?} of {most:?}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_with_the_deadline() {
    let endless = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
    let (status, body) = value(Bare::default().ask("PUT", "/kv/a?timeout_ms=1", endless).await);
    assert_eq!((status, &body["outcome"]), (503, &json!("not_applied")));

    let broken = futures::stream::iter([Ok("a"), Err(std::io::Error::other("reset"))]);
    let (status, _) = value(Bare::default().ask("PUT", "/kv/a", Body::from_stream(broken)).await);
    assert_eq!(status, 400);
}

#[tokio::test]
async fn the_rest_is_json_too() {
    let kv = Bare::default();
    let status = json!({
        "id": 1, "phase": "running", "role": "leader", "term": 2, "leader": 1, "connected": true, "last_log": 9, "committed": 8, "applied": null,
        "members": [{ "id": 1, "key": "ab", "address": "a:1", "voter": true }],
    });
    assert_eq!(value(kv.ask("GET", "/status", "").await), (200, status));
    assert_eq!(value(kv.ask("GET", "/healthz", "").await), (200, json!({ "ok": true, "phase": "running" })));
    assert_eq!(value(kv.ask("GET", "/nothing", "").await).0, 404);
    assert_eq!(value(kv.ask("GET", "/kv/%ff", "").await).0, 400);

    let refused = kv.respond("PATCH", "/kv/a", "").await;
    assert_eq!(refused.status().as_u16(), 400);
    assert_eq!(refused.headers()["allow"], "GET, PUT, DELETE");
    assert_eq!(refused.headers()["content-type"], "application/json");
}
