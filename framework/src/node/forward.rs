//! A write on its way to the leader, and what comes back, as bytes.
//!
//! Request: `timeout ms u32 | client id u64 | serial u64 | first unacknowledged u64 | command`, where client
//! id 0 is no session. Reply: `tag u8` and its fields: 0 applied (index u64, ordinal u32, answer), 1 not
//! leader (leader: option of u64), 2 not applied (reason u8 and its fields), 3 outcome unknown (why u8).
//! Answer: `0 | bytes`, `1 | length u64` too large, `2` not encodable, `3 | length u64` not kept, `4` the
//! session has ended, `5` is full, `6` has moved on.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::write::Attempt;
use crate::error::{NotApplied, Unknown, WriteError};
use crate::format::{FormatError, Reader, Writer};
use crate::sessions::Numbered;
use crate::state_machine::DecodeError;
use crate::state_machine::erased::{Answer, AnswerError};
use crate::types::{ClientId, LogIndex, NodeId, Position};

/// A write on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WriteRequest {
    pub(super) timeout: Duration,
    pub(super) numbered: Option<Numbered>,
    pub(super) command: Bytes,
}

impl WriteRequest {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.command.len() + 28);
        out.put_u32_le(u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX));
        let numbers = self
            .numbered
            .map_or([0; 3], |numbered| [numbered.client.0, numbered.serial, numbered.first_unacknowledged]);
        for number in numbers {
            out.put_u64_le(number);
        }
        out.put_slice(&self.command);
        out.freeze()
    }

    pub(super) fn decode(body: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("a forwarded write", body);
        let timeout = Duration::from_millis(u64::from(reader.u32("timeout")?));
        let client = ClientId(reader.u64("client id")?);
        let (serial, first_unacknowledged) = (reader.u64("serial")?, reader.u64("first unacknowledged")?);
        let numbered = (client.0 != 0).then_some(Numbered { client, serial, first_unacknowledged });
        Ok(Self { timeout, numbered, command: reader.rest() })
    }
}

const APPLIED: u8 = 0;
const NOT_LEADER: u8 = 1;
const NOT_APPLIED: u8 = 2;
const UNKNOWN: u8 = 3;

/// What became of a forwarded write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteReply {
    Applied(Position, Answer),
    NotLeader(Option<NodeId>),
    NotApplied(NotApplied),
    Unknown(Unknown),
}

impl From<Attempt> for WriteReply {
    fn from(attempt: Attempt) -> Self {
        match attempt {
            Attempt::Applied(position, answer) => Self::Applied(position, answer),
            Attempt::NotLeader(leader) => Self::NotLeader(leader),
            Attempt::Failed(WriteError::NotApplied(reason)) => match reason {
                // Of this node and not of the cluster: the caller looks elsewhere.
                NotApplied::ShuttingDown | NotApplied::Stopped | NotApplied::NotReady => {
                    Self::NotLeader(None)
                }
                reason => Self::NotApplied(reason),
            },
            Attempt::Failed(WriteError::OutcomeUnknown { why, .. }) => Self::Unknown(why),
            Attempt::Failed(WriteError::NoAnswer { position, len }) => {
                Self::Applied(position, Err(AnswerError::TooLarge { len }))
            }
            Attempt::Failed(WriteError::Response { position, .. }) => {
                Self::Applied(position, Err(AnswerError::Encode))
            }
            Attempt::Failed(WriteError::AnswerNotKept { position, len }) => {
                Self::Applied(position, Err(AnswerError::NotKept { len }))
            }
        }
    }
}

impl From<WriteReply> for Attempt {
    fn from(reply: WriteReply) -> Self {
        match reply {
            WriteReply::Applied(position, answer) => Self::Applied(position, answer),
            WriteReply::NotLeader(leader) => Self::NotLeader(leader),
            WriteReply::NotApplied(reason) => Self::Failed(reason.into()),
            WriteReply::Unknown(why) => Self::Failed(WriteError::OutcomeUnknown { log_id: None, why }),
        }
    }
}

