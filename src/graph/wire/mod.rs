//! Insights as they come over the wire → rows. Meta's JSON, letter for letter.
//!
//! Every scalar is a string, but may be a number; anything may be missing. What breaks the shape
//! of an answer makes all of it unbelievable; what breaks one value costs that value alone.

mod actions;
mod cell;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::actions::ActionsSeed;
pub(super) use self::cell::Cell;
use crate::plan::{Query, Question};
use crate::row::{
    AccountId, ActionList, Figure, Figures, Identity, Kind, Level, Named, ObjectId, Row,
};

/// One page of an answer.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) data: T,
    /// Where the next page begins; `None` on the last one.
    pub(super) after: Option<String>,
}

/// The rows of one page, and what was not believed.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// How many values of a field were no finite numbers.
    pub(super) rejected: BTreeMap<String, u64>,
}

/// The envelope around every list.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Paging {
    cursors: Option<Cursors>,
    /// Never followed: it can carry the token, and could point anywhere.
    next: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cursors {
    after: Option<String>,
}

impl Paging {
    /// The cursor of the next page. Only the absence of `next` ends a list: `after` stands on the
    /// last page too.
    pub(super) fn after(self) -> Option<String> {
        self.next?;
        self.cursors?.after
    }
}

/// Reads one page of the answer to `query`. Columns in `dropped` were not asked for.
///
/// # Errors
/// A sentence that says where the answer is not what it should be.
pub(super) fn read(body: &[u8], query: &Query, dropped: &[String]) -> Result<Page<Rows>, String> {
    let reader = Reader::new(query, dropped);
    // Checked once, not string by string.
    let body = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let mut json = serde_json::Deserializer::from_str(body);
    let page = AnswerSeed(&reader)
        .deserialize(&mut json)
        .and_then(|page| json.end().map(|()| page));
    page.map_err(|error| error.to_string())
}

/// What a query's rows are made of.
struct Reader<'a> {
    query: &'a Query,
    columns: Vec<(&'a str, Kind)>,
    /// What is known of a row before it is read: all is missing, but for columns that were not
    /// asked for, of which nothing can be known.
    unread: Vec<Figure>,
}

/// What a row's key stands for.
#[derive(Clone, Copy)]
enum Slot {
    AccountId,
    Currency,
    CampaignId,
    CampaignName,
    AdsetId,
    AdsetName,
    AdId,
    AdName,
    DateStart,
    DateStop,
    Attribution,
    Scalar(usize),
    List(ActionList),
    Ignored,
}

impl<'a> Reader<'a> {
    fn new(query: &'a Query, dropped: &[String]) -> Self {
        let columns: Vec<_> = match query.question {
            Question::Delivery => query.columns.delivery().collect(),
            Question::Conversions => Vec::new(),
        };
        let mut unread = vec![Figure::Missing; query.columns.width(query.question)];
        if query.question == Question::Conversions {
            let action_types = query.columns.action_types.len();
            let lists = ActionList::ALL.into_iter();
            for list in lists.filter(|list| dropped.iter().any(|field| field == list.field())) {
                unread[list.columns(action_types)].fill(Figure::Rejected);
            }
        }
        Self {
            query,
            columns,
            unread,
        }
    }

    fn slot(&self, key: &str) -> Slot {
        if let Some(column) = self.columns.iter().position(|(field, _)| *field == key) {
            return Slot::Scalar(column);
        }
        match key {
            "account_id" => Slot::AccountId,
            "account_currency" => Slot::Currency,
            "campaign_id" => Slot::CampaignId,
            "campaign_name" => Slot::CampaignName,
            "adset_id" => Slot::AdsetId,
            "adset_name" => Slot::AdsetName,
            "ad_id" => Slot::AdId,
            "ad_name" => Slot::AdName,
            "date_start" => Slot::DateStart,
            "date_stop" => Slot::DateStop,
            "attribution_setting" => Slot::Attribution,
            _ if self.query.question == Question::Conversions => {
                let list = ActionList::ALL.into_iter().find(|list| list.field() == key);
                list.map_or(Slot::Ignored, Slot::List)
            }
            _ => Slot::Ignored,
        }
    }
}

/// A member of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Member {
    Data,
    Paging,
    #[serde(other)]
    Other,
}

/// The whole answer: `data` and `paging`.
struct AnswerSeed<'a>(&'a Reader<'a>);

impl<'de> DeserializeSeed<'de> for AnswerSeed<'_> {
    type Value = Page<Rows>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnswerSeed<'_> {
    type Value = Page<Rows>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `data`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut data, mut paging) = (None, None);
        while let Some(key) = map.next_key::<Member>()? {
            match key {
                Member::Data => data = Some(map.next_value_seed(RowsSeed(self.0))?),
                Member::Paging => paging = map.next_value::<Option<Paging>>()?,
                Member::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let data = data.ok_or_else(|| A::Error::missing_field("data"))?;
        let after = paging.and_then(Paging::after);
        Ok(Page { data, after })
    }
}

