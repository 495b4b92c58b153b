//! The client: a method per command and query, typed to what that one returns.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::allowed;
use super::enums::docs_or;
use super::generics::with_bounds;
use crate::model::{Argument, Item, Kind, Machine, Tables};

pub(crate) fn client(machine: &Machine) -> TokenStream {
    let Machine { ident, vis, generics, .. } = machine;
    let client = &machine.names.client;
    let (_, parameters, definition_where) = generics.split_for_impl();
    let untyped = untyped(machine);
    let doc =
        format!("A client of `{ident}`: a method per command and query. Works on any node; cheap to clone.");
    let traits = traits(machine);
    let settings = settings(machine);
    let commands = machine.commands.iter().map(|item| method(machine, Kind::Command, item));
    let queries = machine.queries.iter().map(|item| method(machine, Kind::Query, item));
    let bounded = with_bounds(machine, generics);
    let (impl_parameters, _, where_clause) = bounded.split_for_impl();
    let allowed = allowed();
    quote! {
        #[doc = #doc]
        #allowed
        #vis struct #client #generics #definition_where {
            inner: #untyped,
        }

        #traits

        #allowed
        impl #impl_parameters #client #parameters #where_clause {
            #settings
            #(#commands)*
            #(#queries)*
        }
    }
}

/// The client of commands and queries below: `Client<Bank>`.
fn untyped(machine: &Machine) -> TokenStream {
    let Machine { ident, generics, krate, .. } = machine;
    let (_, parameters, _) = generics.split_for_impl();
    let state = machine.tables.as_ref().map_or_else(
        || quote!(#ident #parameters),
        |Tables { layer, .. }| quote!(#layer::RedbMachine<#ident #parameters>),
    );
    quote!(#krate::client::Client<#state>)
}

fn traits(machine: &Machine) -> TokenStream {
    let generics = &machine.generics;
    let client = &machine.names.client;
    let label = client.to_string();
    let (impl_parameters, parameters, where_clause) = generics.split_for_impl();
    let untyped = untyped(machine);
    let site = Span::mixed_site();
    quote_spanned! {site=>
        #[automatically_derived]
        impl #impl_parameters ::core::clone::Clone for #client #parameters #where_clause {
            fn clone(&self) -> Self {
                Self { inner: ::core::clone::Clone::clone(&self.inner) }
            }
        }

        #[automatically_derived]
        impl #impl_parameters ::core::fmt::Debug for #client #parameters #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_tuple(#label).field(&self.inner).finish()
            }
        }

        #[automatically_derived]
        impl #impl_parameters ::core::convert::From<#untyped> for #client #parameters #where_clause {
            fn from(inner: #untyped) -> Self {
                Self { inner }
            }
        }

        #[automatically_derived]
        impl #impl_parameters ::core::convert::From<#client #parameters> for #untyped #where_clause {
            fn from(client: #client #parameters) -> Self {
                client.inner
            }
        }
    }
}

/// The methods that every client has.
fn settings(machine: &Machine) -> TokenStream {
    let Machine { vis, krate, names, .. } = machine;
    let untyped = untyped(machine);
    let doc = format!(
        "The client below this one. Its `write` takes a `{}` and tells the position of the write.",
        names.command
    );
    let site = Span::mixed_site();
    quote_spanned! {site=>
        #[doc = #doc]
        #[must_use]
        #vis fn as_client(&self) -> &#untyped {
            &self.inner
        }

        /// The same client with this deadline for every call.
        #[must_use]
        #vis fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self { inner: self.inner.with_timeout(timeout) }
        }

        /// The same client in a session of its own, shared by its clones: a command is applied once, however
        /// often it has to be sent. It ends once it was idle for `idle` on the log's clock.
        #[must_use]
        #vis fn with_session(self, idle: ::core::time::Duration) -> Self {
            Self { inner: self.inner.with_session(idle) }
        }

        /// The same client with this consistency for every query.
        #[must_use]
        #vis fn with_consistency(self, consistency: #krate::client::Consistency) -> Self {
            Self { inner: self.inner.with_consistency(consistency) }
        }
    }
}

fn method(machine: &Machine, kind: Kind, item: &Item) -> TokenStream {
    let Machine { vis, krate, names, .. } = machine;
    let Item { docs, deprecated, id, method, variant, label, output, .. } = item;
    let site = Span::mixed_site();
    let docs = docs_or(docs, &format!("The {kind} `{label}`, id {id}."));
    let (request, reply, items, call, typed) = match kind {
        Kind::Command => {
            (&names.command, &names.response, &machine.commands, quote!(write), quote!(response))
        }
        Kind::Query => (&names.query, &names.answer, &machine.queries, quote!(read), quote!(answer)),
    };
    let (error, errors) = match kind {
        Kind::Command => (quote!(WriteError), "`WriteError` tells *not applied* from *outcome unknown*."),
        Kind::Query => (quote!(ReadError), "`ReadError` says why it was not served."),
    };
    let names = item.arguments.iter().map(|argument| &argument.name);
    let arguments = item.arguments.iter().map(|Argument { name, ty, .. }| quote!(#name: #ty));
    // With one item there is no other.
    let other =
        (items.len() > 1).then(|| quote_spanned!(site=> other => ::core::result::Result::Err(other),));
    quote_spanned! {site=>
        #docs
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = #errors]
        #deprecated
        #vis async fn #method(
            &self,
            #(#arguments,)*
        ) -> ::core::result::Result<#output, #krate::error::#error> {
            let call = self.inner.#call(&#request::#variant { #(#names),* });
            #krate::__private::#typed(call.await, #label, |reply| match reply {
                #reply::#variant(reply) => ::core::result::Result::Ok(reply),
                #other
            })
        }
    }
}
