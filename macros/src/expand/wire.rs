//! The wire form of an enum: an id, then each field by itself, of the items that `items` takes apart.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::allowed;
use super::enums::Enum;
use super::generics::with_bounds;
use crate::model::Machine;

pub(super) fn implementation(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let (encode, decode, label) = (encode(machine), decode(machine, generated), label(generated));
    around(machine, generated, &quote!(#encode #decode #label))
}

/// The header of the impl around `methods`.
pub(crate) fn around(machine: &Machine, generated: &Enum<'_>, methods: &TokenStream) -> TokenStream {
    let (krate, name) = (&machine.krate, generated.name);
    let (_, parameters, _) = generated.generics.split_for_impl();
    let bounded = with_bounds(machine, &generated.generics);
    let (impl_parameters, _, where_clause) = bounded.split_for_impl();
    let allowed = allowed();
    quote! {
        #[automatically_derived]
        #allowed
        impl #impl_parameters #krate::state_machine::Wire for #name #parameters #where_clause {
            #methods
        }
    }
}

pub(crate) fn encode_signature(machine: &Machine) -> TokenStream {
    let krate = &machine.krate;
    quote_spanned! {Span::mixed_site()=>
        fn encode(
            &self,
            out: &mut ::std::vec::Vec<::core::primitive::u8>,
        ) -> ::core::result::Result<(), #krate::state_machine::EncodeError>
    }
}

pub(crate) fn decode_signature(machine: &Machine) -> TokenStream {
    let krate = &machine.krate;
    quote_spanned! {Span::mixed_site()=>
        fn decode(
            input: &[::core::primitive::u8],
        ) -> ::core::result::Result<Self, #krate::state_machine::DecodeError>
    }
}

fn encode(machine: &Machine) -> TokenStream {
    let signature = encode_signature(machine);
    let krate = &machine.krate;
    quote_spanned! {Span::mixed_site()=>
        #signature {
            let (id, label) = (#krate::state_machine::Items::id(self), #krate::state_machine::Wire::label(self));
            let mut writer = #krate::state_machine::ArgumentWriter::new(out, id, label);
            #krate::state_machine::Items::show(self, &mut writer)
        }
    }
}

fn decode(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let signature = decode_signature(machine);
    let (krate, word) = (&machine.krate, generated.word);
    quote_spanned! {Span::mixed_site()=>
        #signature {
            let mut reader = #krate::state_machine::ArgumentReader::new(input)?;
            let id = reader.id();
            match <Self as #krate::state_machine::Items>::make(id, &mut reader)? {
                ::core::option::Option::Some(made) => {
                    reader.finish()?;
                    ::core::result::Result::Ok(made)
                }
                ::core::option::Option::None => ::core::result::Result::Err(
                    #krate::state_machine::DecodeError::UnknownId { kind: #word, id },
                ),
            }
        }
    }
}

/// Shared with the fallback: it needs nothing of the fields' types.
pub(crate) fn label(generated: &Enum<'_>) -> TokenStream {
    let arms = generated.variants.iter().map(|variant| {
        let (name, label) = (&variant.item.variant, &variant.item.label);
        quote!(Self::#name { .. } => #label,)
    });
    let on = if generated.variants.is_empty() { quote!(*self) } else { quote!(self) };
    quote! {
        fn label(&self) -> &'static ::core::primitive::str {
            match #on { #(#arms)* }
        }
    }
}
