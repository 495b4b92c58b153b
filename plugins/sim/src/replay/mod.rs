//! A run for a person to read: as a timeline in text, and as a page to look at.
//!
//! Both are made of a run whose trace was [recorded](crate::trace::Trace::recording). Nothing here
//! decides anything.

mod evidence;
mod page;
mod story;
mod timeline;

pub use self::evidence::smallest;
pub use self::page::page;
pub use self::timeline::timeline;
