//! What is generated when the list has mistakes: everything that other code may name, without the
//! bodies, so that one mistake is one error and not a hundred.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::{client, enums, items, machine, wire};
use crate::model::{Kind, Machine};

/// The types, the impls and the client of what was right in the list.
pub(crate) fn items(machine: &Machine) -> TokenStream {
    // Nobody ever runs it: the mistake is an error.
    let body = quote!({ ::core::unreachable!("the derive has reported a mistake") });
    let mut tokens = TokenStream::new();
    for generated in &enums::all(machine) {
        tokens.extend(generated.definition());
        let (encode, decode) = (wire::encode_signature(machine), wire::decode_signature(machine));
        let label = wire::label(generated);
        let (make, show) = (items::make_signature(machine), items::show_signature(machine));
        tokens.extend(items::around(machine, generated, &quote!(#make #body #show #body)));
        tokens.extend(wire::around(machine, generated, &quote!(#encode #body #decode #body #label)));
    }
    let apply = machine::signature(machine, Kind::Command, false);
    let query = machine::signature(machine, Kind::Query, false);
    let state = machine.tables.is_none().then(|| {
        let [snapshot, write, restore] = machine::snapshot_signatures(machine);
        quote!(#snapshot #body #write #body #restore #body)
    });
    let methods = quote!(#apply #body #query #body #state);
    tokens.extend(machine::around(machine, &methods));
    tokens.extend(client::client(machine));
    tokens
}
