//! State file: round trip of snapshots, and rejection of every other content.
#![allow(
    clippy::expect_used,
    reason = "helpers of tests panic with what they expect"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use marketing_messages_exporter::config::{Config, NamedDocument};
use marketing_messages_exporter::model::{Entity, ObjectId, Row, RowValue, RowValues};
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::snapshot::Snapshot;
use marketing_messages_exporter::state::{self, IoActivity, SavedState, StateStore, StoreError};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary_snapshots::{now, sample, snapshot};

/// Temporary folder of one test, removed on drop.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("state-{}-{next}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("the temporary directory should be writable");
        Self(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Opens the state file. A process that another test starts inherits the lock until it executes its program.
    fn open(&self) -> Result<(StateStore, Option<SavedState>), StoreError> {
        loop {
            match StateStore::open(&self.file(), &Arc::new(IoActivity::default())) {
                Err(StoreError::Locked) => std::thread::yield_now(),
                opened => return opened,
            }
        }
    }

    /// Writes snapshots one after another.
    fn write(&self, snapshots: &[&Arc<Snapshot>]) {
        let (mut store, _) = self.open().expect("the folder should be writable");
        for snapshot in snapshots {
            store.write(snapshot).expect("the file should be writable");
        }
    }

    /// Writes the sample snapshot and returns the content of the file.
    fn sample_bytes(&self) -> Vec<u8> {
        self.write(&[&Arc::new(sample().1)]);
        fs::read(self.file()).expect("the file should exist")
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Text of a snapshot, to compare: NaN differs from itself, and -0 equals 0.
fn text(snapshot: &Snapshot) -> String {
    format!("{snapshot:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn snapshots_round_trip(snapshots in vec(snapshot(), 1..4)) {
        let folder = TempFolder::new();
        let (plan, _) = snapshots.last().unwrap().clone();
        let snapshots: Vec<_> = snapshots.into_iter().map(|(_, snapshot)| Arc::new(snapshot)).collect();
        // All but the first one are written as a difference.
        folder.write(&snapshots.iter().collect::<Vec<_>>());
        let expected = text(snapshots.last().unwrap());
        let unlocked = state::read(&folder.file()).unwrap().unwrap();
        prop_assert_eq!(text(&unlocked.to_snapshot(&plan, now())), expected.as_str());
        let (mut store, saved) = folder.open().unwrap();
        let restored = Arc::new(saved.unwrap().to_snapshot(&plan, now()));
        prop_assert_eq!(text(&restored), expected.as_str());
        // The first write after a restart replaces everything, a second one writes nothing.
        prop_assert!(store.write(&restored).unwrap());
        prop_assert!(!store.write(&restored).unwrap());
        drop(store);
        let again = folder.open().unwrap().1.unwrap();
        prop_assert_eq!(text(&again.to_snapshot(&plan, now())), expected);
    }

    #[test]
    fn arbitrary_change_set_does_not_panic(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(saved) = SavedState::from_change_set(&bytes) {
            let _ = saved.to_snapshot(&sample().0, now());
        }
    }
}

#[test]
fn stored_types_match_the_layout_number() {
    let folder = TempFolder::new();
    let bytes = folder.sample_bytes();
    assert!(bytes.starts_with(b"marketing-messages-exporter state 7\n"));
    // If this fails, a stored type has changed: increment the layout in `state_store` if it was released.
    let saved = state::decode(&bytes).unwrap().unwrap();
    insta::assert_snapshot!(format!("{saved:#?}"));
}

#[test]
fn foreign_files_are_refused_and_unchanged() {
    let contents: [(&str, Vec<u8>); 6] = [
        ("config", b"businesses: []\n".to_vec()),
        ("key", b"-----BEGIN PRIVATE KEY-----\nMII\n".to_vec()),
        ("token", b"EAAGm0PX4ZCpsBO".to_vec()),
        ("byte", b"m".to_vec()),
        ("zeros", vec![0; 10_000]),
        ("database", {
            let folder = TempFolder::new();
            drop(redb::Database::create(folder.file()).unwrap());
            fs::read(folder.file()).unwrap()
        }),
    ];
    for (name, content) in contents {
        let folder = TempFolder::new();
        fs::write(folder.file(), &content).unwrap();
        let error = folder.open().unwrap_err();
        assert!(matches!(error, StoreError::Foreign(_)), "{name}: {error}");
        assert_eq!(error.to_string(), "not a state file of this exporter");
        assert!(state::read(&folder.file()).is_err(), "{name}");
        assert_eq!(fs::read(folder.file()).unwrap(), content, "{name}");
    }
    let folder = TempFolder::new();
    fs::create_dir(folder.file()).unwrap();
    assert!(matches!(folder.open(), Err(StoreError::Foreign(_))));
    fs::remove_dir(folder.file()).unwrap();
    let made = Command::new("mkfifo").arg(folder.file()).status().unwrap();
    assert!(made.success());
    assert!(matches!(folder.open(), Err(StoreError::Foreign(_))));
    assert!(matches!(
        state::read(&folder.file()),
        Err(StoreError::Foreign(_))
    ));
}

#[test]
fn file_of_another_layout_is_unusable() {
    let folder = TempFolder::new();
    for (content, expected) in [
        (
            &b"marketing-messages-exporter state 6\n\x01\x02"[..],
            "written by another release: expected layout 7, found 6",
        ),
        (
            b"marketing-messages-exporter state 99\n",
            "written by another release: expected layout 7, found 99",
        ),
        (
            b"marketing-messages-exporter state 7x\n",
            "damaged: the header is incomplete",
        ),
    ] {
        fs::write(folder.file(), content).unwrap();
        let error = folder.open().unwrap_err();
        assert!(error.is_unusable(), "{error}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn empty_file_is_initialized() {
    for content in [&b""[..], b"marketing-messages-exporter state 7\n"] {
        let folder = TempFolder::new();
        fs::write(folder.file(), content).unwrap();
        assert!(state::read(&folder.file()).unwrap().is_none());
        assert!(folder.open().unwrap().1.is_none());
        folder.sample_bytes();
        assert!(folder.open().unwrap().1.is_some());
    }
}

#[test]
fn missing_file_is_created() {
    let folder = TempFolder::new();
    assert!(state::read(&folder.file()).unwrap().is_none());
    assert!(!folder.file().exists());
    assert!(folder.open().unwrap().1.is_none());
    assert!(folder.file().exists());
    let missing = folder.0.join("missing").join("state");
    let error = StateStore::open(&missing, &Arc::default()).unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error}");
}

#[test]
fn file_is_locked_while_it_is_open() {
    let folder = TempFolder::new();
    let (mut store, _) = folder.open().unwrap();
    store.write(&Arc::new(sample().1)).unwrap();
    for _ in 0..2 {
        let error = StateStore::open(&folder.file(), &Arc::default()).unwrap_err();
        assert!(matches!(error, StoreError::Locked), "{error}");
    }
    // `check` reads it nevertheless.
    assert_eq!(
        state::read(&folder.file()).unwrap().unwrap().source_count(),
        1
    );
}

#[test]
fn truncated_file_is_unusable() {
    let folder = TempFolder::new();
    let bytes = folder.sample_bytes();
    for length in (40..bytes.len()).step_by(1_111) {
        fs::write(folder.file(), &bytes[..length]).unwrap();
        match folder.open() {
            Ok((_, saved)) => assert!(saved.is_none() && length <= 4096, "{length} bytes"),
            Err(error) => assert!(error.is_unusable(), "{length} bytes: {error}"),
        }
    }
}

/// Bytes that the test changes, one at a time.
const CHANGED_BYTES: usize = 200;

#[test]
fn changed_byte_never_changes_a_value() {
    let folder = TempFolder::new();
    let bytes = folder.sample_bytes();
    let (plan, snapshot) = sample();
    let time = snapshot.sources[0].windows[0].last_success.unwrap();
    let expected = text(&snapshot);
    let used = bytes.iter().enumerate();
    let used: Vec<usize> = used
        .filter(|(_, byte)| **byte != 0)
        .map(|(idx, _)| idx)
        .collect();
    // All bytes would take minutes.
    for byte_idx in used.iter().copied().step_by(used.len() / CHANGED_BYTES + 1) {
        let mut changed = bytes.clone();
        changed[byte_idx] ^= 0x10;
        match state::decode(&changed) {
            Ok(Some(saved)) => assert_eq!(
                text(&saved.to_snapshot(&plan, time)),
                expected,
                "byte {byte_idx}"
            ),
            Ok(None) => {}
            Err(StoreError::Foreign(_)) => assert!(byte_idx < 40, "byte {byte_idx}"),
            Err(error) => assert!(error.is_unusable(), "byte {byte_idx}: {error}"),
        }
    }
}

#[test]
fn set_aside_replaces_an_older_file() {
    let folder = TempFolder::new();
    for content in ["first", "second"] {
        fs::write(folder.file(), content).unwrap();
        let new_path = state::set_aside(&folder.file()).unwrap();
        assert!(new_path.ends_with("state.refused"));
        assert_eq!(fs::read_to_string(new_path).unwrap(), content);
        assert!(!folder.file().exists());
    }
    assert!(state::set_aside(&folder.file()).is_err());
    assert!(state::set_aside(&folder.0).is_err());
    assert!(folder.0.is_dir());
}

#[test]
fn state_contains_no_secret_and_no_secret_path() {
    let folder = TempFolder::new();
    let config = "graph: {app_id: 1, app_secret_file: /run/app-secret}\n\
        businesses: [{name: acme, access_token_file: /run/acme-token, ad_accounts: [{id: act_1}]}]\n";
    let document = NamedDocument {
        name: "config.yaml".to_owned(),
        text: config.to_owned(),
    };
    let config = Config::parse(document, Vec::new()).unwrap();
    let snapshot = Snapshot::empty(&Plan::for_shard(&config, Shard::ALL), now());
    folder.write(&[&Arc::new(snapshot)]);
    let bytes = fs::read(folder.file()).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("acme") && !text.contains("/run/"));
}

#[test]
fn file_has_mode_0600_and_a_symlink_is_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = TempFolder::new();
    let target = folder.0.join("target");
    fs::write(&target, "").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&target, folder.file()).unwrap();
    folder.sample_bytes();
    assert!(fs::symlink_metadata(folder.file()).unwrap().is_symlink());
    let mode = fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(state::read(&target).unwrap().is_some());
}

