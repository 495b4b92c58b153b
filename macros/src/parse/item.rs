//! `command(1, open(owner: String) -> AccountId)`.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::token::Paren;
use syn::{Attribute, Error, Lit, LitInt, Result, Token, Type};

use super::{argument, drain, example, parenthesized};
use crate::ast::Item;
use crate::ctxt::Ctxt;
use crate::model::Kind;

/// Reads what stands in the parentheses after `keyword`; `None` when its mistakes are reported
/// already.
pub(super) fn parse(
    cx: &Ctxt,
    kind: Kind,
    keyword: &Ident,
    attrs: Vec<Attribute>,
    input: ParseStream,
) -> Result<Option<Item>> {
    let id = parse_id(kind, keyword, input)?;
    let name = parse_name(kind, keyword, input)?;
    let content = parenthesized(input)?;
    let arguments = argument::parse_all(cx, &name, &content);
    drain(&content)?;
    let output = parse_output(&name, input)?;
    Ok(arguments?.map(|arguments| Item { attrs, kind, id, name, arguments, output }))
}

/// Reads the id and the comma after it. `None`: the signature stands there instead.
fn parse_id(kind: Kind, keyword: &Ident, input: ParseStream) -> Result<Option<LitInt>> {
    let wrong = |found: &dyn quote::ToTokens| {
        Error::new_spanned(
            found,
            format!("the id of a {kind} is a plain number from 1 to 65535: write it as in {}", example(kind)),
        )
    };
    if input.is_empty() {
        return Err(Error::new_spanned(
            keyword,
            format!("a {kind} has an id and a signature: write {}", example(kind)),
        ));
    }
    if input.peek(Token![-]) {
        let minus: Token![-] = input.parse()?;
        return Err(wrong(&minus));
    }
    if !input.peek(Lit) {
        let constant = input.peek(Ident::peek_any) && input.peek2(Token![,]);
        return if constant { Err(wrong(&input.call(Ident::parse_any)?)) } else { Ok(None) };
    }
    let id = match input.parse()? {
        Lit::Int(id) if id.suffix().is_empty() => id,
        other => return Err(wrong(&other)),
    };
    if input.is_empty() {
        let text = format!(
            "the signature is missing after the id: write `{kind}({id}, name(argument: Type) -> Type)`"
        );
        return Err(Error::new_spanned(id, text));
    }
    if !input.peek(Token![,]) {
        return Err(input.error(format!("expected `,` after the id of the {kind}")));
    }
    input.parse::<Token![,]>()?;
    Ok(Some(id))
}

/// Reads the name and makes sure that parentheses follow.
fn parse_name(kind: Kind, keyword: &Ident, input: ParseStream) -> Result<Ident> {
    if input.is_empty() {
        return Err(Error::new_spanned(
            keyword,
            format!("the signature is missing: write {}", example(kind)),
        ));
    }
    if input.peek(Token![#]) {
        return Err(input.error(format!("doc comments and `#[deprecated]` stand before `{kind}(..)`")));
    }
    if input.peek(Token![fn]) || input.peek(Token![pub]) || input.peek(Token![async]) {
        return Err(input.error("the signature begins with the method's name: remove this"));
    }
    if !input.peek(Ident::peek_any) {
        return Err(input.error(format!("expected the name of the method that the {kind} calls")));
    }
    let name = input.call(Ident::parse_any)?;
    if syn::parse_str::<Ident>(&name.to_string()).is_err() {
        let text = match name.unraw().to_string().as_str() {
            "self" | "Self" | "super" | "crate" | "_" => format!("`{name}` cannot name a method"),
            _ => format!("`{name}` is a keyword: write `r#{name}`"),
        };
        return Err(Error::new_spanned(name, text));
    }
    if input.peek(Token![<]) {
        return Err(
            input.error(format!("a {kind} has one form on the wire and cannot be generic: remove this"))
        );
    }
    if !input.peek(Paren) {
        let text = format!("`{name}` has parentheses, also without arguments: write `{name}()`");
        return Err(Error::new_spanned(name, text));
    }
    Ok(name)
}

/// Reads `-> Type` and makes sure that nothing follows.
fn parse_output(name: &Ident, input: ParseStream) -> Result<Option<Type>> {
    let output = match input.parse::<Option<Token![->]>>()? {
        Some(arrow) if input.is_empty() => {
            let text =
                format!("the type that `{name}` returns is missing; leave `->` out when it returns nothing");
            return Err(Error::new_spanned(arrow, text));
        }
        Some(_) => Some(input.parse()?),
        None => None,
    };
    let comma: Option<Token![,]> = input.parse()?;
    if input.is_empty() {
        return Ok(output);
    }
    Err(input.error(match (&output, comma) {
        (None, None) => format!("expected `-> Type` or nothing after the arguments of `{name}`"),
        _ => format!("nothing may follow the signature of `{name}`: every item has a `command(..)` or `query(..)` of its own"),
    }))
}
