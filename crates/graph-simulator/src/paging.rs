//! Cursor-based paging: cuts result pages from an indexed list.
//!
//! A cursor is the index of an item, in decimal digits and base64 with `ZD` for the padding `=`, the format of Meta's
//! own cursors (`MAZDZD` is index 0). Items without a row are skipped, so that pages are full although rows are
//! missing.

use serde_json::{Value, json};

use crate::call::{ApiCall, percent_encode};
use crate::errors::SimulatedError;

/// The parameters `limit`, `after` and `before` of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageRequest {
    /// Maximum rows per page, at least 1. Default [`DEFAULT_LIMIT`].
    pub(crate) limit: usize,
    /// Index of the item after which the page starts; `None`: at the first item.
    after: Option<usize>,
    /// Index of the item before which the page ends; takes precedence over `after`.
    before: Option<usize>,
}

/// Rows per page without `limit`. Meta does not document its default; clients assume 25.
pub(crate) const DEFAULT_LIMIT: usize = 25;

impl PageRequest {
    /// Parses the parameters of a call.
    ///
    /// # Errors
    ///
    /// Returns error 100 if `limit` is not a positive integer, and error 2642 for an invalid cursor.
    pub(crate) fn parse(call: &ApiCall) -> Result<Self, SimulatedError> {
        let limit = match call.param("limit").map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if limit > 0 => limit,
            Some(_) => {
                return Err(SimulatedError::invalid(
                    "Param limit must be an integer greater than zero",
                ));
            }
        };
        let cursor = |name| match call.param(name) {
            None => Ok(None),
            Some(text) => decode_cursor(text).map(Some).ok_or_else(|| {
                SimulatedError::new(2642, "(#2642) Invalid cursors values")
                    .with_kind("GraphInvalidCursor")
            }),
        };
        Ok(Self {
            limit,
            after: cursor("after")?,
            before: cursor("before")?,
        })
    }

    /// Builds the requested page of a list of `length` items. `row_at` returns the row of an item, or `None` to skip
    /// it.
    pub(crate) fn build_page(
        self,
        call: &ApiCall,
        length: usize,
        mut row_at: impl FnMut(usize) -> Result<Option<Value>, SimulatedError>,
    ) -> Result<Value, SimulatedError> {
        let is_forward = self.before.is_none();
        let indexes: Box<dyn Iterator<Item = usize>> = match (self.after, self.before) {
            (_, Some(before)) => Box::new((0..before.min(length)).rev()),
            (Some(after), None) => Box::new(after.saturating_add(1).min(length)..length),
            (None, None) => Box::new(0..length),
        };
        let mut rows = Vec::new();
        let mut has_more = false;
        for index in indexes {
            if let Some(row) = row_at(index)? {
                // A row beyond the limit means that there is another page.
                if rows.len() == self.limit {
                    has_more = true;
                    break;
                }
                rows.push((index, row));
            }
        }
        if !is_forward {
            rows.reverse();
        }
        let mut body = json!({});
        if let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) {
            let (before, after) = (encode_cursor(*first), encode_cursor(*last));
            let mut paging = json!({});
            if (is_forward && has_more) || self.before.is_some() {
                paging["next"] = page_url(call, "after", &after).into();
            }
            if (!is_forward && has_more) || self.after.is_some() {
                paging["previous"] = page_url(call, "before", &before).into();
            }
            paging["cursors"] = json!({ "before": before, "after": after });
            body["paging"] = paging;
        }
        body["data"] = rows.into_iter().map(|(_, row)| row).collect();
        Ok(body)
    }
}

/// Returns the URL of the call with another cursor. It contains the access token if that is a parameter of the call.
pub(crate) fn page_url(call: &ApiCall, name: &str, cursor: &str) -> String {
    let mut url = format!("http://{}{}?", call.host, call.path);
    for (key, value) in &call.query {
        if key != "after" && key != "before" {
            url += &format!("{}={}&", percent_encode(key), percent_encode(value));
        }
    }
    url + &format!("{name}={}", percent_encode(cursor))
}

const BASE64_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns the cursor of an index.
pub(crate) fn encode_cursor(index: usize) -> String {
    let mut cursor = String::new();
    for group in index.to_string().as_bytes().chunks(3) {
        let byte = |idx: usize| u32::from(group.get(idx).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for idx in 0..4 {
            if idx <= group.len() {
                let sextet = usize::try_from(bits >> (18 - 6 * idx) & 63).unwrap_or(0);
                cursor.push(char::from(BASE64_ALPHABET[sextet]));
            } else {
                cursor.push_str("ZD");
            }
        }
    }
    cursor
}

/// Returns the index of a cursor, or `None` if the cursor is invalid.
fn decode_cursor(cursor: &str) -> Option<usize> {
    // `ZD` at the end is always padding: the base64 text of digits does not end in it.
    let sextets = cursor.trim_end_matches("ZD");
    let mut bits: u32 = 0;
    let mut bit_count = 0;
    let mut digits = String::new();
    for letter in sextets.bytes() {
        let sextet = BASE64_ALPHABET.iter().position(|known| *known == letter)?;
        bits = (bits << 6 | u32::try_from(sextet).ok()?) & 0xFFFF;
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            digits.push(char::from(u8::try_from(bits >> bit_count & 0xFF).ok()?));
        }
    }
    let index = digits.parse().ok()?;
    (encode_cursor(index) == cursor).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_have_meta_s_format_and_can_be_decoded() {
        assert_eq!(encode_cursor(0), "MAZDZD");
        for index in (0..2000).chain([99_999, 1_234_567]) {
            assert_eq!(decode_cursor(&encode_cursor(index)), Some(index));
        }
        for invalid in ["", "MA==", "hello", "MAZD", "ZDZD", "-1"] {
            assert_eq!(decode_cursor(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn pages_skip_items_without_a_row_and_end() {
        let page = |query: &[(&str, &str)]| {
            let call = ApiCall {
                path: "/v27.0/act_1/insights".into(),
                host: "localhost:1".into(),
                query: query
                    .iter()
                    .map(|(name, value)| ((*name).into(), (*value).into()))
                    .collect(),
                ..ApiCall::default()
            };
            let odd_index = |index: usize| Ok((index % 2 == 1).then(|| json!(index)));
            PageRequest::parse(&call)
                .unwrap()
                .build_page(&call, 8, odd_index)
                .unwrap()
        };
        let first = page(&[("limit", "3"), ("access_token", "t k")]);
        assert_eq!(first["data"], json!([1, 3, 5]));
        let next =
            "http://localhost:1/v27.0/act_1/insights?limit=3&access_token=t%20k&after=NQZDZD";
        assert_eq!(first["paging"]["next"], next);
        let last = page(&[("limit", "3"), ("after", "NQZDZD")]);
        assert_eq!(last["data"], json!([7]));
        assert_eq!(last["paging"].get("next"), None);
        assert_eq!(last["paging"]["cursors"]["after"], encode_cursor(7));
        let previous = page(&[("limit", "2"), ("before", &encode_cursor(7))]);
        assert_eq!(previous["data"], json!([3, 5]));
        assert_eq!(page(&[("after", &encode_cursor(7))]), json!({"data": []}));
    }

    #[test]
    fn limit_of_zero_is_an_error() {
        let call = ApiCall {
            query: vec![("limit".to_owned(), "0".to_owned())],
            ..ApiCall::default()
        };
        assert_eq!(PageRequest::parse(&call).unwrap_err().code, 100);
    }
}
