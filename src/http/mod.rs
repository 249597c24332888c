//! What is served: `/metrics`, the landing page and the same as JSON, health and readiness.
//!
//! `server` turns sockets into requests within bounds, `door` lets them in (`web_config` reads
//! the file that says whom: `tls`, `san` and `auth` do as it says; `strays` speak plain HTTP where
//! HTTPS is served). `routes` turns requests into answers, `to_order` makes those that are not
//! kept, `body` sends them piece by piece. `scope` is whose numbers an answer may tell, `status`
//! how everything fares, and `landing` says that to people. No answer waits for the API, a poll,
//! or a lock of theirs.

mod answer;
mod auth;
mod body;
mod door;
mod landing;
mod routes;
mod san;
mod scope;
mod server;
mod status;
mod strays;
mod tls;
mod to_order;
mod web_config;

pub use self::routes::{ReloadRequest, Site, Wanted};
pub use self::server::{bind, serve};
pub use self::web_config::WebConfig;
