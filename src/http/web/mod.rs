//! Access to the server as configured by the web config file: TLS, users, business scopes, limits.
//!
//! `reload` re-reads the file when it changes, `policy` decides on each request, `users` checks
//! passwords in the order of `fair_queue`, `tls`, `server_key` and `certificate_names` handle certificates and keys, `scope`
//! limits what a user sees, `refusals` logs refused clients.

pub(in crate::http) mod certificate_names;
mod fair_queue;
pub(in crate::http) mod policy;
pub(in crate::http) mod refusals;
pub(in crate::http) mod reload;
pub(in crate::http) mod scope;
mod server_key;
pub(in crate::http) mod tls;
pub(in crate::http) mod users;
