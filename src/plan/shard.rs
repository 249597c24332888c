//! Sharding: which of several replicas polls a source.
//!
//! Rendezvous hashing: every shard gets a score per source, and the shard with the highest score
//! polls it. An additional shard takes an equal share from all others and moves no other source.
//!
//! An ad account is hashed by its id, because quotas belong to ad accounts. A campaign source is
//! hashed by its own id, because its ad account is not known offline.

use std::num::NonZeroU32;

use super::SourceKind;
use crate::model::fnv1a_mix;

/// Maximum number of shards. Every source computes one score per shard, so higher counts are most
/// likely mistakes.
const MAX_SHARDS: u32 = 1_000;

/// One of the shards that divide the sources.
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::model::AccountId;
/// use marketing_messages_exporter::plan::{Shard, SourceKind};
///
/// let source = SourceKind::AdAccount {
///     id: AccountId::parse("1234567890").unwrap(),
///     campaign_allowlist: Vec::new(),
/// };
/// let shards = (0..3).map(|index| Shard::new(index, 3).unwrap());
/// assert_eq!(shards.filter(|shard| shard.contains(&source)).count(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: NonZeroU32,
}

/// The shard index or count is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--shard.index: expected 0 to N - 1 with --shard.count=N and N from 1 to {MAX_SHARDS}, found --shard.index={index} with --shard.count={count}"
)]
pub struct ShardOutOfRange {
    index: u32,
    count: u32,
}

impl Shard {
    /// A single shard with all sources.
    pub const ALL: Self = Self {
        index: 0,
        count: NonZeroU32::MIN,
    };

    /// Creates the shard `index`, counted from 0, of `count` shards.
    ///
    /// # Errors
    ///
    /// Returns an error if `count` is not from 1 to 1000, or `index` is not less than `count`.
    pub fn new(index: u32, count: u32) -> Result<Self, ShardOutOfRange> {
        match NonZeroU32::new(count) {
            Some(non_zero) if index < count && count <= MAX_SHARDS => Ok(Self {
                index,
                count: non_zero,
            }),
            _ => Err(ShardOutOfRange { index, count }),
        }
    }

    /// Returns the index of this shard, counted from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Returns the number of shards.
    pub fn count(self) -> u32 {
        self.count.get()
    }

    /// Whether this shard polls the source.
    pub fn contains(self, source: &SourceKind) -> bool {
        self.index == self.owner(source)
    }

    /// Returns the index of the shard that polls the source.
    pub fn owner(self, source: &SourceKind) -> u32 {
        let id = match source {
            SourceKind::AdAccount { id, .. } => id.digits(),
            SourceKind::Campaign(id) => id.as_str(),
        };
        let score = |index: &u32| fnv1a_mix(&[id, &index.to_string()]);
        (0..self.count()).max_by_key(score).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_SHARDS, Shard};
    use crate::model::{AccountId, ObjectId};
    use crate::plan::SourceKind;

    fn account(id: u64) -> SourceKind {
        SourceKind::AdAccount {
            id: AccountId::parse(&id.to_string()).unwrap(),
            campaign_allowlist: Vec::new(),
        }
    }

    fn owner(source: &SourceKind, count: u32) -> u32 {
        Shard::new(0, count).unwrap().owner(source)
    }

    proptest! {
        #[test]
        fn additional_shard_moves_sources_only_to_itself(id in 1_u64.., count in 1_u32..40) {
            let (before, after) = (owner(&account(id), count), owner(&account(id), count + 1));
            prop_assert!(after == before || after == count);
        }

        #[test]
        fn source_has_exactly_one_shard(id in 1_u64.., count in 1_u32..40) {
            let shards = (0..count).map(|index| Shard::new(index, count).unwrap());
            prop_assert_eq!(shards.filter(|shard| shard.contains(&account(id))).count(), 1);
        }
    }

    #[test]
    fn shards_of_consecutive_ids_are_balanced() {
        let mut sources_per_shard = [0_u32; 8];
        for id in 0..8_000 {
            let shard = owner(&account(10_150_000_000_000_000 + id), 8);
            sources_per_shard[usize::try_from(shard).unwrap()] += 1;
        }
        // The mean of 1,000 and four standard deviations.
        assert!(
            sources_per_shard.iter().all(|n| (880..1120).contains(n)),
            "shards should have about 1000 sources each: {sources_per_shard:?}"
        );
    }

    #[test]
    fn campaign_allowlist_does_not_change_owner() {
        let with_allowlist = SourceKind::AdAccount {
            id: AccountId::parse("1234567890").unwrap(),
            campaign_allowlist: vec![ObjectId::parse("7").unwrap()],
        };
        assert_eq!(
            owner(&with_allowlist, 16),
            owner(&account(1_234_567_890), 16)
        );
    }

    #[test]
    fn shard_out_of_range_is_refused() {
        assert!(Shard::new(3, 3).is_err());
        assert!(Shard::new(0, 0).is_err());
        assert!(Shard::new(0, MAX_SHARDS + 1).is_err());
        assert_eq!(Shard::new(0, 1), Ok(Shard::ALL));
    }
}
