//! The library's messages as bytes of ours.
//!
//! Vote: `term u64 | node u64 | committed u8`. Log id: `term u64 | index u64`; an option is a byte
//! before it.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::runtime::Runtime;
use super::types::{Entry, LeaderId, RaftLogId, TypeConfig, Vote, from_log_id, to_log_id};
use crate::format::{FormatError, Reader, Writer, frame};
use crate::types::GroupId;

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

fn read_vote(reader: &mut Reader) -> Result<Vote, FormatError> {
    let leader_id = LeaderId { term: reader.u64("term")?, voted_for: reader.u64("node")? };
    match reader.u8("committed")? {
        0 => Ok(Vote { leader_id, committed: false }),
        1 => Ok(Vote { leader_id, committed: true }),
        found => Err(reader.unknown("committed", u64::from(found))),
    }
}

fn put_log_id(out: &mut BytesMut, id: Option<&RaftLogId>) {
    out.put_option(id, |out, id| Writer::put_log_id(out, to_log_id(id)));
}

fn read_log_id(reader: &mut Reader) -> Result<Option<RaftLogId>, FormatError> {
    Ok(reader.option("log id", |reader| reader.log_id("log id"))?.map(from_log_id))
}

fn read_bool(reader: &mut Reader, field: &'static str) -> Result<bool, FormatError> {
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(reader.unknown(field, u64::from(found))),
    }
}

pub(super) fn vote_request<RT: Runtime>(request: &VoteRequest<TypeConfig<RT>>) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, &request.vote);
    put_log_id(&mut out, request.last_log_id.as_ref());
    out.put_u8(u8::from(request.leadership_transfer));
    out.freeze()
}

pub(super) fn read_vote_request<RT: Runtime>(
    body: Bytes,
) -> Result<VoteRequest<TypeConfig<RT>>, FormatError> {
    let mut reader = Reader::new("a vote request", body);
    let mut request = VoteRequest::new(read_vote(&mut reader)?, read_log_id(&mut reader)?);
    request.leadership_transfer = read_bool(&mut reader, "leadership transfer")?;
    reader.finish()?;
    Ok(request)
}

pub(super) fn vote_response<RT: Runtime>(response: &VoteResponse<TypeConfig<RT>>) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, &response.vote);
    out.put_u8(u8::from(response.vote_granted));
    put_log_id(&mut out, response.last_log_id.as_ref());
    out.freeze()
}

pub(super) fn read_vote_response<RT: Runtime>(
    body: Bytes,
) -> Result<VoteResponse<TypeConfig<RT>>, FormatError> {
    let mut reader = Reader::new("a vote response", body);
    let vote = read_vote(&mut reader)?;
    let granted = read_bool(&mut reader, "granted")?;
    let last_log_id = read_log_id(&mut reader)?;
    reader.finish()?;
    Ok(VoteResponse::new(vote, last_log_id, granted))
}

/// The body of an append: vote, previous log id, committed log id, then each entry behind its
/// length as `u32`.
pub(super) fn put_append<RT: Runtime>(out: &mut BytesMut, request: &AppendEntriesRequest<TypeConfig<RT>>) {
    put_vote(out, &request.vote);
    put_log_id(out, request.prev_log_id.as_ref());
    put_log_id(out, request.leader_commit.as_ref());
    out.put_u32_le(request.entries.len() as u32);
    for entry in &request.entries {
        out.put_u32_le(entry.encoded.len() as u32);
        out.put_slice(&entry.encoded);
    }
}

/// How long the body of an append is.
pub(super) fn append_bytes<RT: Runtime>(request: &AppendEntriesRequest<TypeConfig<RT>>) -> usize {
    request.entries.iter().map(|entry| entry.encoded.len() + 4).sum::<usize>() + 64
}

pub(super) fn append_frame<RT: Runtime>(
    group: GroupId,
    request: &AppendEntriesRequest<TypeConfig<RT>>,
) -> Bytes {
    let mut out = frame::begin(frame::Kind::Append, group, append_bytes(request));
    put_append(&mut out, request);
    out.freeze()
}

