//! Any serialisable value as a tree: canonical, so that a map or a set is the same whatever order its
//! entries come in; to be compared field by field, and to be read by a person.

use std::fmt::{self, Write as _};

use serde::ser::{self, Serialize};

/// A value, by what its `Serialize` says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// `()` and unit structs.
    Unit,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A whole number that is too large for the other.
    Large(u128),
    /// A floating-point number by its bits, so that a NaN equals itself.
    Float(u64),
    /// A character.
    Char(char),
    /// A text.
    Text(String),
    /// Something as its own `Debug` prints it.
    Shown(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// `None`.
    Nothing,
    /// `Some`.
    Just(Box<Value>),
    /// Sequences, tuples and tuple structs.
    List(Vec<Value>),
    /// Sets of which the order says nothing: sorted.
    Set(Vec<Value>),
    /// Maps: sorted by key.
    Map(Vec<(Value, Value)>),
    /// Structs, with their field names.
    Struct(Vec<(&'static str, Value)>),
    /// A struct around one value, by its name.
    Newtype(&'static str, Box<Value>),
    /// A variant of an enum, and what it holds.
    Variant(&'static str, Box<Value>),
}

/// A `Serialize` that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Value {
    /// The tree of a value.
    ///
    /// # Errors
    /// When its `Serialize` fails.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Refused> {
        value.serialize(Tree)
    }

    /// Where `other` differs first: the path to it, and what is there in each.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        differ(self, other, String::new())
    }
}

/// Where two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Field names, keys and places: `accounts[3].balance`. Empty when they differ as a whole.
    pub path: String,
    /// What is there in the first.
    pub first: String,
    /// What is there in the second.
    pub second: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.path.is_empty() { "the value" } else { &self.path };
        write!(f, "{at} is {} and {}", self.first, self.second)
    }
}

