//! Journal of a backfill: entries are read back, incomplete and damaged ones are truncated.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::civil::{Date, date};
use marketing_messages_exporter::model::{
    AccountId, AdAccount, Dimensions, Inventory, ListingMode, NamedId, ObjectId, Row, RowValue,
    RowValues,
};
use marketing_messages_exporter::plan::{DayRange, QueryKind};
use marketing_messages_exporter::state::{Journal, StoreError};

/// Path of a temporary file, removed on drop.
struct TempPath(PathBuf);

impl TempPath {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mme-journal-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn days(since: Date, until: Date) -> DayRange {
    DayRange::new(since, until).unwrap()
}

fn row(campaign: &str, day: Date, number: f64) -> Row {
    let values = [
        RowValue::Present(number),
        RowValue::Missing,
        RowValue::Invalid,
    ];
    Row {
        dimensions: Arc::new(Dimensions {
            account: AccountId::parse("1").unwrap(),
            currency: Some("EUR".into()),
            campaign: Some(NamedId {
                id: ObjectId::parse(campaign).unwrap(),
                name: format!("Nº {campaign}").into(),
            }),
            adset: None,
            ad: None,
        }),
        start: day,
        stop: day,
        mixed_attribution: false,
        values: RowValues::pack(&values),
    }
}

fn inventory() -> Inventory {
    Inventory {
        fetched_at: jiff::Timestamp::UNIX_EPOCH,
        account: AdAccount {
            name: "One".into(),
            timezone: jiff::tz::TimeZone::get("Asia/Tokyo").ok(),
            ..AdAccount::unknown(AccountId::parse("1").unwrap())
        },
        campaigns: vec![],
        archived: vec![],
        other_campaigns: vec![],
        missing: vec![],
        listing: ListingMode::default(),
        account_fetched_at: jiff::Timestamp::UNIX_EPOCH,
        entities: vec![],
        max_rows: 0,
    }
}

fn march(day: i8) -> Date {
    date(2026, 3, day)
}

/// Source of all entries.
const SOURCE: usize = 4;

/// Writes three entries of one source, later days first.
fn fill(path: &TempPath) {
    let file = Journal::lock(&path.0).unwrap();
    let parameters = vec!["days".to_owned(), "level".to_owned()];
    let mut journal = Journal::create(file, true, parameters).unwrap();
    journal.append_inventory(SOURCE, &inventory()).unwrap();
    let later = vec![row("7", march(4), 4.0), row("30", march(3), 3.0)];
    let delivery = QueryKind::Delivery;
    let none_withheld = BTreeSet::new;
    journal
        .append_rows(
            SOURCE,
            delivery,
            days(march(3), march(4)),
            later,
            none_withheld(),
        )
        .unwrap();
    let earlier = vec![row("7", march(2), 2.0), row("7", march(1), 1.0)];
    let withheld = BTreeSet::from(["99".into()]);
    journal
        .append_rows(
            SOURCE,
            delivery,
            days(march(1), march(2)),
            earlier,
            withheld,
        )
        .unwrap();
    let conversions = QueryKind::Conversions;
    let all = days(march(1), march(4));
    journal
        .append_rows(
            SOURCE,
            conversions,
            all,
            vec![row("7", march(2), 0.5)],
            none_withheld(),
        )
        .unwrap();
}

/// Opens the journal. A process that another test starts inherits the lock until it executes its program.
fn open(path: &TempPath) -> Result<Option<Journal>, StoreError> {
    loop {
        match Journal::lock(&path.0) {
            Err(StoreError::Locked) => std::thread::yield_now(),
            file => return Journal::open(&file?),
        }
    }
}

/// Reads all rows of the source, as (key, delivery rows, conversions rows).
fn read_rows(journal: &Journal) -> Vec<(String, Vec<Row>, Vec<Row>)> {
    let mut result = Vec::new();
    for rows in journal.rows(SOURCE).unwrap() {
        let rows = rows.unwrap();
        let first = rows.delivery.first().or(rows.conversions.first());
        let key = first.unwrap().dimensions.key().to_owned();
        result.push((key, rows.delivery, rows.conversions));
    }
    result
}

#[test]
fn entries_are_read_back_by_key_and_day() {
    let path = TempPath::new();
    assert!(open(&path).unwrap().is_none());
    fill(&path);
    let journal = open(&path).unwrap().unwrap();
    assert_eq!(journal.parameters(), ["days", "level"]);
    assert_eq!(journal.inventory(SOURCE).unwrap(), Some(inventory()));
    assert_eq!(journal.inventory(SOURCE - 1).unwrap(), None);
    let covered = journal.covered_days(SOURCE, QueryKind::Delivery);
    assert_eq!(
        covered,
        [days(march(1), march(2)), days(march(3), march(4))]
    );
    assert_eq!(journal.covered_days(SOURCE + 1, QueryKind::Delivery), []);
    let withheld: Vec<_> = journal.withheld(SOURCE).collect();
    assert_eq!(
        withheld,
        [(QueryKind::Delivery, days(march(1), march(2)), "99")]
    );
    let seven = [
        row("7", march(1), 1.0),
        row("7", march(2), 2.0),
        row("7", march(4), 4.0),
    ];
    // Keys are sorted as text.
    let expected = [
        ("30".to_owned(), vec![row("30", march(3), 3.0)], vec![]),
        (
            "7".to_owned(),
            seven.to_vec(),
            vec![row("7", march(2), 0.5)],
        ),
    ];
    // Compared as text, because an invalid value is a NaN, which differs from itself.
    assert_eq!(
        format!("{:?}", read_rows(&journal)),
        format!("{expected:?}")
    );
}

#[test]
fn truncated_journal_is_an_error() {
    let path = TempPath::new();
    fill(&path);
    let content = fs::read(&path.0).unwrap();
    // One page after another.
    for length in (0..content.len()).step_by(4096) {
        fs::write(&path.0, &content[..length]).unwrap();
        match open(&path) {
            Ok(None) => assert!(length <= 4096, "{length}"),
            Ok(Some(_)) => panic!("{length} bytes should not be a journal"),
            Err(error) => assert!(error.is_unusable(), "{length}: {error}"),
        }
    }
}

/// Bytes that the test changes, one at a time.
const CHANGED_BYTES: usize = 100;

#[test]
fn changed_byte_never_changes_a_row() {
    let path = TempPath::new();
    fill(&path);
    let content = fs::read(&path.0).unwrap();
    let text = format!("{:?}", read_rows(&open(&path).unwrap().unwrap()));
    let used = content.iter().enumerate();
    let used: Vec<usize> = used
        .filter(|(_, byte)| **byte != 0)
        .map(|(idx, _)| idx)
        .collect();
    // All bytes would take minutes.
    for byte_idx in used.iter().copied().step_by(used.len() / CHANGED_BYTES + 1) {
        let mut changed = content.clone();
        changed[byte_idx] ^= 0x10;
        fs::write(&path.0, &changed).unwrap();
        match open(&path) {
            Ok(Some(journal)) => {
                assert_eq!(
                    format!("{:?}", read_rows(&journal)),
                    text,
                    "byte {byte_idx}"
                );
            }
            Ok(None) => {}
            Err(StoreError::Foreign(_)) => assert!(byte_idx < 40, "byte {byte_idx}"),
            Err(error) => assert!(error.is_unusable(), "byte {byte_idx}: {error}"),
        }
    }
}

#[test]
fn copy_of_an_open_journal_has_all_finished_entries() {
    // As after the process was killed.
    let (path, copy) = (TempPath::new(), TempPath::new());
    fill(&path);
    let mut journal = open(&path).unwrap().unwrap();
    for day in 5..20 {
        let new_days = days(march(day), march(day));
        let rows = vec![row("8", march(day), 9.0)];
        let none_withheld = BTreeSet::new();
        journal
            .append_rows(SOURCE, QueryKind::Delivery, new_days, rows, none_withheld)
            .unwrap();
        fs::copy(&path.0, &copy.0).unwrap();
        let killed = open(&copy).unwrap().unwrap();
        assert_eq!(
            format!("{:?}", read_rows(&killed)),
            format!("{:?}", read_rows(&journal))
        );
        assert!(
            killed
                .covered_days(SOURCE, QueryKind::Delivery)
                .contains(&new_days)
        );
    }
}

#[test]
fn journal_is_locked_until_it_is_closed() {
    let path = TempPath::new();
    fill(&path);
    let journal = open(&path).unwrap().unwrap();
    let content = fs::read(&path.0).unwrap();
    for _ in 0..2 {
        assert!(matches!(
            Journal::lock(&path.0).unwrap_err(),
            StoreError::Locked
        ));
    }
    assert_eq!(fs::read(&path.0).unwrap(), content);
    // After the file is removed, the path can be locked again.
    fs::remove_file(&path.0).unwrap();
    let next = Journal::lock(&path.0).unwrap();
    drop(journal);
    assert!(matches!(
        Journal::lock(&path.0).unwrap_err(),
        StoreError::Locked
    ));
    drop(next);
    assert!(open(&path).unwrap().is_none());
}
