//! What is known, in Prometheus' words: names, help, labels, text, and bytes ready to serve.
//!
//! `catalog` is the table of every metric. `writer` turns table and snapshot into text, `page`
//! compresses that once a change, `formats` says it in other formats, `history` tells of days that are
//! over, `own` counts what the exporter itself does, and `standing` reads that back for people. Nothing
//! here knows how Meta spells anything but the fields that the help texts name.

pub mod catalog;
pub mod formats;
mod history;
mod own;
mod page;
mod segment;
mod standing;
mod text;
mod writer;

pub use self::history::{Common, Midnights, Past, write_history};
pub use self::own::{Call, Own};
pub use self::page::{CONTENT_TYPE, Page};
pub use self::standing::{Quota, Standing, Stands};
pub use self::writer::write;
