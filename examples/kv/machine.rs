//! The replicated state: keys and values.

use std::collections::BTreeMap;

use quorate::prelude::*;
use quorate::types::Position;

/// A write that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Where it stands in the log: a later write has a greater position.
    pub(crate) position: Position,
    /// The value it replaced or removed.
    pub(crate) previous: Option<String>,
}

/// A compare-and-set that found another value, and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conflict {
    /// The value it found.
    pub(crate) current: Option<String>,
}

/// Keys and values.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    /// Sets `key` to `value`.
    command(1, put(ctx, key: String, value: String) -> Change),
    /// Removes `key`. Removing nothing is fine.
    command(2, delete(ctx, key: String) -> Change),
    /// Sets `key` to `value` if it has the value `expect`, or none when that is `None`.
    command(3, cas(ctx, key: String, expect: Option<String>, value: String) -> Result<Change, Conflict>),
    /// The value of `key`.
    query(1, get(key: String) -> Option<String>),
)]
pub(crate) struct Kv {
    entries: BTreeMap<String, String>,
}

impl Kv {
    pub(crate) fn put(&mut self, ctx: &ApplyContext, key: String, value: String) -> Change {
        Change { position: ctx.position(), previous: self.entries.insert(key, value) }
    }

    pub(crate) fn delete(&mut self, ctx: &ApplyContext, key: String) -> Change {
        Change { position: ctx.position(), previous: self.entries.remove(&key) }
    }

    pub(crate) fn cas(
        &mut self,
        ctx: &ApplyContext,
        key: String,
        expect: Option<String>,
        value: String,
    ) -> Result<Change, Conflict> {
        match self.entries.get(&key) {
            current if current == expect.as_ref() => Ok(self.put(ctx, key, value)),
            current => Err(Conflict { current: current.cloned() }),
        }
    }

    pub(crate) fn get(&self, key: String) -> Option<String> {
        self.entries.get(&key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use quorate::types::{ClusterId, GroupId, LogIndex, LogTime, Term};

    use super::*;

    fn at(index: u64) -> ApplyContext {
        let position = Position { index: LogIndex(index), ordinal: 0 };
        ApplyContext::new(ClusterId([0; 32]), GroupId::MAIN, Term(1), position, LogTime::ZERO)
    }

    #[test]
    fn a_write_answers_where_it_stands_and_what_it_replaced() {
        let mut kv = Kv::default();
        let change = |index, previous| Change { position: at(index).position(), previous };
        assert_eq!(kv.put(&at(1), "a".into(), "x".into()), change(1, None));
        assert_eq!(kv.put(&at(2), "a".into(), String::new()), change(2, Some("x".to_owned())));
        assert_eq!(kv.get("a".into()), Some(String::new()));
        assert_eq!(kv.delete(&at(3), "a".into()), change(3, Some(String::new())));
        assert_eq!(kv.delete(&at(4), "a".into()), change(4, None));
        assert_eq!(kv.get("a".into()), None);
    }

    #[test]
    fn a_compare_and_set_changes_what_it_expects_and_nothing_else() {
        let mut kv = Kv::default();
        let mut cas = |index, expect: Option<&str>, value: &str| {
            let outcome = kv.cas(&at(index), "a".into(), expect.map(str::to_owned), value.into());
            (outcome.map(|change| change.previous), kv.get("a".into()))
        };
        assert_eq!(cas(1, Some("x"), "y"), (Err(Conflict { current: None }), None));
        assert_eq!(cas(2, None, "x"), (Ok(None), Some("x".to_owned())));
        assert_eq!(
            cas(3, None, "y"),
            (Err(Conflict { current: Some("x".to_owned()) }), Some("x".to_owned()))
        );
        assert_eq!(cas(4, Some("x"), "y"), (Ok(Some("x".to_owned())), Some("y".to_owned())));
    }
}
