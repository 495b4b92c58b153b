//! `version = 3`, `crate = "path"`, `snapshot(..)`, and the other settings.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::token::Paren;
use syn::{Error, ExprPath, LitInt, LitStr, Path, Result, Token};

use super::similar::similar;
use super::{KEYWORDS, drain, parenthesized};
use crate::ast::{Setting, SnapshotPart, Value};
use crate::ctxt::Ctxt;

/// Reads what follows `keyword`.
pub(super) fn parse(cx: &Ctxt, keyword: Ident, input: ParseStream) -> Result<Setting> {
    let value = match keyword.to_string().as_str() {
        "crate" => Value::Crate(assigned(&keyword, input, "`crate = \"::quorate\"`", parse_crate)?),
        "name" => Value::Name(assigned(&keyword, input, "`name = \"bank\"`", <LitStr as Parse>::parse)?),
        "version" => Value::Version(assigned(&keyword, input, "`version = 2`", LitInt::parse)?),
        "deadline" => {
            Value::Deadline(assigned(&keyword, input, "`deadline = Self::next_deadline`", ExprPath::parse)?)
        }
        "bound" => Value::Bound(listed(&keyword, input, "`bound(V: Trait)`", |input| {
            Punctuated::parse_terminated(input).map_err(|error| {
                Error::new(error.span(), "a bound says what a parameter is: write `bound(V: Trait)`")
            })
        })?),
        "names" => Value::Names(listed(&keyword, input, "`names(client = Name)`", |input| {
            Ok(parts(cx, input, |_, input| input.parse()))
        })?),
        "snapshot" => Value::Snapshot(listed(
            &keyword,
            input,
            "`snapshot(type = Type, capture = path, write = path, restore = path)`",
            |input| parse_snapshot(cx, &keyword, input),
        )?),
        _ => return Err(unknown(&keyword)),
    };
    Ok(Setting { keyword, value })
}

fn unknown(keyword: &Ident) -> Error {
    let text = match similar(&keyword.to_string(), &KEYWORDS) {
        Some(known) => format!("`{keyword}` is not known here: did you mean `{known}`?"),
        None => format!("`{keyword}` is not known here: expected one of `{}`", KEYWORDS.join("`, `")),
    };
    Error::new_spanned(keyword, text)
}

/// Reads `= value`. Any mistake in it is answered with what to write.
fn assigned<T>(
    keyword: &Ident,
    input: ParseStream,
    example: &str,
    value: impl FnOnce(ParseStream) -> Result<T>,
) -> Result<T> {
    if !input.peek(Token![=]) {
        return Err(Error::new_spanned(keyword, format!("`{keyword}` has a value: write {example}")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new_spanned(keyword, format!("`{keyword}` has a value: write {example}")));
    }
    value(input).map_err(|error| {
        Error::new(error.span(), format!("this cannot be the value of `{keyword}`: write {example}"))
    })
}

/// Reads `(value)`.
fn listed<T>(
    keyword: &Ident,
    input: ParseStream,
    example: &str,
    value: impl FnOnce(ParseStream) -> Result<T>,
) -> Result<T> {
    if !input.peek(Paren) {
        return Err(Error::new_spanned(keyword, format!("`{keyword}` has parentheses: write {example}")));
    }
    let content = parenthesized(input)?;
    let value = value(&content);
    drain(&content)?;
    value
}

/// Reads `key = value, ..`.
fn parts<T>(
    cx: &Ctxt,
    input: ParseStream,
    value: impl Fn(&Ident, ParseStream) -> Result<T>,
) -> Vec<(Ident, T)> {
    let part = |input: ParseStream| {
        let key = input.call(Ident::parse_any)?;
        if !input.peek(Token![=]) {
            return Err(Error::new_spanned(&key, format!("`{key}` has a value: write `{key} = ..`")));
        }
        input.parse::<Token![=]>()?;
        let value = value(&key, input)?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        Ok((key, value))
    };
    let mut parts = Vec::new();
    while !input.is_empty() {
        match part(input) {
            Ok(found) => parts.push(found),
            Err(error) => {
                cx.push(error);
                break;
            }
        }
    }
    parts
}

fn parse_crate(input: ParseStream) -> Result<Path> {
    if input.peek(LitStr) {
        return input.parse::<LitStr>()?.parse_with(Path::parse_mod_style);
    }
    Path::parse_mod_style(input)
}

fn parse_snapshot(cx: &Ctxt, keyword: &Ident, input: ParseStream) -> Result<Vec<(Ident, SnapshotPart)>> {
    if input.is_empty() {
        let text = "nothing is said about the snapshot: leave `snapshot` out to use the default";
        return Err(Error::new_spanned(keyword, text));
    }
    Ok(parts(cx, input, parse_snapshot_part))
}

fn parse_snapshot_part(key: &Ident, input: ParseStream) -> Result<SnapshotPart> {
    let function = |input: ParseStream| {
        ExprPath::parse(input).map_err(|error| {
            Error::new(error.span(), format!("`{key}` is the path of a function, as in `Self::{key}_state`"))
        })
    };
    match key.to_string().as_str() {
        "type" => Ok(SnapshotPart::Type(input.parse()?)),
        "capture" => Ok(SnapshotPart::Capture(function(input)?)),
        "write" => Ok(SnapshotPart::Write(function(input)?)),
        "restore" => Ok(SnapshotPart::Restore(function(input)?)),
        _ => Err(Error::new_spanned(
            key,
            format!("a snapshot has no `{key}`: expected `type`, `capture`, `write` or `restore`"),
        )),
    }
}
