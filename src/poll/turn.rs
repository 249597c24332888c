//! One poll of one window of one source: discover where that is due, ask both questions, and give
//! back everything that was heard. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::clock;
use crate::fault::Fault;
use crate::graph::{Class, Error, Lessons, Session, ask, ask_within, discover};
use crate::listing::Listing;
use crate::plan::{Attempt, Query, Question, Source, Subject, Unfiltered, Window};
use crate::row::Row;
use crate::snapshot::{Heard, Polled};

/// What a poll needs to know.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) source: Arc<Source>,
    pub(super) window: usize,
    pub(super) listing: Option<Arc<Listing>>,
    /// Whether the listing is to be read again first.
    pub(super) discover: bool,
    pub(super) lessons: Lessons,
    /// What earlier polls of the window learnt of asking without a filter.
    pub(super) unfiltered: Unfiltered,
}

/// What a poll brought.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) polled: Polled,
    /// The error that decides when to ask again.
    pub(super) error: Option<Error>,
    /// Why discovery failed, where the poll went on without it.
    pub(super) undiscovered: Option<Fault>,
    pub(super) lessons: Lessons,
    pub(super) unfiltered: Unfiltered,
    /// Campaigns that have rows and are on no listing.
    pub(super) strangers: BTreeSet<Box<str>>,
    /// How many values of a field were no finite numbers.
    pub(super) rejected: BTreeMap<String, u64>,
}

impl Task {
    /// Polls.
    pub(super) async fn run(self, session: Session<'_>) -> Turn {
        let (start, began) = (Instant::now(), clock::now());
        let mut turn = Turn {
            polled: Polled::begun(self.window, began),
            error: None,
            undiscovered: None,
            lessons: self.lessons.clone(),
            unfiltered: self.unfiltered,
            strangers: BTreeSet::new(),
            rejected: BTreeMap::new(),
        };
        if self.discover {
            turn.discover(&self, session, began).await;
        }
        let listing = turn.polled.listing.clone().or_else(|| self.listing.clone());
        if let (Some(window), None) = (self.source.windows.get(self.window), &turn.error) {
            turn.polled.delivery = turn
                .question(
                    &self.source,
                    window,
                    Question::Delivery,
                    listing.as_deref(),
                    session,
                )
                .await;
            if self.source.conversions {
                let question = Question::Conversions;
                turn.polled.conversions = Some(
                    turn.question(&self.source, window, question, listing.as_deref(), session)
                        .await,
                );
            }
        }
        turn.polled.at = clock::now();
        turn.polled.duration = start.elapsed();
        turn
    }
}

impl Turn {
    async fn discover(&mut self, task: &Task, session: Session<'_>, at: Timestamp) {
        match discover(session, &task.source, at).await {
            Ok(listing) => self.polled.listing = Some(Arc::new(listing)),
            // Without campaigns to ask about, and where no question would be answered, the poll
            // ends here; otherwise the last listing serves on. A token that may not read a node
            // may still read its insights.
            Err(error)
                if (is_final(error.class) && error.class != Class::Forbidden)
                    || task.source.campaigns(task.listing.as_deref()).is_none() =>
            {
                self.polled.delivery = Heard::failed(error.fault.clone());
                self.error = Some(error);
            }
            Err(error) => self.undiscovered = Some(error.fault),
        }
    }

    /// Asks one question, in as many queries as it takes. All of them, or none, are believed.
    async fn question(
        &mut self,
        source: &Source,
        window: &Window,
        question: Question,
        listing: Option<&Listing>,
        session: Session<'_>,
    ) -> Heard {
        // No more is asked of who does not answer.
        if let Some(error) = self.error.as_ref().filter(|error| is_final(error.class)) {
            return Heard::failed(error.fault.clone());
        }
        let Some(ways) = source.ways(window, question, listing, self.unfiltered) else {
            return Heard::default();
        };
        // Before it is tried, since a poll may end there.
        if question == Question::Delivery {
            self.unfiltered.passed_over();
        }
        if let Some(attempt) = &ways.attempt
            && let Some(heard) = self.attempt(source, attempt, listing, session).await
        {
            return heard;
        }
        let mut heard = Heard {
            rows: Some(Vec::new()),
            ..Heard::default()
        };
        for query in ways.queries {
            match self.query(source, &query, None, listing, session).await {
                Ok(answer) => {
                    heard
                        .rows
                        .get_or_insert_default()
                        .extend(answer.rows.into_iter().flatten());
                    heard.withheld.extend(answer.withheld);
                    heard.fault = heard.fault.or(answer.fault);
                }
                Err(error) => {
                    heard = Heard::failed(error.fault.clone());
                    self.error.get_or_insert(error);
                    break;
                }
            }
        }
        heard
    }

    /// Asks without a filter; `None` where it is to be asked in the other way after all.
    async fn attempt(
        &mut self,
        source: &Source,
        attempt: &Attempt,
        listing: Option<&Listing>,
        session: Session<'_>,
    ) -> Option<Heard> {
        let Attempt { query, calls } = attempt;
        let page_size = self.lessons.page_size;
        let asked = self.query(source, query, Some(*calls), listing, session);
        match asked.await {
            Ok(heard) => Some(heard),
            Err(error) if is_final(error.class) => {
                let heard = Heard::failed(error.fault.clone());
                self.error.get_or_insert(error);
                Some(heard)
            }
            Err(_) => {
                // What was too much for one large answer is not too much for many small ones. Nor is
                // it tried at the next poll, whichever way it failed.
                self.lessons.page_size = page_size;
                self.unfiltered.given_up(*calls);
                None
            }
        }
    }

    /// Asks one query, with so many calls at most where that is said.
    async fn query(
        &mut self,
        source: &Source,
        query: &Query,
        calls: Option<usize>,
        listing: Option<&Listing>,
        session: Session<'_>,
    ) -> Result<Heard, Error> {
        let strangers = &mut self.strangers;
        let keep = |row: &mut Row| {
            if let Some(same) = listing.and_then(|listing| listing.identity(&row.identity)) {
                row.identity = same;
            }
            match (&row.identity.campaign, &source.subject) {
                (None, _) | (_, Subject::Campaign(_)) => true,
                (Some(campaign), Subject::AdAccount { .. }) => {
                    if listing.is_some_and(|listing| !listing.knows(campaign.id.as_str())) {
                        strangers.insert(campaign.id.as_str().into());
                    }
                    source.exports(&campaign.id, listing)
                }
            }
        };
        let insights = match calls {
            Some(calls) => ask_within(session, query, calls, &mut self.lessons, keep).await?,
            None => ask(session, query, &mut self.lessons, keep).await?,
        };
        for (field, count) in insights.rejected {
            *self.rejected.entry(field).or_default() += count;
        }
        if query.campaigns.is_empty() && query.question == Question::Delivery {
            self.unfiltered.whole(insights.pages);
        }
        let withheld = insights.withheld.into_iter();
        let rows = insights.rows.into_iter();
        Ok(Heard {
            rows: Some(rows.map(|row| source.as_configured(row)).collect()),
            withheld: withheld.map(|key| source.key_as_configured(key)).collect(),
            fault: insights.fault,
        })
    }
}

/// Whether nothing else need be asked after this error.
fn is_final(class: Class) -> bool {
    matches!(
        class,
        Class::Throttled(_) | Class::Denied | Class::Forbidden | Class::Held
    )
}
