//! Another config while the crank turns: what did not change keeps its values and its schedule,
//! what is gone vanishes, what is new is polled at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::agenda::Agenda;
use super::business::Business;
use super::clock;
use super::crank::{Crank, Reload, Source, limits, polled};
use crate::plan::Subject;
use crate::row::AccountId;
use crate::snapshot::{Known, Snapshot};

impl Crank {
    /// Takes over another config.
    pub(super) fn reload(&mut self, reload: Reload) {
        let Reload {
            config,
            plan,
            client,
        } = reload;
        let before = Arc::clone(&self.snapshot);
        let businesses = std::mem::take(&mut self.businesses);
        let sources = std::mem::take(&mut self.sources);
        self.settings.client = client;
        self.polling = config.polling.clone();
        self.version.clone_from(&config.graph.version);
        let limits = limits(&config, &plan);
        if limits != self.gate.limits() {
            self.gate = Arc::new(self.gate.reset(limits));
        }
        let mut businesses: BTreeMap<_, _> = businesses;
        for business in polled(&config, &plan) {
            let name = Box::from(business.name.as_str());
            let kept = businesses.remove(&name).filter(|kept| kept.is(business));
            // Another place for the token may hold another token.
            let state = kept.unwrap_or_else(|| {
                self.gate.admit(&name);
                Business::new(business)
            });
            self.businesses.insert(name, state);
        }
        self.snapshot = Arc::new(Snapshot::adopt(&plan, &before, clock::now()));
        self.adopt(&before, sources);
        self.gone
            .extend(businesses.into_keys().map(|name| (name, None)));
        self.gone.extend(
            before
                .sources
                .iter()
                .map(|known| (known.source.business.clone(), account(known))),
        );
        self.forget_gone();
        self.count_sources(&plan);
        self.settings
            .publish
            .send_replace(Arc::clone(&self.snapshot));
    }

    /// What no source is about any longer vanishes from the own metrics. A poll that a reload ended
    /// may have had a last word after it was forgotten, so that this is called again then.
    pub(super) fn forget_gone(&mut self) {
        let sources = &self.snapshot.sources;
        self.gone.retain(|(business, gone)| {
            let mut ours = sources
                .iter()
                .filter(|known| known.source.business == *business);
            !self.businesses.contains_key(business)
                || gone.is_some() && ours.all(|known| account(known) != *gone)
        });
        for (business, account) in &self.gone {
            match account {
                Some(account) if self.businesses.contains_key(business) => {
                    self.settings.own.forget_account(business, account.digits());
                }
                _ => self.settings.own.forget(business),
            }
        }
        if self.all_known() {
            self.gone.clear();
        }
    }

    /// Gives each source the state that it had, and stops the polls of what is gone or has changed.
    fn adopt(&mut self, before: &Snapshot, sources: Vec<Source>) {
        let agenda: Agenda = std::mem::take(&mut self.agenda);
        let mut kept: HashMap<(&str, &str), (usize, &Known, Source)> = HashMap::new();
        for (place, (known, source)) in before.sources.iter().zip(sources).enumerate() {
            let key = (known.source.business.as_ref(), known.source.name.as_ref());
            kept.insert(key, (place, known, source));
        }
        let snapshot = Arc::clone(&self.snapshot);
        let mut moved = HashMap::new();
        for (place, known) in snapshot.sources.iter().enumerate() {
            let key = (known.source.business.as_ref(), known.source.name.as_ref());
            let (source, dues) = match kept.remove(&key) {
                // Labels and thresholds are looked up when the page is written; all else is what
                // a poll under way was begun for.
                Some((old, was, mut source)) if known.source.asks_as(&was.source) => {
                    moved.insert(old, place);
                    let listing = known.listing.as_ref();
                    if listing.is_some_and(|listing| known.source.wants_other_facts(listing)) {
                        source.discover_at = None;
                    }
                    (source, agenda.of(old).to_vec())
                }
                _ => (self.new_source(place), self.first_dues(place)),
            };
            self.sources.push(source);
            self.agenda.add(dues);
        }
        self.arrange();
        self.tasks
            .retain(|_, task| match moved.get(&task.slot.place) {
                Some(place) => {
                    task.slot.place = *place;
                    true
                }
                None => {
                    task.abort.abort();
                    false
                }
            });
    }
}

/// The ad account that a source is about, where that is known.
pub(super) fn account(known: &Known) -> Option<AccountId> {
    match (&known.source.subject, &known.listing) {
        (Subject::AdAccount { id, .. }, _) => Some(id.clone()),
        (Subject::Campaign(_), listing) => {
            listing.as_ref().map(|listing| listing.account.id.clone())
        }
    }
}
