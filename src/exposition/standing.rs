//! How each business stands by the exporter's own metrics, read back from them for people:
//! quotas in use, tokens, and this replica's share.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prometheus::TextEncoder;
use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricFamily};

use super::catalog::own_families;
use super::own::Own;
use crate::plan::Shard;

/// What the own metrics say of the businesses that were asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// This replica's share.
    pub shard: Shard,
    /// By name; a business of which nothing was heard yet is not there.
    pub businesses: BTreeMap<String, Stands>,
}

/// How one business stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stands {
    /// Whether the API took its token last time; `None` before the first answer.
    pub token_valid: Option<bool>,
    /// When its token expires; `None` for never, or not known.
    pub token_expires: Option<Timestamp>,
    /// Quotas, ad account by ad account.
    pub quotas: Vec<Quota>,
}

/// One quota, as Meta last said.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// Digits; empty where it is the whole app's.
    pub account_id: String,
    /// The `limit` label.
    pub limit: String,
    /// The `quantity` label.
    pub quantity: String,
    /// The part in use; 1 is all of it, and it can be more.
    pub ratio: f64,
}

impl Own {
    /// How the businesses stand that `sees` lets through.
    pub fn standing(&self, sees: impl Fn(&str) -> bool) -> Standing {
        let mut standing = Standing {
            shard: self.shard,
            businesses: BTreeMap::new(),
        };
        let mut tell = |metric: &Metric, what: &dyn Fn(&mut Stands, f64)| {
            let business = label(metric, BUSINESS);
            if sees(business) {
                let stands = standing.businesses.entry(business.to_owned()).or_default();
                what(stands, metric.get_gauge().get_value());
            }
        };
        for metric in metrics(&self.token_valid) {
            tell(&metric, &|stands, valid| {
                stands.token_valid = Some(valid > 0.0)
            });
        }
        for metric in metrics(&self.token_expires) {
            tell(&metric, &|stands, at| stands.token_expires = timestamp(at));
        }
        for metric in metrics(&self.api_usage) {
            tell(&metric, &|stands, ratio| {
                let [account_id, limit, quantity] =
                    ["account_id", "limit", "quantity"].map(|name| label(&metric, name).to_owned());
                stands.quotas.push(Quota {
                    account_id,
                    limit,
                    quantity,
                    ratio,
                });
            });
        }
        for stands in standing.businesses.values_mut() {
            stands.quotas.sort_by(|a, b| {
                (&a.account_id, &a.limit, &a.quantity).cmp(&(&b.account_id, &b.limit, &b.quantity))
            });
        }
        standing
    }

    /// The own metrics of the businesses that `sees` lets through, as text, and `build_info`.
    /// What tells of the exporter as a whole tells of all businesses together, and is left out.
    ///
    /// They may be a second old: with thousands of businesses, each scraped on its own, gathering
    /// those of all for every scrape would keep several cores busy.
    pub fn encode_of(&self, sees: impl Fn(&str) -> bool, now: Timestamp) -> String {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: &Timestamp| now.duration_since(*at).abs() < GATHERED_ANEW;
        let families = match gathered.take() {
            Some((at, families)) if fresh(&at) => gathered.insert((at, families)),
            _ => {
                let registries = [&self.few].into_iter().chain(self.many.values());
                let families = registries.flat_map(|registry| registry.gather());
                gathered.insert((now, families.collect()))
            }
        };
        let families = Arc::clone(&families.1);
        drop(gathered);
        let of = families.iter().filter_map(|family| {
            let whole = family.name() == own_families::BUILD_INFO.name;
            let seen = |metric: &&Metric| whole || business(metric).is_some_and(&sees);
            let metrics: Vec<Metric> = family.get_metric().iter().filter(seen).cloned().collect();
            let mut of = MetricFamily::default();
            of.set_name(family.name().to_owned());
            of.set_help(family.help().to_owned());
            of.set_field_type(family.get_field_type());
            of.set_metric(metrics);
            (!of.get_metric().is_empty()).then_some(of)
        });
        encoded(&of.collect::<Vec<_>>())
    }
}

/// How long gathered metrics do for who asks about some businesses.
const GATHERED_ANEW: SignedDuration = SignedDuration::from_secs(1);

const BUSINESS: &str = "business";

/// Families as text.
pub(super) fn encoded(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    encode(families, &mut text);
    text
}

/// The same, after what is there already. Nothing but a family that breaks the format can make it
/// fail, and then the page does without.
pub(super) fn encode(families: &[MetricFamily], text: &mut String) {
    let length = text.len();
    if let Err(error) = TextEncoder::new().encode_utf8(families, text) {
        tracing::error!(%error, "own metrics cannot be encoded");
        text.truncate(length);
    }
}

fn metrics(family: &impl Collector) -> Vec<Metric> {
    let mut families = family.collect();
    families
        .iter_mut()
        .flat_map(MetricFamily::take_metric)
        .collect()
}

fn business(metric: &Metric) -> Option<&str> {
    let mut labels = metric.get_label().iter();
    let found = labels.find(|pair| pair.name() == BUSINESS);
    found.map(|pair| pair.value())
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    let mut labels = metric.get_label().iter();
    let found = labels.find(|pair| pair.name() == name);
    found.map_or("", |pair| pair.value())
}

fn timestamp(seconds: f64) -> Option<Timestamp> {
    let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(since).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Quota, Stands};
    use crate::exposition::Own;
    use crate::plan::Shard;

    #[test]
    fn one_business_learns_nothing_of_another() {
        let own = Own::new("1", "r", "1", Shard::WHOLE).unwrap();
        let expires: jiff::Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        for business in ["acme", "other"] {
            own.business(business, 1);
            own.usage(business, "7", "ads_insights", "call_count", 1.25);
            own.token_valid(business, business == "acme");
            own.token_expires(business, Some(expires));
            own.values_rejected("spend", 1);
        }
        let standing = own.standing(|business| business == "acme");
        let acme = Stands {
            token_valid: Some(true),
            token_expires: Some(expires),
            quotas: vec![Quota {
                account_id: "7".to_owned(),
                limit: "ads_insights".to_owned(),
                quantity: "call_count".to_owned(),
                ratio: 1.25,
            }],
        };
        assert_eq!(
            standing.businesses.into_iter().collect::<Vec<_>>(),
            [("acme".to_owned(), acme)]
        );
        assert_eq!(standing.shard, Shard::WHOLE);
        let now = expires;
        let page = own.encode_of(|business| business == "acme", now);
        assert!(!page.contains("other"), "{page}");
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let (ours, whole): (Vec<&str>, Vec<&str>) = samples
            .into_iter()
            .partition(|line| line.contains("business=\"acme\""));
        assert!(ours.len() > 10, "{page}");
        assert_eq!(whole.len(), 1, "{whole:?}");
        assert!(whole[0].starts_with("marketing_messages_exporter_build_info{"));
        own.polled("acme", None);
        let polls = |now| {
            own.encode_of(|_| true, now)
                .contains("polls_total{business=\"acme\"} 1")
        };
        assert!(!polls(now + Duration::from_millis(999)));
        assert!(polls(now + Duration::from_secs(1)));
        // A clock that was set back does not hold it up.
        own.polled("acme", None);
        assert!(!polls(now - Duration::from_secs(60)));
    }
}
