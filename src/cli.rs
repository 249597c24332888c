//! Definition of the command line, in the style of Prometheus: flags with dots, accepted before or after the
//! subcommand. Doc comments of flags and subcommands are the texts of `--help` and of the man pages.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use jiff::civil::Date;

use crate::config::parse_duration;
use crate::http::RESERVED_PATHS;
use crate::plan::{Shard, ShardOutOfRange};
use crate::platform::logging::{LogFormat, LogLevel};

/// Prometheus exporter for Meta's Marketing Messages on Messenger
#[derive(Debug, Parser)]
#[command(
    name = "marketing-messages-exporter",
    version,
    args_override_self = false
)]
pub struct Cli {
    /// Subcommand; `None` serves metrics.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of every subcommand.
    #[command(flatten)]
    pub flags: CommonFlags,
}

/// Output of `--version` after the name, in the form that Prometheus and its exporters print.
const VERSION: &str = concat!(
    "version ",
    env!("CARGO_PKG_VERSION"),
    " (revision: ",
    env!("REVISION"),
    ")\n  rust version:     ",
    env!("RUST_VERSION"),
    "\n  platform:         ",
    env!("PLATFORM"),
);

const DEFAULT_CONFIG_FILE: &str = "config.yaml";

/// Address of the demo: the loopback interface only, because it has no users.
const DEMO_LISTEN_ADDRESS: &str = "127.0.0.1:10919";

/// Common flags that have an effect on each subcommand, by their long names. `healthcheck` accepts all, so that the
/// command line of the exporter can be reused.
const EFFECTIVE_FLAGS: [(&str, &[&str]); 5] = [
    (
        "check",
        &[
            "config.file",
            "web.config.file",
            "state.file",
            "shard.index",
            "shard.count",
            "log.level",
            "log.format",
        ],
    ),
    (
        "once",
        &[
            "config.file",
            "shard.index",
            "shard.count",
            "log.level",
            "log.format",
        ],
    ),
    ("discover", &["config.file", "log.level", "log.format"]),
    (
        "backfill",
        &[
            "config.file",
            "shard.index",
            "shard.count",
            "log.level",
            "log.format",
        ],
    ),
    (
        "demo",
        &[
            "web.listen-address",
            "web.health-listen-address",
            "web.route-prefix",
            "web.external-url",
            "web.systemd-socket",
            "web.telemetry-path",
            "web.config.file",
            "log.level",
            "log.format",
        ],
    ),
];

/// Returns the command line definition. The help of a subcommand lists only the flags that have an effect on it.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    let common: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .cloned()
        .collect();
    for (name, effective) in EFFECTIVE_FLAGS {
        command = command.mut_subcommand(name, |mut subcommand| {
            for arg in &common {
                let long = arg.get_long().unwrap_or_default();
                if !effective.contains(&long) {
                    // A flag of the subcommand with the same id takes precedence over the common one.
                    subcommand = subcommand.arg(arg.clone().global(false).hide(true));
                }
            }
            subcommand
        });
    }
    command
}

/// Parses a command line; the first argument is the name of the program.
///
/// # Errors
/// Returns an error for unknown flags, invalid values, and flags that have no effect on the subcommand.
pub fn parse_from(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    // clap separates name and version by a space only.
    let mut command = command()
        .display_name("marketing-messages-exporter,")
        .version(VERSION);
    if let Some(text) = common_mistake(&arguments) {
        return Err(command.error(ErrorKind::UnknownArgument, text));
    }
    let matches = command.try_get_matches_from_mut(arguments)?;
    if let Some(error) = ineffective_flag(&mut command, &matches) {
        return Err(error);
    }
    let mut cli = Cli::from_arg_matches(&matches)?;
    let flags = &mut cli.flags;
    let not_empty = |path: &PathBuf| !path.as_os_str().is_empty();
    flags.state_file = flags.state_file.take().filter(not_empty);
    flags.web_config_file = flags.web_config_file.take().filter(not_empty);
    if !not_empty(&flags.config_file) {
        flags.config_file = DEFAULT_CONFIG_FILE.into();
    }
    let is_demo = matches!(cli.command, Some(Command::Demo(_)));
    if is_demo && !is_given(&matches, "listen_addresses") {
        flags.listen_addresses = vec![DEMO_LISTEN_ADDRESS.to_owned()];
    }
    Ok(cli)
}

