//! The rules, a file per family: each is a function from a [`Tree`](crate::tree::Tree) to what
//! breaks it, a test over this tree, and a control over a small one.

mod examples;
mod layout;
mod manifests;
mod readme;
mod seals;
mod size;
mod source;
