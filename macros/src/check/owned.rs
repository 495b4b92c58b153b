//! Types that can be stored, sent and read back: they own what they hold and have one form.

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

use crate::ctxt::Ctxt;

/// Refuses a type that borrows, or that does not say what it is. `what` is its place, as in
/// "an argument".
pub(super) fn check(cx: &Ctxt, what: &str, ty: &Type) {
    match first_fault(ty.to_token_stream()) {
        None => {}
        Some((_, Fault::Borrow)) if owned_instead(ty).is_some() => {
            cx.error(ty, format!("{what} is stored and sent, so it is owned: write `{}`", as_owned(ty)));
        }
        Some((token, Fault::Borrow)) => cx.error(
            token,
            format!("{what} is stored and sent, so it is owned: write `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`"),
        ),
        Some((token, Fault::Lifetime)) => {
            cx.error(token, format!("{what} is stored and sent, so it borrows nothing: write `'static` here, or an owned type"));
        }
        Some((token, Fault::Unnamed)) => {
            cx.error(token, format!("{what} has one form on the wire: name its type"));
        }
        Some((token, Fault::SelfType)) => {
            cx.error(token, "`Self` would be the generated enum here: write the type's own name");
        }
    }
}

enum Fault {
    Borrow,
    Lifetime,
    Unnamed,
    SelfType,
}

/// Finds what cannot be in such a type, and the token that shows it.
fn first_fault(tokens: TokenStream) -> Option<(TokenStream, Fault)> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let fault = match &token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => Fault::Borrow,
            TokenTree::Punct(punct) if punct.as_char() == '\'' && punct.spacing() == Spacing::Joint => {
                match tokens.next() {
                    Some(TokenTree::Ident(name)) if name == "static" => continue,
                    name => {
                        let lifetime = [token].into_iter().chain(name).collect();
                        return Some((lifetime, Fault::Lifetime));
                    }
                }
            }
            TokenTree::Ident(ident) if ident == "impl" || ident == "_" => Fault::Unnamed,
            TokenTree::Ident(ident) if ident == "Self" => Fault::SelfType,
            // The length of an array is an expression, where `&` means something else.
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let element = group
                    .stream()
                    .into_iter()
                    .take_while(|token| !matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';'));
                match first_fault(element.collect()) {
                    Some(found) => return Some(found),
                    None => continue,
                }
            }
            TokenTree::Group(group) => match first_fault(group.stream()) {
                Some(found) => return Some(found),
                None => continue,
            },
            _ => continue,
        };
        return Some((token.into(), fault));
    }
    None
}

/// Whether `Self` stands anywhere in `tokens`.
pub(super) fn mentions_self(tokens: impl ToTokens) -> bool {
    tokens.to_token_stream().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => mentions_self(group.stream()),
        _ => false,
    })
}

/// What a reference is when it is owned, in the cases where that is plain.
fn owned_instead(ty: &Type) -> Option<String> {
    let Type::Reference(reference) = ty else { return None };
    let owned = match &*reference.elem {
        Type::Slice(slice) => format!("Vec<{}>", pretty(&slice.elem)),
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        elem => pretty(elem),
    };
    Some(owned).filter(|_| first_fault(reference.elem.to_token_stream()).is_none())
}

/// A type as people write it, and owned when that is plain.
pub(super) fn as_owned(ty: &Type) -> String {
    owned_instead(ty).unwrap_or_else(|| pretty(ty))
}

/// A type as people write it.
pub(super) fn pretty(ty: &Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    let tight = [(" < ", "<"), (" >", ">"), (" :: ", "::"), (" ,", ","), ("& ", "&"), (" ;", ";")];
    tight.iter().fold(spaced, |text, (from, to)| text.replace(from, to))
}

/// Whether the type is this name and nothing else.
pub(super) fn as_ident(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.get_ident(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(ty: &str) -> Option<String> {
        let ty: Type = syn::parse_str(ty).expect("a type");
        first_fault(ty.to_token_stream()).map(|(token, _)| token.to_string())
    }

    #[test]
    fn what_borrows_or_is_not_named_is_found_inside_too() {
        for owned in ["String", "Vec<(u8, [u8; 4])>", "[u8; A & B]", "Cow<'static, str>", "a::b<C>"] {
            assert_eq!(fault(owned), None, "{owned}");
        }
        assert_eq!(fault("Vec<(u8, &str)>").as_deref(), Some("&"));
        assert_eq!(fault("[&str; 2]").as_deref(), Some("&"));
        assert_eq!(fault("Cow<'a, str>").as_deref(), Some("'a"));
        assert_eq!(fault("Option<_>").as_deref(), Some("_"));
        assert_eq!(fault("Box<impl Ord>").as_deref(), Some("impl"));
        assert_eq!(fault("Option<Self>").as_deref(), Some("Self"));
    }

    #[test]
    fn the_owned_type_is_named() {
        let owned = |ty: &str| owned_instead(&syn::parse_str(ty).expect("a type"));
        assert_eq!(owned("&str").as_deref(), Some("String"));
        assert_eq!(owned("&'a [Vec<u8>]").as_deref(), Some("Vec<Vec<u8>>"));
        assert_eq!(owned("&mut a::B<C, D>").as_deref(), Some("a::B<C, D>"));
        assert_eq!(owned("&Option<&str>"), None);
    }
}
