//! What is to be measured, by the flags behind `--`.

use crate::exporter::WINDOWS;

/// What was asked for.
pub(crate) struct Arguments {
    /// Message campaigns of one ad account; each size is measured on its own.
    pub(crate) campaigns: Vec<usize>,
    /// Windows of each campaign.
    pub(crate) windows: usize,
    /// Whether others serve the same numbers, to be compared with.
    pub(crate) peers: bool,
    /// So many small customers instead.
    pub(crate) businesses: Option<usize>,
    /// What so many polls leave behind instead.
    pub(crate) polls: Option<usize>,
}

impl Arguments {
    /// Panics at a flag that there is not: to measure something else would be worse.
    pub(crate) fn parse(words: &[String]) -> Self {
        let mut asked = Self {
            campaigns: vec![1_000, 10_000],
            windows: 2,
            peers: true,
            businesses: None,
            polls: None,
        };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("--campaigns", sizes) => asked.campaigns = sizes.split(',').map(number).collect(),
                ("--windows", windows) => asked.windows = number(windows).clamp(1, WINDOWS.len()),
                ("--no-peers", "") => asked.peers = false,
                ("--businesses", businesses) => asked.businesses = Some(number(businesses)),
                ("--polls", polls) => asked.polls = Some(number(polls)),
                // Cargo says so to every benchmark.
                ("--bench", "") => {}
                _ => panic!("there is no flag {word}"),
            }
        }
        asked
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a flag that takes a number")
}
