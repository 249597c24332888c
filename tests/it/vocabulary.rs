//! Searches every text file of the repository for banned words and phrases (see CONTRIBUTING.md, "Language").
//!
//! A file is scanned as one sequence of words: comments, string literals and identifiers alike. Identifiers are split
//! at `_` and at changes of case, and a phrase is also found across a line break. To permit an ordinary use of a word,
//! add it to `ALLOWED` with the reason.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use crate::source_tree::{TextFile, text_files_below};

/// Words and phrases with the same replacement.
struct Banned {
    phrases: &'static [&'static str],
    instead: &'static str,
}

const BANNED: &[Banned] = &[
    Banned {
        phrases: &["who", "whom", "whose", "whoever"],
        instead: "the name of the component, client, user or operator, or a clause with `that`",
    },
    Banned {
        phrases: &["nobody", "somebody", "anybody", "everybody"],
        instead: "the name of the component, client, user or operator",
    },
    Banned {
        phrases: &["stand", "stands", "stood", "standing"],
        instead: "`is`, `are`, or where it is: `the file contains`",
    },
    Banned {
        phrases: &[
            "tell", "tells", "told", "telling", "say", "says", "said", "saying",
        ],
        instead: "`report`, `return`, `describe` or `document`",
    },
    Banned {
        phrases: &["hear", "hears", "heard", "hearing"],
        instead: "`receive`",
    },
    Banned {
        phrases: &["ask", "asks", "asked", "asking", "asker"],
        instead: "`request`, `query` or `fetch`",
    },
    Banned {
        phrases: &["believe", "believes", "believed"],
        instead: "`accept`, `valid` or `in force`",
    },
    Banned {
        phrases: &["fare", "fares", "fared"],
        instead: "`health` or `status`",
    },
    Banned {
        phrases: &["alone"],
        instead: "`only`",
    },
    Banned {
        phrases: &["anew"],
        instead: "`again`, or a verb with `re-`",
    },
    Banned {
        phrases: &["beside"],
        instead: "`besides`, `next to`, or `and`",
    },
    Banned {
        phrases: &["mend", "mends", "mended"],
        instead: "`fix`, `repair` or `adapt`",
    },
    Banned {
        phrases: &[
            "spare",
            "spares",
            "spared",
            "hold off",
            "holds off",
            "held",
            "leave alone",
            "leaves alone",
            "left alone",
        ],
        instead: "`pause` or `paused`",
    },
    Banned {
        phrases: &["give way", "gives way"],
        instead: "`duplicate`",
    },
    Banned {
        phrases: &["stranger", "strangers"],
        instead: "`unlisted campaign`, `unknown client`",
    },
    Banned {
        phrases: &["so many", "so much", "as many"],
        instead: "the number, or the name of the constant",
    },
    Banned {
        phrases: &["is no", "are no", "was no"],
        instead: "`is not a`, or `invalid`",
    },
    Banned {
        phrases: &["it is there", "what is gone"],
        instead: "`exists`, `deleted`, `absent`",
    },
    Banned {
        phrases: &["let go of", "lets go of"],
        instead: "`release` or `drop`",
    },
    Banned {
        phrases: &["takes up"],
        instead: "`occupies`, `uses` or `resumes`",
    },
    Banned {
        phrases: &["of its own"],
        instead: "`separate` or `own`",
    },
    Banned {
        phrases: &["its turn"],
        instead: "`poll`, `iteration` or `permit`",
    },
    Banned {
        phrases: &["house", "houses"],
        instead: "`shell` (the layer)",
    },
    Banned {
        phrases: &["crank", "cranks"],
        instead: "`scheduler`",
    },
    Banned {
        phrases: &["gate", "gates"],
        instead: "`limiter`",
    },
    Banned {
        phrases: &["door", "doors"],
        instead: "`access policy`",
    },
    Banned {
        phrases: &["law", "laws"],
        instead: "`rule` or `invariant`",
    },
    Banned {
        phrases: &["papers"],
        instead: "`PEM files`, or `man pages and completions`",
    },
    Banned {
        phrases: &["errand", "errands"],
        instead: "`API session`",
    },
    Banned {
        phrases: &["bill", "bills"],
        instead: "`SBOM`, `cost` or `charge`",
    },
    Banned {
        phrases: &["garbled"],
        instead: "`invalid response`",
    },
    Banned {
        phrases: &["trouble", "troubles", "troubled"],
        instead: "`problem`",
    },
    Banned {
        phrases: &["fault", "faults"],
        instead: "`error`; a fault is one that the simulator injects",
    },
];

