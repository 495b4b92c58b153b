//! Whole clusters from seeds: that they hold what they promise, that a seed is one run, and that the
//! oracles see bugs which are put in on purpose.

#[cfg(madsim)]
mod campaigns;
#[cfg(madsim)]
mod clusters;
#[cfg(madsim)]
mod command_line;
#[cfg(madsim)]
mod determinism;
#[cfg(madsim)]
mod members;
#[cfg(madsim)]
mod mutations;
#[cfg(madsim)]
mod shrinking;
#[cfg(madsim)]
mod support;

/// Without the cfg there is no simulation, and a test run in which nothing was simulated must not
/// look like one that passed.
#[cfg(not(madsim))]
#[test]
fn simulations_need_the_cfg_madsim() {
    quorate_sim::machine::nothing_is_simulated();
}
