//! Values that a run has seen, by their type, so that they come again: a command about an account
//! should often be about one that there is.

use std::collections::BTreeMap;

use quorate::state_machine::{ArgumentSink, Items, write_postcard};
use serde::Serialize;

use super::value::{Refused, Value};
use crate::rng::Rng;

/// How many values of a type are kept. A new one replaces one at random.
const KEPT: usize = 24;

/// Values by what they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Postcard by the name of the type of an argument or an answer.
    whole: BTreeMap<&'static str, Vec<Vec<u8>>>,
    /// Numbers and texts by the newtype around them; without one under no name.
    numbers: BTreeMap<&'static str, Vec<i128>>,
    texts: BTreeMap<&'static str, Vec<String>>,
}

fn keep<T: PartialEq>(rng: &mut Rng, kept: &mut Vec<T>, value: T) {
    if kept.contains(&value) {
        return;
    }
    if kept.len() < KEPT {
        kept.push(value);
    } else {
        kept[rng.below(KEPT as u64) as usize] = value;
    }
}

impl Seen {
    /// Takes note of every argument of a command or query, or of what one returned.
    pub(super) fn note(&mut self, rng: &mut Rng, items: &impl Items) {
        // A `Serialize` that fails has been reported where the value was encoded.
        let _ = items.show(&mut Noting { seen: self, rng });
    }

    pub(super) fn whole(&self, rng: &mut Rng, ty: &'static str) -> Option<&[u8]> {
        self.whole.get(ty).map(|kept| &rng.pick::<Vec<u8>>(kept)[..])
    }

    pub(super) fn number(&self, rng: &mut Rng, newtype: &'static str) -> Option<i128> {
        Some(*rng.pick(self.numbers.get(newtype)?))
    }

    pub(super) fn text(&self, rng: &mut Rng, newtype: &'static str) -> Option<&str> {
        self.texts.get(newtype).map(|kept| &rng.pick::<String>(kept)[..])
    }

    fn leaves(&mut self, rng: &mut Rng, value: &Value, newtype: &'static str) {
        match value {
            Value::Int(number) => keep(rng, self.numbers.entry(newtype).or_default(), *number),
            Value::Text(text) => keep(rng, self.texts.entry(newtype).or_default(), text.clone()),
            Value::Newtype(name, value) => self.leaves(rng, value, name),
            Value::Just(value) | Value::Variant(_, value) => self.leaves(rng, value, ""),
            Value::List(values) | Value::Set(values) => {
                values.iter().take(KEPT).for_each(|value| self.leaves(rng, value, ""));
            }
            Value::Map(entries) => {
                for (key, value) in entries.iter().take(KEPT) {
                    self.leaves(rng, key, "");
                    self.leaves(rng, value, "");
                }
            }
            Value::Struct(fields) => fields.iter().for_each(|(_, value)| self.leaves(rng, value, "")),
            _ => {}
        }
    }
}

struct Noting<'a> {
    seen: &'a mut Seen,
    rng: &'a mut Rng,
}

impl ArgumentSink for Noting<'_> {
    type Error = Refused;

    fn argument<T: Serialize>(&mut self, _: &'static str, value: &T) -> Result<(), Refused> {
        let tree = Value::of(value)?;
        self.seen.leaves(self.rng, &tree, "");
        let mut bytes = Vec::new();
        if write_postcard(value, &mut bytes).is_ok() {
            keep(self.rng, self.seen.whole.entry(std::any::type_name::<T>()).or_default(), bytes);
        }
        Ok(())
    }
}

/// A command, query or answer as a person writes it: `transfer(from: 1, to: 2, amount: 5)`.
pub(super) fn call_text(items: &impl Items) -> String {
    let mut arguments = Arguments(Vec::new());
    if let Err(refused) = items.show(&mut arguments) {
        return format!("{}(?: {refused})", items.label());
    }
    let arguments: Vec<String> =
        arguments.0.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{}({})", items.label(), arguments.join(", "))
}

/// What a command or query returned.
pub(super) fn reply_text(items: &impl Items) -> String {
    let mut arguments = Arguments(Vec::new());
    match items.show(&mut arguments) {
        Ok(()) => arguments.0.into_iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(", "),
        Err(refused) => format!("?: {refused}"),
    }
}

/// The arguments of an item as trees, by name.
pub(super) struct Arguments(pub(super) Vec<(&'static str, Value)>);

impl ArgumentSink for Arguments {
    type Error = Refused;

    fn argument<T: Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        self.0.push((name, Value::of(value)?));
        Ok(())
    }
}
