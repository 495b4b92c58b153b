//! Everything else that the grammar allows.
#![deny(missing_docs, warnings)]
#![allow(clippy::unused_self, reason = "methods need not look at the state")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use quorate::error::RestoreError;
use quorate::prelude::*;
use quorate::state_machine::Wire;
use quorate::types::{ClusterId, GroupId, LogId, LogIndex, LogTime, Position, Term};

fn context(index: u64) -> ApplyContext {
    let position = Position { index: LogIndex(index), ordinal: 2 };
    ApplyContext::new(ClusterId([0; 32]), GroupId::MAIN, Term(1), position, LogTime::from_micros(40))
}

/// It only listens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, listen(what: String)))]
pub struct Mute {
    heard: Vec<String>,
}

impl Mute {
    fn listen(&mut self, what: String) {
        self.heard.push(what);
    }
}

/// It only talks, of what it was born with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(query(1, talk() -> String))]
pub struct Deaf {
    saying: String,
}

impl Deaf {
    fn talk(&self) -> String {
        self.saying.clone()
    }
}

#[test]
fn a_machine_without_queries_or_without_commands_is_one() {
    let mut mute = Mute::default();
    let response = mute.apply(&mut context(1), MuteCommand::Listen { what: "hush".into() });
    assert!(matches!(response, MuteResponse::Listen(())));
    assert_eq!(mute.heard, ["hush"]);
    MuteQuery::decode(&[1, 0]).expect_err("there are no queries");
    MuteAnswer::decode(&[1, 0]).expect_err("nor answers");

    let deaf = Deaf { saying: "la".into() };
    let DeafAnswer::Talk(said) = StateMachine::query(&deaf, &QueryContext::default(), DeafQuery::Talk);
    assert_eq!(said, "la");
    DeafCommand::decode(&[1, 0]).expect_err("there are no commands");
}

/// A log of who came when, with every kind of context.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, come(ctx, who: String) -> LogTime),
    command(2, draw(ctx) -> u64),
    query(1, age(ctx, who: String) -> Option<u64>),
    query(2, applied(ctx,) -> Option<LogId>),
    query(3, sum(ctx: u64, context: u64, request: u64, reply: u64, call: u64, field0: u64, id: u64, out: u64) -> u64),
)]
pub struct Guests {
    came: BTreeMap<String, LogTime>,
}

impl Guests {
    fn come(&mut self, ctx: &mut ApplyContext, who: String) -> LogTime {
        self.came.insert(who, ctx.time());
        ctx.time()
    }

    fn draw(&mut self, ctx: &mut ApplyContext) -> u64 {
        ctx.rng().next_u64()
    }

    fn age(&self, ctx: &QueryContext, who: String) -> Option<u64> {
        let came = self.came.get(&who)?;
        Some(ctx.time().as_micros() - came.as_micros())
    }

    fn applied(&self, ctx: &QueryContext) -> Option<LogId> {
        ctx.applied()
    }

    #[allow(clippy::too_many_arguments, reason = "every name that generated code uses")]
    fn sum(
        &self,
        ctx: u64,
        context: u64,
        request: u64,
        reply: u64,
        call: u64,
        field0: u64,
        id: u64,
        out: u64,
    ) -> u64 {
        ctx + context + request + reply + call + field0 + id + out
    }
}

#[test]
fn the_context_comes_right_after_self() {
    let mut guests = Guests::default();
    let response = guests.apply(&mut context(7), GuestsCommand::Come { who: "Ada".into() });
    assert!(matches!(response, GuestsResponse::Come(time) if time.as_micros() == 40));
    let drawn = |guests: &mut Guests, index| match guests.apply(&mut context(index), GuestsCommand::Draw) {
        GuestsResponse::Draw(number) => number,
        GuestsResponse::Come(_) => panic!("it was a draw"),
    };
    assert_eq!(drawn(&mut guests, 7), drawn(&mut guests, 7));
    assert_ne!(drawn(&mut guests, 7), drawn(&mut guests, 8));

    let ctx = QueryContext::new(Some(LogId::new(1, 9)), LogTime::from_micros(100));
    let age = guests.query(&ctx, GuestsQuery::Age { who: "Ada".into() });
    assert!(matches!(age, GuestsAnswer::Age(Some(60))));
    let applied = guests.query(&ctx, GuestsQuery::Applied);
    assert!(matches!(applied, GuestsAnswer::Applied(Some(id)) if id == LogId::new(1, 9)));
}

