//! Injected faults: their text syntax, and the choice of the faults that apply to a call.
//!
//! The kinds are in `fault_kinds`, their effects in `fault_effects`. Some kinds apply only to certain calls, in
//! addition to their scopes; `FaultKind::applies_to` in `fault_effects` has the conditions.

use std::fmt;
use std::str::FromStr;

use crate::call::ApiCall;
use crate::fault_kinds::FaultKind;
use crate::traffic_model::splitmix64;

/// An injected fault, parsed from `KIND[=VALUE][;OPTION[=VALUE]]…[@SCOPE[&SCOPE]…][*COUNT][~PERCENT]`.
///
/// The kinds are listed in [`FAULT_KINDS`](crate::FAULT_KINDS). The scopes are
///
/// - `all`, the default
/// - `business:NAME`, calls with a token of this business
/// - `act_ID`, calls about this ad account and everything in it; ID is the number after `act_`
/// - `ID`, calls with this numeric id in the path: a campaign, an ad set or an ad
/// - `endpoint:NAME`, calls of this edge (`insights`, `campaigns`, `adsets`, `ads`, `adaccounts`) or, without an edge,
///   of this type of node (`account`, `campaign`, `adset`, `ad`, `me`, `debug_token`)
///
/// With several scopes, a call must be in each. `*COUNT` (at least 1) ends the fault after it was applied to this number
/// of calls. `~PERCENT` (1 to 100) applies it to this share of the calls in its scopes, in a
/// pseudo-random but reproducible sequence; calls that this excludes do not use up COUNT. `*COUNT` precedes `~PERCENT`.
///
/// # Example
///
/// ```
/// use graph_simulator::Fault;
///
/// // Two insights calls about ad account 123 receive error 80000, and headers that report 7 minutes until access is
/// // regained.
/// let fault = Fault::parse("throttled=80000;minutes=7@act_123&endpoint:insights*2");
/// assert!(fault.is_ok());
///
/// let unknown_kind = Fault::parse("sleepy");
/// assert!(unknown_kind.is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Text that the fault was parsed from, without surrounding white space. Its COUNT does not change.
    text: String,
    kind: FaultKind,
    /// Scopes, at least one; a call must be in all of them.
    scopes: Vec<FaultScope>,
    /// Number of further calls to which the fault is applied; `None`: no limit.
    remaining: Option<u64>,
    /// Share of the calls in the scopes, 1 to 100 percent; `None`: all.
    percent: Option<u64>,
}

/// The error of [`Fault::parse`]: the part that is unknown or invalid, with the valid alternatives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSyntaxError(String);

impl std::error::Error for FaultSyntaxError {}

impl fmt::Display for FaultSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A scope; see [`Fault`] for the syntax.
#[derive(Clone, Debug, PartialEq)]
enum FaultScope {
    All,
    /// Name of the business.
    Business(String),
    /// Id of the ad account, without `act_`.
    Account(u64),
    /// Decimal digits, compared as text with the id in the path.
    Id(String),
    /// One of [`ENDPOINTS`].
    Endpoint(String),
}

/// Names in `endpoint:NAME`: the edges, then the types of nodes and the paths without an object. They must equal the
/// values of [`FaultTarget::endpoint`].
const ENDPOINTS: [&str; 11] = [
    "insights",
    "campaigns",
    "adsets",
    "ads",
    "adaccounts",
    "account",
    "campaign",
    "adset",
    "ad",
    "me",
    "debug_token",
];

/// The properties of a call that scopes are compared with.
pub(crate) struct FaultTarget<'c> {
    pub(crate) call: &'c ApiCall,
    /// Business of the token; for `debug_token`, of the inspected token. `None` if the token is unknown.
    pub(crate) business: Option<&'c str>,
    /// Id of the ad account that the path contains, or that contains the object in the path. `None` if the path
    /// does not contain a known object.
    pub(crate) account: Option<u64>,
    /// Edge in the path, or else the type of the node; the id in the path if it is not that of an object.
    pub(crate) endpoint: &'c str,
}

