//! What a peer asks that concerns the log: a vote, a heartbeat, who the members are.

use bytes::Bytes;
use futures::StreamExt;

use super::group::Group;
use super::receive::{ReceiveError, check_sender};
use super::runtime::Runtime;
use super::types::{to_log_id, to_raw_membership};
use super::wire;
use crate::format::FormatError;
use crate::host::{Call, Record, Reply, Status};
use crate::types::NodeId;

impl<RT: Runtime> Group<RT> {
    /// Answers a request of a peer that concerns the log.
    pub(crate) async fn answer(&self, peer: NodeId, call: Call, body: Bytes) -> Reply {
        match self.try_answer(peer, call, body).await {
            Ok(Some(body)) => Reply::done(body),
            Ok(None) => Reply::empty(Status::Stopped),
            Err(error) => {
                tracing::warn!(%peer, ?call, %error, "request refused");
                Reply::empty(Status::Malformed)
            }
        }
    }

    /// `Ok(None)` when the engine has stopped.
    async fn try_answer(&self, peer: NodeId, call: Call, body: Bytes) -> Result<Option<Bytes>, ReceiveError> {
        Ok(match call {
            Call::Vote => {
                let request = wire::read_vote_request::<RT>(body)?;
                check_sender(peer, &request.vote)?;
                let response = self.call(|raft| async move { raft.vote(request).await }).await;
                response.ok().map(|response| wire::vote_response(&response))
            }
            Call::PreVote => {
                let request = wire::read_vote_request::<RT>(body)?;
                check_sender(peer, &request.vote)?;
                let response = self.call(|raft| async move { raft.pre_vote(request).await }).await;
                response.ok().map(|response| wire::vote_response(&response))
            }
            Call::TransferLeader => {
                let request = wire::read_transfer_request::<RT>(body)?;
                check_sender(peer, request.from_leader())?;
                let response =
                    self.call(|raft| async move { raft.handle_transfer_leader(request).await }).await;
                response.ok().map(|response| wire::transfer_response(&response))
            }
            Call::Heartbeat => {
                let request = wire::read_append::<RT>(self.group(), body)?;
                check_sender(peer, &request.vote)?;
                let answer = std::pin::pin!(self.append(futures::stream::iter([request]))).next().await;
                answer.and_then(Result::ok).map(|result| wire::append_result(&result))
            }
            Call::Membership => {
                let effective = self.call(|raft| async move {
                    raft.with_raft_state(|state| state.membership_state.effective().clone()).await
                });
                effective.await.ok().and_then(|effective| {
                    let at = to_log_id(effective.log_id().as_ref()?);
                    Some(Record { at, membership: to_raw_membership(effective.membership()) }.encode())
                })
            }
            Call::Census | Call::Write | Call::ReadIndex | Call::Members => {
                let error = FormatError::Unknown { what: "a request", field: "call", found: call as u64 };
                return Err(error.into());
            }
        })
    }
}
