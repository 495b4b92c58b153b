//! The one line.

/// A test that puts a machine through crashes, partitions, torn disks, skewed clocks and restarts, on
/// a fixed number of seeds.
///
/// ```text
/// quorate_sim::simulate!(Bank);
/// ```
///
/// is a `#[test] fn simulation()`. Options follow, in any order, of `weights` and `workload` one:
///
/// ```text
/// quorate_sim::simulate!(
///     fn bank_under_faults,                      // the name of the test; `simulation` by default
///     Bank = Bank::with_limit(100),              // how a machine begins; `Default` by default
///     seeds: 200,                                // how many seeds; 16
///     nodes: 3..=5,                              // how many nodes, or a range, of 1 to 31; 3 to 5
///     clients: 8,                                // how many clients; 4
///     duration: Duration::from_secs(10),         // how long faults happen, in simulated time; 10 s
///     faults: Faults::None,                      // what goes wrong; everything, as the seed says
///     invariants: [money_is_conserved],          // fn(&Bank) -> bool, or -> Result<(), String>
///     weights: [transfer = 8, open = 1],         // how often each command and query; 1 each
///     workload: |draw| ..,                       // calls of your own: fn(&mut Draw) -> CallOf<Bank>
///     key: |call| ..,                            // what a call is about: fn(&CallOf<Bank>) -> impl Debug
///     storage: |disk| ..,                        // a storage of your own: fn(&SimDisk) -> Result<impl Storage, _>
///     plans: "tests/plans",                      // a folder of plans that are run before the seeds; none
/// );
/// ```
///
/// Each is a method of [`Simulation`](crate::machine::Simulation), which says more, and which values it
/// refuses. What is checked is in the README of this crate.
///
/// A machine in tables, `tables = quorate_redb(..)` in its list, has the same line. Its invariants are
/// of what a query sees, `fn(&ReadTables<'_>) -> Result<bool, TableError>`, and for calls of your own its
/// name is `InTables<Documents>`: [`CallOf<InTables<Documents>>`](crate::machine::CallOf).
///
/// Without `--cfg madsim` nothing is simulated, and the test fails and says so.
#[cfg(madsim)]
#[macro_export]
macro_rules! simulate {
    (fn $test:ident, $($rest:tt)+) => {
        $crate::__simulate!($test, $($rest)+);
    };
    ($($rest:tt)+) => {
        $crate::__simulate!(simulation, $($rest)+);
    };
}

/// Nothing is simulated without `--cfg madsim`, and a test run in which nothing was simulated must not
/// look like one that passed.
#[cfg(not(madsim))]
#[macro_export]
macro_rules! simulate {
    (fn $test:ident, $($rest:tt)+) => {
        #[test]
        fn $test() {
            $crate::machine::nothing_is_simulated();
        }
    };
    ($($rest:tt)+) => {
        $crate::simulate!(fn simulation, $($rest)+);
    };
}

#[cfg(madsim)]
#[doc(hidden)]
#[macro_export]
macro_rules! __simulate {
    ($test:ident, $machine:ty = $initial:expr $(, $($options:tt)*)?) => {
        #[test]
        fn $test() {
            $crate::simulation!($test, $machine = $initial $(, $($options)*)?).check();
        }
    };
    ($test:ident, $machine:ty $(, $($options:tt)*)?) => {
        $crate::__simulate!($test, $machine = <$machine as ::core::default::Default>::default() $(, $($options)*)?);
    };
}

