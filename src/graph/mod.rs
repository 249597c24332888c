//! The Graph API, as far as insights need it. The only folder that knows Meta's JSON.
//!
//! `client` sends one request and reads one answer within bounds; `session` tries again where that
//! can help; `insights` and `discovery` ask whole questions, page after page; `survey` lists what a token sees. `error` names what
//! went wrong by what follows from it, `usage` reads how much of each quota is gone, `gate` says
//! when the next request may go. Nothing here knows Prometheus, and nothing here counts: whoever
//! asks is told of every call.

mod client;
mod discovery;
mod error;
mod gate;
mod insights;
mod nodes;
mod retry;
mod session;
mod survey;
mod token;
mod usage;
mod wire;

pub use self::client::{Client, Credentials, SetupError};
pub use self::discovery::discover;
pub use self::error::{Class, Error, Scope};
pub use self::gate::{Gate, Lane, Limits};
pub use self::insights::{Insights, Lessons, ask};
pub use self::session::{Call, Endpoint, Session};
pub use self::survey::{
    Identified, NodeKind, ad_account, ad_accounts, identify, message_campaigns,
};
pub use self::token::{TokenFacts, inspect};
pub use self::usage::{Headers, Quantity, Usage};
