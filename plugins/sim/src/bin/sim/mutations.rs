//! The hunt for bugs put in on purpose, and its table.

use quorate_sim::mutations::{CATALOGUE, Planted, hunt_all, table};

use crate::args::Mutations;
use crate::{FINE, FOUND};

pub(crate) fn mutations(asked: &Mutations) -> u8 {
    let only = |planted: &&Planted| asked.only.is_none_or(|only| only.name == planted.name);
    let bugs: Vec<&Planted> = CATALOGUE.iter().filter(only).collect();
    eprintln!("{} bugs, looked for from seed {}", bugs.len(), asked.from);
    let mut done = 0;
    let hunted = hunt_all(&bugs, asked.from, asked.jobs, asked.limit, |hunted| {
        done += 1;
        eprintln!("{done} of {}: {hunted}", bugs.len());
    });
    print!("{}", table(&hunted));
    if hunted.iter().all(|hunted| hunted.outcome.is_ok()) { FINE } else { FOUND }
}
