//! A user's machines, simulated: a good one passes, and each broken one fails with a message that
//! names its mistake.

#[cfg(madsim)]
mod bank;
#[cfg(madsim)]
mod broken;
#[cfg(madsim)]
mod cluster;
#[cfg(madsim)]
mod kept;
#[cfg(madsim)]
mod panics;
#[cfg(madsim)]
mod sound;
#[cfg(madsim)]
mod tables;

#[cfg(not(madsim))]
quorate_sim::simulate!(Nothing);