/// Decodes an append. Every entry's checksum is checked, and that it stands where it belongs.
pub(super) fn read_append<RT: Runtime>(
    group: GroupId,
    body: Bytes,
) -> Result<AppendEntriesRequest<TypeConfig<RT>>, FormatError> {
    let mut reader = Reader::new("an append", body);
    let vote = read_vote(&mut reader)?;
    let prev_log_id = read_log_id(&mut reader)?;
    let leader_commit = read_log_id(&mut reader)?;
    let count = reader.u32("entry count")?;
    let mut entries: Vec<Entry> = Vec::new();
    let next = prev_log_id.map_or(0, |prev| prev.index.saturating_add(1));
    for (expected, _) in (next..).zip(0..count) {
        let len = reader.u32("entry length")?;
        let entry = Entry::open(group, reader.bytes(len as usize, "entry")?)?;
        if entry.log_id.index != expected {
            let (found, what) = (entry.log_id.index, "an append");
            return Err(FormatError::Mismatch { what, field: "log index", found, expected });
        }
        entries.push(entry);
    }
    reader.finish()?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

const MATCHED: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;

pub(super) fn append_result<RT: Runtime>(result: &StreamAppendResult<TypeConfig<RT>>) -> Bytes {
    let mut out = BytesMut::new();
    match result {
        Ok(matched) => {
            out.put_u8(MATCHED);
            put_log_id(&mut out, matched.as_ref());
        }
        Err(StreamAppendError::Conflict(conflict)) => {
            out.put_u8(CONFLICT);
            put_log_id(&mut out, Some(conflict));
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(super) fn read_append_result<RT: Runtime>(
    body: Bytes,
) -> Result<StreamAppendResult<TypeConfig<RT>>, FormatError> {
    let mut reader = Reader::new("an append result", body);
    let result = match reader.u8("kind")? {
        MATCHED => Ok(read_log_id(&mut reader)?),
        CONFLICT => match read_log_id(&mut reader)? {
            Some(conflict) => Err(StreamAppendError::Conflict(conflict)),
            None => return Err(reader.unknown("conflict", 0)),
        },
        HIGHER_VOTE => Err(StreamAppendError::HigherVote(read_vote(&mut reader)?)),
        found => return Err(reader.unknown("kind", u64::from(found))),
    };
    reader.finish()?;
    Ok(result)
}

pub(super) fn transfer_request<RT: Runtime>(request: &TransferLeaderRequest<TypeConfig<RT>>) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, request.from_leader());
    out.put_u64_le(*request.to_node_id());
    put_log_id(&mut out, request.last_log_id());
    out.freeze()
}

pub(super) fn read_transfer_request<RT: Runtime>(
    body: Bytes,
) -> Result<TransferLeaderRequest<TypeConfig<RT>>, FormatError> {
    let mut reader = Reader::new("a transfer request", body);
    let vote = read_vote(&mut reader)?;
    let to = reader.u64("to")?;
    let last_log_id = read_log_id(&mut reader)?;
    reader.finish()?;
    Ok(TransferLeaderRequest::new(vote, to, last_log_id))
}

const ACCEPTED: u8 = 0;
const VOTE_CHANGED: u8 = 1;
const LOG_NOT_FLUSHED: u8 = 2;

pub(super) fn transfer_response<RT: Runtime>(response: &TransferLeaderResponse<TypeConfig<RT>>) -> Bytes {
    let mut out = BytesMut::new();
    match response {
        Ok(()) => out.put_u8(ACCEPTED),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(VOTE_CHANGED);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(LOG_NOT_FLUSHED);
            put_log_id(&mut out, expected.as_ref());
            put_log_id(&mut out, actual.as_ref());
        }
    }
    out.freeze()
}

pub(super) fn read_transfer_response<RT: Runtime>(
    body: Bytes,
) -> Result<TransferLeaderResponse<TypeConfig<RT>>, FormatError> {
    let mut reader = Reader::new("a transfer response", body);
    let response = match reader.u8("kind")? {
        ACCEPTED => Ok(()),
        VOTE_CHANGED => {
            let (expected, actual) = (read_vote(&mut reader)?, read_vote(&mut reader)?);
            Err(TransferLeaderError::VoteChanged { expected, actual })
        }
        LOG_NOT_FLUSHED => {
            let (expected, actual) = (read_log_id(&mut reader)?, read_log_id(&mut reader)?);
            Err(TransferLeaderError::LogNotFlushed { expected, actual })
        }
        found => return Err(reader.unknown("kind", u64::from(found))),
    };
    reader.finish()?;
    Ok(response)
}

/// What announces a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SnapshotBegin {
    /// The leader's.
    pub(super) vote: Vote,
    /// The last log id it covers.
    pub(super) covers: RaftLogId,
    /// How many bytes it has.
    pub(super) len: u64,
    /// What tells them from others. Without it every transfer begins at the first byte.
    pub(super) fingerprint: Option<u32>,
}

/// The frame that announces a snapshot:
/// `vote | covers: term u64, index u64 | length u64 | fingerprint u32 (option)`.
pub(super) fn snapshot_begin(group: GroupId, begin: &SnapshotBegin) -> Bytes {
    let mut out = frame::begin(frame::Kind::SnapshotBegin, group, 64);
    put_vote(&mut out, &begin.vote);
    Writer::put_log_id(&mut out, to_log_id(&begin.covers));
    out.put_u64_le(begin.len);
    out.put_option(begin.fingerprint, BytesMut::put_u32_le);
    out.freeze()
}

