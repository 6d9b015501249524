//! What is known between polls: tasks, completions, counters, coverage, watched ids.

pub mod completions;
pub mod counters;
pub mod coverage;
pub mod estimate;
pub mod events;
pub mod findings;
pub mod outage;
pub mod registrations;
pub mod tasks;
pub mod tenant;
pub mod tracker;
pub mod transition;
pub mod watchlist;