/// The list under `data`.
struct RowsSeed<'a>(&'a Reader<'a>);

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Rows;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut rows = Rows::default();
        let mut owner = Owner::default();
        while let Some(row) =
            seq.next_element_seed(RowSeed(self.0, &mut rows.rejected, &mut owner))?
        {
            rows.rows.push(row);
        }
        Ok(rows)
    }
}

/// One row, where its unusable values are counted, and whose the row before it was.
struct RowSeed<'a>(&'a Reader<'a>, &'a mut BTreeMap<String, u64>, &'a mut Owner);

/// The ad account that a row is of, which is nearly always that of the row before.
#[derive(Clone, Default)]
struct Owner {
    account: Option<AccountId>,
    currency: Option<Arc<str>>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// A key, read as the slot that it stands for: nothing is copied.
struct SlotSeed<'a>(&'a Reader<'a>);

impl<'de> DeserializeSeed<'de> for SlotSeed<'_> {
    type Value = Slot;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for SlotSeed<'_> {
    type Value = Slot;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.slot(key))
    }
}

/// A row's identity and dates while they gather.
#[derive(Default)]
struct Parts {
    owner: Owner,
    ids: [Option<ObjectId>; 3],
    names: [Arc<str>; 3],
    start: Option<Date>,
    stop: Option<Date>,
    mixed_attribution: bool,
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(reader, rejected, owner) = self;
        let mut parts = Parts::default();
        let mut figures = reader.unread.clone();
        let mut has_actions = false;
        while let Some(slot) = map.next_key_seed(SlotSeed(reader))? {
            match slot {
                Slot::Ignored => drop(map.next_value::<IgnoredAny>()?),
                Slot::Scalar(column) => {
                    let (field, kind) = reader.columns[column];
                    let figure = map.next_value::<Cell<'de>>()?.figure(kind);
                    if figure == Figure::Rejected {
                        count(rejected, field);
                    }
                    figures[column] = figure;
                }
                Slot::List(list) => {
                    let seed = ActionsSeed {
                        list,
                        action_types: &reader.query.columns.action_types,
                        figures: &mut figures,
                        rejected,
                    };
                    has_actions |= map.next_value_seed(seed)?;
                }
                slot => parts.take(slot, &map.next_value::<Cell<'de>>()?, owner),
            }
        }
        owner.clone_from(&parts.owner);
        let mixed_attribution = parts.mixed_attribution;
        let (Some(start), Some(stop)) = (parts.start, parts.stop) else {
            return Err(A::Error::custom("a row without date_start or date_stop"));
        };
        let identity = parts
            .identity(reader.query.rows)
            .map_err(A::Error::custom)?;
        Ok(Row {
            identity: Arc::new(identity),
            start,
            stop,
            has_actions,
            mixed_attribution,
            figures: Figures::pack(&figures),
        })
    }
}

impl Parts {
    fn take(&mut self, slot: Slot, cell: &Cell<'_>, before: &Owner) {
        let Some(text) = cell.text() else { return };
        match slot {
            Slot::AccountId => {
                let same = before.account.as_ref().filter(|id| id.digits() == text);
                self.owner.account = same.cloned().or_else(|| AccountId::parse(&text));
            }
            Slot::Currency => {
                let same = before.currency.as_ref().filter(|code| ***code == *text);
                let new = || (!text.is_empty()).then(|| text.as_ref().into());
                self.owner.currency = same.cloned().or_else(new);
            }
            Slot::CampaignId => self.ids[0] = ObjectId::parse(&text),
            Slot::CampaignName => self.names[0] = text.into(),
            Slot::AdsetId => self.ids[1] = ObjectId::parse(&text),
            Slot::AdsetName => self.names[1] = text.into(),
            Slot::AdId => self.ids[2] = ObjectId::parse(&text),
            Slot::AdName => self.names[2] = text.into(),
            Slot::DateStart => self.start = text.parse().ok(),
            Slot::DateStop => self.stop = text.parse().ok(),
            Slot::Attribution => {
                self.mixed_attribution = matches!(text.as_ref(), "multiple" | "mixed")
            }
            Slot::Scalar(_) | Slot::List(_) | Slot::Ignored => {}
        }
    }

    /// Everything that a row at that level must say of itself; deeper ids are not taken.
    fn identity(self, level: Level) -> Result<Identity, String> {
        let depth = match level {
            Level::Account => 0,
            Level::Campaign => 1,
            Level::Adset => 2,
            Level::Ad => 3,
        };
        let account = self.owner.account.ok_or("a row without account_id")?;
        let mut named = [None, None, None];
        let parts = self
            .ids
            .into_iter()
            .zip(self.names)
            .zip(["campaign_id", "adset_id", "ad_id"]);
        for (place, ((id, name), field)) in named.iter_mut().zip(parts).take(depth) {
            let id = id.ok_or_else(|| format!("a row without {field}"))?;
            *place = Some(Named { id, name });
        }
        let [campaign, adset, ad] = named;
        Ok(Identity {
            account,
            currency: self.owner.currency,
            campaign,
            adset,
            ad,
        })
    }
}

fn count(rejected: &mut BTreeMap<String, u64>, field: &str) {
    *rejected.entry(field.to_owned()).or_default() += 1;
}
