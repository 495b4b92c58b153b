//! From `model` to code. What is generated next to the type: four enums, their items and their wire form, the
//! impls of `StateMachine` and `Service`, and the client.
//!
//! Generated code names everything by absolute paths, so that nothing in the user's module can get
//! in its way; its local variables have the hygiene of `mixed_site`.

pub(crate) mod client;
pub(crate) mod enums;
pub(crate) mod generics;
pub(crate) mod items;
pub(crate) mod machine;
pub(crate) mod wire;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::Machine;

/// Everything for a machine without mistakes.
pub(crate) fn machine(machine: &Machine) -> TokenStream {
    let enums = enums::all(machine);
    let mut tokens = TokenStream::new();
    for generated in &enums {
        tokens.extend(generated.definition());
        tokens.extend(items::implementation(machine, generated));
        tokens.extend(wire::implementation(machine, generated));
    }
    tokens.extend(machine::implementation(machine));
    tokens.extend(client::client(machine));
    tokens
}

/// What the user could not mend in generated code: it uses deprecated items, not every item is
/// used, and the shape of a signature is that of the list.
pub(crate) fn allowed() -> TokenStream {
    quote!(#[allow(dead_code, deprecated, non_camel_case_types, clippy::all, clippy::pedantic, clippy::nursery)])
}