/// An ordinary use of a banned word. `path` is a file, a folder that ends in `/`, or empty for every file; `text` has to
/// cover the word, and is compared without regard to case.
struct Allowed {
    path: &'static str,
    text: &'static str,
    reason: &'static str,
}

const ALLOWED: &[Allowed] = &[
    allow("", "user who", "a user is a person"),
    allow("", "users who", "a user is a person"),
    allow("", "people who", "people are persons"),
    allow("", "stand-alone", "adjective"),
    allow("", "stand-in", "noun"),
    allow("", "stand for", "means"),
    allow("", "stands for", "means"),
    allow("", "is no longer", "adverb"),
    allow("", "are no longer", "adverb"),
    allow("", "was no longer", "adverb"),
    allow("", "is no more than", "comparison"),
    allow("", "there is no", "existence, not identity"),
    allow("", "there are no", "existence, not identity"),
    allow("", "there was no", "existence, not identity"),
    allow("", "lock is held", "standard term for a mutex"),
    allow("", "lock held", "standard term for a mutex"),
    allow("", "held by", "standard term for references and locks"),
    allow("", "bill of materials", "expansion of SBOM"),
    allow(
        "",
        "reduce the amount of data you're asking for",
        "error message of the Graph API",
    ),
    allow("", "--fault", "flag of the demo that injects a fault"),
    allow(
        "",
        "/simulator/faults",
        "path of the simulator's control API",
    ),
    allow("", "injected fault", "fault that the simulator injects"),
    allow("crates/graph-simulator/", "fault", INJECTED),
    allow("src/cli.rs", "fault", INJECTED),
    allow("src/commands/demo.rs", "fault", INJECTED),
    allow("CONTRIBUTING.md", "fault", INJECTED),
    allow("docs/reliability.md", "fault", INJECTED),
    allow("ci/landing_page.py", "fault", INJECTED),
    allow("ci/soak.sh", "faults of seed", INJECTED),
    allow("tests/it/account_totals.rs", "fault", INJECTED),
    allow("tests/it/api_call_counts.rs", "fault", INJECTED),
    allow("tests/it/discovery.rs", "fault", INJECTED),
    allow("tests/it/failures.rs", "fault", INJECTED),
    allow("tests/it/grouping.rs", "fault", INJECTED),
    allow("tests/it/harness.rs", "fault", INJECTED),
    allow("tests/it/process.rs", "fault", INJECTED),
    allow("tests/it/query_modes.rs", "fault", INJECTED),
    allow("tests/it/scrape.rs", "fault", INJECTED),
    allow("tests/it/reliability/", "fault", INJECTED),
    allow("tests/it/simulator.rs", "fault", INJECTED),
    allow("tests/it/tools/", "fault", INJECTED),
];

const INJECTED: &str = "fault that the simulator injects";

const fn allow(path: &'static str, text: &'static str, reason: &'static str) -> Allowed {
    Allowed { path, text, reason }
}

/// Files and folders (with `/`) that are not scanned, with the reason.
const EXCLUDED: &[(&str, &str)] = &[
    ("Cargo.lock", "names of other crates"),
    ("LICENSE", "text of the Apache licence"),
    ("fuzz/corpus/", "inputs of the fuzzer"),
    ("tests/it/vocabulary.rs", "contains the words"),
];

#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    /// 1-based; 0 for the path itself.
    line: usize,
    phrase: &'static str,
    instead: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            phrase,
            instead,
        } = self;
        if *line == 0 {
            write!(f, "{path}: `{phrase}` in the path; instead: {instead}")
        } else {
            write!(f, "{path}:{line}: `{phrase}`; instead: {instead}")
        }
    }
}

/// Text without line breaks, comment markers and indentation, so that a phrase may continue in the next line.
struct JoinedText {
    text: String,
    /// Offset of the first byte of each line.
    line_starts: Vec<usize>,
}

