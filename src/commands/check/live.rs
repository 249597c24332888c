//! What the API says of each token and each source, and what to do where that is not fine.

use std::fmt::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::{self, Asker, Errand};
use crate::config::{Business, Config, MOST_QUOTA_SHARE};
use crate::graph::{self, Class, Error, Lessons, NodeKind, TokenFacts};
use crate::listing::Account;
use crate::plan::{Plan, Question, Source, Subject};
use crate::poll::clock;
use crate::row::ObjectId;

/// As with the alert: time enough to make another token.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A clock that is further off makes ages and proofs wrong.
const APART: SignedDuration = SignedDuration::from_secs(60);

/// Somebody waits: a source that takes longer than all tries of one call is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Either of them lets a token read insights.
const READING: [&str; 2] = ["ads_read", "ads_management"];

/// All that was found.
pub(super) struct Live {
    findings: Vec<Finding>,
    calls: u64,
}

/// One thing that was looked at.
struct Finding {
    about: String,
    says: String,
    /// What to do; nothing where all is fine.
    remedy: Option<String>,
}

/// Asks about every token and source of the config.
pub(super) async fn check(
    config: &Config,
    plan: &Plan,
    progress: impl Fn(&str),
) -> Result<Live, app::Error> {
    // Polls slow down far earlier; these few calls are made to find out why they do.
    let errand = Errand::new(config, MOST_QUOTA_SHARE)?;
    let mut inquiry = Inquiry {
        config,
        errand: &errand,
        findings: Vec::new(),
    };
    let polled = plan.businesses();
    let businesses = config.businesses.iter();
    for business in businesses.filter(|business| polled.contains_key(business.name.as_str())) {
        progress(&format!("{}: token", business.name));
        if !inquiry.token(business).await {
            continue;
        }
        let own = plan.sources.iter();
        for source in own.filter(|source| source.business.as_ref() == business.name) {
            progress(&format!("{}: {}", business.name, source.name));
            let asked = timeout(PATIENCE, inquiry.source(business, source)).await;
            if asked.is_err() {
                let about = format!("{}: {}", business.name, source.name);
                let says = format!("no answer in {} s", PATIENCE.as_secs());
                let remedy =
                    "either its quota is spent, or the API hangs: try again in some minutes";
                inquiry.add(&about, says, Some(remedy.to_owned()));
            }
        }
    }
    inquiry.api();
    Ok(Live {
        findings: inquiry.findings,
        calls: errand.heard().calls,
    })
}

impl Live {
    /// Whether there is nothing to do.
    pub(super) fn is_fine(&self) -> bool {
        self.findings.iter().all(|finding| finding.remedy.is_none())
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Finding {
            about,
            says,
            remedy,
        } in &self.findings
        {
            // Writing to a string cannot fail.
            let _ = match remedy {
                None => writeln!(text, "ok    {about}: {says}"),
                Some(remedy) => writeln!(text, "BAD   {about}: {says}\n      → {remedy}"),
            };
        }
        let _ = writeln!(text, "{} calls to the API.", self.calls);
        text
    }

    pub(super) fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "about": finding.about,
                "fine": finding.remedy.is_none(),
                "says": finding.says,
                "remedy": finding.remedy,
            })
        };
        json!({
            "fine": self.is_fine(),
            "findings": self.findings.iter().map(finding).collect::<Vec<Value>>(),
            "calls": self.calls,
        })
    }
}

/// The findings on their way.
struct Inquiry<'a> {
    config: &'a Config,
    errand: &'a Errand,
    findings: Vec<Finding>,
}

