//! The parameters of a generated type: those of the machine's that it uses.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericParam, Generics, Type, WherePredicate};

use crate::model::Machine;

/// The machine's parameters that `types` name, with the bounds that speak of no other. A parameter
/// that an enum does not use would be an error in it.
pub(super) fn used_by<'a>(machine: &Machine, types: impl Iterator<Item = &'a Type>) -> Generics {
    let mut named = BTreeSet::new();
    types.for_each(|ty| names(ty.to_token_stream(), &mut named));
    let (used, unused): (Vec<_>, Vec<_>) =
        machine.generics.params.iter().cloned().partition(|param| named.contains(&ident(param)));
    let unused: BTreeSet<_> = unused.iter().map(ident).collect();

    let mut generics = machine.generics.clone();
    generics.params = used.into_iter().map(|param| without_others(param, &unused)).collect();
    generics.where_clause = None;
    let predicates: Vec<_> =
        machine.generics.where_clause.iter().flat_map(|clause| &clause.predicates).collect();
    let kept = predicates.into_iter().filter(|predicate| speaks_of_none(predicate, &unused)).cloned();
    extend_where(&mut generics, kept);
    generics
}

/// `generics` and what the generated impls ask beyond them.
pub(super) fn with_bounds(machine: &Machine, generics: &Generics) -> Generics {
    let missing: BTreeSet<_> = {
        let present: BTreeSet<_> = generics.params.iter().map(ident).collect();
        machine.generics.params.iter().map(ident).filter(|param| !present.contains(param)).collect()
    };
    let mut generics = generics.clone();
    let bounds = machine.bounds.iter().filter(|bound| speaks_of_none(bound, &missing)).cloned();
    extend_where(&mut generics, bounds);
    generics
}

fn extend_where(generics: &mut Generics, predicates: impl Iterator<Item = WherePredicate>) {
    let mut predicates = predicates.peekable();
    if predicates.peek().is_some() {
        generics.make_where_clause().predicates.extend(predicates);
    }
}

fn ident(param: &GenericParam) -> String {
    match param {
        GenericParam::Lifetime(param) => param.lifetime.to_string(),
        GenericParam::Type(param) => param.ident.to_string(),
        GenericParam::Const(param) => param.ident.to_string(),
    }
}

/// Takes off the default, which may name a parameter that is gone, and such bounds.
fn without_others(mut param: GenericParam, unused: &BTreeSet<String>) -> GenericParam {
    match &mut param {
        GenericParam::Type(param) => {
            param.default = None;
            let bounds = std::mem::take(&mut param.bounds);
            param.bounds = bounds.into_iter().filter(|bound| speaks_of_none(bound, unused)).collect();
        }
        GenericParam::Const(param) => param.default = None,
        GenericParam::Lifetime(_) => {}
    }
    param
}

/// Whether no name in `tokens` is one of `names`, nor `Self`, which is another type in an enum.
fn speaks_of_none(tokens: impl ToTokens, others: &BTreeSet<String>) -> bool {
    let mut found = BTreeSet::new();
    names(tokens.to_token_stream(), &mut found);
    !found.contains("Self") && found.is_disjoint(others)
}

/// Collects the names in `tokens`, except those that stand behind `::` and mean something in
/// another place.
fn names(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Ident(ident) if colons < 2 => {
                found.insert(ident.to_string());
            }
            TokenTree::Group(group) => names(group.stream(), found),
            _ => {}
        }
        colons = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_a_path_is_not_a_parameter() {
        let mut found = BTreeSet::new();
        names("Map<K, <V as time::T>::Out>: Into<[u8; N]>".parse().expect("tokens"), &mut found);
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["Into", "K", "Map", "N", "V", "as", "time", "u8"]);
    }
}
