//! Arguments at random, through their own `Deserialize`.
//!
//! Numbers are small, since interesting things happen to those that meet again; rarely one is at the
//! end of its range, since nobody keeps a client from sending that. Values that were seen come again.

use std::fmt;

use quorate::state_machine::{ArgumentSource, Items, read_postcard};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::seen::Seen;
use crate::rng::Rng;

/// How often a type may refuse what was drawn for it.
const TRIES: usize = 300;
/// Values in values in values go no deeper: no more `Some`, nothing in sequences, first variants.
const DEEP: u32 = 5;
/// Where even that does not end.
const TOO_DEEP: u32 = 60;
const TEXTS: [&str; 12] =
    ["", "a", "b", "c", "d", "Ada", "Bob", "x y", "ä", "0", "-1", "a longer text, of a line"];

/// Nothing could be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotDrawn(String);

impl fmt::Display for NotDrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotDrawn {}

impl de::Error for NotDrawn {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Draws a command or query.
pub(super) fn item<I: Items>(rng: &mut Rng, seen: &Seen, id: u16) -> Result<I, NotDrawn> {
    let mut source = Source { rng, seen, item: "" };
    I::make(id, &mut source)?.ok_or_else(|| NotDrawn(format!("there is no item with id {id}")))
}

struct Source<'a> {
    rng: &'a mut Rng,
    seen: &'a Seen,
    item: &'static str,
}

impl ArgumentSource for Source<'_> {
    type Error = NotDrawn;

    fn begin(&mut self, item: &'static str) {
        self.item = item;
    }

    fn argument<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, NotDrawn> {
        if self.rng.chance(200)
            && let Some(mut bytes) = self.seen.whole(self.rng, std::any::type_name::<T>())
            && let Ok(value) = read_postcard(&mut bytes)
        {
            return Ok(value);
        }
        let mut last = String::new();
        for _ in 0..TRIES {
            match T::deserialize(Drawn { rng: self.rng, seen: self.seen, newtype: "", depth: 0 }) {
                Ok(value) => return Ok(value),
                Err(NotDrawn(why)) => last = why,
            }
        }
        Err(NotDrawn(format!(
            "`{name}` of `{}` refused all of {TRIES} random values, the last one with \"{last}\": make such commands \
             yourself with `workload:`",
            self.item
        )))
    }
}

/// A deserializer of which every value comes from random numbers.
struct Drawn<'a> {
    rng: &'a mut Rng,
    seen: &'a Seen,
    /// The newtype around the value.
    newtype: &'static str,
    depth: u32,
}

impl Drawn<'_> {
    fn deeper(&mut self) -> Result<Drawn<'_>, NotDrawn> {
        if self.depth > TOO_DEEP {
            return Err(NotDrawn("its values are nested without end".to_owned()));
        }
        Ok(Drawn { rng: self.rng, seen: self.seen, newtype: "", depth: self.depth + 1 })
    }

    /// A number between `least` and `most`.
    fn number(&mut self, least: i128, most: i128) -> i128 {
        let again = if self.newtype.is_empty() { 300 } else { 700 };
        if self.rng.chance(again)
            && let Some(number) = self.seen.number(self.rng, self.newtype)
            && (least..=most).contains(&number)
        {
            return number;
        }
        let drawn = match self.rng.below(64) {
            0 => *self.rng.pick(&[least, most, most - 1]),
            1..8 => i128::from(self.rng.below(1_000)),
            8..14 => -1 - i128::from(self.rng.below(8)),
            _ => i128::from(self.rng.below(8)),
        };
        let drawn = if drawn < least { drawn.abs() } else { drawn };
        drawn.clamp(least, most)
    }

    fn text(&mut self) -> String {
        let again = if self.newtype.is_empty() { 300 } else { 700 };
        if self.rng.chance(again)
            && let Some(text) = self.seen.text(self.rng, self.newtype)
        {
            return text.to_owned();
        }
        if self.rng.chance(20) {
            return "long ".repeat(self.rng.below(100) as usize);
        }
        (*self.rng.pick(&TEXTS)).to_owned()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.rng.below(6)).map(|_| self.rng.draw() as u8).collect()
    }

    fn len(&mut self) -> usize {
        if self.depth >= DEEP { 0 } else { self.rng.below(4) as usize }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $ty:ident),*) => { $(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
            let number = self.number(i128::from($ty::MIN), i128::from($ty::MAX));
            visitor.$visit($ty::try_from(number).unwrap_or($ty::MAX))
        }
    )* };
}