#[test]
fn arguments_may_be_called_like_what_is_generated() {
    let query =
        GuestsQuery::Sum { ctx: 1, context: 2, request: 3, reply: 4, call: 5, field0: 6, id: 7, out: 8 };
    let answer = Guests::default().query(&QueryContext::default(), query);
    assert!(matches!(answer, GuestsAnswer::Sum(36)));
}

/// How a site is built; not the framework's context.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildContext(u8);

/// A machine whose commands have a context of their own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, build(ctx: BuildContext) -> u8))]
pub struct Site;

impl Site {
    fn build(&mut self, ctx: BuildContext) -> u8 {
        ctx.0
    }
}

#[test]
fn a_type_of_the_users_may_be_called_a_context() {
    let response = Site.apply(&mut context(1), SiteCommand::Build { ctx: BuildContext(7) });
    assert!(matches!(response, SiteResponse::Build(7)));
}

/// Words that mean something to Rust or to the trait.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, r#type(r#struct: u8) -> u8),
    command(2, self_() -> u8),
    command(3, apply(r#move: u8) -> u8),
    command(4, snapshot() -> u8),
    command(5, write(out: u8) -> u8),
    query(1, query(r#async: bool) -> bool),
    query(2, ok() -> Result<bool, bool>),
)]
pub struct Words;

impl Words {
    fn r#type(&mut self, r#struct: u8) -> u8 {
        r#struct
    }

    fn self_(&mut self) -> u8 {
        2
    }

    fn apply(&mut self, r#move: u8) -> u8 {
        r#move
    }

    fn snapshot(&mut self) -> u8 {
        4
    }

    fn write(&mut self, out: u8) -> u8 {
        out
    }

    fn query(&self, r#async: bool) -> bool {
        r#async
    }

    fn ok(&self) -> Result<bool, bool> {
        Err(false)
    }
}

#[test]
fn keywords_and_names_of_the_trait_are_names_too() {
    let mut words = Words;
    let mut apply = |command| match StateMachine::apply(&mut words, &mut context(1), command) {
        WordsResponse::Type(value)
        | WordsResponse::Self_(value)
        | WordsResponse::Apply(value)
        | WordsResponse::Snapshot(value)
        | WordsResponse::Write(value) => value,
    };
    assert_eq!(apply(WordsCommand::Type { r#struct: 1 }), 1);
    assert_eq!(apply(WordsCommand::Self_), 2);
    assert_eq!(apply(WordsCommand::Apply { r#move: 3 }), 3);
    assert_eq!(apply(WordsCommand::Snapshot), 4);
    assert_eq!(apply(WordsCommand::Write { out: 5 }), 5);
    let answer = StateMachine::query(&words, &QueryContext::default(), WordsQuery::Query { r#async: true });
    assert!(matches!(answer, WordsAnswer::Query(true)));
    assert_eq!(WordsCommand::Type { r#struct: 1 }.label(), "type");
    let error = WordsCommand::decode(&[1, 0]).expect_err("no argument");
    assert!(error.to_string().starts_with("argument `struct` of `type` cannot be decoded"), "{error}");
}

/// A door is a machine as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, push() -> bool), query(1, is_open() -> bool))]
pub enum Door {
    /// One can walk through.
    Open,
    /// One cannot.
    Closed,
    /// A name that the trait has too.
    Command,
}

impl Door {
    fn push(&mut self) -> bool {
        *self = if *self == Self::Open { Self::Closed } else { Self::Open };
        self.is_open()
    }

    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

#[test]
fn an_enum_is_a_machine() {
    let mut door = Door::Closed;
    let DoorResponse::Push(open) = door.apply(&mut context(1), DoorCommand::Push);
    assert!(open);
    let mut bytes = Vec::new();
    Door::write(door.snapshot(), &mut bytes).expect("a vector");
    let mut other = Door::Closed;
    other.restore(&mut &bytes[..]).expect("its own bytes");
    assert_eq!(other, Door::Open);
}

/// A state with a form of its own, neither `Clone` nor serde's.
#[derive(Debug, Default, RaftStateMachine)]
#[raft(
    crate = "::quorate",
    name = "text",
    version = 3,
    deadline = Self::after,
    names(command = Edit, response = Edited, query = Look, answer = Seen, client = Editor),
    snapshot(type = Vec<u8>, capture = Self::bytes, write = save, restore = Text::load),
    command(1, insert(text: String) -> usize),
    query(1, text() -> String),
)]
pub struct Text(String);

fn save(snapshot: Vec<u8>, out: &mut dyn Write) -> std::io::Result<()> {
    out.write_all(b"text:")?;
    out.write_all(&snapshot)
}

impl Text {
    fn insert(&mut self, text: String) -> usize {
        self.0.push_str(&text);
        self.0.len()
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    /// A text fades a minute from now.
    fn after(&self, now: LogTime) -> Option<LogTime> {
        (!self.0.is_empty()).then(|| now.saturating_add(Duration::from_mins(1)))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn load(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        let wrong = || RestoreError::Decode { detail: "it does not begin with `text:`".into() };
        text.strip_prefix("text:").ok_or_else(wrong)?.clone_into(&mut self.0);
        Ok(())
    }
}

#[test]
fn a_snapshot_can_have_a_form_of_its_own() {
    let mut text = Text::default();
    let Edited::Insert(len) = text.apply(&mut context(1), Edit::Insert { text: "abc".into() });
    assert_eq!(len, 3);
    let mut bytes = Vec::new();
    Text::write(text.snapshot(), &mut bytes).expect("a vector");
    assert_eq!(bytes, b"text:abc");
    let mut other = Text::default();
    other.restore(&mut &bytes[..]).expect("its own bytes");
    let Seen::Text(seen) = other.query(&QueryContext::default(), Look::Text);
    assert_eq!(seen, "abc");
    other.restore(&mut &b"else"[..]).expect_err("another form");
}

#[test]
fn settings_replace_the_defaults() {
    fn client<S: Service<Client = C>, C>() {}
    client::<Text, Editor>();
    assert_eq!((Text::NAME, Text::VERSION), ("text", 3));
    let now = LogTime::from_micros(5);
    assert_eq!(Text("abc".into()).deadline(now), Some(LogTime::from_micros(60_000_005)));
    assert_eq!(Text::default().deadline(now), None);
    assert_eq!(Mute::default().deadline(now), None);
}

/// A state that is captured in a way of its own, and otherwise as usual.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(crate = ::quorate, snapshot(capture = Self::without_cache), command(1, learn(fact: String)))]
pub struct Memory {
    facts: Vec<String>,
    cache: Vec<String>,
}

impl Memory {
    fn learn(&mut self, fact: String) {
        self.cache.push(fact.clone());
        self.facts.push(fact);
    }

    fn without_cache(&self) -> Self {
        Self { facts: self.facts.clone(), cache: Vec::new() }
    }
}

#[test]
fn a_state_can_be_captured_by_a_method() {
    let mut memory = Memory::default();
    memory.apply(&mut context(1), MemoryCommand::Learn { fact: "a".into() });
    let snapshot = StateMachine::snapshot(&memory);
    assert_eq!((snapshot.facts.len(), snapshot.cache.len()), (1, 0));
}

macro_rules! register {
    ($(#[$doc:meta])* $name:ident, $id:literal, $method:ident, $value:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
        #[raft(
            command($id, $method(ctx, value: $value) -> Option<$value>),
            query($id, get() -> Option<$value>),
        )]
        pub struct $name(Option<$value>);

        impl $name {
            fn $method(&mut self, _ctx: &mut ApplyContext, value: $value) -> Option<$value> {
                self.0.replace(value)
            }

            fn get(&self) -> Option<$value> {
                self.0.clone()
            }
        }
    };
}

register! {
    /// Made by a macro.
    Register, 300, set, Vec<(u8, String)>
}

#[test]
fn a_macro_may_write_the_list() {
    let mut register = Register::default();
    let command = RegisterCommand::decode(&[44, 1, 1, 7, 0]).expect("one pair");
    let RegisterResponse::Set(before) = register.apply(&mut context(1), command);
    assert_eq!(before, None);
    let RegisterAnswer::Get(now) = register.query(&QueryContext::default(), RegisterQuery::Get);
    assert_eq!(now, Some(vec![(7, String::new())]));
}

#[test]
fn a_machine_can_live_in_a_function() {
    #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
    #[raft(command(1, ping() -> u8))]
    struct Local;
    impl Local {
        fn ping(&mut self) -> u8 {
            1
        }
    }
    assert!(matches!(Local.apply(&mut context(1), LocalCommand::Ping), LocalResponse::Ping(1)));
}