impl JoinedText {
    fn new(text: &str) -> Self {
        let mut joined = Self {
            text: String::new(),
            line_starts: Vec::new(),
        };
        for line in text.lines() {
            joined.line_starts.push(joined.text.len());
            let markers = ['/', '!', '#', '*', '>', ' ', '\t'];
            let content = line
                .trim_start_matches(markers)
                .trim_end_matches(['\\', ' ']);
            joined.text.push_str(content);
            // An empty line ends a paragraph, and with it any phrase.
            joined
                .text
                .push(if content.is_empty() { '\n' } else { ' ' });
        }
        joined
    }

    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Returns the positions of the words: runs of letters, split at changes of case (`HTTPServer`: `HTTP`, `Server`).
    fn words(&self) -> Vec<Range<usize>> {
        let mut words: Vec<Range<usize>> = Vec::new();
        let mut chars = self.text.char_indices().peekable();
        let mut previous = ' ';
        let mut previous_is_word = false;
        while let Some((start, c)) = chars.next() {
            // The letter of an escape sequence, such as `\n`, does not belong to the following word.
            let is_word = c.is_alphabetic() && previous != '\\';
            if is_word {
                let next_is_lowercase = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
                let is_boundary =
                    c.is_uppercase() && (previous.is_lowercase() || next_is_lowercase);
                match words.last_mut() {
                    Some(word) if previous_is_word && !is_boundary => {
                        word.end = start + c.len_utf8()
                    }
                    _ => words.push(start..start + c.len_utf8()),
                }
            }
            (previous, previous_is_word) = (c, is_word);
        }
        words
    }
}

/// Whether two words with this text between them belong to the same phrase.
fn joins_words(separator: &str) -> bool {
    separator == "-"
        || separator
            .chars()
            .all(|c| matches!(c, ' ' | '_' | '"' | '*'))
}

struct BannedPhrase {
    phrase: &'static str,
    words: Vec<&'static str>,
    instead: &'static str,
}

struct Scanner {
    by_first_word: HashMap<&'static str, Vec<BannedPhrase>>,
}

impl Scanner {
    fn new() -> Self {
        let mut by_first_word: HashMap<_, Vec<_>> = HashMap::new();
        for Banned { phrases, instead } in BANNED {
            for phrase in *phrases {
                let words: Vec<_> = phrase.split(' ').collect();
                let banned = BannedPhrase {
                    phrase,
                    words,
                    instead,
                };
                by_first_word
                    .entry(banned.words[0])
                    .or_default()
                    .push(banned);
            }
        }
        Self { by_first_word }
    }

    fn scan(&self, path: &str, text: &str) -> Vec<Finding> {
        let mut findings = self.scan_text(path, text);
        for finding in self.scan_text(path, path) {
            findings.push(Finding { line: 0, ..finding });
        }
        findings
    }

    fn scan_text(&self, path: &str, text: &str) -> Vec<Finding> {
        let joined = JoinedText::new(text);
        let lowercase = joined.text.to_ascii_lowercase();
        let words = joined.words();
        let allowed = allowed_ranges(path, &lowercase);
        let mut findings = Vec::new();
        for (idx, word) in words.iter().enumerate() {
            let candidates = self.by_first_word.get(&lowercase[word.clone()]);
            for banned in candidates.into_iter().flatten() {
                let Some(matched) = words.get(idx..idx + banned.words.len()) else {
                    continue;
                };
                let has_same_words = matched
                    .iter()
                    .zip(&banned.words)
                    .all(|(range, word)| lowercase[range.clone()] == **word);
                let is_joined = matched
                    .windows(2)
                    .all(|pair| joins_words(&lowercase[pair[0].end..pair[1].start]));
                let end = matched.last().map_or(word.end, |last| last.end);
                let is_allowed = allowed
                    .iter()
                    .any(|range| range.start <= word.start && end <= range.end);
                if has_same_words && is_joined && !is_allowed {
                    findings.push(Finding {
                        path: path.to_owned(),
                        line: joined.line_of(word.start),
                        phrase: banned.phrase,
                        instead: banned.instead,
                    });
                }
            }
        }
        findings
    }
}

