//! The subcommands as separate processes: their output, exit status and number of API calls.

mod backfill;
mod check;
mod command_line;
mod discover;
mod live;
mod once;
