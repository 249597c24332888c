//! `discover`: writes a config with the message campaigns that each token can access.
//!
//! Ad accounts become sources; names and statuses of campaigns become YAML comments. Names come from Meta's users and
//! can contain any characters, so that texts in comments are sanitized and values are quoted where necessary.

use std::fmt::Write;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use super::CommandError;
use crate::app::{self, ApiSession};
use crate::cli;
use crate::config::{BusinessConfig, Config, ConfigErrors, MetaApp, NamedDocument};
use crate::graph::{self, ApiError};
use crate::model::{AdAccount, Campaign, SecretSource};
use crate::platform::file_reader;

/// Name of the business if neither the token file nor the environment variable suggests one.
const DEFAULT_BUSINESS_NAME: &str = "mine";

/// Endings of file and variable names that are not part of the business name.
const TOKEN_NAME_SUFFIXES: [&str; 2] = ["_access_token", "_token"];

/// Words that YAML 1.1 or 1.2 reads as a boolean or as null.
const YAML_KEYWORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// Returns the YAML, and whether every token and ad account could be listed. `show_status` receives the current step.
///
/// # Errors
/// Returns an error if the config, or a flag that replaces it, is invalid.
pub async fn run(
    flags: &cli::CommonFlags,
    discover: &cli::DiscoverFlags,
    show_status: impl Fn(&str),
) -> Result<(String, bool), CommandError> {
    if let Some(path) = &discover.output_file {
        refuse_existing(path)?;
    }
    let config = match token_source(discover) {
        Some(token) => config_for_token(discover, &token)?,
        None => {
            refuse_flags_without_token(discover)?;
            file_reader::load_without_sources(&flags.config_file).map_err(|errors| {
                CommandError::InvalidInput(format!(
                    "{errors}\nwithout a config, set --access-token-file or --access-token-env"
                ))
            })?
        }
    };
    let quota_share = config.polling.quota_share;
    let session = ApiSession::new(&config, quota_share).map_err(app::AppError::from)?;
    let mut report = DiscoveryReport {
        session: &session,
        app: config.graph.app.as_ref(),
        archived: discover.archived,
        show_status,
        text: graph_section(&config),
        complete: true,
    };
    report.add_line(format_args!("businesses:"));
    for business in config.businesses.iter().filter(|business| business.enabled) {
        report.add_business(business).await;
    }
    let calls = session.stats().calls;
    report.add_line(format_args!("# API calls: {calls}"));
    match &discover.output_file {
        Some(path) => {
            write_new(path, &report.text)?;
            tracing::info!(path = %path.display(), "config written");
            Ok((String::new(), report.complete))
        }
        None => Ok((report.text, report.complete)),
    }
}

/// Returns the error for an output file that exists: a config is never overwritten.
fn refuse_existing(path: &Path) -> Result<(), CommandError> {
    if path.exists() {
        return Err(CommandError::InvalidInput(format!(
            "--output.file: {} exists and is not overwritten; choose another name, or remove the file",
            path.display()
        )));
    }
    Ok(())
}

/// Writes a new file; fails if it exists.
fn write_new(path: &Path, text: &str) -> Result<(), CommandError> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        CommandError::Failed(format!("--output.file: {}: {error}", path.display()))
    })
}

