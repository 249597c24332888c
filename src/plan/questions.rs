//! A source's questions: which queries ask them, page by page or by ids, and what that costs.

use super::{Increment, Node, Query, Question, Source, Subject, Window};
use crate::listing::Listing;
use crate::row::{Dates, Level, ObjectId};

/// Rows a page. Meta's documents name no limit; 500 is what production clients use without being
/// told to reduce the amount of data.
pub const PAGE_SIZE: usize = 500;

/// Ids a `campaign.id IN` filter: what keeps the address well below common limits of 8 KiB.
pub const IDS_A_FILTER: usize = 100;

/// Ids a filter at level `account`, where an answer must come from one filter or be a wrong sum.
pub const IDS_A_WHOLE_FILTER: usize = 512;

/// The days of a question, and how they are divided.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) dates: Dates,
    pub(super) increment: Increment,
    /// How many rows one row's object can have.
    pub(super) days: usize,
}

impl Source {
    /// The queries that answer one question for one window, with the fewest calls if every listed
    /// campaign has a row.
    ///
    /// No query at all means that there is nothing to ask about: the answer is known to be empty.
    /// `None` means that the question cannot be asked so that the answer would be true.
    pub fn queries(
        &self,
        window: &Window,
        question: Question,
        listing: Option<&Listing>,
    ) -> Option<Vec<Query>> {
        let asked = Asked {
            dates: window.dates,
            increment: Increment::Whole,
            days: 1,
        };
        self.ask(asked, question, listing)
    }

    /// The queries of one question about those days.
    pub(super) fn ask(
        &self,
        asked: Asked,
        question: Question,
        listing: Option<&Listing>,
    ) -> Option<Vec<Query>> {
        let ask = |node: Node, level: Option<Level>, campaigns: &[ObjectId]| Query {
            node,
            level,
            rows: self.level,
            dates: asked.dates,
            increment: asked.increment,
            question,
            columns: self.columns.clone(),
            campaigns: campaigns.to_vec(),
        };
        let account = match &self.subject {
            Subject::AdAccount { id, .. } => Node::AdAccount(id.clone()),
            Subject::Campaign(id) => {
                // At level campaign the node decides: the id may be an ad's.
                let level = (self.level != Level::Campaign).then_some(self.level);
                return Some(vec![ask(Node::Object(id.clone()), level, &[])]);
            }
        };
        let Some(campaigns) = self.campaigns(listing) else {
            return Some(Vec::new());
        };
        if campaigns.is_empty() {
            return Some(Vec::new());
        }
        if self.level == Level::Account {
            // An account's actions are those of its ordinary campaigns too.
            return match (campaigns.len() <= IDS_A_WHOLE_FILTER, question) {
                (true, _) => Some(vec![ask(account, Some(self.level), &campaigns)]),
                (false, Question::Delivery) => Some(vec![ask(account, Some(self.level), &[])]),
                (false, Question::Conversions) => None,
            };
        }
        let filtered = filtered_calls(campaigns.len(), listing, asked.days);
        let unfiltered = listing
            .map(|listing| listing.rows.saturating_mul(asked.days))
            .map(|rows| rows.div_ceil(PAGE_SIZE).max(1));
        Some(match unfiltered {
            Some(unfiltered) if unfiltered <= filtered => vec![ask(account, Some(self.level), &[])],
            _ => campaigns
                .chunks(IDS_A_FILTER)
                .map(|chunk| ask(account.clone(), Some(self.level), chunk))
                .collect(),
        })
    }
}

/// The calls that `campaign.id IN` filters cost: one a chunk, or more where the chunks' rows pass
/// a page.
pub(super) fn filtered_calls(campaigns: usize, listing: Option<&Listing>, days: usize) -> usize {
    let members = listing.map_or(campaigns, |l| l.members.len());
    campaigns
        .div_ceil(IDS_A_FILTER)
        .max(members.saturating_mul(days).div_ceil(PAGE_SIZE))
}
