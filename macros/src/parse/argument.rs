//! `(ctx, owner: String)`.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Error, Result, Token};

use super::skip_to_comma;
use crate::ast::Argument;
use crate::ctxt::Ctxt;

/// Reads the arguments of `method`; `None` when one of them is wrong, which is reported already.
pub(super) fn parse_all(cx: &Ctxt, method: &Ident, input: ParseStream) -> Result<Option<Vec<Argument>>> {
    let before = cx.len();
    let mut arguments = Vec::new();
    while !input.is_empty() {
        match parse_one(method, input) {
            Ok(argument) => arguments.push(argument),
            Err(error) => {
                cx.push(error);
                skip_to_comma(input)?;
            }
        }
        input.parse::<Option<Token![,]>>()?;
    }
    Ok((cx.len() == before).then_some(arguments))
}

fn parse_one(method: &Ident, input: ParseStream) -> Result<Argument> {
    let attrs = input.call(Attribute::parse_outer)?;
    if input.peek(Token![mut]) {
        return Err(input.error("an argument of the list is a name and a type: remove `mut`"));
    }
    let receiver = input.fork();
    receiver.parse::<Option<Token![&]>>()?;
    receiver.parse::<Option<Token![mut]>>()?;
    if receiver.peek(Token![self]) {
        let text = "`self` is understood: a command's method takes `&mut self`, a query's `&self`";
        let mut tokens = TokenStream::new();
        while !input.is_empty() && !input.peek(Token![,]) {
            tokens.extend([input.parse::<TokenTree>()?]);
        }
        return Err(Error::new_spanned(tokens, text));
    }
    let named = input.peek(Ident::peek_any) && input.peek2(Token![:]) && !input.peek2(Token![::]);
    if !named {
        if let Some(attr) = attrs.first() {
            return Err(Error::new_spanned(attr, "only an argument with a name and a type has attributes"));
        }
        let argument = Argument::Bare(input.parse()?);
        if !(input.is_empty() || input.peek(Token![,])) {
            return Err(input.error(format!("expected `name: Type` as an argument of `{method}`")));
        }
        return Ok(argument);
    }
    let name = input.call(Ident::parse_any)?;
    input.parse::<Token![:]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new_spanned(
            &name,
            format!("the type of `{name}` is missing: write `{name}: Type`"),
        ));
    }
    if syn::parse_str::<Ident>(&name.to_string()).is_err() {
        let text = match name.to_string().as_str() {
            "_" => "an argument has a name, which its field in the generated enum gets".to_owned(),
            "Self" | "super" | "crate" => format!("`{name}` cannot name an argument"),
            _ => format!("`{name}` is a keyword: write `r#{name}`"),
        };
        return Err(Error::new_spanned(name, text));
    }
    let ty = input.parse()?;
    if !(input.is_empty() || input.peek(Token![,])) {
        return Err(input.error(format!("expected `,` or `)` after the type of `{name}`")));
    }
    Ok(Argument::Named { attrs, name, ty })
}
