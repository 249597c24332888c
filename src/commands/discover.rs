//! Lists the message campaigns that each token sees, as YAML to paste under `businesses`.
//!
//! Names and statuses are comments: they are for whoever chooses, and may say anything.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use super::Failure;
use crate::app::{self, Asker, Errand};
use crate::cli;
use crate::config::{Business, Config, Document};
use crate::config_file;
use crate::graph::{self, Error};
use crate::listing::{Account, Campaign};
use crate::secret::SecretSource;

/// What a token's business is called where neither file nor variable suggests a name.
const SOMEBODY: &str = "mine";

/// The YAML, and whether every token and ad account answered. `progress` is told what is asked.
///
/// # Errors
/// When the config, or a flag in its place, is refused.
pub async fn run(
    flags: &cli::Flags,
    discover: &cli::Discover,
    progress: impl Fn(&str),
) -> Result<(String, bool), Failure> {
    let config = match token(discover) {
        Some(token) => of_token(discover, &token)?,
        None => config_file::load(&flags.config_file)?,
    };
    let errand = Errand::new(&config).map_err(app::Error::from)?;
    let mut survey = Survey {
        errand: &errand,
        archived: discover.archived,
        progress,
        text: String::new(),
        complete: true,
    };
    for business in config.businesses.iter().filter(|business| business.enabled) {
        survey.business(business).await;
    }
    let calls = errand.heard().calls;
    survey.line(format_args!("# {calls} calls to the API."));
    Ok((survey.text, survey.complete))
}

/// The token that the flags name.
fn token(discover: &cli::Discover) -> Option<SecretSource> {
    let file = discover.access_token_file.clone().map(SecretSource::File);
    file.or(discover.access_token_env.clone().map(SecretSource::Env))
}

/// A config of that token alone, checked as any other. Its one source only fills a place.
fn of_token(discover: &cli::Discover, token: &SecretSource) -> Result<Config, Failure> {
    let (key, place) = place(token);
    let mut graph = serde_json::Map::new();
    for (key, given) in [
        ("url", &discover.graph_url),
        ("version", &discover.graph_version),
    ] {
        if let Some(given) = given {
            graph.insert(key.to_owned(), given.as_str().into());
        }
    }
    let written = json!({
        "graph": graph,
        "businesses": [{ "name": name(token), key: place, "ad_accounts": [{ "id": "act_1" }] }],
    });
    // JSON is YAML.
    let document = Document {
        name: "the command line".to_owned(),
        text: written.to_string(),
    };
    let mut config = Config::parse(document, Vec::new())?;
    for business in &mut config.businesses {
        business.ad_accounts.clear();
    }
    Ok(config)
}

/// The config's key for that place of a token, and the place.
fn place(token: &SecretSource) -> (&'static str, String) {
    match token {
        SecretSource::File(path) => ("access_token_file", path.display().to_string()),
        SecretSource::Env(name) => ("access_token_env", name.clone()),
        SecretSource::Given(_) => ("access_token_env", "ACCESS_TOKEN".to_owned()),
    }
}

/// What to call the business of that token: the file's or variable's name, as far as it is one.
fn name(token: &SecretSource) -> String {
    let (_, place) = place(token);
    let stem = Path::new(&place).file_stem().unwrap_or_default();
    let stem = stem.to_string_lossy().to_lowercase();
    let named = ["_access_token", "_token"]
        .iter()
        .find_map(|end| stem.strip_suffix(end))
        .unwrap_or(&stem);
    match named {
        "" | "token" | "access_token" | "access-token" => SOMEBODY.to_owned(),
        named => named.to_owned(),
    }
}

/// The answer on its way.
struct Survey<'a, P> {
    errand: &'a Errand,
    archived: bool,
    progress: P,
    text: String,
    complete: bool,
}

