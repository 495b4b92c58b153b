//! What a request asks for: its path, its query and nothing else, without any I/O.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use quorate::client::Consistency;

/// The most bytes of a key.
const MAX_KEY_BYTES: usize = 512;
/// The deadline of a call that names none.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time that a request may name, in ms.
const MAX_MS: u64 = 3_600_000;

/// A request that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What it asks for.
    pub(crate) call: Call,
    /// How long it may take, from when its head was read.
    pub(crate) timeout: Duration,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `PUT /kv/{key}`
    Put(String),
    /// `DELETE /kv/{key}`
    Delete(String),
    /// `POST /kv/{key}/cas`
    Cas(String),
    /// `GET /kv/{key}`
    Get(String, Consistency),
    /// `GET /status`
    Status,
    /// `GET /healthz`
    Health,
}

/// A request that makes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// What is wrong, for the caller.
    pub(crate) reason: String,
    /// The methods that the path has, when it has not this one.
    pub(crate) allow: Option<&'static str>,
}

impl Refusal {
    /// A refusal that the caller can mend.
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: reason.into(), allow: None }
    }
}

/// What a path leads to.
enum Route<'a> {
    Key(&'a str),
    Cas(&'a str),
    Status,
    Health,
}

impl Route<'_> {
    fn of(path: &str) -> Option<Route<'_>> {
        match path {
            "/status" => Some(Route::Status),
            "/healthz" => Some(Route::Health),
            // A `/` that belongs to the key is encoded, as %2F.
            _ => match path.strip_prefix("/kv/")?.split_once('/') {
                None => path.strip_prefix("/kv/").map(Route::Key),
                Some((key, "cas")) => Some(Route::Cas(key)),
                Some(_) => None,
            },
        }
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Key(_) => "GET, PUT, DELETE",
            Self::Cas(_) => "POST",
            Self::Status | Self::Health => "GET",
        }
    }
}

impl Request {
    /// Reads the head of a request. `stale` is the age that `read=stale` allows when it names none.
    ///
    /// # Errors
    /// 404 for a path that leads nowhere, 400 for a method, a key or a query that is wrong.
    pub(crate) fn parse(
        method: &Method,
        path: &str,
        query: Option<&str>,
        stale: Duration,
    ) -> Result<Self, Refusal> {
        let Some(route) = Route::of(path) else {
            let reason = format!("there is nothing at {path}");
            return Err(Refusal { status: StatusCode::NOT_FOUND, reason, allow: None });
        };
        let allow = route.methods();
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            let reason = format!("{path} has no {method}, only {allow}");
            return Err(Refusal { allow: Some(allow), ..Refusal::bad(reason) });
        }
        let mut query = Query::parse(query.unwrap_or_default())?;
        let call = match route {
            Route::Status => Call::Status,
            Route::Health => Call::Health,
            Route::Cas(key) => Call::Cas(decode_key(key)?),
            Route::Key(key) if method == Method::PUT => Call::Put(decode_key(key)?),
            Route::Key(key) if method == Method::DELETE => Call::Delete(decode_key(key)?),
            Route::Key(key) => Call::Get(decode_key(key)?, query.consistency(stale)?),
        };
        let timeout = query.ms("timeout_ms", 1)?.unwrap_or(DEFAULT_TIMEOUT);
        query.finish()?;
        Ok(Self { call, timeout })
    }
}

