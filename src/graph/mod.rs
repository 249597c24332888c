//! Client for Meta's Graph API, as far as insights need it. The only module that knows Meta's JSON.
//!
//! `client` sends one request over `connections` and reads its response within limits of time and size;
//! `session` applies the rate limiter and `retry`; `insights` and `discovery` send whole queries with cursor
//! paging; `lookup` lists what a token can read, and `token` inspects it. `response` decodes insights and
//! collects `invalid_parts`, `nodes` decodes ad accounts and campaigns. `error` classifies what `error_body`
//! finds by the reaction it needs, `usage` parses the usage headers, `limiter` decides when a request may be
//! sent. Facts about the API are in `access_tier`, `numeric_fields` and `version`. Metrics are counted by the
//! caller, which receives a [`CallRecord`] for each request.

mod access_tier;
mod client;
mod connections;
mod discovery;
mod error;
mod error_body;
mod insights;
mod invalid_parts;
mod limiter;
mod lookup;
mod nodes;
mod numeric_fields;
mod response;
mod retry;
mod session;
mod token;
mod usage;
mod version;

pub use self::access_tier::{
    DEVELOPMENT_CALLS_PER_HOUR, DEVELOPMENT_READS, DEVELOPMENT_WINDOW, STANDARD_CALLS_PER_HOUR,
    is_standard_tier,
};
pub use self::client::{Client, Credentials};
pub use self::connections::SetupError;
pub use self::discovery::{Discovery, DiscoveryInput, GroupMember, discover, discover_members};
pub use self::error::{ApiError, ErrorKind, ExceededLimit};
pub use self::insights::{InsightsResult, QueryAdaptation, StatusFilter, fetch, fetch_pages};
pub use self::invalid_parts::{InvalidCount, InvalidParts, RowDefect};
pub use self::limiter::{LimiterConfig, PollDeadline, RateLimiter, RequestKind, RequestScope};
pub use self::lookup::{
    IdentifiedNode, NodeKind, identify_node, list_ad_accounts, message_campaigns,
};
pub use self::numeric_fields::{is_listed_field, suggested_field};
pub use self::retry::MAX_ATTEMPTS;
pub use self::session::{ApiCaller, CallRecord, Endpoint, Session};
pub use self::token::{TokenInfo, inspect};
pub use self::usage::{Quantity, RegainTime, Usage, UsageHeaders};
pub use self::version::{is_retired, version_end};

use self::error::ResponseHead;
use crate::model::Row;
use crate::plan::Query;

/// Decodes a response with this status and body as the response to `query`, without a request.
///
/// The body is also passed to the decoders of nodes and tokens; their results are discarded.
///
/// # Errors
/// The error that the body contains, or [`ErrorKind::InvalidResponse`] if it cannot be decoded.
#[doc(hidden)] // For the fuzz targets and their corpora, which have bodies and no sockets.
pub fn read_response(query: &Query, status: u16, body: &[u8]) -> Result<Vec<Row>, ApiError> {
    let head = ResponseHead {
        status,
        challenge: None,
    };
    if let Some(error) = ApiError::from_response(head, body) {
        return Err(error);
    }
    // Only panics matter here.
    let _ = nodes::read_node(body);
    let _ = nodes::read_nodes(body);
    let _ = token::read_token_info(body);
    let page = response::decode_page(body, query, &[]).map_err(ApiError::invalid_response)?;
    Ok(page.data.rows)
}
