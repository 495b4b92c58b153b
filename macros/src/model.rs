//! A machine and its wire contract, free of mistakes and of syntax: what `expand` works from.
//!
//! A second front end, such as an attribute on the `impl` block, would end here too.

use std::fmt;

use proc_macro2::Ident;
use syn::{Attribute, ExprPath, Generics, Path, Type, Visibility, WherePredicate};

/// A type, and everything that is generated for it.
pub(crate) struct Machine {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    /// The type's own, without lifetimes.
    pub(crate) generics: Generics,
    /// What the generated impls ask of the type's parameters beyond `generics`.
    pub(crate) bounds: Vec<WherePredicate>,
    /// The path of quorate as the user sees it.
    pub(crate) krate: Path,
    pub(crate) name: String,
    pub(crate) version: u32,
    /// `fn(&Self, LogTime) -> Option<LogTime>`, with the tables between for a machine in tables;
    /// never by default.
    pub(crate) deadline: Option<ExprPath>,
    /// Where the state is when it is not in the value itself.
    pub(crate) tables: Option<Tables>,
    pub(crate) names: Names,
    pub(crate) commands: Vec<Item>,
    pub(crate) queries: Vec<Item>,
    pub(crate) snapshot: Snapshot,
}

/// What the generated types are called.
pub(crate) struct Names {
    pub(crate) command: Ident,
    pub(crate) response: Ident,
    pub(crate) query: Ident,
    pub(crate) answer: Ident,
    pub(crate) client: Ident,
}

/// Whether an item changes the state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Query,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A command or a query.
pub(crate) struct Item {
    /// Its doc comments.
    pub(crate) docs: Vec<Attribute>,
    pub(crate) deprecated: Option<Attribute>,
    pub(crate) id: u16,
    /// The inherent method, and the method of the client.
    pub(crate) method: Ident,
    /// The variant of the enums.
    pub(crate) variant: Ident,
    /// What it is called in messages.
    pub(crate) label: String,
    /// The user's `ctx`, when the method takes the context after `self`.
    pub(crate) context: Option<Ident>,
    pub(crate) arguments: Vec<Argument>,
    /// Unit is written out.
    pub(crate) output: Type,
}

/// An argument of a command or a query.
pub(crate) struct Argument {
    pub(crate) docs: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) label: String,
    pub(crate) ty: Type,
}

/// The tables of a machine on a disk.
pub(crate) struct Tables {
    /// The crate whose tables they are, as the user sees it.
    pub(crate) layer: Path,
    pub(crate) tables: Vec<ExprPath>,
}

/// How the state is captured, written and restored. `None` is the default each time.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// The type of a captured state; the machine itself by default.
    pub(crate) ty: Option<Type>,
    /// `fn(&Self) -> Type`; `Clone` by default.
    pub(crate) capture: Option<ExprPath>,
    /// Postcard by default.
    pub(crate) form: Option<Form>,
}

/// A form of snapshots other than postcard.
pub(crate) struct Form {
    /// `fn(Type, &mut dyn Write) -> io::Result<()>`.
    pub(crate) write: ExprPath,
    /// `fn(&mut Self, &mut dyn Read) -> Result<(), RestoreError>`.
    pub(crate) restore: ExprPath,
}