impl Inquiry<'_> {
    fn add(&mut self, about: &str, says: impl Into<String>, remedy: Option<String>) {
        // What the API calls things may hold anything.
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        self.findings.push(Finding {
            about: about.to_owned(),
            says: says.into().chars().map(clean).collect(),
            remedy,
        });
    }

    fn failed(&mut self, about: &str, business: &Business, error: &Error) {
        let remedy = remedy(error, business);
        self.add(about, error.fault.to_string(), Some(remedy));
    }

    /// Whether it is worth asking about the business' sources.
    async fn token(&mut self, business: &Business) -> bool {
        let about = format!("{}: token", business.name);
        let asker = match Asker::new(business, None, "token") {
            Ok(asker) => asker,
            Err(unread) => {
                self.add(&about, unread, Some("put the secret there".to_owned()));
                return false;
            }
        };
        let Some(app) = &business.app else {
            self.add(
                &about,
                "is there; when it expires can be told only with graph.app_id and the app's secret",
                None,
            );
            return true;
        };
        let asked = self.errand.ask(&asker, async |session| {
            graph::inspect(session, &app.id).await
        });
        match asked.await {
            Ok(Some(facts)) => self.facts(&about, business, &facts),
            Ok(None) => true,
            Err(error) => {
                let remedy = format!(
                    "the app {} was not answered: look at app_id and the place of its secret",
                    app.id
                );
                self.add(&about, error.fault.to_string(), Some(remedy));
                // The sources are asked with another secret.
                true
            }
        }
    }

    fn facts(&mut self, about: &str, business: &Business, facts: &TokenFacts) -> bool {
        let place = &business.token;
        let expires = facts.expires_at.map(|at| at.duration_since(clock::now()));
        let expiry = facts.expires_at.map_or_else(
            || "never expires".to_owned(),
            |at| format!("expires {}", day(at)),
        );
        let scopes = facts.scopes.join(", ");
        let app = facts.app_id.as_deref().unwrap_or("unknown");
        let remedy = if !facts.is_valid {
            Some(format!("make a new token, and put it into {place}"))
        } else if expires.is_some_and(|left| left < SOON) {
            Some(format!("make a new token soon, and put it into {place}"))
        } else if !facts
            .scopes
            .iter()
            .any(|scope| READING.contains(&scope.as_str()))
        {
            Some("give the app the permission ads_read, and make a new token with it".to_owned())
        } else {
            None
        };
        let valid = if facts.is_valid { "valid" } else { "not valid" };
        self.add(
            about,
            format!("{valid}, {expiry}, app {app}, scopes {scopes}"),
            remedy,
        );
        facts.is_valid
    }

    async fn source(&mut self, business: &Business, source: &Source) {
        let about = format!("{}: {}", business.name, source.name);
        let account = match &source.subject {
            Subject::AdAccount { id, .. } => Some(id),
            Subject::Campaign(_) => None,
        };
        let Ok(asker) = Asker::new(business, account, &source.name) else {
            return;
        };
        let looked = match &source.subject {
            Subject::AdAccount { id, only } => {
                let looked = self.errand.ask(&asker, async |session| {
                    let account = graph::ad_account(session, id).await?;
                    let campaigns = graph::message_campaigns(session, id, false).await?;
                    Ok::<_, Error>((account, campaigns))
                });
                looked.await.map(|(account, campaigns)| {
                    let says = format!("{}; {} message campaigns", title(&account), campaigns.len());
                    let strange = only.iter().find(|id| campaigns.iter().all(|c| c.id != **id));
                    let remedy = match strange {
                        Some(id) => Some(format!(
                            "campaign {id} is none of its message campaigns: `discover` lists them"
                        )),
                        None if campaigns.is_empty() => Some(
                            "there is nothing to export: take it out of the config, or wait for its first message campaign".to_owned(),
                        ),
                        None => None,
                    };
                    let asked = only.first().or(campaigns.first().map(|c| &c.id)).cloned();
                    (says, remedy, asked)
                })
            }
            Subject::Campaign(id) => {
                let looked = self
                    .errand
                    .ask(&asker, async |session| campaign(session, id).await);
                looked
                    .await
                    .map(|(says, remedy)| (says, remedy, Some(id.clone())))
            }
        };
        let (mut says, remedy, asked) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.failed(&about, business, &error),
        };
        if let Some(asked) = asked.filter(|_| remedy.is_none()) {
            if let Err(error) = self.insights(&asker, source, asked).await {
                return self.failed(&format!("{about}: insights"), business, &error);
            }
            says.push_str("; insights answered");
        }
        let heard = self.errand.heard().last;
        let used = heard
            .usage
            .iter()
            .map(|usage| usage.ratio)
            .fold(0.0, f64::max);
        if let Some(tier) = heard.tier {
            let _ = write!(says, "; {tier}, {:.0} % of the quota used", used * 100.0);
        }
        let remedy = remedy.or_else(|| {
            (used > self.config.polling.quota_share).then(|| {
                "the quota is nearly spent: poll less often, or find out who else asks".to_owned()
            })
        });
        self.add(&about, says, remedy);
    }

    /// Asks one insights question about one campaign: whether the token may, and what is left.
    async fn insights(&self, asker: &Asker, source: &Source, id: ObjectId) -> Result<(), Error> {
        let probe = Source {
            subject: match &source.subject {
                Subject::AdAccount { id: account, .. } => Subject::AdAccount {
                    id: account.clone(),
                    only: vec![id],
                },
                campaign @ Subject::Campaign(_) => campaign.clone(),
            },
            ..source.clone()
        };
        let Some(window) = probe.windows.first() else {
            return Ok(());
        };
        let queries = probe.queries(window, Question::Delivery, None);
        let asked = self.errand.ask(asker, async |session| {
            for query in queries.iter().flatten() {
                graph::ask(session, query, &mut Lessons::default(), |_| true).await?;
            }
            Ok(())
        });
        asked.await
    }

    /// What all answers said of the API itself.
    fn api(&mut self) {
        let heard = self.errand.heard();
        let configured = self.config.graph.version.clone();
        if let Some(answered) = &heard.last.version {
            let remedy = (*answered != configured)
                .then(|| format!("{configured} is retired: set graph.version to {answered}"));
            self.add(
                "API version",
                format!("{configured} asked, {answered} answered"),
                remedy,
            );
        }
        if let Some(ahead) = heard.ahead {
            let remedy = (ahead.abs() > APART).then(|| {
                "let this machine's clock be kept by NTP: ages of numbers are wrong".to_owned()
            });
            let seconds = ahead.as_secs();
            self.add("clock", format!("{seconds} s ahead of the API's"), remedy);
        }
    }
}

