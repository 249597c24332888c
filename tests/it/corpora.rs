//! The fuzz targets' corpora, through the same functions: without a fuzzer, on every run.

use std::fs;
use std::path::Path;

use proptest::prelude::{any, proptest};
use proptest::sample::Index;

#[path = "../../fuzz/shapes.rs"]
mod shapes;

/// The files of one corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Each file, and each beginning of it.
fn fuzz_all(target: &str, least: usize, run: fn(&[u8])) {
    let files = corpus(target);
    assert!(files.len() >= least, "{target}: {} files", files.len());
    for (name, bytes) in &files {
        println!("{name}");
        run(bytes);
        let steps = (bytes.len() / 200).max(1);
        for end in (0..bytes.len()).step_by(steps) {
            run(&bytes[..end]);
        }
    }
}

#[test]
fn fuzz_answers_of_every_shape_are_read_or_refused() {
    fuzz_all("answer", 40, shapes::answer);
}

#[test]
fn fuzz_usage_headers_of_every_shape_are_read_or_left_out() {
    fuzz_all("usage", 15, shapes::usage);
}

#[test]
fn fuzz_configs_of_every_shape_are_taken_or_refused() {
    fuzz_all("config", 15, shapes::config);
}

#[test]
fn fuzz_state_files_of_every_shape_are_believed_or_refused() {
    fuzz_all("state", 8, shapes::state);
}

proptest! {
    /// What a fuzzer would do first: bytes changed, cut out and doubled.
    #[test]
    fn fuzz_what_is_altered_never_panics(file: Index, cut: Index, length in 0..40_usize, put in proptest::collection::vec(any::<u8>(), 0..6)) {
        for (target, run) in [
            ("answer", shapes::answer as fn(&[u8])),
            ("usage", shapes::usage),
            ("config", shapes::config),
            ("state", shapes::state),
        ] {
            let files = corpus(target);
            let (_, mut bytes) = file.get(&files).clone();
            if !bytes.is_empty() {
                let start = cut.index(bytes.len());
                let end = (start + length).min(bytes.len());
                bytes.splice(start..end, put.iter().copied());
            }
            run(&bytes);
        }
    }
}
