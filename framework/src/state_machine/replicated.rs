//! What nodes and clients ask of a machine, whatever kind it is.

use super::erased::AnyMachine;
use super::{StateMachine, Wire};

/// A machine of either kind: in memory ([`StateMachine`], for which this is implemented) or on a disk
/// ([`DurableStateMachine`](super::DurableStateMachine), beside which it is implemented by hand).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state machine",
    label = "the machine",
    note = "put `#[derive(RaftStateMachine)]` on it, implement `quorate::state_machine::StateMachine`, or give a machine on a disk, such as a `quorate_redb::RedbMachine`"
)]
pub trait Replicated: Sized + 'static {
    /// The name in hello, snapshots and files. A node never talks to a node with another machine.
    const NAME: &'static str;
    /// The version in hello, snapshots and files, raised by the user when the meaning of commands or
    /// the form of the state changes.
    const VERSION: u32;

    /// What changes the state.
    type Command: Wire + Send + 'static;
    /// What a command answers.
    type Response: Wire + Send + 'static;
    /// What looks at the state.
    type Query: Wire + Send + 'static;
    /// What a query answers.
    type Answer: Wire + Send + 'static;

    /// The machine as a node drives it: [`AnyMachine::on_disk`] for a machine on a disk.
    fn into_machine(self) -> AnyMachine;
}

#[diagnostic::do_not_recommend]
impl<M: StateMachine> Replicated for M {
    const NAME: &'static str = <M as StateMachine>::NAME;
    const VERSION: u32 = <M as StateMachine>::VERSION;

    type Command = <M as StateMachine>::Command;
    type Response = <M as StateMachine>::Response;
    type Query = <M as StateMachine>::Query;
    type Answer = <M as StateMachine>::Answer;

    fn into_machine(self) -> AnyMachine {
        AnyMachine::in_memory(self)
    }
}
