//! Fetches all pages of a list of nodes.

use std::collections::HashSet;

use super::super::error::{ApiError, ErrorKind};
use super::super::nodes::{ApiNode, read_nodes};
use super::super::session::{Endpoint, Session};
use super::node_fields::drop_field;

/// Maximum pages per list; guards against endless cursors.
const MAX_PAGES_PER_LIST: usize = 1_000;

/// Maximum nodes per list, far above the number that an ad account can have; bounds the memory that an invalid
/// response can occupy.
const MAX_NODES_PER_LIST: usize = 200_000;

/// Request for all pages of a list of nodes.
pub(super) struct NodeListRequest<'a> {
    pub(super) session: Session<'a>,
    pub(super) endpoint: Endpoint,
    pub(super) path: &'a str,
    pub(super) page_size: usize,
    /// Cursor of the first page to fetch.
    pub(super) after: Option<String>,
}

impl NodeListRequest<'_> {
    /// Fetches the pages, with smaller pages if the API reports too much data. `params` receives the fields that the
    /// API rejects, to which further ones are added.
    pub(super) async fn fetch(
        self,
        params: impl Fn(&[String]) -> Vec<(&'static str, String)>,
        rejected_fields: &mut Vec<String>,
    ) -> Result<Vec<ApiNode>, ApiError> {
        let Self {
            session,
            endpoint,
            path,
            mut page_size,
            mut after,
        } = self;
        let mut nodes = Vec::new();
        let mut cursors = HashSet::new();
        // A list that continues that of a node can only be restarted by the caller.
        let mut can_restart = after.is_none();
        for _ in 0..MAX_PAGES_PER_LIST {
            let mut sent = params(rejected_fields);
            sent.push(("limit", page_size.to_string()));
            if let Some(after) = &after {
                sent.push(("after", String::clone(after)));
            }
            match session.get(endpoint, path, &sent, read_nodes).await {
                Ok(page) => {
                    nodes.extend(page.data);
                    if nodes.len() > MAX_NODES_PER_LIST {
                        return Err(ApiError::invalid_response(format!(
                            "paging failed: more than {MAX_NODES_PER_LIST} nodes"
                        )));
                    }
                    match page.after {
                        None => return Ok(nodes),
                        Some(next) if !cursors.insert(next.clone()) => {
                            return Err(ApiError::invalid_response(
                                "paging failed: the next page has the cursor of an earlier one",
                            ));
                        }
                        next => after = next,
                    }
                }
                Err(error) if drop_field(&error, rejected_fields) => {}
                Err(error) if error.kind == ErrorKind::TooLarge && page_size > 1 => page_size /= 2,
                // The cursor expired while paging: the list starts again, once.
                Err(error) if error.is_expired_cursor() && after.is_some() && can_restart => {
                    (nodes, after, can_restart) = (Vec::new(), None, false);
                    cursors.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Err(ApiError::invalid_response(format!(
            "paging failed: no last page within {MAX_PAGES_PER_LIST} pages"
        )))
    }
}