/// Returns the error for two mistakes that clap describes less helpfully.
fn common_mistake(arguments: &[OsString]) -> Option<String> {
    for argument in arguments.iter().skip(1) {
        let argument = argument.to_string_lossy();
        let (name, _) = argument.split_once('=').unwrap_or((&argument, ""));
        if name == "serve" {
            return Some(
                "unknown subcommand `serve`; no subcommand is needed to serve metrics".to_owned(),
            );
        }
        let is_long = name.len() > 2 && name.starts_with('-') && !name.starts_with("--");
        if is_long && name.chars().nth(1).is_some_and(char::is_alphabetic) {
            return Some(format!(
                "unknown flag `{name}`; flags have two dashes: write `-{name}`"
            ));
        }
    }
    None
}

/// Returns the error for a common flag that has no effect on the subcommand.
fn ineffective_flag(command: &mut clap::Command, matches: &ArgMatches) -> Option<clap::Error> {
    let (name, subcommand) = matches.subcommand()?;
    let (_, effective) = EFFECTIVE_FLAGS.iter().find(|(other, _)| *other == name)?;
    let flags: Vec<(String, String)> = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| {
            let long = arg.get_long().unwrap_or_default();
            (arg.get_id().to_string(), long.to_owned())
        })
        .collect();
    let (_, flag) = flags.into_iter().find(|(id, long)| {
        let is_effective = effective.contains(&long.as_str());
        !is_effective && (is_given(matches, id) || is_given(subcommand, id))
    })?;
    let mut error = command.error(
        ErrorKind::UnknownArgument,
        format!("--{flag} has no effect on `{name}`; remove the flag"),
    );
    error.insert(
        ContextKind::InvalidArg,
        ContextValue::String(format!("--{flag}")),
    );
    Some(error)
}

/// Whether a flag is on the command line and has a value.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let from_command_line = matches
        .try_contains_id(id)
        .is_ok_and(|known| known && matches.value_source(id) == Some(ValueSource::CommandLine));
    let is_empty = || {
        let values = matches.try_get_raw(id).ok().flatten();
        values.is_some_and(|mut values| values.all(std::ffi::OsStr::is_empty))
    };
    from_command_line && !is_empty()
}

/// Flags that every subcommand accepts.
#[derive(Args, Clone, Debug)]
pub struct CommonFlags {
    /// Path of the config file; config.example.yaml lists every key with its default
    #[arg(
        long = "config.file",
        value_name = "PATH",
        default_value = DEFAULT_CONFIG_FILE,
        value_parser = path_parser(),
        global = true
    )]
    pub config_file: PathBuf,
    /// Interval of the checks for changed config and business files, which reload the config; 0s disables them
    #[arg(
        long = "config.auto-reload-interval",
        value_name = "DURATION",
        default_value = "0s",
        global = true,
        value_parser = parse_interval
    )]
    pub auto_reload_interval: AutoReloadInterval,
    /// Address to listen on: HOST:PORT, or :PORT for every interface; repeatable; `demo` uses 127.0.0.1:10919 by default
    #[arg(
        long = "web.listen-address",
        value_name = "ADDR",
        default_value = ":10919",
        global = true
    )]
    pub listen_addresses: Vec<String>,
    /// Listen on the sockets passed by systemd instead of --web.listen-address
    #[arg(long = "web.systemd-socket", global = true)]
    pub systemd_socket: bool,
    /// Additional address that serves only health checks, as plain HTTP without users: HOST:PORT or :PORT
    #[arg(long = "web.health-listen-address", value_name = "ADDR", global = true)]
    pub health_listen_address: Option<String>,
    /// Prefix of all paths; by default the path of --web.external-url
    #[arg(long = "web.route-prefix", value_name = "PATH", global = true)]
    pub route_prefix: Option<String>,
    /// URL under which the exporter is reachable, such as behind a reverse proxy
    #[arg(long = "web.external-url", value_name = "URL", global = true, value_parser = parse_external_url)]
    pub external_url: Option<ExternalUrl>,
    /// Path under which to expose metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", global = true, value_parser = parse_telemetry_path)]
    pub telemetry_path: String,
    /// Path of the web config file (TLS, users, headers), in the format of Prometheus' exporter-toolkit
    #[arg(long = "web.config.file", value_name = "PATH", global = true, value_parser = path_parser())]
    pub web_config_file: Option<PathBuf>,
    /// Enable POST /-/reload, which reloads the config, and POST /-/poll, which polls all sources
    #[arg(long = "web.enable-lifecycle", global = true)]
    pub enable_lifecycle: bool,
    /// Path of the state file, from which the last values are restored after a restart
    #[arg(long = "state.file", value_name = "PATH", global = true, value_parser = path_parser())]
    pub state_file: Option<PathBuf>,
    /// Index of the shard that this replica polls, from 0; all replicas need the same config
    #[arg(
        long = "shard.index",
        value_name = "I",
        default_value_t = 0,
        global = true
    )]
    pub shard_index: u32,
    /// Number of shards, that is, of replicas that share the sources
    #[arg(
        long = "shard.count",
        value_name = "N",
        default_value_t = 1,
        global = true
    )]
    pub shard_count: u32,
    /// Minimum severity of log messages
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        global = true
    )]
    pub log_level: LogLevel,
    /// Format of log messages
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        default_value = "logfmt",
        global = true
    )]
    pub log_format: LogFormat,
}