/// The active faults.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Faults in the order in which they were set. A fault stays in the list after its COUNT is used up.
    active: Vec<Fault>,
    /// Number of times that a call matched a fault. Its hash decides about `~PERCENT`.
    match_count: u64,
}

impl Fault {
    /// Parses a fault.
    ///
    /// # Errors
    ///
    /// Returns an error if the kind, an option or a scope is unknown, if a value is invalid or missing, or if COUNT
    /// or PERCENT is out of range.
    pub fn parse(text: &str) -> Result<Self, FaultSyntaxError> {
        Self::parse_parts(text.trim()).map_err(FaultSyntaxError)
    }

    /// Returns the names of the businesses in the scopes.
    pub fn businesses(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().filter_map(|scope| match scope {
            FaultScope::Business(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Parses a text without surrounding white space. Returns the text of the error.
    fn parse_parts(text: &str) -> Result<Self, String> {
        let (rest, percent) = split_number(text, '~')?;
        if let Some(percent) = percent.filter(|percent| !(1..=100).contains(percent)) {
            return Err(format!(
                "expected a percentage from 1 to 100 after `~`, found `{percent}`"
            ));
        }
        let (rest, remaining) = split_number(rest, '*')?;
        if remaining == Some(0) {
            return Err("expected a count of at least 1 after `*`".to_owned());
        }
        let (kind, scopes) = rest.split_once('@').unwrap_or((rest, "all"));
        Ok(Self {
            text: text.to_owned(),
            kind: FaultKind::parse(kind)?,
            scopes: scopes
                .split('&')
                .map(parse_scope)
                .collect::<Result<_, _>>()?,
            remaining,
            percent,
        })
    }

    /// Whether the call is in all scopes, the kind applies to it, and the count is not used up. Disregards `~PERCENT`.
    fn matches(&self, target: &FaultTarget<'_>) -> bool {
        let (_, id, _) = target.call.path_parts();
        self.remaining != Some(0)
            && self.kind.applies_to(target.call)
            && self.scopes.iter().all(|scope| match scope {
                FaultScope::All => true,
                FaultScope::Business(name) => target.business == Some(name),
                FaultScope::Account(account) => target.account == Some(*account),
                FaultScope::Id(scope_id) => id == scope_id,
                FaultScope::Endpoint(endpoint) => target.endpoint == endpoint,
            })
    }
}

impl FromStr for Fault {
    type Err = FaultSyntaxError;

    fn from_str(text: &str) -> Result<Self, FaultSyntaxError> {
        Self::parse(text)
    }
}

/// Formats the fault as the text that it was parsed from.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Faults {
    /// Replaces all faults.
    pub(crate) fn replace(&mut self, faults: Vec<Fault>) {
        self.active = faults;
    }

    /// Returns the faults in the order in which they were set, including those that have used up their COUNT.
    pub(crate) fn active(&self) -> &[Fault] {
        &self.active
    }

    /// Selects the faults that apply to the call: returns their kinds in the order in which the faults were set, and
    /// decrements their remaining counts.
    pub(crate) fn select_for(&mut self, target: &FaultTarget<'_>) -> Vec<FaultKind> {
        let mut selected = Vec::new();
        for fault in &mut self.active {
            if !fault.matches(target) {
                continue;
            }
            self.match_count += 1;
            if fault
                .percent
                .is_none_or(|percent| splitmix64(self.match_count) % 100 < percent)
            {
                fault.remaining = fault.remaining.map(|remaining| remaining - 1);
                selected.push(fault.kind.clone());
            }
        }
        selected
    }
}

/// Splits off the number after the last `mark`; `None` if the text does not contain the mark.
fn split_number(text: &str, mark: char) -> Result<(&str, Option<u64>), String> {
    match text.rsplit_once(mark) {
        None => Ok((text, None)),
        Some((rest, number)) => match number.parse() {
            Ok(number) => Ok((rest, Some(number))),
            Err(_) => Err(format!(
                "expected a number after `{mark}`, found `{number}`"
            )),
        },
    }
}

/// Parses one scope.
fn parse_scope(text: &str) -> Result<FaultScope, String> {
    if let Some(name) = text.strip_prefix("business:") {
        if name.is_empty() {
            return Err("expected the name of a business after `business:`, found none".to_owned());
        }
        Ok(FaultScope::Business(name.to_owned()))
    } else if let Some(name) = text.strip_prefix("endpoint:") {
        if !ENDPOINTS.contains(&name) {
            return Err(format!(
                "unknown endpoint `{name}`; use one of {}",
                ENDPOINTS.join(", ")
            ));
        }
        Ok(FaultScope::Endpoint(name.to_owned()))
    } else if let Some(account) = text.strip_prefix("act_").and_then(|id| id.parse().ok()) {
        Ok(FaultScope::Account(account))
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(FaultScope::Id(text.to_owned()))
    } else if text == "all" {
        Ok(FaultScope::All)
    } else {
        Err(format!(
            "unknown scope `{text}`; use all, business:NAME, act_ID, ID or endpoint:NAME"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of faults that apply to a call of the endpoint `insights`.
    fn applied(faults: &mut Faults, path: &str, business: &str, account: u64) -> usize {
        let call = ApiCall {
            path: path.to_owned(),
            ..ApiCall::default()
        };
        let target = FaultTarget {
            call: &call,
            business: Some(business),
            account: Some(account),
            endpoint: "insights",
        };
        faults.select_for(&target).len()
    }

    fn active(text: &str) -> Faults {
        let mut faults = Faults::default();
        faults.replace(vec![Fault::parse(text).unwrap()]);
        faults
    }

    #[test]
    fn fault_applies_within_its_scopes_until_its_count_is_used() {
        let mut faults = active("hang@act_5&business:acme&endpoint:insights*2");
        assert_eq!(applied(&mut faults, "/v27.0/act_5/insights", "acme", 6), 0);
        assert_eq!(applied(&mut faults, "/v27.0/act_5/insights", "other", 5), 0);
        assert_eq!(applied(&mut faults, "/v27.0/act_5/insights", "acme", 5), 1);
        assert_eq!(applied(&mut faults, "/v27.0/120/insights", "acme", 5), 1);
        assert_eq!(applied(&mut faults, "/v27.0/120/insights", "acme", 5), 0);
        let mut faults = active("cut@120");
        assert_eq!(applied(&mut faults, "/v27.0/120/insights", "acme", 5), 1);
        assert_eq!(applied(&mut faults, "/v27.0/121/insights", "acme", 5), 0);
    }

    #[test]
    fn percent_applies_to_a_reproducible_share_of_calls() {
        let applied_of_1000 = || -> usize {
            let mut faults = active("empty~30");
            (0..1000).map(|_| applied(&mut faults, "/1", "a", 1)).sum()
        };
        let count = applied_of_1000();
        assert!(
            (250..350).contains(&count),
            "30 % of 1,000 calls should have the fault: {count}"
        );
        assert_eq!(applied_of_1000(), count);
    }

    #[test]
    fn invalid_faults_are_rejected() {
        for text in [
            "",
            "sleepy",
            "hang@nowhere",
            "hang*x",
            "slow",
            "slow=soon",
            "unavailable=7",
            "throttled=abc",
            "hang=3",
            "hang;x",
            "hang@business:",
            "hang@endpoint:",
            "hang@endpoint:insight",
            "hang~0",
            "hang~101",
            "hang*0",
            "hang~50*3",
        ] {
            assert!(
                Fault::parse(text).is_err(),
                "{text:?} should not be a valid fault"
            );
        }
    }

    #[test]
    fn every_endpoint_name_is_accepted() {
        for name in ENDPOINTS {
            let text = format!("hang@endpoint:{name}");
            assert!(Fault::parse(&text).is_ok(), "{text} should be valid");
        }
    }

    #[test]
    fn count_is_not_used_up_by_calls_that_percent_excludes() {
        let mut faults = active("empty*5~30");
        let applied_count: usize = (0..1000).map(|_| applied(&mut faults, "/1", "a", 1)).sum();
        assert_eq!(applied_count, 5);
    }

    #[test]
    fn fault_is_displayed_as_it_was_written() {
        let text = "throttled=80000;minutes=7@act_123*3~50";
        assert_eq!(Fault::parse(text).unwrap().to_string(), text);
    }
}
