//! Live checks: tests each token and each source against the API, and returns a remedy for each failure.
//!
//! All requests are sent by one [`ApiSession`]. After its first failure a source is not checked further. The API version
//! and the clock are checked last, from the headers of all responses.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::app::{self, ApiSession};
use crate::config::{BusinessConfig, Config, MAX_QUOTA_SHARE};
use crate::graph::{self, ApiError, DiscoveryInput, IdentifiedNode, NodeKind, TokenInfo};
use crate::model::{AdAccount, Campaign, ErrorReason, Inventory, PollError, TOKEN_EXPIRY_WARNING};
use crate::plan::{Plan, QueryMode, Source, SourceKind};
use crate::platform::{clock, proxy};
use crate::scheduler::QueryTrial;

/// Difference between the local clock and the API's above which ages and proofs are wrong.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Maximum time for one source. Longer than all attempts of one request; a quota pause can be much longer.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of subjects that are listed for equal failures.
const MAX_GROUPED_SUBJECTS: usize = 5;

/// Permissions of which a token needs at least one to read insights.
const READ_PERMISSIONS: [&str; 2] = ["ads_read", "ads_management"];

/// What the check of a source learned, by the names of business and source.
pub(super) type LearnedSources = BTreeMap<(Box<str>, Box<str>), LearnedSource>;

/// What the check of a source learned.
pub(super) struct LearnedSource {
    /// The ad account and its campaigns.
    pub(super) inventory: Arc<Inventory>,
    /// Mode that the API accepts; `None` without a successful query, or without a campaign to query.
    pub(super) mode: Option<QueryMode>,
}

/// Results of all live checks.
pub(super) struct LiveReport {
    /// What was learned about the sources.
    pub(super) learned: LearnedSources,
    results: Vec<CheckResult>,
    /// Number of requests sent.
    calls: u64,
}

/// Result of one check.
struct CheckResult {
    /// What was checked, for example `acme: token`.
    subject: String,
    message: String,
    /// What the user should do; `None` if the check succeeded.
    remedy: Option<String>,
}

impl CheckResult {
    fn is_ok(&self) -> bool {
        self.remedy.is_none()
    }
}

/// Checks every token and source of the plan.
pub(super) async fn check(
    config: &Config,
    plan: &Plan,
    show_status: impl Fn(&str),
) -> Result<LiveReport, app::AppError> {
    // Polls slow down at `polling.quota_share`. These few requests may use more, because they diagnose such problems.
    let session = Arc::new(ApiSession::new(config, MAX_QUOTA_SHARE)?);
    let config = Arc::new(config.clone());
    let polled = plan.businesses();
    let mut tasks = JoinSet::new();
    for (business_idx, business) in config.businesses.iter().enumerate() {
        if !polled.contains_key(business.name.as_str()) {
            continue;
        }
        let sources = plan.sources.iter();
        let sources: Vec<Arc<Source>> = sources
            .filter(|source| source.business.as_ref() == business.name)
            .cloned()
            .collect();
        let live_check = LiveCheck {
            config: Arc::clone(&config),
            session: Arc::clone(&session),
            results: Vec::new(),
            learned: LearnedSources::new(),
        };
        let business = business.clone();
        tasks.spawn(async move {
            let checked = live_check.check_business(business, sources).await;
            (business_idx, checked)
        });
    }
    let total = tasks.len();
    let mut by_business = BTreeMap::new();
    let mut learned = LearnedSources::new();
    while let Some(checked) = tasks.join_next().await {
        if let Ok((business_idx, checked)) = checked {
            by_business.insert(business_idx, checked.results);
            learned.extend(checked.learned);
        }
        show_status(&format!(
            "{} of {total} businesses checked",
            by_business.len()
        ));
    }
    let mut live_check = LiveCheck {
        config,
        session: Arc::clone(&session),
        results: by_business.into_values().flatten().collect(),
        learned,
    };
    live_check.check_api();
    Ok(LiveReport {
        learned: live_check.learned,
        results: live_check.results,
        calls: session.stats().calls,
    })
}