/// The [`Simulation`](crate::machine::Simulation) that [`simulate!`] would run, to run it yourself:
/// `simulation!(name, Bank = Bank::default(), seeds: 3).run()`.
#[cfg(madsim)]
#[macro_export]
macro_rules! simulation {
    ($test:ident, $machine:ty = $initial:expr $(, $($options:tt)*)?) => {{
        #[allow(unused_imports, reason = "one of two is used, as the machine is in memory, `Serialize` and `Debug`, or not")]
        use $crate::machine::{
            BeginsInMemory as _, BeginsInTables as _, SeesNoOutline as _, SeesNoState as _, SeesOutline as _, SeesState as _,
        };
        let probe = $crate::machine::Probe::<$machine>::new();
        let eyes = $crate::machine::Eyes::new((&&probe).state(), (&&probe).outline());
        let simulation = (&&probe).begin(::core::stringify!($machine), eyes, || $initial);
        let simulation = simulation.place($crate::machine::Place {
            package: ::core::env!("CARGO_PKG_NAME"),
            program: ::core::option_env!("CARGO_BIN_NAME"),
            module: ::core::module_path!(),
            test: ::core::stringify!($test),
            file: ::core::file!(),
            manifest: ::core::env!("CARGO_MANIFEST_DIR"),
            tmpdir: ::core::option_env!("CARGO_TARGET_TMPDIR"),
        });
        $crate::__simulate_options!([random] simulation; $($($options)*)?)
    }};
}

/// ```
/// use quorate_sim::workload::Registers;
///
/// let _ = quorate_sim::simulation!(t, Registers = Registers::default(), workload: |draw| draw.any::<Registers>());
/// ```
///
/// What clients call is said once:
///
/// ```compile_fail
/// use quorate_sim::workload::Registers;
///
/// let _ = quorate_sim::simulation!(
///     t,
///     Registers = Registers::default(),
///     workload: |draw| draw.any::<Registers>(),
///     weights: [put = 2],
/// );
/// ```
#[cfg(madsim)]
#[doc(hidden)]
#[macro_export]
macro_rules! __simulate_options {
    ([$calls:ident] $so_far:expr;) => { $so_far };
    ([$calls:ident] $so_far:expr; invariants: [$($invariant:expr),* $(,)?] $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!(
            [$calls] $so_far$(.invariant(::core::stringify!($invariant), $invariant))*; $($($rest)*)?
        )
    };
    ([random] $so_far:expr; weights: [$($item:ident = $weight:expr),* $(,)?] $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!(
            [chosen] $so_far.weights(&[$((::core::stringify!($item), $weight)),*]); $($($rest)*)?
        )
    };
    ([$calls:ident] $so_far:expr; seeds: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.seeds($value); $($($rest)*)?)
    };
    ([$calls:ident] $so_far:expr; nodes: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.nodes($value); $($($rest)*)?)
    };
    ([$calls:ident] $so_far:expr; clients: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.clients($value); $($($rest)*)?)
    };
    ([$calls:ident] $so_far:expr; duration: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.duration($value); $($($rest)*)?)
    };
    ([$calls:ident] $so_far:expr; faults: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.faults($value); $($($rest)*)?)
    };
    ([random] $so_far:expr; workload: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([chosen] $so_far.workload($value); $($($rest)*)?)
    };
    ([$calls:ident] $so_far:expr; key: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.key($value); $($($rest)*)?)
    };
    ([$calls:ident] $so_far:expr; storage: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.storage($value); $($($rest)*)?)
    };
    ([$calls:ident] $so_far:expr; plans: $value:expr $(, $($rest:tt)*)?) => {
        $crate::__simulate_options!([$calls] $so_far.plans($value); $($($rest)*)?)
    };
    ([chosen] $so_far:expr; weights: $($rest:tt)*) => {
        ::core::compile_error!("`workload` and `weights` both say what clients call: choose one, and give it once")
    };
    ([chosen] $so_far:expr; workload: $($rest:tt)*) => {
        ::core::compile_error!("`workload` and `weights` both say what clients call: choose one, and give it once")
    };
    ([$calls:ident] $so_far:expr; invariants: $($rest:tt)*) => {
        ::core::compile_error!("write the invariants as a list: `invariants: [one, another]`")
    };
    ([$calls:ident] $so_far:expr; weights: $($rest:tt)*) => {
        ::core::compile_error!("write the weights as a list: `weights: [transfer = 8, open = 1]`")
    };
    ([$calls:ident] $so_far:expr; $other:ident $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($other), "` is no option of `simulate!`, or is not followed by `: value`; the options are \
             seeds, nodes, clients, duration, faults, invariants, weights, workload, key, storage, plans"
        ))
    };
}