fn allowed_ranges(path: &str, lowercase: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for allowed in ALLOWED
        .iter()
        .filter(|allowed| is_below(path, allowed.path))
    {
        let matches = lowercase.match_indices(allowed.text);
        // The plural of an allowed word is allowed too.
        ranges.extend(matches.map(|(start, text)| {
            let end = start + text.len();
            start..end + usize::from(lowercase[end..].starts_with('s'))
        }));
    }
    ranges
}

/// Whether `path` is that file, is below that folder (which ends in `/`), or `place` is empty.
fn is_below(path: &str, place: &str) -> bool {
    place.is_empty() || path == place || (place.ends_with('/') && path.starts_with(place))
}

/// Returns what is wrong: findings in files that are not pending, and pending files without a finding.
fn problems(files: &[TextFile], pending: &[&str]) -> Vec<String> {
    let scanner = Scanner::new();
    let mut stale: HashSet<&str> = pending.iter().copied().collect();
    let mut problems = Vec::new();
    for TextFile { path, text } in files {
        let findings = scanner.scan(path, text);
        if pending.contains(&path.as_str()) {
            if !findings.is_empty() {
                stale.remove(path.as_str());
            }
        } else {
            problems.extend(findings.iter().map(Finding::to_string));
        }
    }
    let mut stale: Vec<_> = stale.into_iter().collect();
    stale.sort_unstable();
    problems.extend(
        stale
            .iter()
            .map(|path| format!("{path}: no banned word is left; remove the file from PENDING")),
    );
    problems
}

/// Returns the text files of the repository, without those in `EXCLUDED`.
fn text_files() -> Vec<TextFile> {
    text_files_below(".", |path| {
        !EXCLUDED.iter().any(|(place, _)| is_below(path, place))
    })
}