pub(super) fn read_snapshot_begin(body: Bytes) -> Result<SnapshotBegin, FormatError> {
    let mut reader = Reader::new("a snapshot begin", body);
    let vote = read_vote(&mut reader)?;
    let covers = from_log_id(reader.log_id("covers")?);
    let len = reader.u64("length")?;
    let fingerprint = reader.option("fingerprint", |reader| reader.u32("fingerprint"))?;
    reader.finish()?;
    Ok(SnapshotBegin { vote, covers, len, fingerprint })
}

/// The frame that says how many bytes of a snapshot have arrived, or are there already.
pub(super) fn snapshot_bytes(kind: frame::Kind, group: GroupId, bytes: u64) -> Bytes {
    let mut out = frame::begin(kind, group, 8);
    out.put_u64_le(bytes);
    out.freeze()
}

pub(super) fn read_snapshot_bytes(body: Bytes) -> Result<u64, FormatError> {
    let mut reader = Reader::new("a snapshot answer", body);
    let bytes = reader.u64("bytes")?;
    reader.finish()?;
    Ok(bytes)
}

pub(super) fn snapshot_done(group: GroupId, vote: &Vote) -> Bytes {
    let mut out = frame::begin(frame::Kind::SnapshotDone, group, 17);
    put_vote(&mut out, vote);
    out.freeze()
}

