//! The impls of `StateMachine` (or of `TableMachine`) and `Service`: which method a command or a query calls, and the
//! snapshot.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ExprPath, Path};

use super::generics::with_bounds;
use super::{allowed, enums};
use crate::model::{Argument, Form, Item, Kind, Machine, Tables};

pub(super) fn implementation(machine: &Machine) -> TokenStream {
    let (apply, query) = (dispatch(machine, Kind::Command), dispatch(machine, Kind::Query));
    let snapshot = machine.tables.is_none().then(|| snapshot(machine));
    let deadline = deadline(machine);
    around(machine, &quote!(#apply #query #snapshot #deadline))
}

/// The headers of the impls, with constants and types, around `methods`.
pub(crate) fn around(machine: &Machine, methods: &TokenStream) -> TokenStream {
    let Machine { ident, krate, name, version, names, .. } = machine;
    let (_, parameters, _) = machine.generics.split_for_impl();
    let bounded = with_bounds(machine, &machine.generics);
    let (impl_parameters, _, where_clause) = bounded.split_for_impl();
    let [command, response, query, answer] = enums::all(machine).map(|generated| generated.path());
    let client = &names.client;
    let allowed = allowed();
    let types = quote! {
        type Command = #command;
        type Response = #response;
        type Query = #query;
        type Answer = #answer;
    };
    let (contract, service, state) = if let Some(Tables { layer, tables }) = &machine.tables {
        let tables = quote! {
            const TABLES: &'static [&'static dyn #layer::DeclaredTable] = &[#(&#tables),*];
        };
        (quote!(#layer::TableMachine), quote!(#layer::TableService), tables)
    } else {
        let snapshot = snapshot_type(machine);
        let contract = quote!(#krate::state_machine::StateMachine);
        (contract, quote!(#krate::state_machine::Service), quote!(type Snapshot = #snapshot;))
    };
    quote! {
        #[automatically_derived]
        #allowed
        impl #impl_parameters #contract for #ident #parameters #where_clause {
            const NAME: &'static ::core::primitive::str = #name;
            const VERSION: ::core::primitive::u32 = #version;
            #types
            #state
            #methods
        }

        #[automatically_derived]
        impl #impl_parameters #service for #ident #parameters #where_clause {
            type Client = #client #parameters;
        }
    }
}

/// The signature of `apply` or `query`, with `_` for a context that nobody takes.
pub(crate) fn signature(machine: &Machine, kind: Kind, context: bool) -> TokenStream {
    let site = Span::mixed_site();
    let krate = &machine.krate;
    let [command, response, query, answer] = enums::all(machine).map(|generated| generated.path());
    let context = if context { quote_spanned!(site=> context) } else { quote_spanned!(site=> _) };
    if let Some(Tables { layer, .. }) = &machine.tables {
        return match kind {
            Kind::Command => quote_spanned! {site=>
                fn apply(
                    &self,
                    tables: &#layer::WriteTables<'_>,
                    #context: &mut #krate::state_machine::ApplyContext,
                    request: #command,
                ) -> ::core::result::Result<#response, #layer::TableError>
            },
            Kind::Query => quote_spanned! {site=>
                fn query(
                    &self,
                    tables: &#layer::ReadTables<'_>,
                    #context: &#krate::state_machine::QueryContext,
                    request: #query,
                ) -> ::core::result::Result<#answer, #layer::TableError>
            },
        };
    }
    match kind {
        Kind::Command => quote_spanned! {site=>
            fn apply(
                &mut self,
                #context: &mut #krate::state_machine::ApplyContext,
                request: #command,
            ) -> #response
        },
        Kind::Query => quote_spanned! {site=>
            fn query(&self, #context: &#krate::state_machine::QueryContext, request: #query) -> #answer
        },
    }
}

fn dispatch(machine: &Machine, kind: Kind) -> TokenStream {
    let (items, request, reply) = match kind {
        Kind::Command => (&machine.commands, &machine.names.command, &machine.names.response),
        Kind::Query => (&machine.queries, &machine.names.query, &machine.names.answer),
    };
    let signature = signature(machine, kind, items.iter().any(|item| item.context.is_some()));
    let arms = items.iter().map(|item| {
        let variant = &item.variant;
        let fields = item.arguments.iter().enumerate().map(|(place, argument)| {
            let (name, binding) = (&argument.name, binding(place, argument));
            quote!(#name: #binding)
        });
        let call = call(machine, item);
        let reply = quote_spanned!(Span::mixed_site()=> #reply::#variant(#call));
        let reply = match &machine.tables {
            Some(_) => quote!(::core::result::Result::Ok(#reply)),
            None => reply,
        };
        quote_spanned! {Span::mixed_site()=>
            #request::#variant { #(#fields),* } => #reply,
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #signature {
            match request { #(#arms)* }
        }
    }
}

/// `returned::<AccountId, _>(Self::open(self, context, field0))`.
///
/// A path and not a method call, because no trait of the user's can get before the inherent method
/// then, and because rustc shows where the method is defined when an argument does not fit. The call
/// is located at the name in the list, an argument at its type, and `returned` at the type returned,
/// so that rustc shows those.
fn call(machine: &Machine, item: &Item) -> TokenStream {
    let at = |span: Span| Span::mixed_site().located_at(span);
    let at_name = at(item.method.span());
    let mut method = item.method.clone();
    method.set_span(Span::call_site().located_at(item.method.span()));
    let receiver = Ident::new("self", at_name);
    let context = item.context.as_ref().map(|context| Ident::new("context", at(context.span())));
    let fields = item.arguments.iter().enumerate().map(|(place, argument)| binding(place, argument));
    let tables = machine.tables.as_ref().map(|_| Ident::new("tables", at_name));
    let arguments = [receiver].into_iter().chain(tables).chain(context).chain(fields);
    let mut parentheses = Group::new(Delimiter::Parenthesis, quote_spanned!(at_name=> #(#arguments),*));
    parentheses.set_span(at_name);
    let call = quote_spanned!(at_name=> Self::#method #parentheses);

    let (output, at_output) = (&item.output, at(item.output.span()));
    let krate = located(&machine.krate, at_output);
    let Some(Tables { layer, .. }) = &machine.tables else {
        return quote_spanned! {at_output=> #krate::__private::returned::<#output, _>(#call) };
    };
    let layer = located(layer, at_output);
    quote_spanned! {at_output=>
        #krate::__private::returned::<::core::result::Result<#output, #layer::TableError>, _>(#call)?
    }
}

/// The same path, located at `span`, where an error about it shows then.
fn located(path: &Path, span: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    tokens.collect()
}

fn binding(place: usize, argument: &Argument) -> Ident {
    format_ident!("field{place}", span = Span::mixed_site().located_at(argument.ty.span()))
}

fn deadline(machine: &Machine) -> Option<TokenStream> {
    let krate = &machine.krate;
    let function = machine.deadline.as_ref()?;
    let (time, next) =
        (quote!(#krate::types::LogTime), quote!(::core::option::Option<#krate::types::LogTime>));
    if let Some(Tables { layer, .. }) = &machine.tables {
        let (read, next) =
            (quote!(#layer::ReadTables<'_>), quote!(::core::result::Result<#next, #layer::TableError>));
        return Some(quote_spanned! {Span::mixed_site()=>
            fn deadline(&self, tables: &#read, now: #time) -> #next {
                // The annotation shows a function of another type as a whole.
                let function: fn(&Self, &#read, #time) -> #next = #function;
                function(self, tables, now)
            }
        });
    }
    Some(quote_spanned! {Span::mixed_site()=>
        fn deadline(&self, now: #time) -> #next {
            // The annotation shows a function of another type as a whole.
            let function: fn(&Self, #time) -> #next = #function;
            function(self, now)
        }
    })
}

fn snapshot_type(machine: &Machine) -> TokenStream {
    machine.snapshot.ty.as_ref().map_or_else(|| quote!(Self), ToTokens::to_token_stream)
}

/// The signatures of `snapshot`, `write` and `restore`.
pub(crate) fn snapshot_signatures(machine: &Machine) -> [TokenStream; 3] {
    let krate = &machine.krate;
    let ty = snapshot_type(machine);
    let site = Span::mixed_site();
    [
        quote_spanned!(site=> fn snapshot(&self) -> #ty),
        quote_spanned! {site=>
            fn write(snapshot: #ty, out: &mut dyn ::std::io::Write) -> ::std::io::Result<()>
        },
        quote_spanned! {site=>
            fn restore(
                &mut self,
                input: &mut dyn ::std::io::Read,
            ) -> ::core::result::Result<(), #krate::error::RestoreError>
        },
    ]
}

fn snapshot(machine: &Machine) -> TokenStream {
    let [snapshot, write, restore] = snapshot_signatures(machine);
    let site = Span::mixed_site();
    // A missing trait shows at the type's name.
    let ident = &machine.ident;
    let (_, parameters, _) = machine.generics.split_for_impl();
    let at_name = site.located_at(ident.span());
    let krate = located(&machine.krate, at_name);
    let default = |name: &str, method: &str| {
        let (name, method) = (Ident::new(name, at_name), Ident::new(method, at_name));
        quote_spanned!(at_name=> <#ident #parameters as #krate::__private::#name>::#method)
    };
    let (capture, save, load) =
        (default("Capture", "capture"), default("Save", "save"), default("Load", "load"));
    let capture = match &machine.snapshot.capture {
        None => quote_spanned!(site=> #capture(self)),
        Some(path) => call_of(path, quote_spanned!(site=> self)),
    };
    let (write_body, restore_body) = match &machine.snapshot.form {
        None => (
            quote_spanned!(site=> #save(&snapshot, out)),
            quote_spanned! {site=>
                *self = #load(input)?;
                ::core::result::Result::Ok(())
            },
        ),
        Some(Form { write, restore }) => (
            call_of(write, quote_spanned!(site=> snapshot, out)),
            call_of(restore, quote_spanned!(site=> self, input)),
        ),
    };
    quote_spanned! {site=>
        #snapshot { #capture }
        #write { #write_body }
        #restore { #restore_body }
    }
}

/// A call that shows as a whole at `path` when its type is wrong.
fn call_of(path: &ExprPath, arguments: TokenStream) -> TokenStream {
    let last = path.path.segments.last().map_or_else(|| path.span(), |segment| segment.ident.span());
    let mut parentheses = Group::new(Delimiter::Parenthesis, arguments);
    parentheses.set_span(last);
    quote!(#path #parentheses)
}
