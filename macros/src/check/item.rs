//! One command or query.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span};
use quote::quote_spanned;
use syn::ext::IdentExt;
use syn::{Attribute, Type};

use super::unique::Unique;
use super::{attributes, owned};
use crate::ast;
use crate::ctxt::Ctxt;
use crate::model::{Argument, Item, Kind};

/// Checks everything about an item. `None` when something was wrong, so that nothing is built on it.
pub(super) fn check(cx: &Ctxt, unique: &mut Unique, item: ast::Item) -> Option<Item> {
    let ast::Item { attrs, kind, id, name, arguments, output } = item;
    let before = cx.len();
    let (docs, deprecated) = attributes::of_item(cx, kind, attrs);
    let id = unique.id(cx, kind, id.as_ref(), &name);
    unique.method(cx, kind, &name);
    let variant = unique.variant(cx, &name);
    let (context, arguments) = check_arguments(cx, kind, arguments);
    let what = if kind == Kind::Command { "a response" } else { "an answer" };
    if let Some(output) = &output {
        owned::check(cx, what, output);
    }
    let item = Item {
        docs,
        deprecated,
        id,
        variant,
        label: name.unraw().to_string(),
        output: output.unwrap_or_else(|| unit(name.span())),
        method: name,
        context,
        arguments,
    };
    (cx.len() == before).then_some(item)
}

fn unit(span: Span) -> Type {
    Type::Verbatim(quote_spanned!(span=> ()))
}

/// Checks the arguments, and takes a `ctx` off that comes first.
fn check_arguments(cx: &Ctxt, kind: Kind, arguments: Vec<ast::Argument>) -> (Option<Ident>, Vec<Argument>) {
    let mut context = None;
    let mut named = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, argument) in arguments.into_iter().enumerate() {
        match argument {
            ast::Argument::Bare(ty) => match owned::as_ident(&ty) {
                Some(name) if name == "ctx" && place == 0 => context = Some(name.clone()),
                Some(name) if name == "ctx" => {
                    cx.error(name, "`ctx` comes first: the method takes the context right after `self`");
                }
                _ => report_bare(cx, &ty),
            },
            ast::Argument::Named { attrs, name, ty } => {
                if !seen.insert(name.unraw().to_string()) {
                    cx.error(
                        &name,
                        format!("there is an argument `{name}` already: give this one another name"),
                    );
                }
                named.extend(check_argument(cx, kind, attrs, name, ty));
            }
        }
    }
    (context, named)
}

fn check_argument(cx: &Ctxt, kind: Kind, attrs: Vec<Attribute>, name: Ident, ty: Type) -> Option<Argument> {
    if name == "ctx" && is_the_context(&ty) {
        let text =
            format!("the context comes from the framework, not with the {kind}: write `ctx` without a type");
        cx.error(ty, text);
        return None;
    }
    owned::check(cx, "an argument", &ty);
    let docs = attributes::of_argument(cx, attrs);
    Some(Argument { docs, label: name.unraw().to_string(), name, ty })
}

/// Whether `ty` is the framework's context, with or without a reference and a path. A type of the
/// user's that is merely called some `..Context` is an argument like any other.
fn is_the_context(ty: &Type) -> bool {
    let ty = match ty {
        Type::Reference(reference) => &*reference.elem,
        ty => ty,
    };
    let Type::Path(path) = ty else { return false };
    path.path
        .segments
        .last()
        .is_some_and(|last| ["ApplyContext", "QueryContext", "Context"].iter().any(|name| last.ident == name))
}

/// An argument without a type, or a type without a name.
fn report_bare(cx: &Ctxt, ty: &Type) {
    let text = owned::as_owned(ty);
    let lower = text.starts_with(|first: char| first.is_lowercase() || first == '_');
    let name = owned::as_ident(ty).filter(|_| lower && !PRIMITIVES.contains(&text.as_str()));
    match name {
        Some(name) => cx.error(name, format!("`{name}` has no type: write `{name}: Type`")),
        None => cx.error(ty, format!("an argument has a name: write `name: {text}`")),
    }
}

const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32",
    "u64", "u128", "usize",
];
