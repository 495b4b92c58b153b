//! The transport over real sockets on loopback, with peers that behave and peers that do not.

mod admission;
mod close;
mod frames;
mod hostile;
mod key_file;
mod lanes;
mod opted_in;
mod reach;
mod restart;
mod support;
