//! State file, from which the last snapshot is restored after a restart, and journal of `backfill`. Both are databases
//! of redb in one file; they contain no secrets.
//!
//! `store_file` recognizes and locks the file, `change_set` compares two snapshots, `state_store` writes the difference,
//! and `saved_state` puts all differences together again. `stored_row`, `list_change` and `encoding` are their format,
//! `journal` is that of `backfill`, and `error` the error of both.

mod change_set;
mod encoding;
mod error;
mod journal;
mod list_change;
mod saved_state;
mod state_store;
mod store_file;
mod stored_row;

pub use self::error::StoreError;
pub use self::journal::{Journal, JournalRows, KeyRows};
pub use self::saved_state::SavedState;
pub use self::state_store::{StateStore, decode, read};
pub use self::store_file::{IoActivity, set_aside};
