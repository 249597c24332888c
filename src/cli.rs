//! The command line, in the Prometheus ecosystem's style: dotted flags, before or after the
//! subcommand.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::civil::Date;

use crate::plan::{NoSuchShard, Shard};

/// Prometheus exporter for Meta's Marketing Messages on Messenger
#[derive(Debug, Parser)]
#[command(name = "marketing-messages-exporter", version = VERSION, args_override_self = false)]
pub struct Cli {
    /// What to do; without one it serves.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags.
    #[command(flatten)]
    pub flags: Flags,
}

/// Version and revision, as `build_info` says them.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("REVISION"),
    ", rust ",
    env!("RUST_VERSION"),
    ")"
);

/// Flags that every subcommand takes.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// The config; config.example.yaml has every key with its default
    #[arg(
        long = "config.file",
        value_name = "PATH",
        default_value = "config.yaml",
        global = true
    )]
    pub config_file: PathBuf,
    /// Where to listen: HOST:PORT, or :PORT for every interface; repeatable
    #[arg(
        long = "web.listen-address",
        value_name = "ADDR",
        default_value = ":10919",
        global = true
    )]
    pub listen_addresses: Vec<String>,
    /// Listen on the sockets that systemd hands over, instead of --web.listen-address
    #[arg(long = "web.systemd-socket", global = true)]
    pub systemd_socket: bool,
    /// Where the metrics stand
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", global = true, value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// TLS, users and headers, in the format of Prometheus' exporter-toolkit
    #[arg(long = "web.config.file", value_name = "PATH", global = true)]
    pub web_config_file: Option<PathBuf>,
    /// Allow POST /-/reload
    #[arg(long = "web.enable-lifecycle", global = true)]
    pub enable_lifecycle: bool,
    /// Keeps what is known across restarts
    #[arg(long = "state.file", value_name = "PATH", global = true)]
    pub state_file: Option<PathBuf>,
    /// Which share of the sources this replica polls, from 0; every replica has the same config
    #[arg(
        long = "shard.index",
        value_name = "I",
        default_value_t = 0,
        global = true
    )]
    pub shard_index: u32,
    /// How many replicas divide the sources between them
    #[arg(
        long = "shard.count",
        value_name = "N",
        default_value_t = 1,
        global = true
    )]
    pub shard_count: u32,
    /// Least important messages to log
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        global = true
    )]
    pub log_level: LogLevel,
    /// How to write them
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        default_value = "logfmt",
        global = true
    )]
    pub log_format: LogFormat,
}

impl Flags {
    /// The share of the sources that this replica polls.
    ///
    /// # Errors
    /// When there is no such share.
    pub fn shard(&self) -> Result<Shard, NoSuchShard> {
        Shard::new(self.shard_index, self.shard_count)
    }

    /// The web config file; as elsewhere, an empty path is none.
    pub fn web_config(&self) -> Option<&Path> {
        let path = self.web_config_file.as_deref();
        path.filter(|path| !path.as_os_str().is_empty())
    }
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Checks the config and prints what it would ask of the API; asks only with --live
    Check(Check),
    /// Polls every source once and prints the page
    Once(Once),
    /// Lists the message campaigns that each token sees, as YAML to paste under `businesses`
    Discover(Discover),
    /// Writes daily history for `promtool tsdb create-blocks-from openmetrics`
    Backfill(Backfill),
    /// Asks the exporter that runs here whether it works; exits with 0 or 1
    Healthcheck,
    /// Serves live numbers of a simulated Graph API: no Meta account needed
    Demo(Demo),
}

/// Flags of `check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Also asks the API about each token and each source, in a few calls
    #[arg(long)]
    pub live: bool,
    /// Message campaigns that an ad account is assumed to have: nobody can know offline
    #[arg(long = "assume.campaigns", value_name = "N", default_value_t = 500)]
    pub assume_campaigns: usize,
    /// For people, or for machines
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: CheckOutput,
}