impl<'de> de::Deserializer<'de> for Drawn<'_> {
    type Error = NotDrawn;

    numbers!(deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_i128 visit_i128 i128, deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64);

    fn is_human_readable(&self) -> bool {
        // As on the wire.
        false
    }
    fn deserialize_u128<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        let number = self.number(0, i128::MAX);
        visitor.visit_u128(if number == i128::MAX { u128::MAX } else { number.unsigned_abs() })
    }
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        match self.rng.below(4) {
            0 => self.deserialize_bool(visitor),
            1 => self.deserialize_i64(visitor),
            2 => self.deserialize_string(visitor),
            _ => visitor.visit_unit(),
        }
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        visitor.visit_bool(self.rng.chance(500))
    }
    fn deserialize_f32<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        let quarters = self.number(i16::MIN.into(), i16::MAX.into());
        visitor.visit_f32(f32::from(i16::try_from(quarters).unwrap_or_default()) / 4.0)
    }
    fn deserialize_f64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        let quarters = self.number(i32::MIN.into(), i32::MAX.into());
        visitor.visit_f64(f64::from(i32::try_from(quarters).unwrap_or_default()) / 4.0)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        visitor.visit_char(*self.rng.pick(&['a', 'b', 'Z', '0', ' ', 'ä', '\u{1f642}']))
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        self.deserialize_string(visitor)
    }
    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        let text = self.text();
        visitor.visit_string(text)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        self.deserialize_byte_buf(visitor)
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        let bytes = self.bytes();
        visitor.visit_byte_buf(bytes)
    }
    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        if self.depth >= DEEP || self.rng.chance(350) {
            return visitor.visit_none();
        }
        visitor.visit_some(self.deeper()?)
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        visitor.visit_unit()
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotDrawn> {
        visitor.visit_unit()
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotDrawn> {
        let inner = self.deeper()?;
        visitor.visit_newtype_struct(Drawn { newtype: name, ..inner })
    }
    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        let len = self.len();
        self.deserialize_tuple(len, visitor)
    }
    fn deserialize_tuple<V: Visitor<'de>>(mut self, len: usize, visitor: V) -> Result<V::Value, NotDrawn> {
        visitor.visit_seq(Several { drawn: self.deeper()?, left: len })
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, NotDrawn> {
        self.deserialize_tuple(len, visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NotDrawn> {
        let left = self.len();
        visitor.visit_map(Several { drawn: self.deeper()?, left })
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotDrawn> {
        self.deserialize_tuple(fields.len(), visitor)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotDrawn> {
        if variants.is_empty() {
            return Err(NotDrawn(format!("`{name}` has no values")));
        }
        let variant = if self.depth >= DEEP { 0 } else { self.rng.below(variants.len() as u64) as u32 };
        visitor.visit_enum(Chosen { drawn: self.deeper()?, variant })
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        self.deserialize_string(visitor)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotDrawn> {
        visitor.visit_unit()
    }
}

/// So many values, or keys and values.
struct Several<'a> {
    drawn: Drawn<'a>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Several<'_> {
    type Error = NotDrawn;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NotDrawn> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.drawn.deeper()?).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Several<'_> {
    type Error = NotDrawn;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NotDrawn> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NotDrawn> {
        seed.deserialize(self.drawn.deeper()?)
    }
}

/// A variant, and what it holds.
struct Chosen<'a> {
    drawn: Drawn<'a>,
    variant: u32,
}

impl<'de, 'a> de::EnumAccess<'de> for Chosen<'a> {
    type Error = NotDrawn;
    type Variant = Drawn<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Drawn<'a>), NotDrawn> {
        let variant: de::value::U32Deserializer<NotDrawn> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self.drawn))
    }
}

