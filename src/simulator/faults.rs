//! Faults on demand: what is to go wrong, for whom, and how often.
//!
//! Holds the text syntax and the choice of the faults that strike a call. What a fault does to
//! an answer is `misconduct`'s.

use std::fmt;
use std::str::FromStr;

use super::call::Call;
use super::curve::mix;
use super::kinds::Kind;

/// One fault, read from `KIND[=VALUE][;OPTION[=VALUE]]…[@SCOPE[&SCOPE]…][*COUNT][~PERCENT]`.
///
/// The kinds are those of [`KINDS`](super::KINDS). A scope is `business:NAME`, `act_ID` (the ad
/// account and all in it), `ID` (one object's own path), `endpoint:NAME` (`insights`, `campaigns`,
/// `adsets`, `ads`, `account`, `campaign`, `adset`, `ad`, `me`, `adaccounts`, `debug_token`) or
/// `all`; of several, all must hold. `*COUNT` ends it after so many calls, `~PERCENT` lets it
/// strike that share of calls, by a seeded chance.
///
/// ```
/// use marketing_messages_exporter::simulator::Fault;
///
/// let twice = Fault::parse("throttled=80000;minutes=7@act_123&endpoint:insights*2");
/// assert!(twice.is_ok());
/// assert!(Fault::parse("sleepy").is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    text: String,
    kind: Kind,
    scopes: Vec<Scope>,
    count: Option<u64>,
    percent: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Scope {
    All,
    Business(String),
    Account(u64),
    Id(String),
    Endpoint(String),
}

/// What a call is about, as far as scopes go.
pub(super) struct Subject<'c> {
    pub(super) call: &'c Call,
    pub(super) business: Option<&'c str>,
    pub(super) account: Option<u64>,
    pub(super) endpoint: &'c str,
}

/// The faults in force, with how often each may still strike.
#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Fault>,
    drawn: u64,
}

impl Fault {
    /// Reads one fault; the error says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (rest, percent) = number_after(text, '~')?;
        let (rest, count) = number_after(rest, '*')?;
        let (kind, scopes) = rest.split_once('@').unwrap_or((rest, "all"));
        Ok(Self {
            text: text.to_owned(),
            kind: Kind::parse(kind)?,
            scopes: scopes.split('&').map(scope).collect::<Result<_, _>>()?,
            count,
            percent,
        })
    }

    fn meets(&self, subject: &Subject<'_>) -> bool {
        let (_, id, _) = subject.call.parts();
        self.count != Some(0)
            && self.kind.concerns(subject.call)
            && self.scopes.iter().all(|scope| match scope {
                Scope::All => true,
                Scope::Business(name) => subject.business == Some(name),
                Scope::Account(account) => subject.account == Some(*account),
                Scope::Id(wanted) => id == wanted,
                Scope::Endpoint(endpoint) => subject.endpoint == endpoint,
            })
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// The text that it was read from.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Faults {
    /// Puts these in the place of all others.
    pub(super) fn replace(&mut self, faults: Vec<Fault>) {
        self.armed = faults;
    }

    pub(super) fn armed(&self) -> &[Fault] {
        &self.armed
    }

    /// The kinds that strike this call, each counted off.
    pub(super) fn strike(&mut self, subject: &Subject<'_>) -> Vec<Kind> {
        let mut struck = Vec::new();
        for fault in &mut self.armed {
            if !fault.meets(subject) {
                continue;
            }
            self.drawn += 1;
            if fault
                .percent
                .is_none_or(|percent| mix(self.drawn) % 100 < percent)
            {
                fault.count = fault.count.map(|count| count - 1);
                struck.push(fault.kind.clone());
            }
        }
        struck
    }
}

fn number_after(text: &str, mark: char) -> Result<(&str, Option<u64>), String> {
    match text.rsplit_once(mark) {
        None => Ok((text, None)),
        Some((rest, number)) => match number.parse() {
            Ok(number) => Ok((rest, Some(number))),
            Err(_) => Err(format!("{number:?} after {mark} is no number")),
        },
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    if let Some(name) = text.strip_prefix("business:") {
        Ok(Scope::Business(name.to_owned()))
    } else if let Some(name) = text.strip_prefix("endpoint:") {
        Ok(Scope::Endpoint(name.to_owned()))
    } else if let Some(account) = text.strip_prefix("act_").and_then(|id| id.parse().ok()) {
        Ok(Scope::Account(account))
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(Scope::Id(text.to_owned()))
    } else if text == "all" {
        Ok(Scope::All)
    } else {
        Err(format!(
            "{text:?} is no scope; say all, business:NAME, act_ID, ID or endpoint:NAME"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(faults: &mut Faults, path: &str, business: &str, account: u64) -> usize {
        let call = Call {
            path: path.to_owned(),
            ..Call::default()
        };
        let subject = Subject {
            call: &call,
            business: Some(business),
            account: Some(account),
            endpoint: "insights",
        };
        faults.strike(&subject).len()
    }

    fn armed(text: &str) -> Faults {
        let mut faults = Faults::default();
        faults.replace(vec![Fault::parse(text).unwrap()]);
        faults
    }

    #[test]
    fn scopes_choose_and_counts_end() {
        let mut faults = armed("hang@act_5&business:acme&endpoint:insights*2");
        assert_eq!(struck(&mut faults, "/v26.0/act_5/insights", "acme", 6), 0);
        assert_eq!(struck(&mut faults, "/v26.0/act_5/insights", "other", 5), 0);
        assert_eq!(struck(&mut faults, "/v26.0/act_5/insights", "acme", 5), 1);
        assert_eq!(struck(&mut faults, "/v26.0/120/insights", "acme", 5), 1);
        assert_eq!(struck(&mut faults, "/v26.0/120/insights", "acme", 5), 0);
        let mut faults = armed("cut@120");
        assert_eq!(struck(&mut faults, "/v26.0/120/insights", "acme", 5), 1);
        assert_eq!(struck(&mut faults, "/v26.0/121/insights", "acme", 5), 0);
    }

    #[test]
    fn chances_are_seeded() {
        let mut faults = armed("empty~30");
        let first: usize = (0..1000).map(|_| struck(&mut faults, "/1", "a", 1)).sum();
        assert!((250..350).contains(&first), "{first}");
        let mut again = armed("empty~30");
        assert_eq!(
            (0..1000)
                .map(|_| struck(&mut again, "/1", "a", 1))
                .sum::<usize>(),
            first
        );
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
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
        ] {
            assert!(Fault::parse(text).is_err(), "{text}");
        }
        let text = "throttled=80000;minutes=7@act_123*3~50";
        assert_eq!(Fault::parse(text).unwrap().to_string(), text);
    }
}
