//! The place of a sum, and how it is opened and ended there.

use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::error::BoxError;
use quorate::testing::Seeded;
use quorate::testing::durable_machine::DurableHarness;

use super::broken::{Image, Number, Sum, lock};
use super::how::Break;

pub(super) struct Harness<B>(PhantomData<B>);

impl<B: Break> DurableHarness for Harness<B> {
    type Machine = Sum<B>;
    type Place = Arc<Mutex<Image>>;

    const SAME_STATES: bool = B::SAME_STATES;
    const LIMIT: Duration = B::LIMIT;

    fn place() -> Self::Place {
        Arc::default()
    }

    fn open(place: &Self::Place) -> Result<Sum<B>, BoxError> {
        let mut image = lock(place);
        let views = image.views.iter().filter(|view| view.strong_count() > 0).count();
        if B::VIEW_LOCKS && views > 0 {
            return Err(io::Error::other(format!("the place is open: it has {views} views")).into());
        }
        image.repair::<B>()?;
        Ok(Sum::opened(place, &mut image))
    }

    fn crash(place: &mut Self::Place, _: Option<Sum<B>>) {
        let mut image = lock(place);
        image.fuse = None;
        image.seen = Arc::new(Mutex::new(image.flushed.clone()));
    }

    fn kill(place: &mut Self::Place, machine: Option<Sum<B>>) -> bool {
        if B::HARNESS_IS_PLAIN {
            if let Some(machine) = machine {
                quorate::state_machine::DurableStateMachine::close(&machine);
            }
            return false;
        }
        lock(place).fuse = None;
        true
    }

    fn cut_power_after(place: &Self::Place, points: u64) -> bool {
        if !B::HARNESS_IS_PLAIN {
            lock(place).fuse = Some(points);
        }
        !B::HARNESS_IS_PLAIN
    }

    fn command(rng: &mut Seeded) -> Number {
        Number(rng.draw(1..1000))
    }

    fn query(rng: &mut Seeded) -> Option<Number> {
        Some(Number(rng.draw(0..10)))
    }
}