impl LiveReport {
    /// Whether all checks succeeded.
    pub(super) fn is_ok(&self) -> bool {
        self.results.iter().all(CheckResult::is_ok)
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Equal failures, such as that of a shared app secret, are printed once.
        let mut printed: Vec<(&str, &str)> = Vec::new();
        for result in &self.results {
            let (subject, message) = (&result.subject, result.message.as_str());
            let Some(remedy) = &result.remedy else {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "ok      {subject}: {message}");
                continue;
            };
            if printed.contains(&(message, remedy)) {
                continue;
            }
            printed.push((message, remedy));
            let is_equal = |other: &&CheckResult| {
                other.message == message && other.remedy.as_ref() == Some(remedy)
            };
            let subjects = self.results.iter().filter(is_equal);
            let subjects: Vec<&str> = subjects.map(|other| other.subject.as_str()).collect();
            let shown = subjects.get(..MAX_GROUPED_SUBJECTS).unwrap_or(&subjects);
            let more = match subjects.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let _ = writeln!(
                text,
                "failed  {}{more}: {message}\n        → {remedy}",
                shown.join(", ")
            );
        }
        let _ = writeln!(text, "API calls: {}", self.calls);
        text
    }

    pub(super) fn json(&self) -> Value {
        let result = |result: &CheckResult| {
            json!({
                "subject": result.subject,
                "ok": result.is_ok(),
                "message": result.message,
                "remedy": result.remedy,
            })
        };
        json!({
            "ok": self.is_ok(),
            "results": self.results.iter().map(result).collect::<Vec<Value>>(),
            "calls": self.calls,
        })
    }
}

/// Live checks in progress.
struct LiveCheck {
    config: Arc<Config>,
    session: Arc<ApiSession>,
    results: Vec<CheckResult>,
    learned: LearnedSources,
}

impl LiveCheck {
    /// Checks the token and all sources of one business.
    async fn check_business(mut self, business: BusinessConfig, sources: Vec<Arc<Source>>) -> Self {
        if !self.check_token(&business).await {
            return self;
        }
        for source in &sources {
            let subject = format!("{}: {}", business.name, source.name);
            let check = self.check_source(&business, source);
            if timeout(SOURCE_TIMEOUT, check).await.is_err() {
                let message = format!("no result within {} s", SOURCE_TIMEOUT.as_secs());
                let remedy = "the quota is exhausted or the API does not respond: try again in a few minutes";
                self.add(&subject, message, Some(remedy.to_owned()));
            }
        }
        self
    }

    fn add(&mut self, subject: &str, message: impl Into<String>, remedy: Option<String>) {
        // Names from the API can contain control characters, which could affect the terminal.
        let sanitize = |c: char| if c.is_control() { ' ' } else { c };
        self.results.push(CheckResult {
            subject: subject.to_owned(),
            message: message.into().chars().map(sanitize).collect(),
            remedy,
        });
    }

    fn add_error(&mut self, subject: &str, business: &BusinessConfig, error: &PollError) {
        let mut remedy = remedy_for(error, business);
        if error.reason == ErrorReason::Unavailable {
            let url = &self.config.graph.url;
            let via = proxy::in_use().map_or_else(
                || "without a proxy".to_owned(),
                |(variable, proxy)| format!("through the proxy {proxy} of {variable}"),
            );
            remedy = format!("{remedy}; requests go to {url} {via}");
        }
        self.add(subject, error.to_string(), Some(remedy));
    }

    /// Checks the token of a business. Returns false if its sources need not be checked, because the token is missing
    /// or invalid.
    async fn check_token(&mut self, business: &BusinessConfig) -> bool {
        let subject = format!("{}: token", business.name);
        let caller = match self.session.caller(business, None, "token") {
            Ok(caller) => caller,
            Err(error) => {
                let remedy = "provide the secret there".to_owned();
                self.add(&subject, error, Some(remedy));
                return false;
            }
        };
        let Some(app) = &business.app else {
            self.add(
                &subject,
                "found; its expiry can be checked only with graph.app_id and an app secret",
                None,
            );
            return true;
        };
        let info = self.session.call(&caller, async |session| {
            graph::inspect(session, &app.id).await
        });
        match info.await {
            Ok(Some(info)) => self.check_token_info(&subject, business, &info),
            Ok(None) => true,
            Err(error) => {
                let remedy = format!(
                    "the request in the name of app {} failed: check app_id and the app secret",
                    app.id
                );
                self.add(&subject, error.error.to_string(), Some(remedy));
                // Sources are queried with the access token, not with the app's credentials.
                true
            }
        }
    }

