//! Where every stage reports mistakes, so that the user sees all of them at once.

use std::cell::RefCell;
use std::fmt::Display;

use quote::ToTokens;
use syn::Error;

/// Collects errors. Whoever makes one must read it with [`Ctxt::finish`]: a mistake that nobody
/// reports would become a machine with a piece missing.
pub(crate) struct Ctxt {
    errors: RefCell<Option<Vec<Error>>>,
}

impl Ctxt {
    pub(crate) fn new() -> Self {
        Self { errors: RefCell::new(Some(Vec::new())) }
    }

    /// Reports a mistake on `tokens`, which are the user's own. `message` says what to write.
    pub(crate) fn error(&self, tokens: impl ToTokens, message: impl Display) {
        self.push(Error::new_spanned(tokens, message));
    }

    /// Reports a mistake that the parser found.
    pub(crate) fn push(&self, error: Error) {
        self.errors.borrow_mut().as_mut().expect("the errors are still being collected").push(error);
    }

    /// How many mistakes there are so far.
    pub(crate) fn len(&self) -> usize {
        self.errors.borrow().as_ref().map_or(0, Vec::len)
    }

    /// Ends the collection.
    pub(crate) fn finish(self) -> Vec<Error> {
        self.errors.take().expect("the errors are read once")
    }
}

impl Drop for Ctxt {
    fn drop(&mut self) {
        let forgotten = self.errors.borrow().is_some();
        assert!(!forgotten || std::thread::panicking(), "the collected errors were never read");
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::{Ident, Span};

    use super::*;

    #[test]
    fn errors_come_back_in_order() {
        let cx = Ctxt::new();
        cx.error(Ident::new("a", Span::call_site()), "first");
        cx.push(Error::new(Span::call_site(), "second"));
        assert_eq!(cx.len(), 2);
        let texts: Vec<_> = cx.finish().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["first", "second"]);
    }

    #[test]
    #[should_panic = "never read"]
    fn errors_cannot_be_forgotten() {
        drop(Ctxt::new());
    }
}
