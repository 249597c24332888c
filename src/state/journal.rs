//! Journal of a backfill: the rows fetched so far, so that an interrupted backfill can resume, and that memory does not
//! grow with the number of days.
//!
//! Each response is one transaction. Rows are stored by source, key, query and first day, so that reading the table in
//! its order merges the responses by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;
use redb::{
    Database, Range, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::encoding::{decode, encode};
use super::error::StoreError;
use super::store_file::{self, FileBackend, IoActivity, StoreKind, open_database};
use super::stored_row::StoredRow;
use crate::model::{Campaign, Entity, Inventory, ObjectId, Row};
use crate::plan::{DayRange, QueryKind};

/// Kind of the file. The layout must be incremented with every change of a stored type.
const KIND: StoreKind = StoreKind {
    name: "backfill",
    shown: "backfill journal",
    layout: 2,
};

/// Parameters of the backfill, in one record.
const PARAMETERS: TableDefinition<'_, (), &[u8]> = TableDefinition::new("parameters");

/// Newest inventory of each source.
const INVENTORIES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("inventories");

/// Responses by source, query, first day and number of days.
const RESPONSES: TableDefinition<'_, (u32, bool, i32, u32), &[u8]> =
    TableDefinition::new("responses");

/// Rows of each key of a response, by source, key, query and first day of the response.
const ROWS: TableDefinition<'_, RowsKey<'static>, &[u8]> = TableDefinition::new("rows");

/// Withheld keys of each response, by source, query and days.
type Responses = BTreeMap<(usize, QueryKind), BTreeMap<DayRange, BTreeSet<Box<str>>>>;

/// Key of [`ROWS`].
type RowsKey<'a> = (u32, &'a str, bool, i32);

/// Journal that is open for appending.
#[derive(Debug)]
pub struct Journal {
    database: Database,
    parameters: Vec<String>,
    responses: Responses,
}

/// An inventory with its lists, which its own serialization leaves out.
#[derive(Debug, Serialize, Deserialize)]
struct WholeInventory {
    properties: Inventory,
    campaigns: Vec<Campaign>,
    archived: Vec<Campaign>,
    other_campaigns: Vec<ObjectId>,
    entities: Vec<Entity>,
}

impl Journal {
    /// Opens the file of a journal and locks it until it is closed. Creates it with mode 0600 if it
    /// does not exist; does not read or change its content.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened, is not a regular file, or is locked.
    pub fn lock(path: &Path) -> Result<File, StoreError> {
        store_file::lock(path, KIND)
    }

