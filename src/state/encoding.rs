//! Encoding of values of the database: a CRC-32 and the value in postcard's format.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;

/// Length of the checksum in bytes.
const CHECKSUM_BYTES: usize = 4;

/// Encodes a value without a checksum.
pub(super) fn encode_body(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(StoreError::damaged)
}

/// Encodes a value.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let bytes = postcard::to_extend(value, vec![0; CHECKSUM_BYTES]);
    let mut bytes = bytes.map_err(StoreError::damaged)?;
    let checksum = crc32fast::hash(&bytes[CHECKSUM_BYTES..]);
    bytes[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// Decodes a value.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let Some((checksum, body)) = bytes.split_at_checked(CHECKSUM_BYTES) else {
        return Err(StoreError::damaged("a record is too short"));
    };
    if crc32fast::hash(body).to_le_bytes() != checksum {
        return Err(StoreError::damaged(
            "the checksum of a record does not match",
        ));
    }
    decode_body(body)
}

/// Decodes a value without its checksum.
pub(super) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, StoreError> {
    let decoded = postcard::take_from_bytes(body).map_err(StoreError::damaged)?;
    match decoded {
        (value, []) => Ok(value),
        _ => Err(StoreError::damaged("a record is too long")),
    }
}
