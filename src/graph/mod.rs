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
pub use self::insights::{Insights, Lessons, ask, ask_within};
pub use self::session::{Call, Endpoint, Session};
pub use self::survey::{
    Identified, NodeKind, ad_account, ad_accounts, identify, message_campaigns,
};
pub use self::token::{TokenFacts, inspect};
pub use self::usage::{Headers, Quantity, Usage};

use crate::plan::Query;
use crate::row::Row;

/// What a question would make of an answer with that body, without asking it: its rows, or the
/// error. Whatever the body is read as elsewhere, it is read as here too.
#[doc(hidden)] // For the fuzz targets and their corpora, which have bodies and no sockets.
pub fn read_answer(query: &Query, status: u16, body: &[u8]) -> Result<Vec<Row>, Error> {
    if let Some(error) = Error::find(status, body) {
        return Err(error);
    }
    drop(nodes::read_node(body));
    drop(nodes::read_nodes(body));
    drop(token::read(body));
    let page = wire::read(body, query, &[]).map_err(Error::garbled)?;
    Ok(page.data.rows)
}
