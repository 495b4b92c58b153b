//! Ids, names and variants that must not stand twice in one list.

use std::collections::BTreeMap;

use proc_macro2::Ident;
use syn::LitInt;
use syn::ext::IdentExt;

use crate::ast::Entry;
use crate::ctxt::Ctxt;
use crate::model::Kind;

/// Methods that every generated client has.
const OF_THE_CLIENT: [&str; 5] = ["as_client", "clone", "with_consistency", "with_session", "with_timeout"];

/// What is taken already, and by which method.
#[derive(Default)]
pub(super) struct Unique {
    commands: Ids,
    queries: Ids,
    methods: BTreeMap<String, Kind>,
    variants: BTreeMap<String, String>,
}

#[derive(Default)]
struct Ids {
    taken: BTreeMap<u16, String>,
    /// The greatest id in the list, right or not yet looked at.
    greatest: u16,
}

impl Unique {
    /// Looks the ids over, so that a message can name a free one.
    pub(super) fn new(entries: &[Entry]) -> Self {
        let mut unique = Self::default();
        for entry in entries {
            if let Entry::Item(item) = entry {
                let id = item.id.as_ref().and_then(|id| id.base10_parse().ok()).unwrap_or(0);
                let ids = unique.ids(item.kind);
                ids.greatest = ids.greatest.max(id);
            }
        }
        unique
    }

    fn ids(&mut self, kind: Kind) -> &mut Ids {
        match kind {
            Kind::Command => &mut self.commands,
            Kind::Query => &mut self.queries,
        }
    }

    /// Checks the id of `method`; 0 when it is wrong.
    pub(super) fn id(&mut self, cx: &Ctxt, kind: Kind, id: Option<&LitInt>, method: &Ident) -> u16 {
        let ids = self.ids(kind);
        let free = ids.greatest.checked_add(1).map_or_else(|| "ID".to_owned(), |free| free.to_string());
        let Some(literal) = id else {
            cx.error(method, format!("`{method}` has no id: write `{kind}({free}, {method}(..))`"));
            return 0;
        };
        let id = match literal.base10_parse() {
            Ok(id) if id > 0 => id,
            _ => {
                cx.error(
                    literal,
                    format!("`{literal}` cannot be an id: ids are 1 to 65535, and {free} is free"),
                );
                return 0;
            }
        };
        if let Some(other) = ids.taken.get(&id) {
            let text = format!(
                "{kind} id {id} is already taken by `{other}`: give `{method}` an id of its own, such as {free}"
            );
            cx.error(literal, text);
            return 0;
        }
        ids.taken.insert(id, method.to_string());
        id
    }

    /// Checks the name of a method.
    pub(super) fn method(&mut self, cx: &Ctxt, kind: Kind, method: &Ident) {
        let name = method.unraw().to_string();
        if OF_THE_CLIENT.contains(&name.as_str()) {
            let text = format!(
                "`{name}` is a method of every generated client: give the {kind}'s method another name"
            );
            cx.error(method, text);
        }
        if let Some(other) = self.methods.get(&name) {
            let text = format!(
                "there is a {other} `{method}` already: the client needs a name of its own for each {kind}"
            );
            cx.error(method, text);
            return;
        }
        self.methods.insert(name, kind);
    }

    /// Makes the variant of a method.
    pub(super) fn variant(&mut self, cx: &Ctxt, method: &Ident) -> Ident {
        let name = upper_camel(&method.unraw().to_string());
        let Ok(mut variant) = syn::parse_str::<Ident>(&name) else {
            cx.error(method, format!("`{method}` gives no name for a variant: begin it with a letter"));
            return method.clone();
        };
        variant.set_span(method.span());
        match self.variants.get(&name) {
            // Reported as a method that stands twice.
            Some(other) if method == other => {}
            Some(other) => cx.error(
                method,
                format!("`{other}` and `{method}` both become the variant `{name}`: rename one of them"),
            ),
            None => {
                self.variants.insert(name, method.to_string());
            }
        }
        variant
    }
}

/// `place_vm` becomes `PlaceVm`.
fn upper_camel(name: &str) -> String {
    let mut camel = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        camel.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(letters.as_str());
    }
    // The only word in upper camel case that is a keyword.
    if camel == "Self" { "Self_".to_owned() } else { camel }
}

#[cfg(test)]
mod tests {
    use super::upper_camel;

    #[test]
    fn a_method_becomes_a_variant() {
        let camel: Vec<_> = ["open", "place_vm", "a__b2", "self", "_x", "übung"].map(upper_camel).into();
        assert_eq!(camel, ["Open", "PlaceVm", "AB2", "Self_", "X", "Übung"]);
    }
}
