#![doc = include_str!("../README.md")]

mod accept;
mod admission;
mod builder;
mod dial;
mod error;
mod frame;
mod hint;
mod key;
mod peers;
mod reach;
mod settings;
mod shared;
mod transport;
mod wire;

pub use self::builder::IrohBuilder;
pub use self::error::{DialError, StreamError};
pub use self::key::{KeyError, NodeKey};
pub use self::settings::{SettingError, Timeouts};
pub use self::transport::IrohTransport;
pub use self::wire::code;