/// The parameters of a query that are not used up yet.
struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Result<Self, Refusal> {
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if parameters.iter().any(|(seen, _)| *seen == name) {
                return Err(Refusal::bad(format!("parameter `{name}` is given twice")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(found, _)| *found == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn ms(&mut self, name: &str, least: u64) -> Result<Option<Duration>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        // Digits and nothing else: `parse` takes a sign too.
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse::<u64>() {
            Ok(ms) if digits && (least..=MAX_MS).contains(&ms) => Ok(Some(Duration::from_millis(ms))),
            _ => Err(Refusal::bad(format!(
                "`{name}` is `{value}`: expected a whole number of milliseconds from {least} to {MAX_MS}"
            ))),
        }
    }

    fn consistency(&mut self, stale: Duration) -> Result<Consistency, Refusal> {
        match self.take("read") {
            None | Some("linearizable") => Ok(Consistency::Linearizable),
            Some("local") => Ok(Consistency::Local),
            Some("stale") => Ok(Consistency::Stale { at_most: self.ms("at_most", 0)?.unwrap_or(stale) }),
            Some(other) => {
                Err(Refusal::bad(format!("`read` is `{other}`: expected linearizable, stale or local")))
            }
        }
    }

    fn finish(self) -> Result<(), Refusal> {
        match self.0.first() {
            None => Ok(()),
            Some(("at_most", _)) => Err(Refusal::bad("`at_most` is for `read=stale` only")),
            Some((name, _)) => Err(Refusal::bad(format!("this request has no parameter `{name}`"))),
        }
    }
}

fn decode_key(encoded: &str) -> Result<String, Refusal> {
    let bytes = percent_decode(encoded).ok_or_else(|| {
        Refusal::bad("the key is not percent-encoded: `%` is followed by two hexadecimal digits")
    })?;
    if !(1..=MAX_KEY_BYTES).contains(&bytes.len()) {
        let reason = format!("the key has {} bytes: expected 1 to {MAX_KEY_BYTES}", bytes.len());
        return Err(Refusal::bad(reason));
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad("the key is not UTF-8"))
}

fn percent_decode(encoded: &str) -> Option<Vec<u8>> {
    let mut rest = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = after;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(2);

    /// Reads `METHOD path?query`.
    fn parse(line: &str) -> Result<Request, Refusal> {
        let (method, uri) = line.split_once(' ').expect("a method and a path");
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        Request::parse(&method.parse().expect("a method"), path, query, STALE)
    }

    fn call(line: &str) -> Call {
        parse(line).unwrap_or_else(|refusal| panic!("{line}: {refusal:?}")).call
    }

    #[test]
    fn every_route_is_read_and_keys_are_decoded() {
        assert_eq!(call("PUT /kv/a"), Call::Put("a".into()));
        assert_eq!(call("DELETE /kv/a%2fb%20%C3%A4+c"), Call::Delete("a/b ä+c".into()));
        assert_eq!(call("POST /kv/cas/cas"), Call::Cas("cas".into()));
        assert_eq!(call("PUT /kv/.."), Call::Put("..".into()));
        assert_eq!(call("GET /status"), Call::Status);
        assert_eq!(call("GET /healthz?"), Call::Health);
        let long = "k".repeat(MAX_KEY_BYTES);
        assert_eq!(call(&format!("PUT /kv/{long}")), Call::Put(long));
        let encoded = "%6b".repeat(MAX_KEY_BYTES);
        assert_eq!(call(&format!("PUT /kv/{encoded}")), Call::Put("k".repeat(MAX_KEY_BYTES)));
    }

    #[test]
    fn a_read_says_how_recent_it_must_be() {
        let consistency = |query: &str| match call(&format!("GET /kv/a{query}")) {
            Call::Get(_, consistency) => consistency,
            other => panic!("{other:?}"),
        };
        assert_eq!(consistency(""), Consistency::Linearizable);
        assert_eq!(consistency("?read=linearizable"), Consistency::Linearizable);
        assert_eq!(consistency("?read=local"), Consistency::Local);
        assert_eq!(consistency("?read=stale"), Consistency::Stale { at_most: STALE });
        let at_most = Duration::from_millis(70);
        assert_eq!(consistency("?at_most=70&read=stale"), Consistency::Stale { at_most });
    }

    #[test]
    fn every_call_has_a_deadline() {
        let timeout = |line: &str| parse(line).expect("right").timeout;
        assert_eq!(timeout("PUT /kv/a"), Duration::from_secs(5));
        assert_eq!(timeout("POST /kv/a/cas?timeout_ms=1"), Duration::from_millis(1));
        assert_eq!(timeout("GET /kv/a?read=local&timeout_ms=3600000"), Duration::from_hours(1));
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_reason() {
        let long = format!("PUT /kv/{}", "k".repeat(MAX_KEY_BYTES + 1));
        let rows = [
            (400, "PUT /kv/", "0 bytes"),
            (400, "POST /kv//cas", "0 bytes"),
            (400, long.as_str(), "513 bytes"),
            (400, "GET /kv/%", "percent-encoded"),
            (400, "GET /kv/a%2", "percent-encoded"),
            (400, "GET /kv/%zz", "percent-encoded"),
            (400, "GET /kv/%+1", "percent-encoded"),
            (400, "GET /kv/%ff", "not UTF-8"),
            (400, "GET /kv/a?read=strong", "`strong`"),
            (400, "GET /kv/a?read=", "expected linearizable"),
            (400, "GET /kv/a?read=stale&at_most=-1", "`at_most` is `-1`"),
            (400, "GET /kv/a?read=local&at_most=1", "`read=stale` only"),
            (400, "GET /kv/a?at_most=1", "`read=stale` only"),
            (400, "GET /kv/a?READ=local", "no parameter `READ`"),
            (400, "PUT /kv/a?read=local", "no parameter `read`"),
            (400, "GET /status?verbose", "no parameter `verbose`"),
            (400, "PUT /kv/a?timeout_ms=0", "from 1 to"),
            (400, "PUT /kv/a?timeout_ms=+5", "`timeout_ms` is `+5`"),
            (400, "PUT /kv/a?timeout_ms=", "from 1 to"),
            (400, "PUT /kv/a?timeout_ms=3600001", "from 1 to"),
            (400, "PUT /kv/a?timeout_ms=99999999999999999999", "from 1 to"),
            (400, "PUT /kv/a?timeout_ms=1&timeout_ms=2", "twice"),
            (404, "GET /", "nothing at /"),
            (404, "GET /kv", "nothing at"),
            (404, "GET /kv/a/b", "nothing at"),
            (404, "PUT /kv/a/", "nothing at"),
            (404, "POST /kv/a/cas/", "nothing at"),
            (400, "POST /kv/a", "only GET, PUT, DELETE"),
            (400, "GET /kv/a/cas", "only POST"),
            (400, "HEAD /kv/a", "only GET, PUT, DELETE"),
            (400, "PUT /status", "only GET"),
        ];
        for (status, line, reason) in rows {
            let refusal = parse(line).expect_err(line);
            assert_eq!(refusal.status.as_u16(), status, "{line}");
            assert!(refusal.reason.contains(reason), "{line}: {}", refusal.reason);
            let allowed = refusal.allow.map(|allow| format!("only {allow}"));
            assert_eq!(allowed.as_deref(), reason.starts_with("only").then_some(reason), "{line}");
        }
    }
}
