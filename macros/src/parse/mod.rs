//! From tokens to `ast`. A mistake in one entry is reported and the next entry is read all the
//! same, so that all mistakes show at once.

mod argument;
mod item;
mod setting;
mod similar;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseBuffer, ParseStream};
use syn::{Attribute, DeriveInput, Error, Meta, Result, Token, parenthesized};

use crate::ast::{Entry, Input};
use crate::ctxt::Ctxt;
use crate::model::Kind;

/// Every word that begins an entry.
const KEYWORDS: [&str; 10] =
    ["command", "query", "crate", "name", "version", "deadline", "snapshot", "bound", "names", "tables"];

/// Reads the type and its lists.
pub(crate) fn input(cx: &Ctxt, input: DeriveInput) -> Input {
    let mut listed = false;
    let mut entries = Vec::new();
    for attr in input.attrs.iter().filter(|attr| attr.path().is_ident("raft")) {
        listed = true;
        let Meta::List(list) = &attr.meta else {
            cx.error(
                attr,
                "`#[raft]` holds a list: write `#[raft(command(1, name(argument: Type) -> Type))]`",
            );
            continue;
        };
        if let Err(error) = list.parse_args_with(|input: ParseStream| parse_list(cx, input, &mut entries)) {
            cx.push(error);
        }
    }
    Input { ident: input.ident, vis: input.vis, generics: input.generics, data: input.data, listed, entries }
}

fn parse_list(cx: &Ctxt, input: ParseStream, entries: &mut Vec<Entry>) -> Result<()> {
    while !input.is_empty() {
        match parse_entry(cx, input) {
            Ok(entry) => entries.extend(entry),
            Err(error) => {
                cx.push(error);
                skip_to_comma(input)?;
            }
        }
        if !input.is_empty() && !input.peek(Token![,]) {
            cx.push(input.error("expected `,` before this"));
            skip_to_comma(input)?;
        }
        input.parse::<Option<Token![,]>>()?;
    }
    Ok(())
}

/// Reads one entry; `None` when its mistakes are reported already.
fn parse_entry(cx: &Ctxt, input: ParseStream) -> Result<Option<Entry>> {
    let attrs = input.call(Attribute::parse_outer)?;
    if !input.peek(Ident::peek_any) {
        return Err(input.error("expected `command(..)`, `query(..)` or a setting such as `version = 2`"));
    }
    let keyword = input.call(Ident::parse_any)?;
    let kind = match keyword.to_string().as_str() {
        "command" => Kind::Command,
        "query" => Kind::Query,
        _ => {
            if let Some(attr) = attrs.first() {
                cx.error(attr, "only commands and queries can be documented: remove this");
            }
            return Ok(Some(Entry::Setting(setting::parse(cx, keyword, input)?)));
        }
    };
    if !input.peek(syn::token::Paren) {
        return Err(Error::new_spanned(
            &keyword,
            format!("a {kind} has parentheses: write {}", example(kind)),
        ));
    }
    let content = parenthesized(input)?;
    let item = item::parse(cx, kind, &keyword, attrs, &content);
    drain(&content)?;
    Ok(item?.map(Box::new).map(Entry::Item))
}

/// What a well-formed entry looks like.
fn example(kind: Kind) -> String {
    format!("`{kind}(1, name(argument: Type) -> Type)`")
}

fn parenthesized<'a>(input: &ParseBuffer<'a>) -> Result<ParseBuffer<'a>> {
    let content;
    parenthesized!(content in input);
    Ok(content)
}

/// Drops what a mistake left unread, which syn would report a second time.
fn drain(input: ParseStream) -> Result<()> {
    input.parse::<TokenStream>().map(drop)
}

fn skip_to_comma(input: ParseStream) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}