fn put_answer(out: &mut BytesMut, answer: &Answer) {
    match answer {
        Ok(bytes) => {
            out.put_u8(0);
            out.put_slice(bytes);
        }
        Err(AnswerError::TooLarge { len }) => {
            out.put_u8(1);
            out.put_u64_le(*len);
        }
        Err(AnswerError::Encode) => out.put_u8(2),
        Err(AnswerError::NotKept { len }) => {
            out.put_u8(3);
            out.put_u64_le(*len);
        }
        Err(AnswerError::NoSession) => out.put_u8(4),
        Err(AnswerError::SessionFull) => out.put_u8(5),
        Err(AnswerError::Acknowledged) => out.put_u8(6),
    }
}

fn read_answer(mut reader: Reader) -> Result<Answer, FormatError> {
    match reader.u8("answer")? {
        0 => Ok(Ok(reader.rest())),
        1 => Ok(Err(AnswerError::TooLarge { len: reader.u64("length")? })),
        2 => Ok(Err(AnswerError::Encode)),
        3 => Ok(Err(AnswerError::NotKept { len: reader.u64("length")? })),
        4 => Ok(Err(AnswerError::NoSession)),
        5 => Ok(Err(AnswerError::SessionFull)),
        6 => Ok(Err(AnswerError::Acknowledged)),
        found => Err(reader.unknown("answer", u64::from(found))),
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    // Cut at a whole character, far above any message of ours.
    let mut end = text.len().min(4096);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_text(&text[..end]);
}

fn put_reason(out: &mut BytesMut, reason: &NotApplied) {
    let numbers = |out: &mut BytesMut, code: u8, one: usize, two: usize| {
        out.put_u8(code);
        out.put_u64_le(one as u64);
        out.put_u64_le(two as u64);
    };
    match reason {
        NotApplied::NoLeader { waited } => numbers(out, 1, waited.as_millis() as usize, 0),
        NotApplied::Deadline => out.put_u8(2),
        NotApplied::TooLarge { len, max } => numbers(out, 3, *len, *max),
        NotApplied::BadCommand(error) => {
            out.put_u8(4);
            put_text(out, &error.to_string());
        }
        NotApplied::Encode { detail } => {
            out.put_u8(5);
            put_text(out, detail);
        }
        NotApplied::Busy { queued, limit } => numbers(out, 6, *queued, *limit),
        NotApplied::DiskFull => out.put_u8(7),
        NotApplied::ShuttingDown => out.put_u8(8),
        NotApplied::Stopped => out.put_u8(9),
        NotApplied::NotReady => out.put_u8(10),
        NotApplied::SessionEnded => out.put_u8(11),
        NotApplied::SessionFull => out.put_u8(12),
        NotApplied::NoSession { why } => {
            out.put_u8(13);
            out.put_u8(why_code(*why));
        }
    }
    // 14 was a machine on a disk that kept no sessions: the next reason is 15.
}

fn read_reason(mut reader: Reader) -> Result<NotApplied, FormatError> {
    let code = reader.u8("reason")?;
    if code == 13 {
        return Ok(NotApplied::NoSession { why: read_why(&mut reader)? });
    }
    let mut number = |field| reader.u64(field).map(|number| number as usize);
    Ok(match code {
        1 => NotApplied::NoLeader { waited: Duration::from_millis(number("waited")? as u64) },
        2 => NotApplied::Deadline,
        3 => NotApplied::TooLarge { len: number("length")?, max: number("limit")? },
        4 => NotApplied::BadCommand(DecodeError::Remote { detail: reader.text("detail")? }),
        5 => NotApplied::Encode { detail: reader.text("detail")? },
        6 => NotApplied::Busy { queued: number("queued")?, limit: number("limit")? },
        7 => NotApplied::DiskFull,
        8 => NotApplied::ShuttingDown,
        9 => NotApplied::Stopped,
        10 => NotApplied::NotReady,
        11 => NotApplied::SessionEnded,
        12 => NotApplied::SessionFull,
        found => return Err(reader.unknown("reason", u64::from(found))),
    })
}

pub(super) fn why_code(why: Unknown) -> u8 {
    match why {
        Unknown::Deadline => 1,
        Unknown::LeaderChanged => 2,
        Unknown::ConnectionLost => 3,
        Unknown::Stopped => 4,
        Unknown::GivenUp => 5,
        Unknown::SessionEnded => 6,
        Unknown::SessionMovedOn => 7,
    }
}

pub(super) fn read_why(reader: &mut Reader) -> Result<Unknown, FormatError> {
    Ok(match reader.u8("why")? {
        1 => Unknown::Deadline,
        2 => Unknown::LeaderChanged,
        3 => Unknown::ConnectionLost,
        4 => Unknown::Stopped,
        5 => Unknown::GivenUp,
        6 => Unknown::SessionEnded,
        7 => Unknown::SessionMovedOn,
        found => return Err(reader.unknown("why", u64::from(found))),
    })
}

impl WriteReply {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Applied(position, answer) => {
                out.put_u8(APPLIED);
                out.put_u64_le(position.index.0);
                out.put_u32_le(position.ordinal);
                put_answer(&mut out, answer);
            }
            Self::NotLeader(leader) => {
                out.put_u8(NOT_LEADER);
                out.put_option(*leader, |out, leader| out.put_u64_le(leader.0));
            }
            Self::NotApplied(reason) => {
                out.put_u8(NOT_APPLIED);
                put_reason(&mut out, reason);
            }
            Self::Unknown(why) => {
                out.put_u8(UNKNOWN);
                out.put_u8(why_code(*why));
            }
        }
        out.freeze()
    }

    pub(super) fn decode(body: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("the answer to a forwarded write", body);
        match reader.u8("tag")? {
            APPLIED => {
                let index = LogIndex(reader.u64("index")?);
                let position = Position { index, ordinal: reader.u32("ordinal")? };
                Ok(Self::Applied(position, read_answer(reader)?))
            }
            NOT_LEADER => {
                let leader = reader.option("leader", |reader| reader.u64("leader").map(NodeId))?;
                Ok(Self::NotLeader(leader))
            }
            NOT_APPLIED => Ok(Self::NotApplied(read_reason(reader)?)),
            UNKNOWN => Ok(Self::Unknown(read_why(&mut reader)?)),
            found => Err(reader.unknown("tag", u64::from(found))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: [Unknown; 7] = [
        Unknown::Deadline,
        Unknown::LeaderChanged,
        Unknown::ConnectionLost,
        Unknown::Stopped,
        Unknown::GivenUp,
        Unknown::SessionEnded,
        Unknown::SessionMovedOn,
    ];

    #[test]
    fn golden_forwarded_write() {
        let numbers = |client, serial, first| {
            let number = |number: u8| [number, 0, 0, 0, 0, 0, 0, 0];
            [&[44, 1, 0, 0][..], &number(client), &number(serial), &number(first), b"ab"].concat()
        };
        let numbered = Numbered { client: ClientId(3), serial: 5, first_unacknowledged: 4 };
        for (numbered, golden) in [(None, numbers(0, 0, 0)), (Some(numbered), numbers(3, 5, 4))] {
            let command = Bytes::from_static(b"ab");
            let request = WriteRequest { timeout: Duration::from_millis(300), numbered, command };
            assert_eq!(request.encode(), golden);
            assert_eq!(WriteRequest::decode(request.encode()), Ok(request));
        }
        let position = Position { index: LogIndex(7), ordinal: 2 };
        let reply = WriteReply::Applied(position, Ok(Bytes::from_static(b"x")));
        assert_eq!(reply.encode().as_ref(), [0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, b'x']);
    }

    #[test]
    fn golden_answers_to_a_forwarded_write() {
        let bytes = |reply: WriteReply| reply.encode().to_vec();
        let number = |number: u8| [number, 0, 0, 0, 0, 0, 0, 0];
        let position = Position { index: LogIndex(7), ordinal: 2 };
        let applied = [&[0][..], &number(7), &[2, 0, 0, 0]].concat();
        let too_large = WriteReply::Applied(position, Err(AnswerError::TooLarge { len: 9 }));
        assert_eq!(bytes(too_large), [&applied[..], &[1], &number(9)].concat());
        let not_encodable = WriteReply::Applied(position, Err(AnswerError::Encode));
        assert_eq!(bytes(not_encodable), [&applied[..], &[2]].concat());
        let not_kept = WriteReply::Applied(position, Err(AnswerError::NotKept { len: 9 }));
        assert_eq!(bytes(not_kept), [&applied[..], &[3], &number(9)].concat());
        let of_sessions = [AnswerError::NoSession, AnswerError::SessionFull, AnswerError::Acknowledged];
        for (code, error) in (4..).zip(of_sessions) {
            assert_eq!(bytes(WriteReply::Applied(position, Err(error))), [&applied[..], &[code]].concat());
        }
        assert_eq!(bytes(WriteReply::NotLeader(None)), [1, 0]);
        assert_eq!(bytes(WriteReply::NotLeader(Some(NodeId(3)))), [&[1, 1][..], &number(3)].concat());

        let numbers = |code: u8, one: u8, two: u8| [&[2, code][..], &number(one), &number(two)].concat();
        let text = |code: u8| vec![2, code, 3, 0, b'w', b'h', b'y'];
        let decode = DecodeError::Remote { detail: "why".into() };
        assert_eq!(decode.to_string(), "why", "the text of the far side goes on as it came");
        let reasons = [
            (NotApplied::NoLeader { waited: Duration::from_millis(6) }, numbers(1, 6, 0)),
            (NotApplied::Deadline, vec![2, 2]),
            (NotApplied::TooLarge { len: 3, max: 2 }, numbers(3, 3, 2)),
            (NotApplied::BadCommand(decode), text(4)),
            (NotApplied::Encode { detail: "why".into() }, text(5)),
            (NotApplied::Busy { queued: 1, limit: 2 }, numbers(6, 1, 2)),
            (NotApplied::DiskFull, vec![2, 7]),
            (NotApplied::ShuttingDown, vec![2, 8]),
            (NotApplied::Stopped, vec![2, 9]),
            (NotApplied::NotReady, vec![2, 10]),
            (NotApplied::SessionEnded, vec![2, 11]),
            (NotApplied::SessionFull, vec![2, 12]),
            (NotApplied::NoSession { why: Unknown::Stopped }, vec![2, 13, 4]),
        ];
        for (reason, golden) in reasons {
            assert_eq!(bytes(WriteReply::NotApplied(reason)), golden);
        }
        for (code, why) in (1..).zip(WHY) {
            assert_eq!(bytes(WriteReply::Unknown(why)), [3, code]);
        }
    }

    #[test]
    fn every_answer_comes_back() {
        let position = Position { index: LogIndex(7), ordinal: 2 };
        let reasons = [
            NotApplied::NoLeader { waited: Duration::from_secs(1) },
            NotApplied::Deadline,
            NotApplied::TooLarge { len: 3, max: 2 },
            NotApplied::BadCommand(DecodeError::Remote { detail: "why".into() }),
            NotApplied::Encode { detail: "why".into() },
            NotApplied::Busy { queued: 1, limit: 2 },
            NotApplied::DiskFull,
            NotApplied::ShuttingDown,
            NotApplied::Stopped,
            NotApplied::NotReady,
            NotApplied::SessionEnded,
            NotApplied::SessionFull,
            NotApplied::NoSession { why: Unknown::Deadline },
        ];
        let mut all: Vec<WriteReply> = reasons.into_iter().map(WriteReply::NotApplied).collect();
        all.extend(WHY.map(WriteReply::Unknown));
        all.extend([
            WriteReply::Applied(position, Ok(Bytes::from_static(b"x"))),
            WriteReply::Applied(position, Err(AnswerError::TooLarge { len: 9 })),
            WriteReply::Applied(position, Err(AnswerError::Encode)),
            WriteReply::Applied(position, Err(AnswerError::NotKept { len: 9 })),
            WriteReply::Applied(position, Err(AnswerError::NoSession)),
            WriteReply::Applied(position, Err(AnswerError::SessionFull)),
            WriteReply::Applied(position, Err(AnswerError::Acknowledged)),
            WriteReply::NotLeader(None),
            WriteReply::NotLeader(Some(NodeId(3))),
        ]);
        for reply in all {
            assert_eq!(WriteReply::decode(reply.encode()), Ok(reply));
        }
    }
}
