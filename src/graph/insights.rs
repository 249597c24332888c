//! One whole question about insights: page after page, in smaller pages where the API cannot give
//! large ones, without the fields that it does not take.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::json;

use super::error::{Class, Error};
use super::session::{Endpoint, Session};
use super::wire;
use crate::fault::{Fault, Reason};
use crate::plan::{FIRST_DATED_DAY, Increment, Node, PAGE_SIZE, Query, Question};
use crate::row::{ActionList, Dates, Level, Row};

/// Where an answer stops being one: a thousand full pages.
const MOST_PAGES: usize = 1_000;

/// What one question brought.
#[derive(Debug, Default)]
pub struct Insights {
    /// The rows that were kept.
    pub rows: Vec<Row>,
    /// How many pages it took.
    pub pages: usize,
    /// The keys of rows that came for other dates than asked.
    pub withheld: BTreeSet<Box<str>>,
    /// Why they were withheld.
    pub fault: Option<Fault>,
    /// How many values of a field were no finite numbers.
    pub rejected: BTreeMap<String, u64>,
}

/// What asking has taught about a source: kept between polls.
#[derive(Clone, Debug, PartialEq)]
pub struct Lessons {
    /// Rows a page that the API can give.
    pub page_size: usize,
    /// Fields that the API does not take.
    pub dropped: Vec<String>,
}

impl Default for Lessons {
    fn default() -> Self {
        Self {
            page_size: PAGE_SIZE,
            dropped: Vec::new(),
        }
    }
}

/// Asks one question, to its last page. `keep` says which rows matter, and may change them.
///
/// What the API cannot do is remembered in `lessons`.
///
/// # Errors
/// The first one that neither smaller pages, fewer fields nor another try could mend. Rows of
/// earlier pages are not believed then: half an answer is none.
pub async fn ask(
    session: Session<'_>,
    query: &Query,
    lessons: &mut Lessons,
    keep: impl FnMut(&mut Row) -> bool + Send,
) -> Result<Insights, Error> {
    let heard = to_its_end(session, query, MOST_PAGES, lessons, keep).await?;
    heard.ok_or_else(|| Error::garbled(format!("no end after {MOST_PAGES} pages")))
}

/// Asks one question as [`ask`] does, with so many calls at most.
///
/// # Errors
/// Those of [`ask`], and [`Class::TooLarge`] where that was not the end.
pub async fn ask_within(
    session: Session<'_>,
    query: &Query,
    calls: usize,
    lessons: &mut Lessons,
    keep: impl FnMut(&mut Row) -> bool + Send,
) -> Result<Insights, Error> {
    let heard = to_its_end(session, query, calls, lessons, keep).await?;
    heard.ok_or_else(|| Error::too_large(format!("no end after {calls} calls")))
}

/// The whole answer; `None` where it has not ended after so many calls.
async fn to_its_end(
    session: Session<'_>,
    query: &Query,
    calls: usize,
    lessons: &mut Lessons,
    mut keep: impl FnMut(&mut Row) -> bool + Send,
) -> Result<Option<Insights>, Error> {
    let path = format!("{}/insights", query.node.path());
    let mut heard = Insights::default();
    let mut after: Option<String> = None;
    for _ in 0..calls {
        let params = params(query, lessons, after.as_deref());
        let dropped = &lessons.dropped;
        let page = session
            .get(Endpoint::Insights, &path, &params, |body| {
                wire::read(body, query, dropped)
            })
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) => match mend(&error, query, lessons, after.is_none()) {
                true => continue,
                false => return Err(error),
            },
        };
        for (field, count) in page.data.rejected {
            *heard.rejected.entry(field).or_default() += count;
        }
        heard.pages += 1;
        for mut row in page.data.rows {
            if !keep(&mut row) {
                continue;
            }
            match misdated(query, &row) {
                None => heard.rows.push(row),
                // Where only single days can be meant, no other row is believed either.
                Some(fault) if query.increment == Increment::Daily && !knows_no_days(&row) => {
                    return Err(Error::garbled(fault.message));
                }
                Some(fault) => {
                    heard.withheld.insert(row.identity.key().into());
                    heard.fault.get_or_insert(fault);
                }
            }
        }
        match page.after {
            None if query.increment == Increment::Daily && has_a_day_twice(&heard.rows) => {
                return Err(Error::garbled("one day of one object came twice"));
            }
            None => return Ok(Some(heard)),
            same if same == after => {
                return Err(Error::garbled("a next page that is the same page again"));
            }
            next => after = next,
        }
    }
    Ok(None)
}

/// Learns from an error what not to ask again; says whether that may help.
fn mend(error: &Error, query: &Query, lessons: &mut Lessons, first_page: bool) -> bool {
    match error.class {
        Class::TooLarge if lessons.page_size > 1 => {
            lessons.page_size /= 2;
            tracing::info!(
                page_size = lessons.page_size,
                "the API cannot give such large pages, asking for smaller ones"
            );
            // Fewer days may help more: that is for the one to choose who asks about them.
            !has_many_days(query)
        }
        // A field that is dropped half way would leave an answer of two minds.
        Class::Rejected if error.fault.code == Some(100) && first_page => {
            let Some(field) = named(&error.fault.message, &droppable(query, lessons)) else {
                return false;
            };
            lessons.dropped.push(field);
            true
        }
        _ => false,
    }
}

