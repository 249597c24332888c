//! What is known, in Prometheus' words: names, help, labels, text, and bytes ready to serve.
//!
//! `catalog` is the table of every metric, `heading` puts the config's own fields among them. `writer` turns
//! table and snapshot into text, with the `labels` of each; `page` keeps that compressed, stretch by stretch, and
//! renders anew what changed. `formats` says it in other formats, `history` tells of days that are over, `own` counts
//! what the exporter itself does, and `standing` reads that back for people. Nothing here knows how Meta
//! spells anything but the fields that the help texts name.

pub mod catalog;
pub mod formats;
mod heading;
mod history;
mod labels;
mod midnight;
mod own;
mod page;
mod standing;
mod text;
mod writer;

pub use self::history::{Common, Midnights, Past, write_history};
pub use self::own::{Call, Own};
pub use self::page::{CONTENT_TYPE, Member, Page};
pub use self::standing::{Quota, Standing, Stands};
pub use self::writer::write;