impl<P: Fn(&str)> Survey<'_, P> {
    async fn business(&mut self, business: &Business) {
        let shown = &business.name;
        (self.progress)(&format!("{shown}: ad accounts"));
        let asker = match Asker::new(business, None, "me") {
            Ok(asker) => asker,
            Err(unread) => return self.failed(shown, &unread),
        };
        let accounts = self.errand.ask(&asker, graph::ad_accounts).await;
        let accounts = match accounts {
            Ok(accounts) => accounts,
            Err(error) => return self.failed(shown, &said(&error)),
        };
        let (mut sources, mut others) = (String::new(), String::new());
        for (place, account) in accounts.iter().enumerate() {
            let (number, of, id) = (place + 1, accounts.len(), &account.id);
            (self.progress)(&format!("{shown}: ad account {number} of {of}, {id}"));
            let named = title(account);
            match self.campaigns(business, account).await {
                Ok(campaigns) if campaigns.is_empty() => {
                    let _ = writeln!(others, "  # {id}  {named}: no message campaigns");
                }
                Ok(campaigns) => entry(&mut sources, business, account, &campaigns),
                Err(why) => {
                    self.complete = false;
                    tracing::warn!(business = shown, source = %id, error = why, "an ad account cannot be listed");
                    let _ = writeln!(others, "  # {id}  {named}: {}", comment(&why));
                }
            }
        }
        if sources.is_empty() {
            self.line(format_args!(
                "  # {}: this token sees no ad account with message campaigns",
                comment(shown)
            ));
        } else {
            let (key, place) = place(&business.token);
            self.line(format_args!("  - name: {}", scalar(shown)));
            self.line(format_args!("    {key}: {}", scalar(&place)));
            self.line(format_args!("    ad_accounts:"));
            self.text.push_str(&sources);
        }
        self.text.push_str(&others);
    }

    async fn campaigns(
        &self,
        business: &Business,
        account: &Account,
    ) -> Result<Vec<Campaign>, String> {
        let asker = Asker::new(business, Some(&account.id), &account.id.to_string())?;
        let listed = self.errand.ask(&asker, async |session| {
            graph::message_campaigns(session, &account.id, self.archived).await
        });
        listed.await.map_err(|error| said(&error))
    }

    fn failed(&mut self, business: &str, why: &str) {
        self.complete = false;
        tracing::warn!(business, error = why, "a business cannot be listed");
        self.line(format_args!("  # {}: {}", comment(business), comment(why)));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// An ad account as a source, its campaigns as comments.
fn entry(text: &mut String, business: &Business, account: &Account, campaigns: &[Campaign]) {
    let id = &account.id;
    let known = match business.ad_accounts.iter().any(|known| known.id == *id) {
        true => ", in the config already",
        false => "",
    };
    let _ = writeln!(text, "      - id: {id} # {}{known}", title(account));
    let _ = writeln!(
        text,
        "        # All of its message campaigns. For some alone, take the # from `campaigns:` and from those:"
    );
    let _ = writeln!(text, "        # campaigns:");
    for campaign in campaigns {
        let (id, status, name) = (&campaign.id, &campaign.status, comment(&campaign.name));
        let _ = writeln!(text, "        #   - \"{id}\" # {}: {name}", comment(status));
    }
}

/// What people know an ad account by.
fn title(account: &Account) -> String {
    let zone = account.timezone.as_ref().and_then(|zone| zone.iana_name());
    let parts = [
        Some(account.name.as_ref()),
        account.currency.as_deref(),
        zone,
    ];
    let parts: Vec<String> = parts.into_iter().flatten().map(comment).collect();
    parts.join(", ")
}

/// A text that stays within its comment, whatever it holds.
fn comment(text: &str) -> String {
    // These end a line in YAML, or show a line in another order than it is read.
    let unsafe_letter = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|c| if unsafe_letter(c) { ' ' } else { c })
        .collect()
}

/// A text as YAML reads it back, in quotes where it could be anything else.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let word = words.contains(&text.to_lowercase().as_str());
    if begins && !word && text.chars().all(plain) {
        text.to_owned()
    } else {
        json!(text).to_string()
    }
}

fn said(error: &Error) -> String {
    error.fault.to_string()
}

#[cfg(test)]
mod tests {
    use super::{comment, name, scalar};
    use crate::secret::SecretSource;

    #[test]
    fn a_name_stays_within_its_comment() {
        assert_eq!(comment("a\nb: c\u{2028}- d\u{85}"), "a b: c - d ");
        assert_eq!(comment("Sale # 50 % 👋"), "Sale # 50 % 👋");
    }

    #[test]
    fn what_yaml_could_take_for_something_else_is_quoted() {
        assert_eq!(scalar("acme"), "acme");
        assert_eq!(scalar("/run/secrets/acme"), "/run/secrets/acme");
        for text in ["no", "1e3", "a: b", "- a", "~", "", "#", "Kererū"] {
            assert_eq!(scalar(text), format!("{text:?}"));
        }
    }

    #[test]
    fn a_business_is_named_after_its_token() {
        let env = |name: &str| SecretSource::Env(name.to_owned());
        assert_eq!(
            name(&SecretSource::File("/run/secrets/acme".into())),
            "acme"
        );
        assert_eq!(name(&env("ACME_TOKEN")), "acme");
        assert_eq!(name(&env("TOKEN")), "mine");
    }
}
