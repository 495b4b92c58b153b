//! The settings: each at most once, each with a default.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use proc_macro2::Ident;
use quote::format_ident;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{ExprPath, Generics, LitInt, LitStr, Path, Token, WherePredicate, parse_quote};

use super::owned;
use crate::ast::{Setting, SnapshotPart, Value};
use crate::ctxt::Ctxt;
use crate::model::{Form, Names, Snapshot};

/// What `names(..)` can name, and how it is called by default: the machine's name and this.
const GENERATED: [(&str, &str); 5] = [
    ("command", "Command"),
    ("response", "Response"),
    ("query", "Query"),
    ("answer", "Answer"),
    ("client", "Client"),
];

type Bounds = Punctuated<WherePredicate, Token![,]>;

/// What was set so far.
#[derive(Default)]
pub(super) struct Settings {
    seen: Vec<Ident>,
    krate: Option<Path>,
    name: Option<String>,
    version: Option<u32>,
    deadline: Option<ExprPath>,
    bounds: Option<Bounds>,
    names: Vec<(Ident, Ident)>,
    snapshot: Snapshot,
}

impl Settings {
    /// Takes a setting in.
    pub(super) fn take(&mut self, cx: &Ctxt, setting: Setting) {
        let Setting { keyword, value } = setting;
        if self.seen.contains(&keyword) {
            cx.error(&keyword, format!("`{keyword}` is set already: remove one of the two"));
            return;
        }
        self.seen.push(keyword);
        match value {
            Value::Crate(path) => self.krate = Some(path),
            Value::Name(name) => self.name = check_name(cx, &name),
            Value::Version(version) => self.version = check_version(cx, &version),
            Value::Deadline(function) => self.deadline = Some(function),
            Value::Bound(bounds) => self.bounds = check_bounds(cx, bounds),
            Value::Names(names) => self.names = check_names(cx, names),
            Value::Snapshot(parts) => self.snapshot = check_snapshot(cx, parts),
        }
    }

    pub(super) fn krate(&self) -> Path {
        self.krate.clone().unwrap_or_else(|| parse_quote!(::quorate))
    }

    pub(super) fn name(&self, ident: &Ident) -> String {
        self.name.clone().unwrap_or_else(|| ident.unraw().to_string())
    }

    pub(super) fn version(&self) -> u32 {
        self.version.unwrap_or(1)
    }

    pub(super) fn deadline(&self) -> Option<ExprPath> {
        self.deadline.clone()
    }

    /// What the impls ask of the type's parameters: by default, what any state needs.
    pub(super) fn bounds(&self, krate: &Path, generics: &Generics) -> Vec<WherePredicate> {
        if let Some(bounds) = &self.bounds {
            return bounds.iter().cloned().collect();
        }
        let bound = |param: &Ident| {
            parse_quote! {
                #param: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static
                    + #krate::serde::Serialize + #krate::serde::de::DeserializeOwned
            }
        };
        generics.type_params().map(|param| bound(&param.ident)).collect()
    }

    /// The names of what is generated. One that is taken is reported and left out: two types of one
    /// name would be a dozen errors, none of them here.
    pub(super) fn names(&self, cx: &Ctxt, ident: &Ident) -> Names {
        let default = |suffix: &str| format_ident!("{}{suffix}", ident.unraw(), span = ident.span());
        let own = |key: &str| self.names.iter().find(|(found, _)| found == key).map(|(_, name)| name);
        let mut taken = BTreeMap::from([(ident.unraw().to_string(), "the machine itself".to_owned())]);
        for (key, suffix) in GENERATED.into_iter().filter(|(key, _)| own(key).is_none()) {
            taken.insert(default(suffix).unraw().to_string(), format!("the {key}"));
        }
        let mut name = |key: &str, suffix: &str| {
            let Some(name) = own(key) else { return default(suffix) };
            match taken.entry(name.unraw().to_string()) {
                Entry::Vacant(free) => {
                    free.insert(format!("the {key}"));
                    name.clone()
                }
                Entry::Occupied(other) => {
                    let text =
                        format!("`{name}` is the name of {} already: give the {key} another", other.get());
                    cx.error(name, text);
                    default(suffix)
                }
            }
        };
        let [command, response, query, answer, client] = GENERATED.map(|(key, suffix)| name(key, suffix));
        Names { command, response, query, answer, client }
    }

    pub(super) fn snapshot(self) -> Snapshot {
        self.snapshot
    }
}

fn check_name(cx: &Ctxt, name: &LitStr) -> Option<String> {
    if name.value().trim().is_empty() {
        cx.error(name, "the machine's name is empty: leave `name` out to use the type's name");
        return None;
    }
    Some(name.value())
}

fn check_version(cx: &Ctxt, version: &LitInt) -> Option<u32> {
    let value = version.base10_parse().ok().filter(|value| *value > 0 && version.suffix().is_empty());
    if value.is_none() {
        cx.error(version, "a version is a plain number from 1 to 4294967295");
    }
    value
}

fn check_bounds(cx: &Ctxt, bounds: Bounds) -> Option<Bounds> {
    let before = cx.len();
    for bound in bounds.iter().filter(|bound| owned::mentions_self(bound)) {
        cx.error(bound, "`Self` would be another type in each generated impl: bound the type's parameters");
    }
    (cx.len() == before).then_some(bounds)
}

fn check_names(cx: &Ctxt, names: Vec<(Ident, Ident)>) -> Vec<(Ident, Ident)> {
    for (place, (key, _)) in names.iter().enumerate() {
        if !GENERATED.iter().any(|(known, _)| key == known) {
            cx.error(
                key,
                format!("nothing generated is called `{key}`: expected `command`, `response`, `query`, `answer` or `client`"),
            );
        } else if names[..place].iter().any(|(earlier, _)| earlier == key) {
            cx.error(key, format!("`{key}` has a name already: remove one of the two"));
        }
    }
    names
}

fn check_snapshot(cx: &Ctxt, parts: Vec<(Ident, SnapshotPart)>) -> Snapshot {
    let (mut ty, mut capture, mut write, mut restore) = (None, None, None, None);
    let mut seen: Vec<Ident> = Vec::new();
    for (key, part) in parts {
        if seen.contains(&key) {
            cx.error(&key, format!("`{key}` stands here twice: remove one of the two"));
        }
        seen.push(key.clone());
        match part {
            SnapshotPart::Type(found) => ty = Some((key, found)),
            SnapshotPart::Capture(found) => capture = Some(found),
            SnapshotPart::Write(found) => write = Some((key, found)),
            SnapshotPart::Restore(found) => restore = Some((key, found)),
        }
    }
    if let Some((key, _)) = &ty
        && (capture.is_none() || write.is_none() || restore.is_none())
    {
        cx.error(
            key,
            "a snapshot of another type than the machine's needs `capture`, `write` and `restore` too",
        );
    }
    let form = match (write, restore) {
        (Some((_, write)), Some((_, restore))) => Some(Form { write, restore }),
        (Some((key, _)), None) if ty.is_none() => {
            cx.error(key, "`write` needs `restore`, which reads what it wrote");
            None
        }
        (None, Some((key, _))) if ty.is_none() => {
            cx.error(key, "`restore` needs `write`, which writes what it reads");
            None
        }
        // Postcard, or reported above.
        _ => None,
    };
    Snapshot { ty: ty.map(|(_, ty)| ty), capture, form }
}
