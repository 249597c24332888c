//! Files of the repository, for the tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// Build output and version history. `.git` is a file in a worktree.
const EXCLUDED: [&str; 2] = ["target", ".git"];

/// A file with its content.
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// Returns the files below `folder` that are UTF-8 text, which images are not, and for which `is_wanted` returns true.
pub(crate) fn text_files_below(folder: &str, is_wanted: fn(&str) -> bool) -> Vec<TextFile> {
    let paths = files_below(folder)
        .into_iter()
        .filter(|path| is_wanted(path));
    paths
        .filter_map(|path| {
            fs::read_to_string(&path)
                .ok()
                .map(|text| TextFile { path, text })
        })
        .collect()
}

/// Returns all files below `folder`, sorted by path, with `/` as separator and without a leading `./`.
pub(crate) fn files_below(folder: &str) -> Vec<String> {
    let mut paths = Vec::new();
    collect(Path::new(folder), &mut paths);
    let mut names: Vec<String> = paths
        .iter()
        .map(|path| path.strip_prefix(".").unwrap_or(path))
        .map(|path| path.to_str().expect("paths should be UTF-8").to_owned())
        .collect();
    names.sort();
    names
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if EXCLUDED.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            collect(&path, paths);
        } else {
            paths.push(path);
        }
    }
}
