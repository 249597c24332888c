//! What is served: `/metrics`, the landing page, health and readiness.
//!
//! `server` turns sockets into requests within bounds, `door` lets them in (`web_config` reads
//! the file that says whom: `tls`, `san` and `auth` do as it says), `routes` turns requests into
//! answers, `body` sends them piece by piece. No answer waits for the API, a poll, or a lock.

mod auth;
mod body;
mod door;
mod landing;
mod routes;
mod san;
mod server;
mod tls;
mod web_config;

pub use self::routes::{ReloadRequest, Site};
pub use self::server::{bind, serve};
pub use self::web_config::WebConfig;