    /// Replaces the content of the file with an empty journal of a backfill with these parameters. If it is not
    /// `durable`, it is not synced to the disk.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn create(file: File, durable: bool, parameters: Vec<String>) -> Result<Self, StoreError> {
        store_file::clear(&file, KIND)?;
        let journal = Self {
            database: database(file, durable)?,
            parameters,
            responses: BTreeMap::new(),
        };
        let bytes = encode(&journal.parameters)?;
        journal.write(|transaction| {
            transaction
                .open_table(PARAMETERS)?
                .insert((), bytes.as_slice())?;
            Ok(())
        })?;
        Ok(journal)
    }

    /// Opens the journal in the file; `None` if the file has no parameters yet. The lock lasts until
    /// the file and the journal are closed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or is not a journal of this layout.
    pub fn open(file: &File) -> Result<Option<Self>, StoreError> {
        if store_file::prepare(file, KIND)? {
            return Ok(None);
        }
        let mut journal = Self {
            database: database(file.try_clone()?, true)?,
            parameters: Vec::new(),
            responses: BTreeMap::new(),
        };
        let Some(bytes) = journal.read(PARAMETERS, ())? else {
            return Ok(None);
        };
        journal.parameters = decode(&bytes)?;
        journal.responses = journal.load_responses()?;
        Ok(Some(journal))
    }

    fn load_responses(&self) -> Result<Responses, StoreError> {
        let mut responses = Responses::new();
        let transaction = self.database.begin_read();
        let transaction = transaction.map_err(StoreError::from_database)?;
        let table = match transaction.open_table(RESPONSES) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(responses),
            Err(error) => return Err(StoreError::from_database(error)),
        };
        for entry in table.iter().map_err(StoreError::from_database)? {
            let (key, bytes) = entry.map_err(StoreError::from_database)?;
            let (source, conversions, first_day, count) = key.value();
            let days = day_range(first_day, count);
            let days = days.ok_or_else(|| StoreError::damaged("invalid range of days"))?;
            let source = usize::try_from(source).map_err(StoreError::damaged)?;
            let withheld = decode(bytes.value())?;
            let of_query = responses.entry((source, query_kind(conversions)));
            of_query.or_default().insert(days, withheld);
        }
        Ok(responses)
    }

    /// Returns the parameters of the backfill.
    pub fn parameters(&self) -> &[String] {
        &self.parameters
    }

    /// Stores the inventory of a source, which replaces an earlier one.
    ///
    /// # Errors
    /// Returns an error if writing fails; the journal is then unchanged.
    pub fn append_inventory(&self, source: usize, inventory: &Inventory) -> Result<(), StoreError> {
        let bytes = encode(&WholeInventory {
            properties: inventory.clone(),
            campaigns: inventory.campaigns.clone(),
            archived: inventory.archived.clone(),
            other_campaigns: inventory.other_campaigns.clone(),
            entities: inventory.entities.clone(),
        })?;
        let source = stored_source(source)?;
        self.write(|transaction| {
            transaction
                .open_table(INVENTORIES)?
                .insert(source, bytes.as_slice())?;
            Ok(())
        })
    }

    /// Reads the inventory of a source; `None` if the journal has none.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn inventory(&self, source: usize) -> Result<Option<Inventory>, StoreError> {
        let Some(bytes) = self.read(INVENTORIES, stored_source(source)?)? else {
            return Ok(None);
        };
        let WholeInventory {
            properties,
            campaigns,
            archived,
            other_campaigns,
            entities,
        } = decode(&bytes)?;
        Ok(Some(Inventory {
            campaigns,
            archived,
            other_campaigns,
            entities,
            ..properties
        }))
    }

    /// Stores the result of one query of a source for these days.
    ///
    /// # Errors
    /// Returns an error if writing fails; the journal is then unchanged.
    pub fn append_rows(
        &mut self,
        source: usize,
        kind: QueryKind,
        days: DayRange,
        mut rows: Vec<Row>,
        withheld: BTreeSet<Box<str>>,
    ) -> Result<(), StoreError> {
        rows.sort_by(|a, b| (a.dimensions.key(), a.start).cmp(&(b.dimensions.key(), b.start)));
        let stored = stored_source(source)?;
        let is_conversions = kind == QueryKind::Conversions;
        let first_day = stored_day(days.since());
        let count = u32::try_from(days.count()).map_err(StoreError::damaged)?;
        let header = encode(&withheld)?;
        let mut records = Vec::new();
        for rows in rows.chunk_by(|a, b| a.dimensions.key() == b.dimensions.key()) {
            let stored: Vec<StoredRow> = rows.iter().map(|row| StoredRow::new(row, None)).collect();
            records.extend(
                rows.first()
                    .map(|row| encode(&stored).map(|bytes| (row.dimensions.key(), bytes)))
                    .transpose()?,
            );
        }
        self.write(|transaction| {
            transaction.open_table(RESPONSES)?.insert(
                (stored, is_conversions, first_day, count),
                header.as_slice(),
            )?;
            let mut table = transaction.open_table(ROWS)?;
            for (key, bytes) in &records {
                table.insert((stored, *key, is_conversions, first_day), bytes.as_slice())?;
            }
            Ok(())
        })?;
        let of_query = self.responses.entry((source, query_kind(is_conversions)));
        of_query.or_default().insert(days, withheld);
        Ok(())
    }

    /// Returns the ranges of days that entries of a source cover, by first day.
    pub fn covered_days(&self, source: usize, kind: QueryKind) -> Vec<DayRange> {
        let responses = self.responses.get(&(source, kind));
        responses
            .into_iter()
            .flat_map(|responses| responses.keys().copied())
            .collect()
    }

    /// Returns the withheld keys of a source, with query and days.
    pub fn withheld(&self, source: usize) -> impl Iterator<Item = (QueryKind, DayRange, &str)> {
        let kinds = [QueryKind::Delivery, QueryKind::Conversions];
        kinds.into_iter().flat_map(move |kind| {
            let responses = self.responses.get(&(source, kind)).into_iter().flatten();
            responses.flat_map(move |(days, withheld)| {
                let keys = withheld.iter();
                keys.map(move |key| (kind, *days, key.as_ref()))
            })
        })
    }

    /// Returns whether the journal has no entries.
    pub fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    /// Returns the rows of a source, by key.
    ///
    /// # Errors
    /// Returns an error if they cannot be read.
    pub fn rows(&self, source: usize) -> Result<JournalRows, StoreError> {
        let transaction = self.database.begin_read();
        let transaction = transaction.map_err(StoreError::from_database)?;
        let source = stored_source(source)?;
        let rows = match transaction.open_table(ROWS) {
            Ok(table) => {
                let range = (source, "", false, i32::MIN)..(source + 1, "", false, i32::MIN);
                Some(table.range(range).map_err(StoreError::from_database)?)
            }
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(StoreError::from_database(error)),
        };
        Ok(JournalRows { rows, next: None })
    }

    fn read<K: redb::Key + 'static>(
        &self,
        table: TableDefinition<'_, K, &'static [u8]>,
        key: K::SelfType<'_>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = self.database.begin_read();
        let transaction = transaction.map_err(StoreError::from_database)?;
        let table = match transaction.open_table(table) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(StoreError::from_database(error)),
        };
        let value = table.get(key).map_err(StoreError::from_database)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    /// Runs a transaction.
    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let written = || {
            let transaction = self.database.begin_write()?;
            change(&transaction)?;
            transaction.commit()?;
            Ok::<_, redb::Error>(())
        };
        written().map_err(StoreError::from_database)
    }
}

