//! HTTP: a request in, a call of the node, a response out.
//!
//! Every body but a value is JSON. A call that failed says with 503 whether it was *not applied*
//! (retry freely) or its outcome is *unknown* (it may have been applied, or may yet be). A request
//! that makes no sense is a 400, a method that the path has not included. So the statuses are 200,
//! 400, 404, 409, 413 and 503, and what HTTP itself says of a head that is too long: 414 and 431.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::body::{BodyDataStream, HttpBody};
use axum::extract::State;
use axum::http::{StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use quorate::client::Consistency;
use quorate::error::{ReadError, WriteError};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

use super::machine::{Change, Conflict};
use super::request::{Call, DEFAULT_TIMEOUT, Refusal, Request};

/// The most bytes of a body.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How much of a body is still taken, and dropped, when the request is refused: so a client that
/// writes first and reads then sees the refusal, and not a reset connection.
const DRAIN_BYTES: usize = 16 << 20;

/// What the server needs of a node.
pub(crate) trait Backend: Clone + Send + Sync + 'static {
    /// Sets `key` to `value`.
    fn put(
        &self,
        key: String,
        value: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<Change, WriteError>> + Send;

    /// Removes `key`.
    fn delete(
        &self,
        key: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<Change, WriteError>> + Send;

    /// Sets `key` to `value` if it has the value `expect`.
    fn cas(
        &self,
        key: String,
        expect: Option<String>,
        value: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<Result<Change, Conflict>, WriteError>> + Send;

    /// The value of `key`.
    fn get(
        &self,
        key: String,
        consistency: Consistency,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<String>, ReadError>> + Send;

    /// What `GET /status` and `GET /healthz` show.
    fn status(&self) -> Status;
}

/// What `GET /status` shows. Indexes are of the log; absent ones are null.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    /// This node.
    pub(crate) id: u64,
    /// `starting`, `joining`, `running`, `shutting_down` or `stopped`.
    pub(crate) phase: &'static str,
    /// The first members that a node which is joining waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waiting_for: Option<Vec<u64>>,
    /// Why it has stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub(crate) role: &'static str,
    /// Its term.
    pub(crate) term: u64,
    /// The leader it knows.
    pub(crate) leader: Option<u64>,
    /// Whether it is in touch with the others: with a quorum as leader, with the leader otherwise.
    pub(crate) connected: bool,
    /// The last entry in its log.
    pub(crate) last_log: Option<u64>,
    /// The last entry it knows to be committed.
    pub(crate) committed: Option<u64>,
    /// The last entry it has applied.
    pub(crate) applied: Option<u64>,
    /// Every member.
    pub(crate) members: Vec<MemberStatus>,
}

impl Status {
    /// Of a node that reads its storage, and knows no more than who it is.
    pub(crate) fn starting(id: u64) -> Self {
        let (waiting_for, reason, leader) = (None, None, None);
        let (last_log, committed, applied, members) = (None, None, None, Vec::new());
        let (phase, role, term) = ("starting", "follower", 0);
        let connected = false;
        Self {
            id,
            phase,
            waiting_for,
            reason,
            role,
            term,
            leader,
            connected,
            last_log,
            committed,
            applied,
            members,
        }
    }
}

/// A member in [`Status`].
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemberStatus {
    /// The node.
    pub(crate) id: u64,
    /// The key that it proves.
    pub(crate) key: String,
    /// Where it was last known to listen.
    pub(crate) address: String,
    /// Whether it counts in quorums.
    pub(crate) voter: bool,
}

/// A node behind HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Server<B> {
    /// The node.
    pub(crate) backend: B,
    /// How old `read=stale` may be when it names no age.
    pub(crate) stale: Duration,
}

impl<B: Backend> Server<B> {
    /// Serves until `stop` is ready and every call in progress is answered.
    ///
    /// # Errors
    /// When the listener fails.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let router = Router::new().fallback(respond::<B>).with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(stop).await
    }

    async fn answer(&self, head: &request::Parts, body: &mut BodyDataStream) -> Result<Response, Refusal> {
        let Request { call, timeout } =
            Request::parse(&head.method, head.uri.path(), head.uri.query(), self.stale)?;
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        // Read for every call: one that takes none is not spared the limit.
        let body = read_body(body, deadline).await?;
        let backend = &self.backend;
        Ok(match call {
            Call::Put(key) => {
                let value = text(body)?;
                written(backend.put(key, value, left()).await.map(Ok))
            }
            Call::Delete(key) => written(backend.delete(key, left()).await.map(Ok)),
            Call::Cas(key) => {
                let Cas { expect, value } = serde_json::from_str(&text(body)?)
                    .map_err(|error| Refusal::bad(format!("the body is not `{CAS_FORM}`: {error}")))?;
                written(backend.cas(key, expect, value, left()).await)
            }
            Call::Get(key, consistency) => read(backend.get(key, consistency, left()).await),
            Call::Status => json_response(StatusCode::OK, backend.status()),
            Call::Health => health(backend.status()),
        })
    }
}

async fn respond<B: Backend>(State(server): State<Server<B>>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let refusal = match server.answer(&head, &mut body).await {
        Ok(response) => return response,
        Err(refusal) => refusal,
    };
    // Who asked whether to send it at all does not send it now.
    if !head.headers.contains_key(header::EXPECT) {
        tokio::spawn(drain(body));
    }
    let Refusal { status, reason, allow } = refusal;
    let mut response = match status {
        StatusCode::SERVICE_UNAVAILABLE => unavailable("not_applied", &reason),
        _ => json_response(status, json!({ "reason": reason })),
    };
    if let Some(methods) = allow {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
    }
    response
}

const CAS_FORM: &str = r#"{"expect": string or null, "value": string}"#;

/// The body of a compare-and-set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cas {
    // With a function of its own serde asks for the field; else one that is forgotten would read as
    // `null`, which means something.
    #[serde(deserialize_with = "present")]
    expect: Option<String>,
    value: String,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

async fn read_body(body: &mut BodyDataStream, deadline: Instant) -> Result<Vec<u8>, Refusal> {
    let too_long = || Refusal {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: format!("the body has more than {MAX_BODY_BYTES} bytes"),
        allow: None,
    };
    // What its head promises is refused before it is sent.
    if HttpBody::size_hint(body).lower() > MAX_BODY_BYTES as u64 {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    loop {
        match timeout_at(deadline, body.next()).await {
            Ok(None) => return Ok(bytes),
            Ok(Some(Ok(chunk))) if bytes.len() + chunk.len() > MAX_BODY_BYTES => return Err(too_long()),
            Ok(Some(Ok(chunk))) => bytes.extend_from_slice(&chunk),
            Ok(Some(Err(error))) => return Err(Refusal::bad(format!("the body broke off: {error}"))),
            Err(_) => {
                let reason = "the body did not arrive within the deadline".to_owned();
                return Err(Refusal { status: StatusCode::SERVICE_UNAVAILABLE, reason, allow: None });
            }
        }
    }
}

/// Takes what comes of a body that nobody wants.
async fn drain(mut body: BodyDataStream) {
    let deadline = Instant::now() + DEFAULT_TIMEOUT;
    let mut length = 0;
    while let Ok(Some(Ok(chunk))) = timeout_at(deadline, body.next()).await {
        length += chunk.len();
        if length > DRAIN_BYTES {
            return;
        }
    }
}

fn text(body: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(body).map_err(|_| Refusal::bad("the body is not UTF-8"))
}

/// Healthy is who takes part. A leader is no part of it: a node that finds none still answers reads
/// of what it has, and starting it anew would not help.
fn health(status: Status) -> Response {
    let Status { phase, waiting_for, reason, .. } = status;
    if phase == "running" {
        return json_response(StatusCode::OK, json!({ "ok": true, "phase": phase }));
    }
    let reason = reason.unwrap_or_else(|| format!("the node is not running: it is {phase}"));
    let mut body = json!({ "outcome": "not_applied", "reason": reason, "phase": phase });
    if let Some(waiting_for) = waiting_for {
        body["waiting_for"] = json!(waiting_for);
    }
    json_response(StatusCode::SERVICE_UNAVAILABLE, body)
}

fn written(outcome: Result<Result<Change, Conflict>, WriteError>) -> Response {
    match outcome {
        Ok(Ok(Change { position, previous })) => {
            let (index, ordinal) = (position.index.0, position.ordinal);
            let body = json!({ "index": index, "ordinal": ordinal, "previous": previous });
            json_response(StatusCode::OK, body)
        }
        Ok(Err(Conflict { current })) => json_response(StatusCode::CONFLICT, json!({ "current": current })),
        Err(WriteError::NotApplied(why)) => unavailable("not_applied", &why),
        Err(WriteError::OutcomeUnknown { why, .. }) => unavailable("unknown", &why),
        // It was applied, but its response is lost: the caller cannot know what it replaced.
        Err(error) => unavailable("unknown", &error),
    }
}

fn read(outcome: Result<Option<String>, ReadError>) -> Response {
    match outcome {
        Ok(Some(value)) => value.into_response(),
        Ok(None) => json_response(StatusCode::NOT_FOUND, json!({ "reason": "there is no such key" })),
        // A read changes nothing.
        Err(error) => unavailable("not_applied", &error),
    }
}

fn unavailable(outcome: &str, reason: &dyn std::fmt::Display) -> Response {
    let body = json!({ "outcome": outcome, "reason": reason.to_string() });
    json_response(StatusCode::SERVICE_UNAVAILABLE, body)
}

fn json_response(status: StatusCode, body: impl Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests;
