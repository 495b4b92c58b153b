//! Deterministic simulation for [`quorate`]: a cluster of real nodes, with the real storage plugin,
//! on disks, a network and clocks that fail as a seed says, on one thread and in simulated time.
//!
//! The same seed is the same run. What goes wrong is a plan, drawn before the run from numbers of
//! its own. Everything that nodes write, apply and say is seen by the oracles (`oracle`), and what
//! clients saw must be [linearizable](linear).
//!
//! ```
//! # #[cfg(madsim)] {
//! use std::time::Duration;
//!
//! use quorate_sim::cluster::Setup;
//! use quorate_sim::run::simulate;
//! use quorate_sim::workload::RegistersWorkload;
//!
//! let setup = Setup::of_seed(7, Duration::from_secs(2));
//! let report = simulate(setup, RegistersWorkload { keys: 5 }, Duration::from_secs(600))?;
//! assert_eq!((report.violation, report.undecided), (None, None));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything but [`linear`], [`moment`], [`rng`], [`trace`] and [`workload`] needs `--cfg madsim`, for every
//! crate that is built: `rustflags = ["--cfg", "madsim"]` under `[build]` in `.cargo/config.toml`, and
//! the same as `rustdocflags` for documentation and its tests.
//! The cfg reaches the executor, [madsim](https://docs.rs/madsim), and changes nothing in quorate.

/// What is told whoever wants to simulate without the cfg, wherever that shows.
#[doc(hidden)]
#[macro_export]
macro_rules! __nothing_is_simulated {
    () => {
        "nothing is simulated without `--cfg madsim`: `rustflags = [\"--cfg\", \"madsim\"]` under `[build]` in \
         .cargo/config.toml sets it, and a RUSTFLAGS, CARGO_ENCODED_RUSTFLAGS or CARGO_BUILD_RUSTFLAGS variable, or \
         `rustflags` under `[target.…]` in any config.toml above, replaces that silently: unset it, or add the cfg there"
    };
}

#[cfg(all(feature = "madsim", not(madsim)))]
compile_error!(concat!("the feature `madsim` asks for simulations, and ", __nothing_is_simulated!()));

#[cfg(madsim)]
pub mod campaign;
#[cfg(madsim)]
pub mod cluster;
#[cfg(madsim)]
mod commit;
#[cfg(madsim)]
pub mod disk;
pub mod linear;
pub mod machine;
pub mod moment;
#[cfg(madsim)]
pub mod mutations;
#[cfg(madsim)]
pub mod observe;
#[cfg(madsim)]
pub mod oracle;
#[cfg(madsim)]
pub mod plan;
#[cfg(madsim)]
pub mod plan_file;
#[cfg(madsim)]
pub mod replay;
pub mod rng;
#[cfg(madsim)]
pub mod run;
#[cfg(madsim)]
pub mod runtime;
#[cfg(madsim)]
pub mod shrink;
pub mod trace;
#[cfg(madsim)]
pub mod wire;
pub mod workload;
