//! The items of an enum: made of their arguments, and taken apart into them. The one place that asks
//! anything of the arguments' types, so that a type which lacks it is one error for each use.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::allowed;
use super::enums::{Enum, Field, Variant};
use super::generics::with_bounds;
use crate::model::Machine;

pub(super) fn implementation(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let (make, show) = (make(machine, generated), show(machine, generated));
    around(machine, generated, &quote!(#make #show))
}

/// The header of the impl around `make` and `show`.
pub(crate) fn around(machine: &Machine, generated: &Enum<'_>, methods: &TokenStream) -> TokenStream {
    let (krate, name) = (&machine.krate, generated.name);
    let (_, parameters, _) = generated.generics.split_for_impl();
    let bounded = with_bounds(machine, &generated.generics);
    let (impl_parameters, _, where_clause) = bounded.split_for_impl();
    let allowed = allowed();
    let items = generated.variants.iter().map(|variant| {
        let (id, label) = (variant.item.id, &variant.item.label);
        quote!((#id, #label))
    });
    let arms = generated.variants.iter().map(|variant| {
        let (id, name) = (variant.item.id, &variant.item.variant);
        quote!(Self::#name { .. } => #id,)
    });
    let on = on(generated, Span::call_site());
    quote! {
        #[automatically_derived]
        #allowed
        impl #impl_parameters #krate::state_machine::Items for #name #parameters #where_clause {
            const ITEMS: &'static [(::core::primitive::u16, &'static ::core::primitive::str)] = &[#(#items),*];

            fn id(&self) -> ::core::primitive::u16 {
                match #on { #(#arms)* }
            }

            #methods
        }
    }
}

/// An enum without variants can be matched only by value.
fn on(generated: &Enum<'_>, site: Span) -> TokenStream {
    if generated.variants.is_empty() { quote_spanned!(site=> *self) } else { quote_spanned!(site=> self) }
}

pub(crate) fn make_signature(machine: &Machine) -> TokenStream {
    let krate = &machine.krate;
    quote_spanned! {Span::mixed_site()=>
        fn make<__Source: #krate::state_machine::ArgumentSource>(
            id: ::core::primitive::u16,
            source: &mut __Source,
        ) -> ::core::result::Result<::core::option::Option<Self>, __Source::Error>
    }
}

pub(crate) fn show_signature(machine: &Machine) -> TokenStream {
    let krate = &machine.krate;
    quote_spanned! {Span::mixed_site()=>
        fn show<__Sink: #krate::state_machine::ArgumentSink>(
            &self,
            sink: &mut __Sink,
        ) -> ::core::result::Result<(), __Sink::Error>
    }
}

fn make(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let signature = make_signature(machine);
    let (krate, site) = (&machine.krate, Span::mixed_site());
    let arms = generated.variants.iter().map(|variant| {
        let (pattern, id, label) = (pattern(variant), variant.item.id, &variant.item.label);
        let reads = variant.fields.iter().enumerate().map(|(place, field)| {
            let (binding, Field { label, ty, .. }) = (binding(place, field), field);
            quote_spanned! {site=>
                let #binding = #krate::state_machine::ArgumentSource::argument::<#ty>(source, #label)?;
            }
        });
        quote_spanned! {site=>
            #id => {
                #krate::state_machine::ArgumentSource::begin(source, #label);
                #(#reads)*
                ::core::result::Result::Ok(::core::option::Option::Some(Self::#pattern))
            }
        }
    });
    let unused = generated.variants.is_empty().then(|| quote_spanned!(site=> let _ = source;));
    quote_spanned! {site=>
        #signature {
            #unused
            match id {
                #(#arms)*
                _ => ::core::result::Result::Ok(::core::option::Option::None),
            }
        }
    }
}

fn show(machine: &Machine, generated: &Enum<'_>) -> TokenStream {
    let signature = show_signature(machine);
    let (krate, site) = (&machine.krate, Span::mixed_site());
    let arms = generated.variants.iter().map(|variant| {
        let pattern = pattern(variant);
        let shows = variant.fields.iter().enumerate().map(|(place, field)| {
            let (binding, Field { label, ty, .. }) = (binding(place, field), field);
            quote_spanned! {site=>
                #krate::state_machine::ArgumentSink::argument::<#ty>(sink, #label, #binding)?;
            }
        });
        quote_spanned!(site=> Self::#pattern => { #(#shows)* })
    });
    let (on, finish) = (on(generated, site), quote_spanned!(site=> ::core::result::Result::Ok(())));
    let finish = (!generated.variants.is_empty()).then_some(finish);
    quote_spanned! {site=>
        #signature {
            let _ = &sink;
            match #on { #(#arms)* }
            #finish
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
