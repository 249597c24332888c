//! A hash that every machine, process and release agrees on, unlike std's: polls keep their place in
//! the interval by it, and sources their shard.

/// A well spread number of these words, in this order.
pub fn hash(words: &[&str]) -> u64 {
    // FNV-1a, each word closed by a byte that no UTF-8 text holds.
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0xff]));
    let hashed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed(hashed)
}

/// FNV's lower bits are the better mixed ones; after this all of them are (MurmurHash3's finaliser).
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn the_hash_never_changes() {
        // Another number here moves every source to another shard, and every poll to another time.
        assert_eq!(
            hash(&["acme", "act_1", "today"]),
            15_692_803_117_180_306_792
        );
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