/// How `check` tells what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// A table.
    Text,
    /// One object.
    Json,
}

/// Flags of `once`.
#[derive(Args, Clone, Debug)]
pub struct Once {
    /// The page's format: as it is served, as OpenMetrics, or as a JSON list of families
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: PageOutput,
}

/// How `once` writes the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageOutput {
    /// OpenMetrics 1.0.
    Openmetrics,
    /// The text format 0.0.4.
    Text,
    /// A list of families.
    Json,
}

/// Flags of `discover`. With a token's place no config is read, so that one can be written.
#[derive(Args, Clone, Debug)]
pub struct Discover {
    /// Archived campaigns too
    #[arg(long)]
    pub archived: bool,
    /// The file of one token to ask with, instead of a config's
    #[arg(
        long = "access-token-file",
        value_name = "PATH",
        conflicts_with = "access_token_env"
    )]
    pub access_token_file: Option<PathBuf>,
    /// The environment variable of one token to ask with, instead of a config's
    #[arg(long = "access-token-env", value_name = "NAME")]
    pub access_token_env: Option<String>,
    /// Where the Graph API is; a config's `graph.url` where one is read
    #[arg(long = "graph.url", value_name = "URL")]
    pub graph_url: Option<String>,
    /// The API's version; a config's `graph.version` where one is read
    #[arg(long = "graph.version", value_name = "VERSION")]
    pub graph_version: Option<String>,
}

/// Flags of `backfill`.
#[derive(Args, Clone, Debug)]
pub struct Backfill {
    /// The first day: YYYY-MM-DD, at most 37 months ago
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub since: Date,
    /// The last day, itself included; days that are not over are left out
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub until: Date,
    /// Where to write, instead of standard output; the same command goes on where it was stopped
    #[arg(long = "output.file", value_name = "PATH")]
    pub output_file: Option<PathBuf>,
    /// A label that the scrape adds, such as job=marketing-messages; repeatable
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
}

/// Flags of `demo`.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// Where the simulated Graph API listens
    #[arg(
        long = "simulator.listen-address",
        value_name = "ADDR",
        default_value = "127.0.0.1:0"
    )]
    pub simulator_listen_address: String,
    /// A failure of the API to rehearse; repeatable; the simulator's address + /simulator lists them
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<String>,
}

/// The least important messages that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What stops the exporter.
    Error,
    /// What fails.
    Warn,
    /// What changes.
    Info,
    /// What happens.
    Debug,
    /// All of it.
    Trace,
}

impl LogLevel {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value`
    Logfmt,
    /// One object a line.
    Json,
}

fn day(text: &str) -> Result<Date, String> {
    let read = text.parse().ok().filter(|_| text.len() == 10);
    read.ok_or_else(|| "a day is written YYYY-MM-DD".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("a label is written NAME=VALUE".to_owned());
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(letters)
    {
        return Err("the name of a label has letters, digits and underscores".to_owned());
    }
    if name.starts_with("__") || ROW_LABELS.contains(&name) {
        return Err(format!("{name} is a label that the rows have already"));
    }
    if value.is_empty() {
        return Err("an empty label is none".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Labels that only a row can give.
const ROW_LABELS: [&str; 11] = [
    "account_id",
    "action_type",
    "ad_id",
    "ad_name",
    "adset_id",
    "adset_name",
    "business",
    "campaign_id",
    "campaign_name",
    "currency",
    "window",
];

fn telemetry_path(path: &str) -> Result<String, String> {
    match path {
        "/" | "/-/healthy" | "/-/ready" | "/-/reload" | "/api/status" => {
            Err("another page stands there".to_owned())
        }
        path if path.starts_with('/') && !path.contains(['?', '#', ' ']) => Ok(path.to_owned()),
        _ => Err("a path begins with / and has no ?, # or space".to_owned()),
    }
}
