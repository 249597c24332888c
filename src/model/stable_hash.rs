//! A hash that is the same on every machine and in every release, unlike the hashes of the standard
//! library. It determines the shard of a source and the phase of its polls.

/// Hashes strings in their order: FNV-1a, then the finalizer of MurmurHash3.
///
/// Each string ends with a byte that UTF-8 does not contain, so that `["ab", "c"]` and `["a", "bc"]`
/// differ.
pub fn fnv1a_mix(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    finalize(hash)
}

/// The 64-bit finalizer of MurmurHash3: spreads every input bit over all bits, because the high bits
/// of FNV-1a are poorly mixed for short inputs.
fn finalize(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::fnv1a_mix;

    #[test]
    fn fnv1a_mix_is_stable() {
        // A change of the hash moves sources to other shards and all polls to other times.
        assert_eq!(
            fnv1a_mix(&["acme", "act_1", "today"]),
            15_692_803_117_180_306_792
        );
    }

    #[test]
    fn fnv1a_mix_separates_parts() {
        assert_ne!(fnv1a_mix(&["ab", "c"]), fnv1a_mix(&["a", "bc"]));
    }
}