    /// Checks validity, expiry and permissions of a token; returns whether it is valid.
    fn check_token_info(
        &mut self,
        subject: &str,
        business: &BusinessConfig,
        info: &TokenInfo,
    ) -> bool {
        let token = &business.token;
        // The earlier one decides.
        let ends = [
            info.expires_at.map(|at| (at, "expires")),
            info.data_access_expires_at
                .map(|at| (at, "access to data expires")),
        ];
        let end = ends.into_iter().flatten().min();
        let remaining = end.map(|(at, _)| at.duration_since(clock::now()));
        let expiry = end.map_or_else(
            || "never expires".to_owned(),
            |(at, what)| format!("{what} {}", format_date(at)),
        );
        let scopes = info.scopes.join(", ");
        let app = info.app_id.as_deref().unwrap_or("unknown");
        let can_read = info
            .scopes
            .iter()
            .any(|scope| READ_PERMISSIONS.contains(&scope.as_str()));
        let remedy = if !info.is_valid {
            Some(format!("create a new token and store it in {token}"))
        } else if remaining.is_some_and(|remaining| remaining < TOKEN_EXPIRY_WARNING) {
            Some(format!("soon create a new token and store it in {token}"))
        } else if !can_read {
            Some("grant the app the permission ads_read, and create a new token with it".to_owned())
        } else {
            None
        };
        let validity = if info.is_valid { "valid" } else { "invalid" };
        self.add(
            subject,
            format!("{validity}, {expiry}, app {app}, scopes {scopes}"),
            remedy,
        );
        info.is_valid
    }

    async fn check_source(&mut self, business: &BusinessConfig, source: &Arc<Source>) {
        let subject = format!("{}: {}", business.name, source.name);
        let account = match &source.kind {
            SourceKind::AdAccount { id, .. } => Some(id),
            SourceKind::Campaign(_) => None,
        };
        let Ok(caller) = self.session.caller(business, account, &source.name) else {
            // An unreadable secret was reported by `check_token`.
            return;
        };
        let mut rejected_fields = Vec::new();
        let discovery = self.session.call(&caller, async |session| {
            let node = match &source.kind {
                SourceKind::Campaign(id) => Some(graph::identify_node(session, id).await?),
                SourceKind::AdAccount { .. } => None,
            };
            let input = DiscoveryInput::first(source, clock::now());
            let discovery = graph::discover(session, input, &mut rejected_fields).await?;
            Ok::<_, ApiError>((node, discovery))
        });
        let (node, discovery) = match discovery.await {
            Ok(discovery) => discovery,
            Err(error) => return self.add_error(&subject, business, &error.error),
        };
        if let Some(error) = &discovery.error {
            self.add_error(&format!("{subject}: discovery"), business, &error.error);
        }
        let inventory = Arc::new(discovery.inventory);
        let mut message = match &node {
            Some(node) => describe_node(node, &inventory.account),
            None => format!(
                "{}; {} message campaigns",
                describe_account(&inventory.account),
                inventory.campaigns.len()
            ),
        };
        let mut remedy = None;
        if let Some(id) = inventory.missing.first() {
            let owner = self.session.call(&caller, async |session| {
                graph::identify_node(session, id).await
            });
            let owner = owner.await.ok().and_then(|node| node.account);
            let owner = owner.map_or_else(String::new, |owner| format!(" but to {owner}"));
            remedy = Some(format!(
                "campaign {id} does not belong to this ad account{owner}; `discover` lists its campaigns"
            ));
        }
        let mut learned = LearnedSource {
            inventory: Arc::clone(&inventory),
            mode: None,
        };
        // An ad account without message campaigns works: its first one will be exported.
        if let Some(campaign) = inventory.campaigns.first() {
            let trial = self.session.call(&caller, async |session| {
                let (source, inventory) = with_only(source, &inventory, campaign);
                QueryTrial::run(source, inventory, rejected_fields, session).await
            });
            let trial = trial.await;
            learned.mode = trial.mode;
            self.add_query_errors(&subject, business, source, &trial);
            if !trial.rejected_fields.is_empty() {
                self.add(
                    &format!("{subject}: insights"),
                    format!(
                        "the API rejects the fields {}",
                        trial.rejected_fields.join(", ")
                    ),
                    Some(
                        "correct or remove them in insights.extra_fields; they are not exported"
                            .to_owned(),
                    ),
                );
            } else if trial.errors.is_empty() {
                message.push_str("; insights queries of all windows succeeded");
            }
            if let Some(mode) = trial.mode {
                let _ = write!(message, " in mode {}", mode.as_str());
            }
        }
        let key = (source.business.clone(), source.name.clone());
        self.learned.insert(key.clone(), learned);
        let headers = self
            .session
            .stats()
            .by_source
            .remove(&key)
            .unwrap_or_default();
        let quota_ratio = headers
            .usage
            .iter()
            .map(|usage| usage.ratio)
            .fold(0.0, f64::max);
        if let Some(tier) = headers.tier {
            let percent = quota_ratio * 100.0;
            let _ = write!(message, "; {tier}, {percent:.0} % of the quota used");
        }
        let remedy = remedy.or_else(|| {
            (quota_ratio > self.config.polling.quota_share).then(|| {
                "the quota is nearly exhausted: poll less often, or find other programs that use it"
                    .to_owned()
            })
        });
        self.add(&subject, message, remedy);
    }