fn database(file: File, durable: bool) -> Result<Database, StoreError> {
    open_database(FileBackend {
        file,
        durable,
        activity: Arc::new(IoActivity::default()),
    })
}

fn stored_source(source: usize) -> Result<u32, StoreError> {
    u32::try_from(source).map_err(StoreError::damaged)
}

fn query_kind(is_conversions: bool) -> QueryKind {
    if is_conversions {
        QueryKind::Conversions
    } else {
        QueryKind::Delivery
    }
}

/// Returns the number of days since the Unix epoch.
fn stored_day(day: Date) -> i32 {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.until(day).map_or(i32::MIN, |span| span.get_days())
}

fn day_range(first_day: i32, count: u32) -> Option<DayRange> {
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = |count| jiff::Span::new().try_days(count).ok();
    let since = epoch.checked_add(days(i64::from(first_day))?).ok()?;
    let until = since.checked_add(days(i64::from(count) - 1)?).ok()?;
    DayRange::new(since, until)
}

/// Rows of one key, sorted by day.
#[derive(Debug, Default)]
pub struct KeyRows {
    /// Rows of the delivery query.
    pub delivery: Vec<Row>,
    /// Rows of the conversions query.
    pub conversions: Vec<Row>,
}

/// Rows of one source, by key. The rows of one key are in memory.
pub struct JournalRows {
    rows: Option<Range<'static, RowsKey<'static>, &'static [u8]>>,
    /// First response of the next key.
    next: Option<KeyResponse>,
}

/// Rows of one key in one response.
struct KeyResponse {
    key: Box<str>,
    is_conversions: bool,
    rows: Vec<StoredRow>,
}

impl Iterator for JournalRows {
    type Item = Result<KeyRows, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_key().transpose()
    }
}

impl JournalRows {
    /// Returns the rows of the next key; `None` after the last one.
    fn next_key(&mut self) -> Result<Option<KeyRows>, StoreError> {
        let first = match self.next.take() {
            Some(response) => response,
            None => match self.read_response()? {
                Some(response) => response,
                None => return Ok(None),
            },
        };
        let key = first.key.clone();
        let mut key_rows = KeyRows::default();
        let mut response = Some(first);
        while let Some(of_key) = response.take() {
            if of_key.key != key {
                self.next = Some(of_key);
                break;
            }
            let rows = if of_key.is_conversions {
                &mut key_rows.conversions
            } else {
                &mut key_rows.delivery
            };
            rows.extend(of_key.rows.iter().filter_map(|row| row.to_row(None)));
            response = self.read_response()?;
        }
        // Responses can overlap.
        key_rows.delivery.sort_by_key(|row| row.start);
        key_rows.conversions.sort_by_key(|row| row.start);
        Ok(Some(key_rows))
    }

    fn read_response(&mut self) -> Result<Option<KeyResponse>, StoreError> {
        let Some(entry) = self.rows.as_mut().and_then(Iterator::next) else {
            return Ok(None);
        };
        let (key, bytes) = entry.map_err(StoreError::from_database)?;
        let (_, key, is_conversions, _) = key.value();
        Ok(Some(KeyResponse {
            key: key.into(),
            is_conversions,
            rows: decode(bytes.value())?,
        }))
    }
}
