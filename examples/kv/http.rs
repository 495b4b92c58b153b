//! HTTP: a request in, a call of the node, a response out.
//!
//! Every body but a value is JSON. A call that failed says with 503 whether it was *not applied*
//! (retry freely) or its outcome is *unknown* (it may have been applied, or may yet be).

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use quorate::client::Consistency;
use quorate::error::{ReadError, WriteError};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

use super::machine::{Change, Conflict};
use super::request::{Call, Refusal, Request};

/// The most bytes of a body.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How much of a body that is too long is read and dropped, so that a client which writes first and
/// reads then sees the refusal and not a reset connection.
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

    /// What `GET /status` shows.
    fn status(&self) -> Status;

    /// Why the node serves no more; `None` while it does.
    fn stopped(&self) -> Option<String>;
}

/// What `GET /status` shows. Indexes are of the log; absent ones are null.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    /// This node.
    pub(crate) id: u64,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub(crate) role: &'static str,
    /// Its term.
    pub(crate) term: u64,
    /// The leader it knows.
    pub(crate) leader: Option<u64>,
    /// The last entry in its log.
    pub(crate) last_log: Option<u64>,
    /// The last entry it knows to be committed.
    pub(crate) committed: Option<u64>,
    /// The last entry it has applied.
    pub(crate) applied: Option<u64>,
    /// Every member.
    pub(crate) members: Vec<MemberStatus>,
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

    async fn answer(self, request: axum::extract::Request) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let Request { call, timeout } =
            Request::parse(&head.method, head.uri.path(), head.uri.query(), self.stale)?;
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let backend = &self.backend;
        Ok(match call {
            Call::Put(key) => {
                let value = read_text(body, deadline).await?;
                written(backend.put(key, value, left()).await.map(Ok))
            }
            Call::Delete(key) => written(backend.delete(key, left()).await.map(Ok)),
            Call::Cas(key) => {
                let text = read_text(body, deadline).await?;
                let Cas { expect, value } = serde_json::from_str(&text)
                    .map_err(|error| Refusal::bad(format!("the body is not `{CAS_FORM}`: {error}")))?;
                written(backend.cas(key, expect, value, left()).await)
            }
            Call::Get(key, consistency) => read(backend.get(key, consistency, left()).await),
            Call::Status => json_response(StatusCode::OK, backend.status()),
            Call::Health => match backend.stopped() {
                None => json_response(StatusCode::OK, json!({ "ok": true })),
                Some(reason) => json_response(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": reason })),
            },
        })
    }
}

async fn respond<B: Backend>(State(server): State<Server<B>>, request: axum::extract::Request) -> Response {
    server.answer(request).await.unwrap_or_else(|Refusal { status, reason, allow }| {
        let mut response = json_response(status, json!({ "error": reason }));
        if let Some(methods) = allow {
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
        }
        response
    })
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

async fn read_text(body: Body, deadline: Instant) -> Result<String, Refusal> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0;
    while length <= DRAIN_BYTES {
        match timeout_at(deadline, stream.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => {
                length += chunk.len();
                if length <= MAX_BODY_BYTES {
                    bytes.extend_from_slice(&chunk);
                }
            }
            Ok(Some(Err(error))) => return Err(Refusal::bad(format!("the body broke off: {error}"))),
            Err(_) if length > MAX_BODY_BYTES => break,
            Err(_) => {
                let reason = "the body did not arrive within the deadline".to_owned();
                return Err(Refusal { status: StatusCode::REQUEST_TIMEOUT, reason, allow: None });
            }
        }
    }
    if length > MAX_BODY_BYTES {
        let reason = format!("the body has more than {MAX_BODY_BYTES} bytes");
        return Err(Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, reason, allow: None });
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad("the body is not UTF-8"))
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
        Ok(None) => json_response(StatusCode::NOT_FOUND, json!({ "error": "there is no such key" })),
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
