//! What may stand before an item or an argument.

use syn::Attribute;

use crate::ctxt::Ctxt;
use crate::model::Kind;

/// Takes the doc comments and `#[deprecated]` of an item; the rest is refused.
pub(super) fn of_item(cx: &Ctxt, kind: Kind, attrs: Vec<Attribute>) -> (Vec<Attribute>, Option<Attribute>) {
    let (mut docs, mut deprecated) = (Vec::new(), None);
    for attr in attrs {
        if attr.path().is_ident("doc") {
            docs.push(attr);
        } else if attr.path().is_ident("deprecated") && deprecated.is_none() {
            deprecated = Some(attr);
        } else if attr.path().is_ident("deprecated") {
            cx.error(attr, "`#[deprecated]` stands here twice");
        } else if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            cx.error(
                attr,
                format!("the list is the wire contract, the same in every build: a {kind} cannot depend on the configuration"),
            );
        } else {
            cx.error(attr, format!("only doc comments and `#[deprecated]` can stand before a {kind}"));
        }
    }
    (docs, deprecated)
}

/// Takes the doc comments of an argument; the rest is refused.
pub(super) fn of_argument(cx: &Ctxt, attrs: Vec<Attribute>) -> Vec<Attribute> {
    let (docs, others): (Vec<_>, Vec<_>) = attrs.into_iter().partition(|attr| attr.path().is_ident("doc"));
    for attr in others {
        cx.error(attr, "only doc comments can stand before an argument");
    }
    docs
}
