//! The journal of a backfill: what was written is read, and what a crash tore is cut off.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::civil::{Date, date};
use marketing_messages_exporter::listing::{Account, Listing};
use marketing_messages_exporter::plan::{Days, Question};
use marketing_messages_exporter::row::{
    AccountId, Figure, Figures, Identity, Named, ObjectId, Row,
};
use marketing_messages_exporter::state::{Journal, Unusable};

/// A path of its own, removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mme-journal-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn days(since: Date, until: Date) -> Days {
    Days::new(since, until).unwrap()
}

fn row(campaign: &str, day: Date, number: f64) -> Row {
    let figures = [Figure::Given(number), Figure::Missing, Figure::Rejected];
    Row {
        identity: Arc::new(Identity {
            account: AccountId::parse("1").unwrap(),
            currency: Some("EUR".into()),
            campaign: Some(Named {
                id: ObjectId::parse(campaign).unwrap(),
                name: format!("Nº {campaign}").into(),
            }),
            adset: None,
            ad: None,
        }),
        start: day,
        stop: day,
        has_actions: true,
        mixed_attribution: false,
        figures: Figures::pack(&figures),
    }
}

fn listing() -> Listing {
    Listing {
        at: jiff::Timestamp::UNIX_EPOCH,
        account: Account {
            id: AccountId::parse("1").unwrap(),
            name: "One".into(),
            currency: None,
            timezone: jiff::tz::TimeZone::get("Asia/Tokyo").ok(),
        },
        campaigns: vec![],
        others: vec![],
        members: vec![],
        rows: 0,
    }
}

fn march(day: i8) -> Date {
    date(2026, 3, day)
}

/// Three answers of one source, the later days first.
fn fill(scratch: &Scratch) {
    let file = Journal::hold(&scratch.0).unwrap();
    let question = vec!["days".to_owned(), "level".to_owned()];
    let mut journal = Journal::begin(file, true, question).unwrap();
    journal.keep_listing(4, &listing()).unwrap();
    let later = vec![row("7", march(4), 4.0), row("30", march(3), 3.0)];
    let delivery = Question::Delivery;
    let nobody = BTreeSet::new;
    journal
        .keep(4, delivery, days(march(3), march(4)), later, nobody())
        .unwrap();
    let earlier = vec![row("7", march(2), 2.0), row("7", march(1), 1.0)];
    let withheld = BTreeSet::from(["99".into()]);
    journal
        .keep(4, delivery, days(march(1), march(2)), earlier, withheld)
        .unwrap();
    let conversions = Question::Conversions;
    let all = days(march(1), march(4));
    journal
        .keep(4, conversions, all, vec![row("7", march(2), 0.5)], nobody())
        .unwrap();
}

fn open(scratch: &Scratch) -> Result<Option<Journal>, Unusable> {
    Journal::open(&Journal::hold(&scratch.0)?)
}

/// Everything that a journal tells of that source, by key.
fn told(journal: &Journal) -> Vec<(String, Vec<Row>, Vec<Row>)> {
    let mut rows = journal.rows(4).unwrap();
    let mut told = Vec::new();
    while let Some(keyed) = rows.next().unwrap() {
        let key = keyed.delivery.first().or(keyed.conversions.first());
        let key = key.unwrap().identity.key().to_owned();
        told.push((key, keyed.delivery, keyed.conversions));
    }
    told
}

