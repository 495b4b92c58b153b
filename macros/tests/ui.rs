//! Every mistake is told on the user's own token, with what to write instead.
//!
//! The texts beside the programs are what rustc prints; after a change, write them anew with
//! `TRYBUILD=overwrite cargo test -p quorate-macros --test ui` and review the difference.

#[test]
fn mistakes_are_told() {
    trybuild::TestCases::new().compile_fail("tests/ui/*/*.rs");
}