/// Returns the error for flags that only have an effect with a token given by a flag.
fn refuse_flags_without_token(discover: &cli::DiscoverFlags) -> Result<(), CommandError> {
    let given = [
        ("--graph.url", discover.graph_url.is_some()),
        ("--graph.version", discover.graph_version.is_some()),
        ("--app-id", discover.app_id.is_some()),
        ("--app-secret-file", discover.app_secret_file.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(CommandError::InvalidInput(format!(
            "{flag} has no effect on the tokens of a config; set it in the config, or add --access-token-file or --access-token-env"
        ))),
        None => Ok(()),
    }
}

/// Returns the section `graph` of the new config.
fn graph_section(config: &Config) -> String {
    let graph = &config.graph;
    let mut text = String::from("graph:\n");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  url: {}", scalar(&graph.url));
    let _ = writeln!(text, "  version: {}", scalar(&graph.version));
    if let Some(app) = &graph.app {
        let _ = writeln!(text, "  app_id: {}", json!(app.id));
        match &app.secret {
            Some(SecretSource::File(path)) => {
                let path = path.display().to_string();
                let _ = writeln!(text, "  app_secret_file: {}", path_scalar(&path));
            }
            Some(SecretSource::Env(name)) => {
                let _ = writeln!(text, "  app_secret_env: {}", scalar(name));
            }
            Some(SecretSource::Inline(_)) | None => {}
        }
    }
    if let Some(ca_file) = &graph.ca_file {
        let path = ca_file.display().to_string();
        let _ = writeln!(text, "  ca_file: {}", path_scalar(&path));
    }
    text
}

/// Returns a path as the value of a key in which variables are expanded.
fn path_scalar(path: &str) -> String {
    scalar(&path.replace('$', "$$"))
}

/// Returns the token given by a flag; `None` if the config is to be read.
fn token_source(discover: &cli::DiscoverFlags) -> Option<SecretSource> {
    let file = discover.access_token_file.clone().map(SecretSource::File);
    file.or(discover.access_token_env.clone().map(SecretSource::Env))
}

/// Returns a config with one business for this token, checked like any other config.
fn config_for_token(
    discover: &cli::DiscoverFlags,
    token: &SecretSource,
) -> Result<Config, CommandError> {
    let (key, value) = config_entry(token);
    let value = value.replace('$', "$$");
    let mut graph = serde_json::Map::new();
    for (key, value) in [
        ("url", &discover.graph_url),
        ("version", &discover.graph_version),
    ] {
        if let Some(value) = value {
            graph.insert(key.to_owned(), value.as_str().into());
        }
    }
    if let Some(id) = &discover.app_id {
        graph.insert("app_id".to_owned(), id.as_str().into());
    }
    if let Some(path) = &discover.app_secret_file {
        let path = path.display().to_string().replace('$', "$$");
        graph.insert("app_secret_file".to_owned(), path.into());
    }
    // A business needs a source; the placeholder is removed below.
    let json = json!({
        "graph": graph,
        "businesses": [{ "name": business_name(token), key: value, "ad_accounts": [{ "id": "act_1" }] }],
    });
    // JSON is valid YAML.
    let document = NamedDocument {
        name: "command line".to_owned(),
        text: json.to_string(),
    };
    let mut config = Config::parse(document, Vec::new())
        .map_err(|errors| CommandError::InvalidInput(with_flag_names(&errors)))?;
    for business in &mut config.businesses {
        business.ad_accounts.clear();
    }
    Ok(config)
}

/// Returns the errors with the names of the flags instead of the keys of a config.
fn with_flag_names(errors: &ConfigErrors) -> String {
    let flags = [
        ("graph.url", "--graph.url"),
        ("graph.version", "--graph.version"),
        ("graph.app_id", "--app-id"),
        ("graph.app_secret_file", "--app-secret-file"),
        ("businesses[0].access_token_file", "--access-token-file"),
        ("businesses[0].access_token_env", "--access-token-env"),
    ];
    let lines = errors.iter().map(|error| {
        let flag = flags.iter().find(|(path, _)| *path == error.path);
        let name = flag.map_or(error.path.as_str(), |(_, flag)| flag);
        format!("{name}: {}", error.text)
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// Returns the config key and value that refer to this token.
fn config_entry(token: &SecretSource) -> (&'static str, String) {
    match token {
        SecretSource::File(path) => ("access_token_file", path.display().to_string()),
        SecretSource::Env(name) => ("access_token_env", name.clone()),
        SecretSource::Inline(_) => ("access_token_env", "ACCESS_TOKEN".to_owned()),
    }
}

/// Derives a business name from the name of the token file or environment variable.
fn business_name(token: &SecretSource) -> String {
    let (_, value) = config_entry(token);
    let stem = Path::new(&value).file_stem().unwrap_or_default();
    let stem = stem.to_string_lossy().to_lowercase();
    let name = TOKEN_NAME_SUFFIXES
        .iter()
        .find_map(|suffix| stem.strip_suffix(suffix))
        .unwrap_or(&stem);
    match name {
        "" | "token" | "access_token" | "access-token" => DEFAULT_BUSINESS_NAME.to_owned(),
        name => name.to_owned(),
    }
}

/// Output of `discover` while it is being collected.
struct DiscoveryReport<'a, P> {
    session: &'a ApiSession,
    /// App of the section `graph`.
    app: Option<&'a MetaApp>,
    archived: bool,
    show_status: P,
    text: String,
    /// Whether everything could be listed so far.
    complete: bool,
}

impl<P: Fn(&str)> DiscoveryReport<'_, P> {
    async fn add_business(&mut self, business: &BusinessConfig) {
        let name = &business.name;
        (self.show_status)(&format!("{name}: ad accounts"));
        let caller = match self.session.caller(business, None, "me") {
            Ok(caller) => caller,
            Err(error) => return self.add_failure(name, &error),
        };
        let accounts = self.session.call(&caller, graph::list_ad_accounts).await;
        let accounts = match accounts {
            Ok(accounts) => accounts,
            Err(error) => return self.add_failure(name, &error_text(&error)),
        };
        // Ad accounts without message campaigns, and those that failed, are listed as comments after the sources.
        let (mut sources, mut other_accounts) = (String::new(), String::new());
        for (account_idx, account) in accounts.iter().enumerate() {
            let (number, count, id) = (account_idx + 1, accounts.len(), &account.id);
            (self.show_status)(&format!("{name}: ad account {number} of {count}, {id}"));
            let label = account_label(account);
            match self.list_campaigns(business, account).await {
                Ok(campaigns) if campaigns.is_empty() => {
                    let _ = writeln!(other_accounts, "  # {id}  {label}: no message campaigns");
                }
                Ok(campaigns) => add_source(&mut sources, business, account, &campaigns),
                Err(error) => {
                    self.complete = false;
                    tracing::warn!(business = name, source = %id, error, "listing an ad account failed");
                    let _ = writeln!(other_accounts, "  # {id}  {label}: {}", comment(&error));
                }
            }
        }
        if sources.is_empty() {
            self.add_line(format_args!(
                "  # {}: the token has access to no ad account with message campaigns",
                comment(name)
            ));
        } else {
            let (key, value) = config_entry(&business.token);
            self.add_line(format_args!("  - name: {}", scalar(name)));
            let value = match &business.token {
                SecretSource::File(_) => path_scalar(&value),
                _ => scalar(&value),
            };
            self.add_line(format_args!("    {key}: {value}"));
            self.add_app(business);
            self.add_line(format_args!("    ad_accounts:"));
            self.text.push_str(&sources);
        }
        self.text.push_str(&other_accounts);
    }

    /// Writes the app of a business, if it differs from the one under `graph`.
    fn add_app(&mut self, business: &BusinessConfig) {
        let Some(app) = business.app.as_ref().filter(|app| self.app != Some(*app)) else {
            return;
        };
        self.add_line(format_args!("    app_id: {}", json!(app.id)));
        match &app.secret {
            Some(SecretSource::File(path)) => {
                let path = path_scalar(&path.display().to_string());
                self.add_line(format_args!("    app_secret_file: {path}"));
            }
            Some(SecretSource::Env(name)) => {
                self.add_line(format_args!("    app_secret_env: {}", scalar(name)));
            }
            Some(SecretSource::Inline(_)) | None => {}
        }
    }

    async fn list_campaigns(
        &self,
        business: &BusinessConfig,
        account: &AdAccount,
    ) -> Result<Vec<Campaign>, String> {
        let source = account.id.to_string();
        let caller = self.session.caller(business, Some(&account.id), &source)?;
        let campaigns = self.session.call(&caller, async |session| {
            graph::message_campaigns(session, &account.id, self.archived).await
        });
        campaigns.await.map_err(|error| error_text(&error))
    }

    /// Reports that the ad accounts of a business cannot be listed.
    fn add_failure(&mut self, business: &str, error: &str) {
        self.complete = false;
        tracing::warn!(
            business,
            error,
            "listing the ad accounts of a business failed"
        );
        self.add_line(format_args!(
            "  # {}: {}",
            comment(business),
            comment(error)
        ));
    }

    fn add_line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Appends an ad account as a source, with its campaigns as comments.
fn add_source(
    text: &mut String,
    business: &BusinessConfig,
    account: &AdAccount,
    campaigns: &[Campaign],
) {
    let id = &account.id;
    let configured = business
        .ad_accounts
        .iter()
        .any(|configured| configured.id == *id);
    let note = if configured {
        ", already in the config"
    } else {
        ""
    };
    let _ = writeln!(text, "      - id: {id} # {}{note}", account_label(account));
    let _ = writeln!(
        text,
        "        # All of its message campaigns. To select some, uncomment `campaigns:` and the lines of these:"
    );
    let _ = writeln!(text, "        # campaigns:");
    for campaign in campaigns {
        let (id, status, name) = (&campaign.id, &campaign.status, comment(&campaign.name));
        let _ = writeln!(text, "        #   - \"{id}\" # {}: {name}", comment(status));
    }
}

/// Returns name, currency and time zone of an ad account, as far as known.
fn account_label(account: &AdAccount) -> String {
    let zone = account.timezone.as_ref().and_then(|zone| zone.iana_name());
    let parts = [
        Some(account.name.as_ref()),
        account.currency.as_deref(),
        zone,
    ];
    let parts: Vec<String> = parts.into_iter().flatten().map(comment).collect();
    parts.join(", ")
}

/// Replaces characters that would end a YAML comment or change its display order.
fn comment(text: &str) -> String {
    // U+2028 and U+2029 are line breaks in YAML 1.1; the others are bidirectional controls and the byte order mark.
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|c| if is_unsafe(c) { ' ' } else { c })
        .collect()
}

/// Returns a text as a YAML scalar, quoted if YAML could read it as anything but this string.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    let has_plain_start = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_keyword = YAML_KEYWORDS.contains(&text.to_lowercase().as_str());
    if has_plain_start && !is_keyword && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        json!(text).to_string()
    }
}

fn error_text(error: &ApiError) -> String {
    error.error.to_string()
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_BUSINESS_NAME, business_name, comment, scalar};
    use crate::model::SecretSource;

    #[test]
    fn comment_stays_on_one_line() {
        assert_eq!(comment("a\nb: c\u{2028}- d\u{85}"), "a b: c - d ");
        assert_eq!(comment("Sale # 50 % 👋"), "Sale # 50 % 👋");
    }

    #[test]
    fn ambiguous_scalar_is_quoted() {
        assert_eq!(scalar("acme"), "acme");
        assert_eq!(scalar("/run/secrets/acme"), "/run/secrets/acme");
        for text in ["no", "1e3", "a: b", "- a", "~", "", "#", "Kererū"] {
            assert_eq!(scalar(text), format!("{text:?}"));
        }
    }

    #[test]
    fn business_name_is_derived_from_token_source() {
        let env = |name: &str| SecretSource::Env(name.to_owned());
        let file = SecretSource::File("/run/secrets/acme".into());
        assert_eq!(business_name(&file), "acme");
        assert_eq!(business_name(&env("ACME_TOKEN")), "acme");
        assert_eq!(business_name(&env("TOKEN")), DEFAULT_BUSINESS_NAME);
    }
}