/// The field that a message names; where it goes on to list what would be valid, that is no blame.
fn named(message: &str, fields: &[String]) -> Option<String> {
    let blame = message.split("must be one of").next().unwrap_or(message);
    let mut words = blame.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .find_map(|word| fields.iter().find(|field| *field == word))
        .cloned()
}

/// The fields that a question can do without.
fn droppable(query: &Query, lessons: &Lessons) -> Vec<String> {
    let own = ["account_id", "campaign_id", "adset_id", "ad_id", "actions"];
    let fields = fields(query, lessons);
    fields
        .into_iter()
        .filter(|field| !own.contains(&field.as_str()))
        .collect()
}

/// The fields of a question, without those that the API does not take.
fn fields(query: &Query, lessons: &Lessons) -> Vec<String> {
    let identity: &[&str] = match query.rows {
        Level::Account => &["account_id", "account_currency", "attribution_setting"],
        Level::Campaign => &[
            "account_id",
            "account_currency",
            "campaign_id",
            "campaign_name",
            "attribution_setting",
        ],
        Level::Adset => &[
            "account_id",
            "account_currency",
            "campaign_id",
            "campaign_name",
            "adset_id",
            "adset_name",
            "attribution_setting",
        ],
        Level::Ad => &[
            "account_id",
            "account_currency",
            "campaign_id",
            "campaign_name",
            "adset_id",
            "adset_name",
            "ad_id",
            "ad_name",
            "attribution_setting",
        ],
    };
    let mut fields: Vec<&str> = identity.to_vec();
    match query.question {
        Question::Delivery => fields.extend(query.columns.delivery().map(|(field, _)| field)),
        Question::Conversions => {
            fields.extend(ActionList::ALL.iter().map(|list| list.field()));
            fields.push("marketing_messages_spend");
        }
    }
    let taken = fields
        .into_iter()
        .filter(|field| !lessons.dropped.iter().any(|dropped| dropped == field));
    taken.map(str::to_owned).collect()
}

fn params(query: &Query, lessons: &Lessons, after: Option<&str>) -> Vec<(&'static str, String)> {
    let mut params = vec![("fields", fields(query, lessons).join(","))];
    if let Some(level) = query.level {
        params.push(("level", level.as_str().to_owned()));
    }
    match query.dates {
        Dates::Preset(preset) => params.push(("date_preset", preset.as_str().to_owned())),
        Dates::Range { since, until } => {
            params.push((
                "time_range",
                json!({"since": since.to_string(), "until": until.to_string()}).to_string(),
            ));
        }
        Dates::Unsent => {}
    }
    if query.increment == Increment::Daily {
        params.push(("time_increment", "1".to_owned()));
    }
    let mut filters = Vec::new();
    if !query.campaigns.is_empty() {
        let ids: Vec<_> = query.campaigns.iter().map(|id| id.as_str()).collect();
        filters.push(json!({"field": "campaign.id", "operator": "IN", "value": ids}));
    }
    if query.question == Question::Conversions {
        params.push(("action_breakdowns", "action_type".to_owned()));
        let action_types = query.columns.action_types.as_ref();
        filters.push(json!({"field": "action_type", "operator": "IN", "value": action_types}));
    }
    if !filters.is_empty() {
        params.push(("filtering", serde_json::Value::from(filters).to_string()));
    }
    if let Node::AdAccount(_) = query.node {
        params.push(("limit", lessons.page_size.to_string()));
    } else if query.level.is_some() {
        // A campaign's ad sets and ads can pass the API's default page of 25 as well.
        params.push(("limit", lessons.page_size.to_string()));
    }
    if let Some(after) = after {
        params.push(("after", after.to_owned()));
    }
    params
}

/// Fixed dates must be answered as asked. A preset is believed: only Meta knows its calendar.
fn misdated(query: &Query, row: &Row) -> Option<Fault> {
    let Dates::Range { since, until } = query.dates else {
        return None;
    };
    let (start, stop) = (row.start, row.stop);
    let (as_asked, of) = match query.increment {
        Increment::Whole => (start == since && stop == until, ""),
        Increment::Daily => (
            start == stop && since <= start && stop <= until,
            "each day of ",
        ),
    };
    (!as_asked).then(|| {
        Fault::new(
            Reason::Garbled,
            format!(
                "asked for {of}{since} to {until}, answered for {start} to {stop}: that row is withheld"
            ),
        )
    })
}

/// Whether the row is of a campaign that is older than the API's support of dates: then it is
/// about the campaign's whole life.
fn knows_no_days(row: &Row) -> bool {
    row.start < row.stop && row.start < FIRST_DATED_DAY
}

fn has_many_days(query: &Query) -> bool {
    let many = matches!(query.dates, Dates::Range { since, until } if since < until);
    many && query.increment == Increment::Daily
}

fn has_a_day_twice(rows: &[Row]) -> bool {
    let mut seen = HashSet::new();
    let mut days = rows.iter().map(|row| (row.identity.key(), row.start));
    days.any(|day| !seen.insert(day))
}
