//! From `ast` to `model`: what the syntax allows and the contract does not. Every entry is checked
//! whatever was wrong before it; the model holds what is right.

mod attributes;
mod item;
mod owned;
mod settings;
mod unique;

use proc_macro2::Ident;
use syn::{Attribute, Data, Field, GenericParam, Generics};

use self::settings::Settings;
use self::unique::Unique;
use crate::ast::{Entry, Input};
use crate::ctxt::Ctxt;
use crate::model::{Kind, Machine};

/// Checks everything. `None` when the type can be no machine at all, which is reported.
pub(crate) fn machine(cx: &Ctxt, input: Input) -> Option<Machine> {
    check_data(cx, &input.data);
    let well_placed = cx.len() == 0;
    let generics = check_generics(cx, input.generics)?;
    let empty = !input.entries.iter().any(|entry| matches!(entry, Entry::Item(_)));
    if empty && well_placed {
        report_empty(cx, &input.ident, input.listed);
    }

    let mut settings = Settings::default();
    let mut unique = Unique::new(&input.entries);
    let (mut commands, mut queries) = (Vec::new(), Vec::new());
    for entry in input.entries {
        match entry {
            Entry::Setting(setting) => settings.take(cx, setting),
            Entry::Item(item) if item.kind == Kind::Command => {
                commands.extend(item::check(cx, &mut unique, *item));
            }
            Entry::Item(item) => queries.extend(item::check(cx, &mut unique, *item)),
        }
    }
    let krate = settings.krate();
    Some(Machine {
        bounds: settings.bounds(&krate, &generics),
        name: settings.name(&input.ident),
        version: settings.version(),
        deadline: settings.deadline(),
        names: settings.names(cx, &input.ident),
        snapshot: settings.snapshot(),
        krate,
        ident: input.ident,
        vis: input.vis,
        generics,
        commands,
        queries,
    })
}

fn report_empty(cx: &Ctxt, ident: &Ident, listed: bool) {
    let what = if listed { "its `#[raft(..)]` is empty" } else { "it has no `#[raft(..)]`" };
    cx.error(
        ident,
        format!(
            "`{ident}` has no command and no query, because {what}: write `#[raft(command(1, name(argument: Type) -> Type))]` on it"
        ),
    );
}

fn check_data(cx: &Ctxt, data: &Data) {
    let misplaced = |attrs: &[Attribute]| {
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("raft")) {
            cx.error(attr, "`#[raft(..)]` belongs on the type, not inside it");
        }
    };
    let fields = |fields: &mut dyn Iterator<Item = &Field>| fields.for_each(|field| misplaced(&field.attrs));
    match data {
        Data::Struct(data) => fields(&mut data.fields.iter()),
        Data::Enum(data) => {
            for variant in &data.variants {
                misplaced(&variant.attrs);
                fields(&mut variant.fields.iter());
            }
        }
        Data::Union(data) => {
            cx.error(
                data.union_token,
                "a state machine is a `struct` or an `enum`: a union has no state to copy",
            );
        }
    }
}

/// Refuses lifetimes, and takes off what only the type's own definition can use.
fn check_generics(cx: &Ctxt, mut generics: Generics) -> Option<Generics> {
    let before = cx.len();
    for param in &mut generics.params {
        match param {
            GenericParam::Lifetime(param) => cx.error(
                &param.lifetime,
                format!(
                    "a state machine outlives every borrow: own the data instead of borrowing it for `{}`",
                    param.lifetime
                ),
            ),
            GenericParam::Type(param) => param.attrs.clear(),
            GenericParam::Const(param) => param.attrs.clear(),
        }
    }
    (cx.len() == before).then_some(generics)
}