impl CommonFlags {
    /// Returns the shard that this replica polls.
    ///
    /// # Errors
    /// Returns an error if `--shard.index` and `--shard.count` do not form a valid shard.
    pub fn shard(&self) -> Result<Shard, ShardOutOfRange> {
        Shard::new(self.shard_index, self.shard_count)
    }

    /// Returns the path of the state file. An empty path counts as not given.
    pub fn state_file(&self) -> Option<&Path> {
        let path = self.state_file.as_deref();
        path.filter(|path| !path.as_os_str().is_empty())
    }

    /// Returns the address for health checks. An empty address counts as not given.
    pub fn health_listen_address(&self) -> Option<&str> {
        let address = self.health_listen_address.as_deref();
        address.filter(|address| !address.is_empty())
    }

    /// Returns the prefix of all paths, without a slash at its end; empty for `/`.
    pub fn route_prefix(&self) -> String {
        let external_path = self
            .external_url
            .as_ref()
            .map(|ExternalUrl(path)| path.as_str());
        let prefix = self
            .route_prefix
            .as_deref()
            .filter(|prefix| !prefix.is_empty());
        let prefix = prefix.or(external_path).unwrap_or_default();
        match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        }
    }

    /// Returns the path of the web config file. An empty path counts as not given.
    pub fn web_config(&self) -> Option<&Path> {
        let path = self.web_config_file.as_deref();
        path.filter(|path| !path.as_os_str().is_empty())
    }
}

/// Value of `--config.auto-reload-interval`; `None` disables the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoReloadInterval(pub Option<Duration>);

fn parse_interval(text: &str) -> Result<AutoReloadInterval, String> {
    match text {
        "" | "0" | "0s" => Ok(AutoReloadInterval(None)),
        text => parse_duration(text).map(|interval| AutoReloadInterval(Some(interval))),
    }
}

/// Path of `--web.external-url`, with a slash at its start; empty without a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUrl(String);

fn parse_external_url(text: &str) -> Result<ExternalUrl, String> {
    if text.is_empty() {
        return Ok(ExternalUrl(String::new()));
    }
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .ok_or_else(|| "expected a URL that starts with http:// or https://".to_owned())?;
    if text.contains(['?', '#', ' ']) {
        return Err("expected a URL without ?, # and spaces".to_owned());
    }
    let path = rest.find('/').and_then(|start| rest.get(start..));
    Ok(ExternalUrl(path.unwrap_or_default().to_owned()))
}

/// Accepts empty paths, unlike the default parser.
fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}

/// Subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Validate the config and print estimated API calls and series; sends requests only with --live
    Check(CheckFlags),
    /// Poll every source once and print the metrics of its campaigns
    Once(OnceFlags),
    /// Write a config with the ad accounts and message campaigns that each token can access
    Discover(DiscoverFlags),
    /// Write daily history for `promtool tsdb create-blocks-from openmetrics`
    Backfill(BackfillFlags),
    /// Query `/-/healthy` of the local exporter; exit status 0 if healthy, 1 if not
    Healthcheck,
    /// Serve live metrics of a simulated Graph API; needs no Meta account
    Demo(DemoFlags),
}

/// Flags of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckFlags {
    /// Test each token and each source against the API, with a few requests
    #[arg(long)]
    pub live: bool,
    /// Assumed number of message campaigns per ad account, used if --state.file has no real counts
    #[arg(long = "assume-campaigns", value_name = "N", default_value_t = 500)]
    pub assume_campaigns: usize,
    /// Exit with status 1 if there are warnings
    #[arg(long)]
    pub strict: bool,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: CheckOutput,
}

