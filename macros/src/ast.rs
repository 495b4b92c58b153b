//! The syntax of `#[raft(..)]` as the user wrote it: every shape that the grammar allows, whether
//! it makes sense or not. What it means is the business of `check`.

use proc_macro2::Ident;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Data, ExprPath, Generics, LitInt, LitStr, Path, Token, Type, Visibility, WherePredicate,
};

use crate::model::Kind;

/// A type with the derive on it.
pub(crate) struct Input {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) generics: Generics,
    pub(crate) data: Data,
    /// Whether there is a `#[raft]` at all.
    pub(crate) listed: bool,
    /// What stands in all of its `#[raft(..)]`, in order.
    pub(crate) entries: Vec<Entry>,
}

/// One part of the list.
pub(crate) enum Entry {
    Item(Box<Item>),
    Setting(Setting),
}

/// `command(1, open(owner: String) -> AccountId)`.
pub(crate) struct Item {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) kind: Kind,
    /// `None` when the user forgot it.
    pub(crate) id: Option<LitInt>,
    pub(crate) name: Ident,
    pub(crate) arguments: Vec<Argument>,
    /// `None` stands for unit.
    pub(crate) output: Option<Type>,
}

/// What stands between the parentheses of a signature.
pub(crate) enum Argument {
    /// `name: Type`.
    Named { attrs: Vec<Attribute>, name: Ident, ty: Type },
    /// A type or a name by itself. Right only for `ctx`.
    Bare(Type),
}

/// `version = 3`, `bound(V: Ord)`.
pub(crate) struct Setting {
    pub(crate) keyword: Ident,
    pub(crate) value: Value,
}

/// The value of a setting.
pub(crate) enum Value {
    Crate(Path),
    Name(LitStr),
    Version(LitInt),
    Deadline(ExprPath),
    Bound(Punctuated<WherePredicate, Token![,]>),
    Names(Vec<(Ident, Ident)>),
    Snapshot(Vec<(Ident, SnapshotPart)>),
    Tables(Path, Punctuated<ExprPath, Token![,]>),
}

/// `capture = Self::view`.
pub(crate) enum SnapshotPart {
    Type(Type),
    Capture(ExprPath),
    Write(ExprPath),
    Restore(ExprPath),
}