pub(super) fn read_snapshot_done(body: Bytes) -> Result<Vote, FormatError> {
    let mut reader = Reader::new("a snapshot answer", body);
    let vote = read_vote(&mut reader)?;
    reader.finish()?;
    Ok(vote)
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry;

    use super::*;
    use crate::engine::runtime::TokioRuntime;
    use crate::engine::types::Payload;
    use crate::types::{LogId, LogTime};

    type C = TypeConfig<TokioRuntime>;

    fn vote() -> Vote {
        Vote { leader_id: LeaderId { term: 3, voted_for: 2 }, committed: true }
    }

    fn id(index: u64) -> RaftLogId {
        from_log_id(LogId::new(3, index))
    }

    const VOTE: [u8; 17] = [3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1];

    #[test]
    fn golden_vote_request() {
        let mut request = VoteRequest::<C>::new(vote(), Some(id(9)));
        request.leadership_transfer = true;
        let mut golden = VOTE.to_vec();
        golden.extend([1, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(vote_request(&request), golden);
        assert_eq!(read_vote_request::<TokioRuntime>(vote_request(&request)), Ok(request));
    }

    #[test]
    fn golden_append() {
        let mut entry = Entry::new(id(9), Payload::Blank);
        entry.seal(GroupId(1), || LogTime::ZERO);
        let request = AppendEntriesRequest::<C> {
            vote: vote(),
            prev_log_id: Some(id(8)),
            entries: vec![entry.clone()],
            leader_commit: None,
        };
        let bytes = append_frame(GroupId(1), &request).slice(frame::HEADER_BYTES..);
        let mut golden = VOTE.to_vec();
        golden.extend([1, 3, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([1, 0, 0, 0, 44, 0, 0, 0]);
        golden.extend(&entry.encoded);
        assert_eq!(bytes, golden);
        let read = read_append::<TokioRuntime>(GroupId(1), bytes.clone()).expect("whole");
        assert_eq!((read.entries, read.prev_log_id), (vec![entry], Some(id(8))));
        assert!(read_append::<TokioRuntime>(GroupId(2), bytes.clone()).is_err(), "entries of another group");
        for bit in (golden.len() - 44) * 8..golden.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read_append::<TokioRuntime>(GroupId(1), Bytes::from(flipped)).is_err(), "bit {bit}");
        }
    }

    /// A log id of term 3 behind the byte that says it is there.
    fn some(index: u8) -> [u8; 17] {
        [1, 3, 0, 0, 0, 0, 0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0]
    }

    #[test]
    fn golden_vote_response() {
        let response = VoteResponse::<C>::new(vote(), Some(id(9)), true);
        assert_eq!(vote_response(&response), [&VOTE[..], &[1], &some(9)].concat());
        let refused = VoteResponse::<C>::new(vote(), None, false);
        assert_eq!(vote_response(&refused), [&VOTE[..], &[0, 0]].concat());
    }

    #[test]
    fn golden_append_result() {
        let golden = |result: StreamAppendResult<C>| append_result(&result);
        assert_eq!(golden(Ok(None)), [0, 0].as_slice());
        assert_eq!(golden(Ok(Some(id(4)))), [&[0][..], &some(4)].concat());
        assert_eq!(golden(Err(StreamAppendError::Conflict(id(5)))), [&[1][..], &some(5)].concat());
        assert_eq!(golden(Err(StreamAppendError::HigherVote(vote()))), [&[2][..], &VOTE].concat());
    }

    #[test]
    fn golden_transfer() {
        let request = TransferLeaderRequest::<C>::new(vote(), 7, Some(id(9)));
        let golden = [&VOTE[..], &[7, 0, 0, 0, 0, 0, 0, 0], &some(9)].concat();
        assert_eq!(transfer_request(&request), golden);
        let read = read_transfer_request::<TokioRuntime>(transfer_request(&request)).expect("whole");
        assert_eq!((read.from_leader(), read.to_node_id()), (&vote(), &7));
        assert_eq!(read.last_log_id(), Some(&id(9)));

        let golden = |response: TransferLeaderResponse<C>| transfer_response(&response);
        assert_eq!(golden(Ok(())), [0].as_slice());
        let other = Vote { leader_id: LeaderId { term: 4, voted_for: 1 }, committed: false };
        let other_vote = [4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let changed = TransferLeaderError::VoteChanged { expected: vote(), actual: other };
        assert_eq!(golden(Err(changed)), [&[1][..], &VOTE, &other_vote].concat());
        let behind = TransferLeaderError::LogNotFlushed { expected: Some(id(1)), actual: None };
        assert_eq!(golden(Err(behind)), [&[2][..], &some(1), &[0]].concat());
    }

    #[test]
    fn golden_snapshot_begin_and_done() {
        let header = |kind: u8| [&[1, kind, 5, 0, 0, 0, 0, 0, 0, 0][..], &VOTE].concat();
        let mut golden = header(7);
        golden.extend(&some(7)[1..]);
        golden.extend([8, 1, 0, 0, 0, 0, 0, 0]);
        let begin = SnapshotBegin { vote: vote(), covers: id(7), len: 0x108, fingerprint: None };
        assert_eq!(snapshot_begin(GroupId(5), &begin), [&golden[..], &[0]].concat());
        let begin = SnapshotBegin { fingerprint: Some(0x0304), ..begin };
        assert_eq!(snapshot_begin(GroupId(5), &begin), [&golden[..], &[1, 4, 3, 0, 0]].concat());
        let from = snapshot_bytes(frame::Kind::SnapshotFrom, GroupId(1), 0x0506);
        assert_eq!(from.as_ref(), [1, 13, 1, 0, 0, 0, 0, 0, 0, 0, 6, 5, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read_snapshot_bytes(from.slice(frame::HEADER_BYTES..)), Ok(0x0506));
        let done = snapshot_done(GroupId(5), &vote());
        assert_eq!(done, header(11));
        assert_eq!(read_snapshot_done(done.slice(frame::HEADER_BYTES..)), Ok(vote()));
    }

    #[test]
    fn an_entry_out_of_place_is_refused() {
        let mut entry = Entry::new(id(10), Payload::Blank);
        entry.seal(GroupId(1), || LogTime::ZERO);
        let request = AppendEntriesRequest::<C> {
            vote: vote(),
            prev_log_id: Some(id(8)),
            entries: vec![entry],
            leader_commit: None,
        };
        let bytes = append_frame(GroupId(1), &request).slice(frame::HEADER_BYTES..);
        assert!(matches!(
            read_append::<TokioRuntime>(GroupId(1), bytes),
            Err(FormatError::Mismatch { field: "log index", found: 10, expected: 9, .. })
        ));
    }

    #[test]
    fn every_answer_comes_back() {
        for result in [
            Ok(None),
            Ok(Some(id(4))),
            Err(StreamAppendError::Conflict(id(5))),
            Err(StreamAppendError::HigherVote(vote())),
        ] {
            assert_eq!(read_append_result::<TokioRuntime>(append_result(&result)), Ok(result));
        }
        for response in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: vote(), actual: vote() }),
            Err(TransferLeaderError::LogNotFlushed { expected: Some(id(1)), actual: None }),
        ] {
            assert_eq!(read_transfer_response::<TokioRuntime>(transfer_response(&response)), Ok(response));
        }
        let response = VoteResponse::<C>::new(vote(), None, true);
        assert_eq!(read_vote_response::<TokioRuntime>(vote_response(&response)), Ok(response));
        for fingerprint in [None, Some(9)] {
            let begin = SnapshotBegin { vote: vote(), covers: id(7), len: 8, fingerprint };
            let body = snapshot_begin(GroupId(1), &begin).slice(frame::HEADER_BYTES..);
            assert_eq!(read_snapshot_begin(body), Ok(begin));
        }
    }
}