fn inside(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn whole(path: String, first: &impl fmt::Display, second: &impl fmt::Display) -> Difference {
    Difference { path, first: short(first), second: short(second) }
}

fn short(value: &impl fmt::Display) -> String {
    let text = value.to_string();
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn differ(first: &Value, second: &Value, path: String) -> Option<Difference> {
    if first == second {
        return None;
    }
    match (first, second) {
        (Value::Just(a), Value::Just(b)) => differ(a, b, path),
        (Value::Newtype(name, a), Value::Newtype(other, b)) if name == other => differ(a, b, path),
        (Value::Variant(name, a), Value::Variant(other, b)) if name == other => {
            differ(a, b, inside(&path, name))
        }
        (Value::Struct(a), Value::Struct(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|((name, a), (_, b))| differ(a, b, inside(&path, name)))
        }
        (Value::List(a), Value::List(b)) if a.len() == b.len() => (0..)
            .zip(a.iter().zip(b))
            .find_map(|(place, (a, b)): (usize, _)| differ(a, b, format!("{path}[{place}]"))),
        (Value::Map(a), Value::Map(b)) => {
            let lookup = |map: &[(Value, Value)], key: &Value| {
                map.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
            };
            for (key, value) in a {
                let path = format!("{path}[{key}]");
                match lookup(b, key) {
                    None => return Some(whole(path, value, &"not there")),
                    Some(other) if other != *value => return differ(value, &other, path),
                    Some(_) => {}
                }
            }
            let (key, value) = b.iter().find(|(key, _)| lookup(a, key).is_none())?;
            Some(whole(format!("{path}[{key}]"), &"not there", value))
        }
        _ => Some(whole(path, first, second)),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => f.write_str("()"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Large(value) => write!(f, "{value}"),
            Self::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Self::Char(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Shown(text) => f.write_str(text),
            Self::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Nothing => f.write_str("None"),
            Self::Just(value) => write!(f, "Some({value})"),
            Self::List(values) => listed(f, ('[', ']'), values.iter()),
            Self::Set(values) => listed(f, ('{', '}'), values.iter()),
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {value}"));
                listed(f, ('{', '}'), entries)
            }
            Self::Struct(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{name}: {value}"));
                listed(f, ('{', '}'), fields)
            }
            Self::Newtype(name, value) => write!(f, "{name}({value})"),
            Self::Variant(name, value) if **value == Self::Unit => f.write_str(name),
            Self::Variant(name, value) => match &**value {
                Self::Struct(_) => write!(f, "{name} {value}"),
                _ => write!(f, "{name}({value})"),
            },
        }
    }
}

fn listed<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    (open, close): (char, char),
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    f.write_char(open)?;
    for (place, item) in items.enumerate() {
        if place > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_char(close)
}

/// Makes the tree.
struct Tree;

/// What is being collected, and what becomes of it.
struct Collected {
    items: Vec<Value>,
    keys: Vec<Value>,
    names: Vec<&'static str>,
    finish: Option<&'static str>,
}

impl Collected {
    fn new(finish: Option<&'static str>) -> Self {
        Self { items: Vec::new(), keys: Vec::new(), names: Vec::new(), finish }
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.items.push(Value::of(value)?);
        Ok(())
    }

    fn named(self, value: Value) -> Value {
        match self.finish {
            Some(variant) => Value::Variant(variant, Box::new(value)),
            None => value,
        }
    }

    fn list(mut self) -> Value {
        let items = std::mem::take(&mut self.items);
        self.named(Value::List(items))
    }

    fn fields(mut self) -> Value {
        let fields = std::mem::take(&mut self.names).into_iter().zip(std::mem::take(&mut self.items));
        self.named(Value::Struct(fields.collect()))
    }
}

macro_rules! integers {
    ($($method:ident $ty:ty),*) => { $(
        fn $method(self, value: $ty) -> Result<Value, Refused> {
            Ok(Value::Int(i128::from(value)))
        }
    )* };
}

impl ser::Serializer for Tree {
    type Ok = Value;
    type Error = Refused;
    type SerializeSeq = Collected;
    type SerializeTuple = Collected;
    type SerializeTupleStruct = Collected;
    type SerializeTupleVariant = Collected;
    type SerializeMap = Collected;
    type SerializeStruct = Collected;
    type SerializeStructVariant = Collected;

    integers!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    fn serialize_u128(self, value: u128) -> Result<Value, Refused> {
        Ok(i128::try_from(value).map_or(Value::Large(value), Value::Int))
    }
    fn serialize_bool(self, value: bool) -> Result<Value, Refused> {
        Ok(Value::Bool(value))
    }
    fn serialize_f32(self, value: f32) -> Result<Value, Refused> {
        self.serialize_f64(f64::from(value))
    }
    fn serialize_f64(self, value: f64) -> Result<Value, Refused> {
        Ok(Value::Float(value.to_bits()))
    }
    fn serialize_char(self, value: char) -> Result<Value, Refused> {
        Ok(Value::Char(value))
    }
    fn serialize_str(self, value: &str) -> Result<Value, Refused> {
        Ok(Value::Text(value.to_owned()))
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<Value, Refused> {
        Ok(Value::Bytes(value.to_vec()))
    }
    fn serialize_none(self) -> Result<Value, Refused> {
        Ok(Value::Nothing)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Refused> {
        Ok(Value::Just(Box::new(Value::of(value)?)))
    }
    fn serialize_unit(self) -> Result<Value, Refused> {
        Ok(Value::Unit)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Refused> {
        Ok(Value::Unit)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Refused> {
        Ok(Value::Variant(variant, Box::new(Value::Unit)))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, Refused> {
        Ok(Value::Newtype(name, Box::new(Value::of(value)?)))
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Refused> {
        Ok(Value::Variant(variant, Box::new(Value::of(value)?)))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Collected, Refused> {
        Ok(Collected::new(None))
    }
    fn serialize_tuple(self, _: usize) -> Result<Collected, Refused> {
        Ok(Collected::new(None))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Collected, Refused> {
        Ok(Collected::new(None))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Collected, Refused> {
        Ok(Collected::new(Some(variant)))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Collected, Refused> {
        Ok(Collected::new(None))
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Collected, Refused> {
        Ok(Collected::new(None))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Collected, Refused> {
        Ok(Collected::new(Some(variant)))
    }

    /// A hash set says by nothing but its type that its order is no part of it. A heap's is neither.
    fn collect_seq<I>(self, iterator: I) -> Result<Value, Refused>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        let ty = std::any::type_name::<I>();
        let collection = ty.split('<').next().unwrap_or(ty);
        let unordered = collection.ends_with("HashSet") || collection.ends_with("BinaryHeap");
        let mut items: Vec<Value> =
            iterator.into_iter().map(|item| Value::of(&item)).collect::<Result<_, _>>()?;
        if unordered {
            items.sort_unstable();
            return Ok(Value::Set(items));
        }
        Ok(Value::List(items))
    }
}

macro_rules! collections {
    ($($kind:ident $method:ident),*) => { $(
        impl ser::$kind for Collected {
            type Ok = Value;
            type Error = Refused;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.push(value)
            }
            fn end(self) -> Result<Value, Refused> {
                Ok(self.list())
            }
        }
    )* };
}
collections!(SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);

macro_rules! structs {
    ($($kind:ident),*) => { $(
        impl ser::$kind for Collected {
            type Ok = Value;
            type Error = Refused;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                self.names.push(name);
                self.push(value)
            }
            fn end(self) -> Result<Value, Refused> {
                Ok(self.fields())
            }
        }
    )* };
}
structs!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Collected {
    type Ok = Value;
    type Error = Refused;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.keys.push(Value::of(key)?);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.push(value)
    }
    fn end(self) -> Result<Value, Refused> {
        let mut entries: Vec<_> = self.keys.into_iter().zip(self.items).collect();
        entries.sort_unstable();
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

    use super::*;

    #[derive(serde::Serialize)]
    struct Account {
        owner: &'static str,
        balance: Option<i64>,
    }

    #[test]
    fn the_order_of_a_hash_map_and_of_a_hash_set_is_no_part_of_the_value() {
        let map = || (0..100).map(|key| (key, key * 2)).collect::<HashMap<u32, u32>>();
        let set = || (0..100).map(|key| key.to_string()).collect::<HashSet<String>>();
        // Two that iterate alike would show nothing.
        let (one, other) = (set(), set());
        assert!(one.iter().ne(other.iter()));
        assert_eq!(Value::of(&(map(), one)), Value::of(&(map(), other)));
        let heap = |values: [u32; 4]| Value::of(&BinaryHeap::from(values));
        assert_eq!(heap([1, 2, 3, 4]), heap([4, 3, 2, 1]));
        assert_ne!(Value::of(&vec![1, 2]), Value::of(&vec![2, 1]));
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        let bank =
            |balance| BTreeMap::from([("a", vec![Account { owner: "Ada", balance }]), ("b", Vec::new())]);
        let value = |balance| Value::of(&bank(balance)).expect("it serialises");
        assert_eq!(value(Some(1)).difference(&value(Some(1))), None);
        let found = value(Some(1)).difference(&value(Some(2))).expect("they differ");
        assert_eq!(found.to_string(), "[\"a\"][0].balance is 1 and 2");
        let found = value(Some(1)).difference(&value(None)).expect("they differ");
        assert_eq!(found.to_string(), "[\"a\"][0].balance is Some(1) and None");
        let one = Value::of(&BTreeMap::from([(1, "x")])).expect("it serialises");
        let none = Value::of(&BTreeMap::<u8, &str>::new()).expect("it serialises");
        assert_eq!(none.difference(&one).expect("they differ").to_string(), "[1] is not there and \"x\"");
        assert_eq!(value(Some(1)).to_string(), "{\"a\": [{owner: \"Ada\", balance: Some(1)}], \"b\": []}");
    }
}
