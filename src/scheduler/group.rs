//! Which campaign sources are polled together, and how often archived ones are polled.

use std::time::Duration;

use tokio::time::Instant;

use super::due_queue::WindowRef;
use super::state::Scheduler;
use crate::config::QuestionMode;
use crate::plan::SourceKind;

/// Polls together with others that a source may miss before it is polled on its own, which finds its ad account. A
/// business can have campaigns of many ad accounts.
const MAX_MISSED_GROUPS: u32 = 2;

/// Maximum sources that join another one.
const MAX_MEMBERS: usize = 499;

impl Scheduler {
    /// Returns what the sources that can be polled together with this one have in common, for its phase: the ad account,
    /// if it is known. `None` if the source is polled on its own.
    pub(super) fn group_key(&self, source_idx: usize) -> Option<String> {
        let state = self.snapshot.sources.get(source_idx)?;
        let source = &state.source;
        let is_apart = self.sources.get(source_idx).is_some_and(|runtime| {
            let until = runtime.apart_until;
            until.is_some_and(|until| until > Instant::now())
        });
        let is_campaign = matches!(source.kind, SourceKind::Campaign(_));
        if !is_campaign || is_apart || source.questions != QuestionMode::Auto {
            return None;
        }
        let account = state.inventory.as_ref();
        Some(account.map_or_else(String::new, |inventory| inventory.account.id.to_string()))
    }

    /// Returns the sources to poll together with this one, and marks them as being polled. They are campaigns of the
    /// same ad account, or of unknown ones if that of the first source is not known either.
    pub(super) fn claim_members(&mut self, source_idx: usize, window_idxs: &[usize]) -> Vec<usize> {
        if self.group_key(source_idx).is_none() || window_idxs.is_empty() {
            return Vec::new();
        }
        let leader = &self.snapshot.sources[source_idx];
        let is_settled = |idx: usize| self.sources[idx].missed_groups >= MAX_MISSED_GROUPS;
        if leader.inventory.is_none() && is_settled(source_idx) {
            return Vec::new();
        }
        let account = leader
            .inventory
            .as_ref()
            .map(|inventory| &inventory.account.id);
        let is_member = |idx: &usize| {
            let state = &self.snapshot.sources[*idx];
            let (source, runtime) = (&state.source, &self.sources[*idx]);
            let own_account = state
                .inventory
                .as_ref()
                .map(|inventory| &inventory.account.id);
            let is_same_account = own_account.is_none() || own_account == account;
            // A source of an unknown ad account joins only if it is due: it may belong to another one.
            let is_due =
                own_account.is_some() || !runtime.due_windows.is_empty() && !is_settled(*idx);
            *idx != source_idx
                && is_same_account
                && is_due
                && !runtime.is_polling
                && state.windows.iter().any(|window| !window.duplicate)
                && self.group_key(*idx).is_some()
                && source.level == leader.source.level
                && source.conversions == leader.source.conversions
                && source.columns == leader.source.columns
                && source.windows == leader.source.windows
                && self
                    .limiter
                    .paused_until(&self.request_scope(*idx))
                    .is_none()
        };
        let members: Vec<usize> = self
            .snapshot
            .business_range(source_idx)
            .filter(is_member)
            .take(MAX_MEMBERS)
            .collect();
        for member_idx in &members {
            for window_idx in window_idxs {
                let window_ref = WindowRef {
                    source_idx: *member_idx,
                    window_idx: *window_idx,
                };
                let next_due = self.next_regular_due(*member_idx, *window_idx);
                self.reschedule(window_ref, next_due.max(Instant::now()));
            }
            let runtime = &mut self.sources[*member_idx];
            runtime
                .due_windows
                .retain(|window_idx| !window_idxs.contains(window_idx));
            runtime.running_windows = window_idxs.to_vec();
            runtime.is_polling = true;
        }
        members
    }

    /// Returns the minimum interval of a source of which all campaigns are archived: their values hardly change. `None`
    /// for other sources.
    pub(super) fn archived_interval(&self, source_idx: usize) -> Option<Duration> {
        let inventory = self.snapshot.sources.get(source_idx)?.inventory.as_ref()?;
        let is_archived = inventory.campaigns.is_empty() && !inventory.archived.is_empty();
        is_archived.then_some(self.polling.discovery_interval)
    }
}
