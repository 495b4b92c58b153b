//! The four enums: `XCommand`, `XResponse`, `XQuery`, `XAnswer`, each with a variant per item.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Generics, Member, Meta, Type, Visibility};

use super::{allowed, generics};
use crate::model::{Argument, Item, Kind, Machine};

/// An enum to be generated.
pub(crate) struct Enum<'a> {
    pub(crate) name: &'a Ident,
    /// `command`, `response`, `query` or `answer`.
    pub(crate) word: &'static str,
    pub(crate) generics: Generics,
    pub(crate) variants: Vec<Variant<'a>>,
    vis: &'a Visibility,
    doc: String,
}

/// A variant of it.
pub(crate) struct Variant<'a> {
    pub(crate) item: &'a Item,
    pub(crate) fields: Vec<Field<'a>>,
    attrs: TokenStream,
}

/// A field: an argument, or a returned value.
pub(crate) struct Field<'a> {
    pub(crate) member: Member,
    pub(crate) label: &'a str,
    pub(crate) ty: &'a Type,
    docs: TokenStream,
}

/// The enums of a machine.
pub(crate) fn all(machine: &Machine) -> [Enum<'_>; 4] {
    [
        requests(machine, Kind::Command),
        replies(machine, Kind::Command),
        requests(machine, Kind::Query),
        replies(machine, Kind::Query),
    ]
}

fn requests(machine: &Machine, kind: Kind) -> Enum<'_> {
    let (name, items, plural) = match kind {
        Kind::Command => (&machine.names.command, &machine.commands, "commands"),
        Kind::Query => (&machine.names.query, &machine.queries, "queries"),
    };
    let variants = items.iter().map(|item| {
        let Item { docs, deprecated, label, id, .. } = item;
        let docs = docs_or(docs, &format!("The {kind} `{label}`, id {id}."));
        Variant { item, fields: arguments(item), attrs: quote!(#docs #deprecated) }
    });
    let doc = format!("The {plural} of `{}`, each with its arguments.", machine.ident);
    build(machine, name, kind.word(), variants.collect(), doc)
}

fn replies(machine: &Machine, kind: Kind) -> Enum<'_> {
    let (name, items, word, plural) = match kind {
        Kind::Command => (&machine.names.response, &machine.commands, "response", "commands"),
        Kind::Query => (&machine.names.answer, &machine.queries, "answer", "queries"),
    };
    let variants = items.iter().map(|item| {
        let Item { label, output, .. } = item;
        let doc = format!("What the {kind} `{label}` returned.");
        let field = Field { member: Member::from(0), label: word, ty: output, docs: TokenStream::new() };
        Variant { item, fields: vec![field], attrs: quote!(#[doc = #doc]) }
    });
    let doc = format!("What the {plural} of `{}` return.", machine.ident);
    build(machine, name, word, variants.collect(), doc)
}

fn build<'a>(
    machine: &'a Machine,
    name: &'a Ident,
    word: &'static str,
    variants: Vec<Variant<'a>>,
    doc: String,
) -> Enum<'a> {
    let types = variants.iter().flat_map(|variant| variant.fields.iter().map(|field| field.ty));
    let generics = generics::used_by(machine, types);
    Enum { name, word, generics, variants, vis: &machine.vis, doc }
}

fn arguments(item: &Item) -> Vec<Field<'_>> {
    let fields = item.arguments.iter().map(|Argument { docs, name, label, ty }| {
        let docs = docs_or(docs, &format!("The argument `{label}`."));
        Field { member: Member::from(name.clone()), label, ty, docs }
    });
    fields.collect()
}

/// The user's doc comment, or `default` where there is none: `#[doc(alias = "..")]` says nothing.
pub(super) fn docs_or(docs: &[Attribute], default: &str) -> TokenStream {
    let says_something = docs.iter().any(|doc| matches!(doc.meta, Meta::NameValue(_)));
    let default = (!says_something).then(|| quote!(#[doc = #default]));
    quote!(#default #(#docs)*)
}

impl Enum<'_> {
    /// Its name with its parameters: `StoreCommand<V>`.
    pub(crate) fn path(&self) -> TokenStream {
        let (name, (_, parameters, _)) = (self.name, self.generics.split_for_impl());
        quote!(#name #parameters)
    }

    pub(crate) fn definition(&self) -> TokenStream {
        let Self { name, vis, doc, generics, variants, .. } = self;
        let (_, _, where_clause) = generics.split_for_impl();
        let allowed = allowed();
        quote! {
            #[doc = #doc]
            #allowed
            #[derive(::core::clone::Clone, ::core::fmt::Debug)]
            #vis enum #name #generics #where_clause {
                #(#variants)*
            }
        }
    }
}

impl ToTokens for Variant<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { item: Item { variant, .. }, fields, attrs } = self;
        tokens.extend(match &fields[..] {
            [] => quote!(#attrs #variant,),
            [Field { member: Member::Unnamed(_), ty, .. }] => quote!(#attrs #variant(#ty),),
            fields => quote!(#attrs #variant { #(#fields)* },),
        });
    }
}

impl ToTokens for Field<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { member, ty, docs, .. } = self;
        tokens.extend(quote!(#docs #member: #ty,));
    }
}
