//! Parses the flags after `--`.

use crate::exporter::WINDOWS;

/// Parsed command line flags.
pub(crate) struct Arguments {
    /// Numbers of message campaigns of the ad account; each is measured separately.
    pub(crate) campaigns: Vec<usize>,
    /// Number of windows.
    pub(crate) windows: usize,
    /// Whether other implementations are measured for comparison.
    pub(crate) peers: bool,
    /// Number of businesses; measures many small businesses instead of one large ad account.
    pub(crate) businesses: Option<usize>,
    /// Number of polls; measures memory growth over this number of polls instead.
    pub(crate) polls: Option<usize>,
}

impl Arguments {
    /// Parses the flags and panics at an unknown one, so that a typo does not measure something else.
    pub(crate) fn parse(flags: &[String]) -> Self {
        let mut arguments = Self {
            campaigns: vec![1_000, 10_000],
            windows: 2,
            peers: true,
            businesses: None,
            polls: None,
        };
        for flag in flags {
            match flag.split_once('=').unwrap_or((flag, "")) {
                ("--campaigns", sizes) => {
                    arguments.campaigns = sizes.split(',').map(number).collect()
                }
                ("--windows", windows) => {
                    arguments.windows = number(windows).clamp(1, WINDOWS.len())
                }
                ("--no-peers", "") => arguments.peers = false,
                ("--businesses", businesses) => arguments.businesses = Some(number(businesses)),
                ("--polls", polls) => arguments.polls = Some(number(polls)),
                // Passed by cargo to every benchmark.
                ("--bench", "") => {}
                _ => panic!("unknown flag {flag}"),
            }
        }
        arguments
    }
}

fn number(text: &str) -> usize {
    text.parse()
        .expect("the value of the flag should be a number")
}
