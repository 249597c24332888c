//! Which share of the sources one of several replicas polls.
//!
//! An ad account goes where its id hashes, since quotas are an ad account's; a campaign source where
//! its own does, since nobody knows offline whose it is. By rendezvous hashing: of all shards that
//! one polls a source which scores highest for it, so that one more shard takes its share from all
//! others alike and moves nothing else.

use std::num::NonZeroU32;

use super::Subject;
use crate::spread;

/// More shards than this are a mistake: each is scored for every source.
const MOST: u32 = 1_000;

/// One of the shares that the sources are divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: NonZeroU32,
}

/// A share that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--shard.index={index} with --shard.count={count}: with N shards, N from 1 to {MOST}, the indexes go from 0 to N - 1"
)]
pub struct NoSuchShard {
    index: u32,
    count: u32,
}

impl Shard {
    /// All of them, in one share.
    pub const WHOLE: Self = Self {
        index: 0,
        count: NonZeroU32::MIN,
    };

    /// The share `index` of `count`, counted from 0.
    ///
    /// # Errors
    /// When there is no such share.
    pub fn new(index: u32, count: u32) -> Result<Self, NoSuchShard> {
        match NonZeroU32::new(count) {
            Some(some) if index < count && count <= MOST => Ok(Self { index, count: some }),
            _ => Err(NoSuchShard { index, count }),
        }
    }

    /// Which one it is, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.count.get()
    }

    /// Whether this share has that source.
    pub fn has(self, subject: &Subject) -> bool {
        self.index == self.of(subject)
    }

    /// The index of the share that has that source.
    pub fn of(self, subject: &Subject) -> u32 {
        let id = match subject {
            Subject::AdAccount { id, .. } => id.digits(),
            Subject::Campaign(id) => id.as_str(),
        };
        let score = |index: &u32| spread::hash(&[id, &index.to_string()]);
        (0..self.count()).max_by_key(score).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MOST, Shard};
    use crate::plan::Subject;
    use crate::row::{AccountId, ObjectId};

    fn account(id: u64) -> Subject {
        Subject::AdAccount {
            id: AccountId::parse(&id.to_string()).unwrap(),
            only: Vec::new(),
        }
    }

    fn of(subject: &Subject, count: u32) -> u32 {
        Shard::new(0, count).unwrap().of(subject)
    }

    proptest! {
        #[test]
        fn one_more_shard_moves_sources_to_itself_alone(id in 1_u64.., count in 1_u32..40) {
            let (before, after) = (of(&account(id), count), of(&account(id), count + 1));
            prop_assert!(after == before || after == count);
        }

        #[test]
        fn every_source_has_exactly_one_shard(id in 1_u64.., count in 1_u32..40) {
            let shards = (0..count).map(|index| Shard::new(index, count).unwrap());
            prop_assert_eq!(shards.filter(|shard| shard.has(&account(id))).count(), 1);
        }
    }

    #[test]
    fn shares_are_even_also_where_ids_follow_each_other() {
        let mut shares = [0_u32; 8];
        for id in 0..8_000 {
            let shard = of(&account(10_150_000_000_000_000 + id), 8);
            shares[usize::try_from(shard).unwrap()] += 1;
        }
        // A thousand each, give or take four standard deviations.
        assert!(
            shares.iter().all(|share| (880..1120).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn the_same_ad_account_is_one_shard_s_whatever_else_is_wanted_of_it() {
        let id = AccountId::parse("1234567890").unwrap();
        let only = vec![ObjectId::parse("7").unwrap()];
        let narrowed = Subject::AdAccount { id, only };
        assert_eq!(of(&narrowed, 16), of(&account(1_234_567_890), 16));
    }

    #[test]
    fn there_is_no_share_beyond_the_last() {
        assert!(Shard::new(3, 3).is_err());
        assert!(Shard::new(0, 0).is_err());
        assert!(Shard::new(0, MOST + 1).is_err());
        assert_eq!(Shard::new(0, 1), Ok(Shard::WHOLE));
    }
}
