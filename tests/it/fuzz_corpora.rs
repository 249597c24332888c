//! Runs the functions of the fuzz targets on their corpora, without a fuzzer.

use std::fs;
use std::path::Path;

use proptest::prelude::{any, proptest};
use proptest::sample::Index;

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Number of prefixes of each corpus file to run.
const PREFIXES_PER_FILE: usize = 200;

/// Returns the files of a corpus with their paths, sorted.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let paths = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Runs a target on each file of its corpus and on prefixes of it.
fn run_corpus(target: &str, min_files: usize, run: fn(&[u8])) {
    let files = corpus(target);
    assert!(
        files.len() >= min_files,
        "corpus {target} has only {} files",
        files.len()
    );
    for (path, bytes) in &files {
        // Shown if the test fails.
        println!("{path}");
        run(bytes);
        let step = (bytes.len() / PREFIXES_PER_FILE).max(1);
        for end in (0..bytes.len()).step_by(step) {
            run(&bytes[..end]);
        }
    }
}

#[test]
fn responses_are_decoded_or_rejected() {
    run_corpus("response", 40, targets::response);
}

#[test]
fn usage_headers_are_parsed_or_ignored() {
    run_corpus("usage", 15, targets::usage);
}

#[test]
fn configs_are_parsed_or_rejected() {
    run_corpus("config", 15, targets::config);
}

#[test]
fn state_files_are_restored_or_rejected() {
    run_corpus("state", 5, targets::state);
}

#[test]
fn web_configs_are_parsed_or_rejected() {
    run_corpus("web_config", 12, targets::web_config);
}

#[test]
fn secrets_are_parsed_or_described() {
    run_corpus("secret", 10, targets::secret);
}

proptest! {
    /// The first mutations of a fuzzer: bytes are replaced, removed and inserted.
    #[test]
    fn mutated_input_does_not_panic(
        file in any::<Index>(),
        start in any::<Index>(),
        length in 0..40_usize,
        replacement in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        for (target, run) in [
            ("response", targets::response as fn(&[u8])),
            ("usage", targets::usage),
            ("config", targets::config),
            ("state", targets::state),
            ("web_config", targets::web_config),
            ("secret", targets::secret),
        ] {
            let files = corpus(target);
            let (_, mut bytes) = file.get(&files).clone();
            if !bytes.is_empty() {
                let start = start.index(bytes.len());
                let end = (start + length).min(bytes.len());
                bytes.splice(start..end, replacement.iter().copied());
            }
            run(&bytes);
        }
    }
}