/// Output format of `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// A table and sentences
    Text,
    /// One JSON object
    Json,
}

/// Flags of `once`.
#[derive(Args, Clone, Debug)]
pub struct OnceFlags {
    /// Also print the exporter's own metrics
    #[arg(long)]
    pub own: bool,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: PageOutput,
}

/// Output format of `once`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageOutput {
    /// OpenMetrics 1.0
    Openmetrics,
    /// Prometheus text format 0.0.4, as served
    Text,
    /// JSON list of metric families
    Json,
}

/// Flags of `discover`. If a token is given by a flag, no config is read, because there may be none yet.
#[derive(Args, Clone, Debug)]
pub struct DiscoverFlags {
    /// Path of the config to create, instead of standard output; an existing file is never overwritten
    #[arg(long = "output.file", value_name = "PATH")]
    pub output_file: Option<PathBuf>,
    /// Id of the app that the token belongs to, for a token given by a flag
    #[arg(long = "app-id", value_name = "ID")]
    pub app_id: Option<String>,
    /// Path of a file with the app secret, for a token given by a flag
    #[arg(long = "app-secret-file", value_name = "PATH", requires = "app_id")]
    pub app_secret_file: Option<PathBuf>,
    /// Include archived campaigns
    #[arg(long)]
    pub archived: bool,
    /// Path of a file with the access token to use instead of those of a config
    #[arg(
        long = "access-token-file",
        value_name = "PATH",
        conflicts_with = "access_token_env"
    )]
    pub access_token_file: Option<PathBuf>,
    /// Environment variable with the access token to use instead of those of a config
    #[arg(long = "access-token-env", value_name = "NAME")]
    pub access_token_env: Option<String>,
    /// Base URL of the Graph API, for a token given by a flag; otherwise `graph.url` of the config applies
    #[arg(long = "graph.url", value_name = "URL")]
    pub graph_url: Option<String>,
    /// Version of the Graph API, for a token given by a flag; otherwise `graph.version` of the config applies
    #[arg(long = "graph.version", value_name = "VERSION")]
    pub graph_version: Option<String>,
}

/// Flags of `backfill`.
#[derive(Args, Clone, Debug)]
pub struct BackfillFlags {
    /// First day, as YYYY-MM-DD; at most 37 months ago
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    pub since: Date,
    /// Last day, inclusive, as YYYY-MM-DD; days that have not ended are omitted
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    pub until: Date,
    /// Path of the output file, instead of standard output; an interrupted command resumes if repeated
    #[arg(long = "output.file", value_name = "PATH")]
    pub output_file: Option<PathBuf>,
    /// Label that the scrape adds to every series, such as job=marketing-messages; repeatable
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
}

/// Flags of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoFlags {
    /// Print the config of the demo and exit
    #[arg(long = "print-config")]
    pub print_config: bool,
    /// Serve only the simulated Graph API, without an exporter
    #[arg(long = "simulator-only", conflicts_with = "print_config")]
    pub simulator_only: bool,
    /// Address on which the simulated Graph API listens
    #[arg(
        long = "simulator.listen-address",
        value_name = "ADDR",
        default_value = "127.0.0.1:0"
    )]
    pub simulator_listen_address: String,
    /// Fault to inject into the simulated API; repeatable; /simulator at the simulator's address lists all faults
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<String>,
}

fn parse_date(text: &str) -> Result<Date, String> {
    let date = text.parse().ok().filter(|_| text.len() == 10);
    date.ok_or_else(|| "expected a date as YYYY-MM-DD".to_owned())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("expected NAME=VALUE".to_owned());
    };
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(is_name_char)
    {
        return Err(
            "expected a label name of letters, digits and underscores that does not start with a digit".to_owned(),
        );
    }
    if name.starts_with("__") || ROW_LABELS.contains(&name) {
        return Err(format!(
            "label `{name}` is reserved or already part of the metrics; choose another name"
        ));
    }
    if value.is_empty() {
        return Err("expected a label value, found none; Prometheus drops empty labels".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Labels that are set from the rows of the API.
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

fn parse_telemetry_path(path: &str) -> Result<String, String> {
    match path {
        path if RESERVED_PATHS.contains(&path) => {
            Err("this path is used by another endpoint; choose another path".to_owned())
        }
        path if path.starts_with('/') && !path.contains(['?', '#', ' ']) => Ok(path.to_owned()),
        _ => Err("expected a path that starts with / and contains no ?, # or space".to_owned()),
    }
}
