//! The tools for people: what they print, what they exit with, and how many calls they cost.

mod check;
mod discover;
mod once;