impl<'de> de::VariantAccess<'de> for Drawn<'_> {
    type Error = NotDrawn;

    fn unit_variant(self) -> Result<(), NotDrawn> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<T::Value, NotDrawn> {
        seed.deserialize(self.deeper()?)
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, NotDrawn> {
        de::Deserializer::deserialize_tuple(self, len, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotDrawn> {
        de::Deserializer::deserialize_tuple(self, fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use quorate::prelude::*;
    use quorate::state_machine::Wire;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::machine::seen::call_text;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    struct Id(u64);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle(f32),
        Box { width: u8, height: i128 },
        Group(Vec<Shape>),
        Tower(Box<Shape>, Option<Box<Shape>>),
    }

    /// An even number, as its `Deserialize` insists.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(try_from = "u8")]
    struct Even(u8);

    impl TryFrom<u8> for Even {
        type Error = String;
        fn try_from(number: u8) -> Result<Self, String> {
            if number.is_multiple_of(2) { Ok(Self(number)) } else { Err("odd".to_owned()) }
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Never(Even, Impossible);

    #[derive(Clone, Debug, PartialEq, Serialize)]
    struct Impossible;

    impl<'de> Deserialize<'de> for Impossible {
        fn deserialize<D: de::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(de::Error::custom("never"))
        }
    }

    #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
    #[raft(
        command(1, all(
            shape: Shape, id: Id, even: Even, map: BTreeMap<Id, String>, pair: (bool, char),
            unit: (), bytes: [u8; 3], signed: i8, wide: u128, float: f64, text: Option<String>,
        ) -> Id),
        command(2, never(never: Never)),
        query(1, look(id: Id) -> Option<Shape>),
    )]
    struct Machine;

    #[allow(clippy::unused_self, clippy::too_many_arguments, reason = "only the list is of interest")]
    impl Machine {
        fn all(
            &mut self,
            _: Shape,
            id: Id,
            _: Even,
            _: BTreeMap<Id, String>,
            _: (bool, char),
            (): (),
            _: [u8; 3],
            _: i8,
            _: u128,
            _: f64,
            _: Option<String>,
        ) -> Id {
            id
        }
        fn never(&mut self, _: Never) {}
        fn look(&self, _: Id) -> Option<Shape> {
            None
        }
    }

    #[test]
    fn every_kind_of_argument_is_drawn_and_comes_back_from_its_bytes() {
        let (mut rng, mut seen) = (Rng::new(2), Seen::default());
        let mut texts = BTreeSet::new();
        for _ in 0..8_000 {
            let drawn: MachineCommand = item(&mut rng, &seen, 1).expect("it can be drawn");
            seen.note(&mut rng, &drawn);
            let mut bytes = Vec::new();
            drawn.encode(&mut bytes).expect("it can be encoded");
            let back = MachineCommand::decode(&bytes).expect("it can be decoded");
            assert_eq!(call_text(&back), call_text(&drawn));
            texts.insert(call_text(&drawn));
        }
        assert!(texts.len() > 5_000, "{}", texts.len());
        let has = |what: &str| texts.iter().any(|text| text.contains(what));
        for what in ["Point", "Circle(", "Box {", "Group([", "Tower([", "text: None", "text: Some(", "-128"] {
            assert!(has(what), "never drawn: {what}");
        }
        for what in
            [&*u128::MAX.to_string(), &*i8::MIN.to_string(), &*i128::MIN.to_string(), "true", "id: Id("]
        {
            assert!(has(what), "never drawn: {what}");
        }
    }

    #[test]
    fn the_same_numbers_draw_the_same() {
        let draw = |seed| {
            let drawn: MachineCommand = item(&mut Rng::new(seed), &Seen::default(), 1).expect("drawn");
            call_text(&drawn)
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn an_id_that_was_returned_comes_again() {
        let (mut rng, mut seen) = (Rng::new(3), Seen::default());
        seen.note(&mut rng, &MachineResponse::All(Id(123_456_789)));
        let again = (0..100).filter(|_| {
            let drawn: MachineQuery = item(&mut rng, &seen, 1).expect("drawn");
            matches!(drawn, MachineQuery::Look { id: Id(123_456_789) })
        });
        assert!(again.count() > 50);
    }

    #[test]
    fn a_type_that_refuses_everything_is_named() {
        let refused = item::<MachineCommand>(&mut Rng::new(1), &Seen::default(), 2).expect_err("never");
        let text = refused.to_string();
        assert!(
            text.starts_with("`never` of `never` refused all of 300") && text.contains("workload:"),
            "{text}"
        );
    }
}
