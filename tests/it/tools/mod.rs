//! The tools for people: what they print, what they exit with, and how many calls they cost.

mod backfill;
mod check;
mod discover;
mod live;
mod once;
