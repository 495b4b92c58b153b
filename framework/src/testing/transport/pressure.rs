//! Cases about a reader that does not keep up.

use std::pin::pin;

use bytes::Bytes;
use futures::SinkExt;
use futures::future::{Either, join, join_all, select};

use super::pair::{Pair, end_of, frame, ping, receive_all, send_all};
use super::{TransportHarness, run};
use crate::testing::run::doing;
use crate::transport::{Duplex, Lane};

const MIB: usize = 1 << 20;

/// More than any transport should queue for a reader that does not read.
fn bulk() -> impl Iterator<Item = Bytes> {
    (0..64).map(|number| frame(number, MIB))
}

async fn pings(ours: &mut Duplex, theirs: &mut Duplex) {
    for number in 0..200 {
        ping(ours, theirs, 2 * number).await;
    }
}

/// A sender is held up while nobody reads, and every frame arrives once somebody does.
pub fn backpressure_holds_the_sender_and_loses_nothing<H: TransportHarness>() {
    run::<H, _>("backpressure_holds_the_sender_and_loses_nothing", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        let (mut clock, mut clocks) = pair.open(Lane::Control).await;
        let sending = pin!(async {
            send_all(&mut ours.tx, bulk()).await;
            ours.tx.close().await.expect("closes");
        });
        doing("send 64 MiB to a peer that does not read, beside frames on the control lane");
        // The other stream gives the transport every chance to take more than it should.
        let sending = match select(sending, pin!(pings(&mut clock, &mut clocks))).await {
            Either::Left(_) => panic!("64 MiB were taken although nobody reads"),
            Either::Right(((), sending)) => sending,
        };
        doing("read what was held up");
        let receiving = async {
            receive_all(&mut theirs.rx, bulk()).await;
            end_of(&mut theirs.rx).await.expect("ends in good order");
        };
        join(sending, receiving).await;
    });
}

/// Streams that are full and unread, on every other lane, do not hold up the control lane.
pub fn lanes_do_not_delay_each_other<H: TransportHarness>() {
    run::<H, _>("lanes_do_not_delay_each_other", || async {
        let pair = Pair::<H>::new().await;
        let (mut control, mut controls) = pair.open(Lane::Control).await;
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for lane in [Lane::Append, Lane::Snapshot, Lane::Client] {
            let (ours, theirs) = pair.open(lane).await;
            senders.push(ours);
            receivers.push(theirs);
        }
        let sending = pin!(join_all(senders.iter_mut().map(|stream| send_all(&mut stream.tx, bulk()))));
        // If a full lane held up this one, neither would ever end.
        doing("send frames on the control lane, beside three lanes that are full and unread");
        let sending = match select(sending, pin!(pings(&mut control, &mut controls))).await {
            Either::Left(_) => panic!("192 MiB were taken although nobody reads"),
            Either::Right(((), sending)) => sending,
        };
        doing("read the lanes that are full");
        let receiving = join_all(receivers.iter_mut().map(|stream| receive_all(&mut stream.rx, bulk())));
        // A stream that is opened only now is not held up either.
        let (mut late, mut lates) = pair.open(Lane::Control).await;
        ping(&mut late, &mut lates, 1).await;
        join(sending, receiving).await;
    });
}