#[test]
fn fuzz_corpus_contains_a_change_set() {
    let path = "fuzz/corpus/state/change-set";
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        let change_set = StateStore::change_set(&Snapshot::default(), &sample().1).unwrap();
        fs::write(path, change_set).unwrap();
    }
    let saved = SavedState::from_change_set(&fs::read(path).unwrap());
    let saved = saved.expect("UPDATE_CORPUS=1 should be set after a change of the layout");
    assert_eq!(saved.source_count(), 1);
}

/// Campaigns of the test of the size of writes.
const CAMPAIGNS: usize = 10_000;

/// Campaigns that change with each poll: 1 %.
const CHANGED_CAMPAIGNS: usize = CAMPAIGNS / 100;

/// Polls of the test. With these, the file is replaced as often per poll as in a longer run.
const POLLS: usize = 25;

#[test]
fn writes_are_proportional_to_the_change() {
    let folder = TempFolder::new();
    let activity = Arc::new(IoActivity::default());
    let (mut store, _) = StateStore::open(&folder.file(), &activity).unwrap();
    let ids = |poll: usize| {
        let first = poll * CHANGED_CAMPAIGNS * 7;
        (0..CHANGED_CAMPAIGNS).map(move |idx| (first + idx * 83) % CAMPAIGNS)
    };
    let mut snapshot = Arc::new(many_campaigns(CAMPAIGNS));
    store.write(&snapshot).unwrap();
    let (before, mut changed_bytes) = (activity.bytes_written(), 0);
    for poll in 0..POLLS {
        let next = Arc::new(after_poll(&snapshot, ids(poll)));
        changed_bytes += StateStore::change_set(&snapshot, &next).unwrap().len() as u64;
        store.write(&next).unwrap();
        snapshot = next;
    }
    let written = activity.bytes_written() - before;
    assert!(
        written <= 4 * changed_bytes,
        "{written} bytes should be at most four times the {changed_bytes} bytes that changed"
    );
}

