//! The conformance kits fail plugins that are broken on purpose: a test for each, named for what it
//! does wrong, over a sound plugin that passes the whole kit.
//!
//! A kit that never caught anything proves nothing. Each test names the cases that must fail and what
//! they must find, so that a plugin that is broken in some other way, too, is not taken for a success.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests run on real threads, and one machine here iterates a hash map on purpose"
)]

/// A way to be broken: a type, and what it overrides of the trait `Break` in scope.
macro_rules! broken {
    ($name:ident: $($what:tt)*) => {
        struct $name;

        impl Break for $name {
            $($what)*
        }
    };
}

mod machine;
mod storage;
mod transport;
mod verdict;
