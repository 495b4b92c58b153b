//! What `{:#?}` prints of a value, as a tree: it shows the fields that a `Serialize` leaves out, and
//! so names the one that a snapshot forgets. Never a reason for an alarm, since such a field may be
//! a cache; only the explanation of one.

use std::fmt::Debug;

use super::value::Difference;

/// A line, and what stands inside its brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outline {
    line: String,
    inside: Vec<Outline>,
}

impl Outline {
    pub(super) fn of(value: &impl Debug) -> Self {
        let text = format!("{value:#?}");
        let mut open: Vec<Outline> = vec![Self::default()];
        for line in text.lines().map(str::trim) {
            let line = line.strip_suffix(',').unwrap_or(line);
            let closes = line.starts_with(['}', ')', ']']);
            if closes && open.len() > 1 {
                close(&mut open, &line[1..]);
            } else if line.ends_with(['{', '(', '[']) {
                open.push(Self { line: line.to_owned(), inside: Vec::new() });
            } else if let Some(parent) = open.last_mut() {
                parent.inside.push(Self { line: line.to_owned(), inside: Vec::new() });
            }
        }
        while open.len() > 1 {
            close(&mut open, "");
        }
        open.pop().unwrap_or_default()
    }

    /// The first place where they differ.
    pub(super) fn difference(&self, other: &Self) -> Option<Difference> {
        self.differ(other, String::new())
    }

    fn differ(&self, other: &Self, path: String) -> Option<Difference> {
        if self == other {
            return None;
        }
        if self.label() != other.label() || self.inside.len() != other.inside.len() || self.inside.is_empty()
        {
            let path = join(&path, self.label());
            return Some(Difference { path, first: self.text(), second: other.text() });
        }
        let path = join(&path, self.label());
        self.inside.iter().zip(&other.inside).find_map(|(a, b)| a.differ(b, path.clone()))
    }

    /// The field's name; none for what has no name.
    fn label(&self) -> &str {
        self.line.split_once(": ").map_or("", |(name, _)| name)
    }

    fn text(&self) -> String {
        let line = self.line.split_once(": ").map_or(&*self.line, |(_, value)| value);
        let inside: Vec<&str> = self.inside.iter().map(|outline| &*outline.line).take(4).collect();
        let dots = if self.inside.len() > 4 { ", …" } else { "" };
        match line.chars().last() {
            Some('{') => format!("{line}{}{dots}}}", inside.join(", ")),
            Some('[') => format!("{line}{}{dots}]", inside.join(", ")),
            Some('(') => format!("{line}{}{dots})", inside.join(", ")),
            _ => line.to_owned(),
        }
    }
}

fn join(path: &str, label: &str) -> String {
    match (path, label) {
        (path, "") => path.to_owned(),
        ("", label) => label.to_owned(),
        _ => format!("{path}.{label}"),
    }
}

/// Ends the innermost block. What follows its bracket may be the value of a key, or begin one.
fn close(open: &mut Vec<Outline>, rest: &str) {
    let Some(mut block) = open.pop() else { return };
    // A map or a set: no name before the bracket.
    if block.line == "{" || block.line.ends_with(": {") {
        block.inside.sort();
    }
    if rest.is_empty() {
        if let Some(parent) = open.last_mut() {
            parent.inside.push(block);
        }
        return;
    }
    block.line.push_str(rest);
    if rest.ends_with(['{', '(', '[']) {
        open.push(block);
    } else if let Some(parent) = open.last_mut() {
        parent.inside.push(block);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    #[derive(Debug)]
    #[allow(dead_code, reason = "for its Debug")]
    struct State {
        accounts: HashMap<u32, (u64, &'static str)>,
        places: BTreeMap<(u8, u8), Option<Vec<u8>>>,
        next: u64,
    }

    fn state(next: u64) -> State {
        State {
            accounts: (0..50).map(|key| (key, (1, "a { b"))).collect(),
            places: BTreeMap::from([((1, 2), Some(vec![1])), ((3, 4), None)]),
            next,
        }
    }

    #[test]
    fn a_field_is_named_whatever_the_order_of_a_map() {
        assert_eq!(Outline::of(&state(7)), Outline::of(&state(7)));
        let found = Outline::of(&state(7)).difference(&Outline::of(&state(0))).expect("they differ");
        assert_eq!(found.to_string(), "next is 7 and 0");
        let mut other = state(7);
        other.accounts.clear();
        let found = Outline::of(&state(7)).difference(&Outline::of(&other)).expect("they differ");
        assert_eq!(found.path, "accounts");
        other = state(7);
        other.places.insert((1, 2), Some(vec![9]));
        let found = Outline::of(&state(7)).difference(&Outline::of(&other)).expect("they differ");
        assert!(found.path.starts_with("places") && found.first == "1" && found.second == "9", "{found:?}");
    }
}