/// Returns a snapshot of one ad account and window with a row for each campaign.
fn many_campaigns(campaigns: usize) -> Snapshot {
    let (_, snapshot) = sample();
    let mut state = snapshot.sources[0].as_ref().clone();
    let mut row_set = state.windows[0].delivery.as_deref().unwrap().clone();
    let row = row_set.rows.remove(0);
    let mut inventory = state.inventory.as_deref().unwrap().clone();
    let dimensions = (0..campaigns).map(|campaign| {
        let mut dimensions = row.dimensions.as_ref().clone();
        let named = dimensions.campaign.as_mut().unwrap();
        named.id = ObjectId::parse(&format!("12021000{campaign:010}")).unwrap();
        Arc::new(dimensions)
    });
    let dimensions: Vec<_> = dimensions.collect();
    inventory.entities = dimensions
        .iter()
        .map(|dimensions| Entity {
            dimensions: Arc::clone(dimensions),
            active: true,
        })
        .collect();
    row_set.rows = dimensions
        .into_iter()
        .map(|dimensions| Row {
            dimensions,
            values: values(0.0),
            ..row.clone()
        })
        .collect();
    state.inventory = Some(Arc::new(inventory));
    state.windows[0].conversions = None;
    state.windows[0].delivery = Some(Arc::new(row_set));
    Snapshot {
        sources: vec![Arc::new(state)],
    }
}

fn values(spend: f64) -> RowValues {
    let mut values = [RowValue::Present(1234.0 + spend); 8];
    values[7] = RowValue::Missing;
    RowValues::pack(&values)
}

/// Returns the snapshot after a poll that changes the rows at these indexes.
fn after_poll(snapshot: &Snapshot, row_idxs: impl Iterator<Item = usize>) -> Snapshot {
    let mut state = snapshot.sources[0].as_ref().clone();
    let mut row_set = state.windows[0].delivery.as_deref().unwrap().clone();
    row_set.fetched_at += Duration::from_secs(900);
    for row_idx in row_idxs {
        let spend = row_set.rows[row_idx].values.get(0);
        let RowValue::Present(spend) = spend else {
            panic!("the row should have a value");
        };
        row_set.rows[row_idx].values = values(spend + 0.01);
    }
    state.windows[0].delivery = Some(Arc::new(row_set));
    Snapshot {
        sources: vec![Arc::new(state)],
    }
}
