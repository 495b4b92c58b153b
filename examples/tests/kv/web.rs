//! As much of HTTP as a test needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a request may take: longer than any deadline in these tests.
const LIMIT: Duration = Duration::from_mins(1);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: String,
}

impl Reply {
    pub(crate) fn text(&self) -> (u16, &str) {
        (self.status, &self.body)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a request on a connection of its own and reads the answer.
pub(crate) fn ask(address: &str, method: &str, path: &str, body: &str) -> Reply {
    send(address, method, path, body.len(), body)
}

/// The same with a body that is promised to have `length` bytes.
pub(crate) fn send(address: &str, method: &str, path: &str, length: usize, body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).expect("the node serves");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    let request = [head.as_bytes(), body.as_bytes()].concat();
    stream.write_all(&request).expect("sent: a server that refuses does not reset the connection");
    let mut answer = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        answer.read_line(&mut line).expect("the answer comes within the limit");
        line
    };
    let first = line();
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {first}"));
    let head: Vec<String> = std::iter::from_fn(|| Some(line()).filter(|line| line != "\r\n")).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.and_then(|length| length.trim_end().parse().ok());
    // Up to there and no further: the connection is closed when the rest of the request is there.
    let mut body = vec![0; length.unwrap_or_else(|| panic!("no length: {head:?}"))];
    answer.read_exact(&mut body).expect("the answer comes within the limit");
    Reply { status, body: String::from_utf8(body).expect("text") }
}
