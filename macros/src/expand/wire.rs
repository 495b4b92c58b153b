//! The wire form of an enum: an id, then each field by itself.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::allowed;
use super::enums::{Enum, Field, Variant};
use super::generics::with_bounds;
use crate::model::Machine;

pub(super) fn implementation(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let (encode, decode, label) = (encode(machine, generated), decode(machine, generated), label(generated));
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

fn encode(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let signature = encode_signature(machine);
    let site = Span::mixed_site();
    if generated.variants.is_empty() {
        return quote_spanned! {site=>
            #signature {
                let _ = out;
                match *self {}
            }
        };
    }
    let krate = &machine.krate;
    let arms = generated.variants.iter().map(|variant| {
        let (pattern, id, label) = (pattern(variant), variant.item.id, &variant.item.label);
        let writes = variant.fields.iter().enumerate().map(|(place, field)| {
            let (binding, Field { label, ty, .. }) = (binding(place, field), field);
            quote_spanned!(site=> writer.argument::<#ty>(#label, #binding)?;)
        });
        let mutable = (!variant.fields.is_empty()).then(|| quote!(mut));
        let unused = variant.fields.is_empty().then(|| quote_spanned!(site=> let _ = writer;));
        quote_spanned! {site=>
            Self::#pattern => {
                let #mutable writer = #krate::state_machine::ArgumentWriter::new(out, #id, #label);
                #(#writes)*
                #unused
            }
        }
    });
    quote_spanned! {site=>
        #signature {
            match self { #(#arms)* }
            ::core::result::Result::Ok(())
        }
    }
}

fn decode(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let signature = decode_signature(machine);
    let site = Span::mixed_site();
    let (krate, word) = (&machine.krate, generated.word);
    let arms = generated.variants.iter().map(|variant| {
        let (pattern, id, label) = (pattern(variant), variant.item.id, &variant.item.label);
        let reads = variant.fields.iter().enumerate().map(|(place, field)| {
            let (binding, Field { label, ty, .. }) = (binding(place, field), field);
            quote_spanned!(site=> let #binding = reader.argument::<#ty>(#label)?;)
        });
        let mutable = (!variant.fields.is_empty()).then(|| quote!(mut));
        quote_spanned! {site=>
            #id => {
                let #mutable reader = reader.item(#label);
                #(#reads)*
                reader.finish()?;
                ::core::result::Result::Ok(Self::#pattern)
            }
        }
    });
    quote_spanned! {site=>
        #signature {
            let reader = #krate::state_machine::ArgumentReader::new(input)?;
            match reader.id() {
                #(#arms)*
                id => ::core::result::Result::Err(
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

/// `Open { owner: field0 }`: a pattern, and an expression too.
fn pattern(variant: &Variant<'_>) -> TokenStream {
    let name = &variant.item.variant;
    let fields = variant.fields.iter().enumerate().map(|(place, field)| {
        let (binding, member) = (binding(place, field), &field.member);
        quote!(#member: #binding)
    });
    quote!(#name { #(#fields),* })
}

/// The local variable for a field. An error about it shows at the field's type.
fn binding(place: usize, field: &Field<'_>) -> Ident {
    format_ident!("field{place}", span = Span::mixed_site().located_at(field.ty.span()))
}
