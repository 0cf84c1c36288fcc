//! The tests of netmon as a program: one test program, which is linked once.
//!
//! `kernel` is for root (`cargo xtask test` sees to that); the others need no privileges.

mod completions;
mod doctor;
mod filter;
mod help;
mod journal_docs;
mod kernel;
mod languages;
mod listing;
mod man;
mod mistakes;
mod past;
mod pictures;
mod privileges;
mod rings;
mod sample_events;
mod scenarios;
mod schema;
mod services;
mod tool;
mod top;
mod views;
