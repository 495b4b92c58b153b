//! iroh.
