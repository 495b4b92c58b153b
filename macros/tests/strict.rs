//! Generated code in a crate that allows nothing, in modules that shadow what they can.
#![deny(missing_docs, unreachable_pub, unused_qualifications, missing_debug_implementations, warnings)]

/// Names that usually come from the prelude, and mean something else here.
pub mod shadowed {
    use ::std::string::String;

    macro_rules! shadow {
        ($($kind:ident $($name:ident)*;)*) => { $($(
            /// Not the usual one.
            #[allow(dead_code, non_camel_case_types, missing_debug_implementations)]
            pub $kind $name {}
        )*)* };
    }
    shadow! {
        struct Option Result Vec Box Some None Ok Err Arc PhantomData Client Wire StateMachine;
        struct Error Duration ApplyContext QueryContext ArgumentWriter WriteError ReadError;
        trait Clone Debug From Into Send Sync Default Drop Fn FnOnce Iterator Serialize DeserializeOwned Future;
        mod core quorate serde alloc;
    }

    /// A log of lines.
    #[derive(
        ::std::clone::Clone,
        ::std::fmt::Debug,
        serde_derive::Serialize,
        serde_derive::Deserialize,
        ::quorate::RaftStateMachine,
    )]
    #[raft(
        command(1, append(line: String) -> ::std::option::Option<String>),
        query(1, lines() -> ::std::vec::Vec<String>),
    )]
    #[serde(crate = "::quorate::serde")]
    pub struct Log {
        lines: ::std::vec::Vec<String>,
    }

    mod serde_derive {
        pub(super) use ::quorate::serde::{Deserialize, Serialize};
    }

    impl Log {
        fn append(&mut self, line: String) -> ::std::option::Option<String> {
            let last = self.lines.last().cloned();
            self.lines.push(line);
            last
        }

        fn lines(&self) -> ::std::vec::Vec<String> {
            self.lines.clone()
        }
    }

    #[test]
    fn shadowing_gets_in_nobodys_way() {
        use ::quorate::state_machine::Wire as _;
        let bytes = [1, 0, 1, b'a'];
        let command = LogCommand::decode(&bytes).expect("a command");
        assert_eq!(::std::format!("{command:?}"), "Append { line: \"a\" }");
    }
}

/// The names of primitive types, which serde's derive could not stand.
pub mod primitive {
    use std::io;

    use quorate::RaftStateMachine;
    use quorate::error::RestoreError;

    macro_rules! shadow {
        ($($name:ident)*) => { $(
            /// Not the usual one.
            #[allow(dead_code, non_camel_case_types, missing_debug_implementations)]
            pub struct $name {}
        )* };
    }
    shadow!(bool u8 u16 u32 u64 usize str);

    /// A line.
    #[derive(Clone, Debug, RaftStateMachine)]
    #[raft(
        snapshot(write = save, restore = Self::load),
        command(1, set(line: String) -> String),
        query(1, get() -> String),
    )]
    pub struct Line(String);

    fn save(line: Line, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(line.0.as_bytes())
    }

    impl Line {
        fn set(&mut self, line: String) -> String {
            std::mem::replace(&mut self.0, line)
        }

        fn get(&self) -> String {
            self.0.clone()
        }

        fn load(&mut self, input: &mut dyn io::Read) -> Result<(), RestoreError> {
            self.0.clear();
            input.read_to_string(&mut self.0)?;
            Ok(())
        }
    }

    #[test]
    fn the_primitives_are_still_found() {
        use quorate::state_machine::Wire as _;
        let command = LineCommand::decode(&[1, 0, 1, b'a']).expect("a command");
        assert_eq!(command.label().len(), 3);
    }
}

/// Everything here is private, so nothing in it is used from outside.
mod private {
    use quorate::prelude::*;

    #[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
    #[raft(command(1, set(to: bool)), query(1, get() -> bool))]
    struct Flag(bool);

    impl Flag {
        fn set(&mut self, to: bool) {
            self.0 = to;
        }

        fn get(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn a_private_machine_is_no_dead_code() {
        let flag = Flag(true);
        assert!(matches!(flag.query(&QueryContext::default(), FlagQuery::Get), FlagAnswer::Get(true)));
    }
}

/// Attributes of rustdoc that say nothing about an item.
pub mod undocumented {
    use quorate::prelude::*;

    /// A counter.
    #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
    #[raft(
        #[doc(alias = "increment")]
        command(1, add(#[doc(alias = "n")] many: u64) -> u64),
        #[doc(hidden)]
        query(1, value() -> u64),
    )]
    pub struct Tally(u64);

    impl Tally {
        fn add(&mut self, many: u64) -> u64 {
            self.0 += many;
            self.0
        }

        fn value(&self) -> u64 {
            self.0
        }
    }
}

/// Items that go away one day.
pub mod deprecated {
    use quorate::prelude::*;

    /// A counter.
    #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
    #[raft(
        /// Adds one.
        #[deprecated(note = "use `add`")]
        command(1, increment() -> u64),
        command(2, add(
            /// How many to add.
            many: u64,
        ) -> u64),
        #[deprecated]
        query(1, value() -> u64),
    )]
    pub struct Counter(u64);

    impl Counter {
        #[deprecated]
        fn increment(&mut self) -> u64 {
            self.add(1)
        }

        fn add(&mut self, many: u64) -> u64 {
            self.0 += many;
            self.0
        }

        #[deprecated]
        fn value(&self) -> u64 {
            self.0
        }
    }

    // An expectation that is not met is a warning, and those are denied here.
    #[expect(deprecated)]
    fn warns_at_a_method_of_the_client(client: &CounterClient) -> impl Sized {
        client.value()
    }

    #[expect(deprecated)]
    fn warns_at_a_variant() -> CounterCommand {
        CounterCommand::Increment
    }

    fn is_silent_at_its_neighbour() -> CounterCommand {
        CounterCommand::Add { many: 2 }
    }

    #[test]
    fn deprecated_items_still_work() {
        let _ = warns_at_a_method_of_the_client;
        assert_eq!(format!("{:?}", warns_at_a_variant()), "Increment");
        assert_eq!(format!("{:?}", is_silent_at_its_neighbour()), "Add { many: 2 }");
    }
}

/// Visibility in between.
pub mod outer {
    /// Inside.
    pub mod inner {
        use quorate::prelude::*;

        #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
        #[raft(command(1, set(to: bool)), query(1, get() -> bool))]
        pub(in crate::outer) struct Flag(bool);

        impl Flag {
            fn set(&mut self, to: bool) {
                self.0 = to;
            }

            fn get(&self) -> bool {
                self.0
            }
        }
    }

    #[test]
    fn the_generated_types_are_as_visible_as_the_machine() {
        let client: Option<inner::FlagClient> = None;
        let calls = |client: &inner::FlagClient| drop(client.clone().set(true));
        assert!(client.as_ref().map(calls).is_none());
        assert_eq!(format!("{:?}", inner::FlagCommand::Set { to: true }), "Set { to: true }");
    }
}