#[test]
fn what_was_written_is_read_by_key_and_day() {
    let scratch = Scratch::new();
    assert!(open(&scratch).unwrap().is_none());
    fill(&scratch);
    let journal = open(&scratch).unwrap().unwrap();
    assert_eq!(journal.question(), ["days", "level"]);
    assert_eq!(journal.listing(4).unwrap(), Some(listing()));
    assert_eq!(journal.listing(3).unwrap(), None);
    let answered = journal.answered(4, Question::Delivery);
    assert_eq!(
        answered,
        [days(march(1), march(2)), days(march(3), march(4))]
    );
    assert_eq!(journal.answered(5, Question::Delivery), []);
    let withheld: Vec<_> = journal.withheld(4).collect();
    assert_eq!(
        withheld,
        [(Question::Delivery, days(march(1), march(2)), "99")]
    );
    let seven = [
        row("7", march(1), 1.0),
        row("7", march(2), 2.0),
        row("7", march(4), 4.0),
    ];
    // By the text of the key, as everywhere.
    let expected = [
        ("30".to_owned(), vec![row("30", march(3), 3.0)], vec![]),
        (
            "7".to_owned(),
            seven.to_vec(),
            vec![row("7", march(2), 0.5)],
        ),
    ];
    // A rejected figure is not equal to itself as a number; its text is.
    assert_eq!(format!("{:?}", told(&journal)), format!("{expected:?}"));
}

#[test]
fn whatever_a_crash_leaves_is_whole_answers_and_takes_more() {
    let scratch = Scratch::new();
    fill(&scratch);
    let whole = fs::read(&scratch.0).unwrap();
    let all = told(&open(&scratch).unwrap().unwrap());
    let mut answers = BTreeSet::new();
    for length in 0..whole.len() {
        fs::write(&scratch.0, &whole[..length]).unwrap();
        let Some(mut journal) = open(&scratch).unwrap() else {
            continue;
        };
        let both = [Question::Delivery, Question::Conversions];
        let count: usize = both.iter().map(|q| journal.answered(4, *q).len()).sum();
        answers.insert(count);
        for (key, delivery, _) in told(&journal) {
            let known = all.iter().find(|(other, ..)| *other == key).unwrap();
            assert!(delivery.len() <= known.1.len());
        }
        let more = days(march(9), march(9));
        let new = vec![row("8", march(9), 9.0)];
        journal
            .keep(4, Question::Delivery, more, new, BTreeSet::new())
            .unwrap();
        drop(journal);
        let again = open(&scratch).unwrap().unwrap();
        assert!(
            again.answered(4, Question::Delivery).contains(&more),
            "{length}"
        );
        assert!(told(&again).iter().any(|(key, ..)| key == "8"), "{length}");
    }
    assert_eq!(answers, BTreeSet::from([0, 1, 2]));
}

#[test]
fn a_byte_that_changed_ends_what_is_believed() {
    let scratch = Scratch::new();
    fill(&scratch);
    let whole = fs::read(&scratch.0).unwrap();
    let text = format!("{:?}", told(&open(&scratch).unwrap().unwrap()));
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        fs::write(&scratch.0, &changed).unwrap();
        match open(&scratch) {
            Ok(Some(journal)) => {
                assert_ne!(format!("{:?}", told(&journal)), text, "{place}");
                assert_eq!(journal.question(), ["days", "level"]);
            }
            Ok(None) | Err(Unusable::Foreign | Unusable::OtherRelease) => {}
            Err(error) => panic!("{place}: {error}"),
        }
    }
}

#[test]
fn a_journal_is_held_by_one_alone_and_nothing_is_cut_off_before() {
    let scratch = Scratch::new();
    fill(&scratch);
    let whole = fs::read(&scratch.0).unwrap();
    let journal = open(&scratch).unwrap().unwrap();
    for _ in 0..2 {
        assert!(matches!(
            Journal::hold(&scratch.0).unwrap_err(),
            Unusable::Held
        ));
    }
    assert_eq!(fs::read(&scratch.0).unwrap(), whole);
    // Whoever removes it leaves the name to the next one.
    fs::remove_file(&scratch.0).unwrap();
    let next = Journal::hold(&scratch.0).unwrap();
    drop(journal);
    assert!(matches!(
        Journal::hold(&scratch.0).unwrap_err(),
        Unusable::Held
    ));
    drop(next);
    assert!(open(&scratch).unwrap().is_none());
}