#[test]
fn repository_has_no_banned_words() {
    let files = text_files();
    assert!(files.len() > 300, "only {} files were scanned", files.len());
    let problems = problems(&files, PENDING);
    assert!(
        problems.is_empty(),
        "{} banned words; CONTRIBUTING.md describes the language:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn banned_word_is_found_in_each_kind_of_file() {
    for (path, text, line, phrase) in [
        (
            "src/a.rs",
            "fn f() {}\n/// Whoever calls this.\n",
            2,
            "whoever",
        ),
        (
            "src/a.rs",
            "let x = \"the file\nis\\nnobody's\";",
            2,
            "nobody",
        ),
        ("src/a.rs", "/* it was told */", 1, "told"),
        ("src/a.rs", "fn stand_in_line() {}", 1, "stand"),
        ("src/a.rs", "struct NewCrank;", 1, "crank"),
        ("src/a.rs", "struct HTTPGate;", 1, "gate"),
        ("src/a.rs", "#[arg(help = \"what it says\")]", 1, "says"),
        ("src/a.rs", "const HELD_UNTIL: u64 = 1;", 1, "held"),
        ("src/a.rs", "/// Returns the fault.", 1, "fault"),
        ("docs/a.md", "# Title\n\nIt **asks** the API.", 3, "asks"),
        ("docs/a.md", "| a | `stranger` |", 1, "stranger"),
        ("a.yaml", "key: 1 # spared", 1, "spared"),
        ("a.py", "\"\"\"Makes it anew.\"\"\"", 1, "anew"),
        ("a.py", "f(\"this is \"\n  \"no id\")", 1, "is no"),
        ("a.sh", "# beside the\nask_boards", 2, "ask"),
        ("a.toml", "a = 1 # the bill", 1, "bill"),
        ("a.css", ".door { color: red }", 1, "door"),
        (
            "tests/fixtures/a.txt",
            "a.yaml:1: this is no id",
            1,
            "is no",
        ),
        ("Dockerfile", "# Nothing lets go of it", 1, "lets go of"),
        ("deploy/bill.py", "", 0, "bill"),
    ] {
        let findings = Scanner::new().scan(path, text);
        assert!(
            findings
                .iter()
                .any(|finding| finding.line == line && finding.phrase == phrase),
            "`{phrase}` should be found in line {line} of {path}: {text:?}, found {findings:?}"
        );
        let problems = problems(&[TextFile::new(path, text)], &[]);
        let place = if line == 0 {
            path.to_owned()
        } else {
            format!("{path}:{line}")
        };
        let expected = format!("{place}: `{phrase}`");
        assert!(
            problems
                .iter()
                .any(|problem| problem.starts_with(&expected)),
            "{problems:?}"
        );
    }
}

#[test]
fn phrase_over_a_line_break_is_found() {
    for (path, text) in [
        ("src/a.rs", "/// The text is\n/// no number."),
        ("src/a.rs", "    //! The text is\n    //! no number."),
        ("src/a.rs", "    // The text is\n    // no number."),
        ("src/a.rs", "\"the text is \\\n    no number\""),
        ("docs/a.md", "The text is\nno number."),
        ("docs/a.md", "> The text is\n> no number."),
        ("a.yaml", "# The text is\n# no number."),
    ] {
        let findings = Scanner::new().scan(path, text);
        let found: Vec<_> = findings
            .iter()
            .map(|finding| (finding.line, finding.phrase))
            .collect();
        assert_eq!(found, [(1, "is no")], "{path}: {text:?}");
    }
}

#[test]
fn words_of_different_sentences_are_not_a_phrase() {
    for text in [
        "It is. No change.",
        "It is\n\nno change.",
        "| is | no |",
        "it is, no",
    ] {
        assert_eq!(Scanner::new().scan("docs/a.md", text), [], "{text:?}");
    }
}

#[test]
fn allowed_uses_are_not_found() {
    for (path, text) in [
        (
            "docs/a.md",
            "A standalone binary of a standard crate, and a stand-alone file.",
        ),
        ("docs/a.md", "The user\nwho runs it. Users who run it."),
        (
            "docs/a.md",
            "`1` stands for true. It is no longer used. There is no default.",
        ),
        (
            "docs/a.md",
            "Run `demo --fault=hang`; there are default values.",
        ),
        (
            "docs/a.md",
            "The software bill of materials; billing; household; lawful.",
        ),
        (
            "crates/graph-simulator/src/faults.rs",
            "/// Injects the faults. A fault has a kind.",
        ),
        ("src/cli.rs", "faults: Vec<Fault>"),
        ("src/a.rs", "// The lock is held for microseconds."),
    ] {
        assert_eq!(Scanner::new().scan(path, text), [], "{path}: {text:?}");
    }
}

#[test]
fn allowed_use_does_not_cover_another_word() {
    let findings = Scanner::new().scan("docs/a.md", "The user who told it");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].phrase, "told");
    assert_eq!(
        findings.len(),
        1,
        "faults exist only in the simulator: {findings:?}"
    );
}

#[test]
fn pending_files_may_only_shrink() {
    let files = |text: &str| [TextFile::new("docs/a.md", text)];
    let pending = &["docs/a.md"];
    assert!(
        problems(&files("It asks."), pending).is_empty(),
        "a pending file may have findings"
    );
    assert!(
        problems(&files("It queries."), &[]).is_empty(),
        "a clean file should pass"
    );
    let stale = "docs/a.md: no banned word is left; remove the file from PENDING";
    assert_eq!(problems(&files("It queries."), pending), [stale]);
    assert_eq!(
        problems(&[], pending),
        [stale],
        "a deleted file should be removed from the list"
    );
    assert_eq!(problems(&files("It asks."), &[]).len(), 1);
}

#[test]
fn lists_have_reasons_and_no_duplicates() {
    assert!(
        ALLOWED
            .iter()
            .all(|allowed| !allowed.reason.is_empty() && !allowed.text.is_empty())
    );
    assert!(EXCLUDED.iter().all(|(_, reason)| !reason.is_empty()));
    let phrases: Vec<_> = BANNED.iter().flat_map(|banned| banned.phrases).collect();
    let distinct: HashSet<_> = phrases.iter().collect();
    assert_eq!(phrases.len(), distinct.len(), "a phrase is in BANNED twice");
    assert!(
        PENDING.is_sorted_by(|a, b| a < b),
        "PENDING should be sorted and free of duplicates"
    );
}

/// Files that still contain banned words. This list may only shrink.
const PENDING: &[&str] = &[];