    /// Adds the queries that failed. Those that failed in the same request have the same error, which is added once.
    fn add_query_errors(
        &mut self,
        subject: &str,
        business: &BusinessConfig,
        source: &Source,
        trial: &QueryTrial,
    ) {
        let mut added: Vec<&PollError> = Vec::new();
        for (window_idx, kind, error) in &trial.errors {
            if added.contains(&error) {
                continue;
            }
            added.push(error);
            let window = source.windows.get(*window_idx);
            let window = window.map_or("", |window| &window.name);
            let query = format!("{kind:?} query of window {window}").to_lowercase();
            self.add_error(&format!("{subject}: insights, {query}"), business, error);
        }
    }

    /// Checks the API version and the clock, both from the headers of all responses.
    fn check_api(&mut self) {
        let stats = self.session.stats();
        let requested = self.config.graph.version.clone();
        if let Some(used) = &stats.last.version {
            let remedy = (*used != requested)
                .then(|| format!("{requested} is retired: set graph.version to {used}"));
            self.add(
                "API version",
                format!("{requested} requested, {used} used by the API"),
                remedy,
            );
        }
        if let Some(ahead) = stats.ahead {
            let remedy = (ahead.abs() > MAX_CLOCK_SKEW).then(|| {
                "synchronize this machine's clock with NTP; otherwise the exported ages are wrong"
                    .to_owned()
            });
            let seconds = ahead.as_secs();
            self.add(
                "clock",
                format!("{seconds} s ahead of the API's clock"),
                remedy,
            );
        }
    }
}

/// Returns the source and its inventory with only one campaign, so that the queries are light.
fn with_only(
    source: &Source,
    inventory: &Inventory,
    campaign: &Campaign,
) -> (Arc<Source>, Arc<Inventory>) {
    let mut source = source.clone();
    if let SourceKind::AdAccount {
        campaign_allowlist, ..
    } = &mut source.kind
    {
        *campaign_allowlist = vec![campaign.id.clone()];
    }
    let mut inventory = inventory.clone();
    inventory.campaigns = vec![campaign.clone()];
    inventory.archived.clear();
    inventory.entities.retain(|entity| {
        let owner = entity.dimensions.campaign.as_ref();
        owner.is_none_or(|owner| owner.id == campaign.id)
    });
    (Arc::new(source), Arc::new(inventory))
}

/// Returns kind, name and ad account of the object of a campaign source. It can be an ad set or an ad.
fn describe_node(node: &IdentifiedNode, account: &AdAccount) -> String {
    let kind = match node.kind {
        NodeKind::Campaign => "campaign",
        NodeKind::Adset => "ad set",
        NodeKind::Ad => "ad",
    };
    let parent = match (node.kind, &node.campaign) {
        (NodeKind::Adset | NodeKind::Ad, Some(parent)) => format!(" of campaign {parent}"),
        _ => String::new(),
    };
    // A configured id is exported even if it is not a message campaign.
    let note = if node.is_message_campaign {
        ""
    } else {
        "; not a message campaign, exported because it is configured"
    };
    let (name, status) = (&node.name, &node.status);
    let account = describe_account(account);
    format!("{kind} {name:?}{parent}, {status}, in {account}{note}")
}

/// Returns name, currency and time zone of an ad account.
fn describe_account(account: &AdAccount) -> String {
    let zone = account.timezone.as_ref().and_then(|zone| zone.iana_name());
    let currency = account.currency.as_deref().unwrap_or("currency unknown");
    let zone = zone.unwrap_or("time zone unknown");
    format!("ad account {:?}, {currency}, {zone}", account.name)
}

fn format_date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Returns what to do about an error, with the place of the token where it has to be replaced.
fn remedy_for(error: &PollError, business: &BusinessConfig) -> String {
    let remedy = error.remedy();
    match error.reason {
        ErrorReason::Unauthenticated => format!("{remedy}: {}", business.token),
        _ => remedy.to_owned(),
    }
}
