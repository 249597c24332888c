//! HTTP server: metrics page, landing page, status as JSON, health and readiness.
//!
//! `server` accepts connections, `connections` limits them, and `web` applies the web config file: TLS, users,
//! business scopes and the rate limit. `plaintext` answers plain HTTP on an HTTPS port. `routes`
//! maps requests to responses, which `response` constructs; `on_demand` renders those that are not kept
//! ready, and `body` streams all of them. `status` collects the health of the businesses, which `landing`
//! shows as HTML, with the sums of `totals`. No response waits for the API, for a poll, or for a lock that a poll holds.

mod body;
mod connections;
mod landing;
mod on_demand;
mod plaintext;
mod response;
mod routes;
mod server;
mod status;
mod totals;
mod web;

pub use self::routes::{AppState, RESERVED_PATHS, ReloadRequest, ServedConfig};
pub use self::server::{bind, serve, serve_health};
pub use self::web::policy::AccessSummary;
pub use self::web::refusals::RefusalLog;
pub use self::web::reload::WebConfigFile;
