//! What is served: `/metrics`, the landing page, health and readiness.
//!
//! `server` turns sockets into requests within bounds, `routes` turns requests into answers,
//! `body` sends them piece by piece. No answer waits for the API, a poll, or a lock.

mod body;
mod landing;
mod routes;
mod server;

pub use self::routes::{ReloadRequest, Site};
pub use self::server::{bind, serve};
