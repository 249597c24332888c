//! The state file: what is written comes back to the last bit, and nothing else ever does.
#![allow(
    clippy::expect_used,
    reason = "a test's helpers say what they expect by panicking too"
)]

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use marketing_messages_exporter::config::{Config, Document};
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::snapshot::Snapshot;
use marketing_messages_exporter::state::{self, Refused};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples::{now, sample, snapshot};

/// A place of its own for each test, gone when the test is.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("state-{}-{next}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("the temporary directory is writable");
        Self(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is ours");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("it is ours").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The bytes of the sample's file.
fn sample_bytes(place: &Place) -> Vec<u8> {
    state::write(&place.file(), &sample().1).expect("the place is writable");
    fs::read(place.file()).expect("it was written")
}

/// What reading that as a state file says.
fn refusal(place: &Place, bytes: &[u8]) -> Option<Refused> {
    fs::write(place.file(), bytes).expect("the place is writable");
    state::read(&place.file()).err()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_snapshot_comes_back_to_the_last_bit((plan, snapshot) in snapshot()) {
        let place = Place::new();
        state::write(&place.file(), &snapshot).unwrap();
        let restored = state::read(&place.file()).unwrap().unwrap();
        let restored = restored.into_snapshot(&plan, now());
        // As text, since a missing number is equal to nothing, and -0 to 0.
        prop_assert_eq!(format!("{restored:?}"), format!("{snapshot:?}"));
        let bytes = fs::read(place.file()).unwrap();
        state::write(&place.file(), &restored).unwrap();
        prop_assert_eq!(fs::read(place.file()).unwrap(), bytes);
    }

    #[test]
    fn a_changed_byte_is_refused((_, snapshot) in snapshot(), place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let directory = Place::new();
        state::write(&directory.file(), &snapshot).unwrap();
        let mut bytes = fs::read(directory.file()).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert!(refusal(&directory, &bytes).is_some());
    }

    #[test]
    fn bytes_that_somebody_made_up_are_refused(
        mut body in vec(any::<u8>(), 0..300),
        signed: bool,
    ) {
        let place = Place::new();
        body.splice(..0, header());
        if signed {
            let checksum = crc32fast::hash(&body);
            body.extend(checksum.to_le_bytes());
        }
        // An empty snapshot is the one thing that so little can be.
        if body.get(header().len()) != Some(&0) {
            prop_assert!(refusal(&place, &body).is_some());
        }
    }
}

fn header() -> Vec<u8> {
    b"marketing-messages-exporter state 2\n".to_vec()
}

/// The sample's body, altered, and signed as if it were ours.
fn forged(place: &Place, alter: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = sample_bytes(place);
    bytes.truncate(bytes.len() - 4);
    alter(&mut bytes);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

#[test]
fn the_layout_is_the_one_that_its_number_promises() {
    let place = Place::new();
    let bytes = sample_bytes(&place);
    assert!(bytes.starts_with(&header()));
    // Another sum means another layout: raise `LAYOUT`, so that no older file is misread.
    let before_checksum = &bytes[..bytes.len() - 4];
    assert_eq!(
        (bytes.len(), crc32fast::hash(before_checksum)),
        (512, 3_952_713_996)
    );
}

#[test]
fn every_truncation_is_refused() {
    let place = Place::new();
    let bytes = sample_bytes(&place);
    for length in 0..bytes.len() {
        let refused = refusal(&place, &bytes[..length]).expect("it is cut");
        assert!(matches!(refused, Refused::Torn), "{length}: {refused}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(refusal(&place, &longer), Some(Refused::Torn)));
}

#[test]
fn every_flipped_bit_is_refused() {
    let place = Place::new();
    let mut bytes = sample_bytes(&place);
    for byte in 0..bytes.len() {
        for bit in 0..8 {
            bytes[byte] ^= 1 << bit;
            assert!(refusal(&place, &bytes).is_some(), "byte {byte}, bit {bit}");
            bytes[byte] ^= 1 << bit;
        }
    }
}

#[test]
fn a_forger_is_refused_or_makes_a_snapshot_and_never_a_panic() {
    let place = Place::new();
    let length = sample_bytes(&place).len() - 4;
    for byte in header().len()..length {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let bytes = forged(&place, |bytes| bytes[byte] = value);
            fs::write(place.file(), bytes).expect("the place is writable");
            if let Ok(Some(restored)) = state::read(&place.file()) {
                let (plan, _) = sample();
                drop(restored.into_snapshot(&plan, now()));
            }
        }
        let cut = forged(&place, |bytes| bytes.truncate(byte));
        assert!(refusal(&place, &cut).is_some());
    }
}

#[test]
fn absurd_lengths_take_no_memory() {
    let place = Place::new();
    for count in [
        [0xff, 0xff, 0xff, 0xff, 0x0f],
        [0x80, 0x80, 0x80, 0x80, 0x01],
    ] {
        let mut bytes = header();
        bytes.extend(count);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        let refused = refusal(&place, &bytes).expect("it counts what is not there");
        assert!(matches!(refused, Refused::Garbled(_)), "{refused}");
    }
    // Ten gigabytes of nothing, of which the disk holds none.
    let file = fs::File::create(place.file()).expect("the place is writable");
    file.set_len(10 * 1024 * 1024 * 1024)
        .expect("holes are free");
    assert!(matches!(state::read(&place.file()), Err(Refused::TooLarge)));
}

#[test]
fn each_refusal_says_why() {
    let place = Place::new();
    let said = |bytes: &[u8]| refusal(&place, bytes).expect("it is refused").to_string();
    let foreign = "it is not a state file of this exporter";
    assert_eq!(said(b"{\"some\": \"json\"}"), foreign);
    assert_eq!(
        said(b"marketing-messages-exporter state 3\nwhatever comes then"),
        "another release wrote it: it has layout 3, this release knows 2"
    );
    let torn = "it is torn or altered: its checksum does not match";
    assert_eq!(said(b""), torn);
    assert_eq!(said(b"marketing-messages-exporter state 2\n1234567"), torn);
    let garbled = forged(&place, |bytes| bytes.push(0));
    assert_eq!(
        said(&garbled),
        "it makes no sense: it goes on behind its end"
    );
    fs::remove_file(place.file()).expect("it is ours");
    fs::create_dir(place.file()).expect("it is ours");
    assert_eq!(state::read(&place.file()).unwrap_err().to_string(), foreign);
}

#[test]
fn no_file_is_nothing_known() {
    let place = Place::new();
    assert!(state::read(&place.file()).unwrap().is_none());
    let nowhere = place.0.join("nowhere").join("state");
    assert!(state::read(&nowhere).unwrap().is_none());
    let error = state::write(&nowhere, &Snapshot::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn what_a_killed_writer_left_is_neither_read_nor_kept() {
    let place = Place::new();
    let bytes = sample_bytes(&place);
    fs::write(place.0.join("state.new"), &bytes[..bytes.len() / 2]).unwrap();
    let restored = state::read(&place.file()).unwrap().unwrap();
    let (plan, snapshot) = sample();
    let time = snapshot.sources[0].windows[0].last_success.unwrap();
    let restored = restored.into_snapshot(&plan, time);
    assert_eq!(format!("{restored:?}"), format!("{snapshot:?}"));
    state::write(&place.file(), &snapshot).unwrap();
    assert_eq!(place.names(), ["state"]);
    assert_eq!(fs::read(place.file()).unwrap(), bytes);
}

#[test]
fn a_refused_file_is_set_aside_over_an_older_one() {
    let place = Place::new();
    for content in ["first", "second"] {
        fs::write(place.file(), content).unwrap();
        let aside = state::set_aside(&place.file()).unwrap();
        assert_eq!(aside, place.0.join("state.refused"));
        assert_eq!(fs::read_to_string(aside).unwrap(), content);
        assert_eq!(place.names(), ["state.refused"]);
    }
    assert!(state::set_aside(&place.file()).is_err());
}

#[test]
fn what_is_no_ordinary_file_is_left_alone() {
    let place = Place::new();
    let error = state::write(&place.0, &Snapshot::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = state::set_aside(&place.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(place.0.is_dir());
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let place = Place::new();
    let bytes = sample_bytes(&place);
    fs::create_dir(place.0.join("state.new")).unwrap();
    assert!(state::write(&place.file(), &Snapshot::default()).is_err());
    assert_eq!(fs::read(place.file()).unwrap(), bytes);
}

#[test]
fn no_secret_and_no_place_of_one_is_in_it() {
    let place = Place::new();
    let config = "graph: {app_id: 1, app_secret_file: /run/app-secret}\n\
        businesses: [{name: acme, access_token_file: /run/acme-token, ad_accounts: [{id: act_1}]}]\n";
    let document = Document {
        name: "config.yaml".to_owned(),
        text: config.to_owned(),
    };
    let config = Config::parse(document, Vec::new()).unwrap();
    state::write(
        &place.file(),
        &Snapshot::unknown(&Plan::of(&config, Shard::WHOLE), now()),
    )
    .unwrap();
    let bytes = fs::read(place.file()).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("acme") && !text.contains("/run/"), "{text}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it_and_a_link_stays_a_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let place = Place::new();
    fs::write(place.file(), "readable by all").unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let link = place.0.join("link");
    symlink(place.file(), &link).unwrap();
    state::write(&link, &sample().1).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.names(), ["link", "state"]);
    assert!(state::read(&link).unwrap().is_some());
}
