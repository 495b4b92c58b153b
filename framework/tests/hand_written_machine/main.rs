//! A state machine without the derive: every method of the trait by hand, alone and on nodes.

mod node;

use std::collections::BTreeMap;
use std::io::{Read, Write};

use quorate::error::{DecodeError, EncodeError, RestoreError};
use quorate::state_machine::{
    ApplyContext, ArgumentReader, ArgumentWriter, QueryContext, StateMachine, Wire, read_postcard,
    write_postcard,
};
use quorate::types::{ClusterId, GroupId, LogIndex, LogTime, Position, Term};

/// Names that are taken until a time.
#[derive(Debug, Default, PartialEq)]
struct Leases {
    until: BTreeMap<String, LogTime>,
}

/// A single kind of command needs no enum.
#[derive(Debug, PartialEq)]
struct Take {
    name: String,
    micros: u64,
}

#[derive(Debug, PartialEq)]
enum Look {
    Until(String),
    Count,
}

/// What every answer here is: a number, or nothing.
#[derive(Debug, PartialEq)]
struct Number(Option<u64>);

impl Wire for Take {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = ArgumentWriter::new(out, 1, "take");
        writer.argument("name", &self.name)?;
        writer.argument("micros", &self.micros)
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?.item("take");
        if reader.id() != 1 {
            return Err(DecodeError::UnknownId { kind: "command", id: reader.id() });
        }
        let take = Self { name: reader.argument("name")?, micros: reader.argument("micros")? };
        reader.finish()?;
        Ok(take)
    }

    fn label(&self) -> &'static str {
        "take"
    }
}

impl Wire for Look {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Until(name) => ArgumentWriter::new(out, 1, "until").argument("name", name),
            Self::Count => {
                ArgumentWriter::new(out, 2, "count");
                Ok(())
            }
        }
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?;
        let look = match reader.id() {
            1 => Self::Until(reader.argument("name")?),
            2 => Self::Count,
            id => return Err(DecodeError::UnknownId { kind: "query", id }),
        };
        reader.finish()?;
        Ok(look)
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Until(_) => "until",
            Self::Count => "count",
        }
    }
}

impl Wire for Number {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        ArgumentWriter::new(out, 1, "number").argument("value", &self.0)
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?.item("number");
        let number = Self(reader.argument("value")?);
        reader.finish()?;
        Ok(number)
    }

    fn label(&self) -> &'static str {
        "number"
    }
}

impl StateMachine for Leases {
    const NAME: &'static str = "leases";
    const VERSION: u32 = 2;

    type Command = Take;
    type Response = Number;
    type Query = Look;
    type Answer = Number;
    type Snapshot = Vec<(String, LogTime)>;

    fn apply(&mut self, ctx: &mut ApplyContext, take: Take) -> Number {
        let now = ctx.time();
        self.until.retain(|_, until| *until > now);
        let until = LogTime::from_micros(now.as_micros() + take.micros);
        Number(self.until.insert(take.name, until).map(LogTime::as_micros))
    }

    fn query(&self, ctx: &QueryContext, look: Look) -> Number {
        match look {
            Look::Until(name) => {
                let until = self.until.get(&name).filter(|until| **until > ctx.time());
                Number(until.map(|until| until.as_micros()))
            }
            Look::Count => {
                Number(Some(self.until.values().filter(|until| **until > ctx.time()).count() as u64))
            }
        }
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.until.iter().map(|(name, until)| (name.clone(), *until)).collect()
    }

    fn write(snapshot: Self::Snapshot, out: &mut dyn Write) -> std::io::Result<()> {
        write_postcard(&snapshot, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let leases: Vec<(String, LogTime)> = read_postcard(input)?;
        self.until = leases.into_iter().collect();
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        self.until.values().filter(|until| **until > now).min().copied()
    }
}

fn at(micros: u64) -> ApplyContext {
    let position = Position { index: LogIndex(micros), ordinal: 0 };
    let time = LogTime::from_micros(micros);
    ApplyContext::new(ClusterId([0; 32]), GroupId::MAIN, Term(1), position, time)
}

fn taken() -> Leases {
    let mut leases = Leases::default();
    assert_eq!(leases.apply(&mut at(10), Take { name: "a".into(), micros: 5 }), Number(None));
    assert_eq!(leases.apply(&mut at(12), Take { name: "a".into(), micros: 9 }), Number(Some(15)));
    assert_eq!(leases.apply(&mut at(13), Take { name: "b".into(), micros: 50 }), Number(None));
    leases
}

#[test]
fn commands_and_queries_are_dispatched_by_hand() {
    let leases = taken();
    let ctx = |micros| QueryContext::new(None, LogTime::from_micros(micros));
    assert_eq!(leases.query(&ctx(20), Look::Until("a".into())), Number(Some(21)));
    assert_eq!(leases.query(&ctx(21), Look::Until("a".into())), Number(None));
    assert_eq!(leases.query(&ctx(21), Look::Count), Number(Some(1)));
    let micros = LogTime::from_micros;
    assert_eq!(leases.deadline(micros(20)), Some(micros(21)));
    // The end of `a` does not hide that of `b`.
    assert_eq!(leases.deadline(micros(21)), Some(micros(63)));
    assert_eq!(leases.deadline(micros(63)), None);
}

#[test]
fn its_values_have_the_form_that_the_derive_gives() {
    let mut bytes = Vec::new();
    Take { name: "a".into(), micros: 300 }.encode(&mut bytes).expect("plain values");
    assert_eq!(bytes, [1, 0, 1, b'a', 0xac, 0x02]);
    assert_eq!(Take::decode(&bytes), Ok(Take { name: "a".into(), micros: 300 }));
    assert_eq!(Take::decode(&[2, 0]), Err(DecodeError::UnknownId { kind: "command", id: 2 }));
    assert_eq!(Look::decode(&[2, 0]), Ok(Look::Count));
    assert_eq!(Look::decode(&[2, 0, 0]), Err(DecodeError::Leftover { item: "?", left: 1 }));
}

#[test]
fn its_snapshot_brings_it_back() {
    let leases = taken();
    let mut bytes = Vec::new();
    Leases::write(leases.snapshot(), &mut bytes).expect("a vector");
    let mut other = Leases::default();
    other.restore(&mut &bytes[..]).expect("its own bytes");
    assert_eq!(other, leases);
}