/// What is behind the id of a campaign source.
async fn campaign(
    session: graph::Session<'_>,
    id: &ObjectId,
) -> Result<(String, Option<String>), Error> {
    let found = graph::identify(session, id).await?;
    let account = match &found.account {
        Some(id) => title(&graph::ad_account(session, id).await?),
        None => "no ad account".to_owned(),
    };
    let kind = match found.kind {
        NodeKind::Campaign => "campaign",
        NodeKind::Adset => "ad set",
        NodeKind::Ad => "ad",
    };
    let (name, status) = (&found.name, &found.status);
    let parent = found.campaign.as_ref().map_or("", ObjectId::as_str);
    let remedy = match found.kind {
        _ if !found.is_message_campaign => {
            Some("this is no message campaign: `discover` lists those that are".to_owned())
        }
        NodeKind::Adset => Some(format!("write the campaign's id instead: {parent}")),
        NodeKind::Campaign | NodeKind::Ad => None,
    };
    Ok((format!("{kind} {name:?}, {status}, in {account}"), remedy))
}

/// What people know an ad account by.
fn title(account: &Account) -> String {
    let zone = account.timezone.as_ref().and_then(|zone| zone.iana_name());
    let currency = account.currency.as_deref().unwrap_or("currency unknown");
    let zone = zone.unwrap_or("time zone unknown");
    format!("ad account {:?}, {currency}, {zone}", account.name)
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// What to do about an error.
fn remedy(error: &Error, business: &Business) -> String {
    match error.class {
        Class::Denied => format!("make a new token, and put it into {}", business.token),
        Class::Forbidden => "give the token's user this object in Meta's business settings, or take it out of the config; a wrong id looks the same".to_owned(),
        Class::Throttled(_) | Class::Held => {
            "wait some minutes; if it stays so, poll less often".to_owned()
        }
        Class::Rejected => "look at the id and at graph.version".to_owned(),
        Class::Unavailable | Class::TooLarge => {
            "try again later; if it stays so, look at graph.url, the network and its proxy".to_owned()
        }
        Class::Garbled => {
            "this is not how the Graph API answers: look at graph.url and at proxies".to_owned()
        }
    }
}
