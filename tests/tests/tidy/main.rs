//! Rules that a search over the tree can check, each with a control that it must flag.
//!
//! A failure names the file, the line, the rule and what to do. This folder owns how the tree is
//! read ([`tree`]), how Rust is told from comments and strings ([`code`]), and one file per family
//! of [`rules`]. What a compiler or clippy can check does not belong here.

mod code;
mod rules;
mod tree;
