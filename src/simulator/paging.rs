//! Pages: a stretch of a numbered list, and the cursors that lead on from it.
//!
//! A cursor is a place's number in base64 with `=` spelled `ZD`, as Meta's look (`MAZDZD` is
//! place 0). Places without a row are passed over, so pages are full although rows are missing.

use serde_json::{Value, json};

use super::call::{Call, encode};
use super::errors::ApiError;

/// What a call asks for: how many rows, from where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) limit: usize,
    after: Option<usize>,
    before: Option<usize>,
}

/// Rows a page unless the call says otherwise.
const DEFAULT_LIMIT: usize = 25;

impl Wanted {
    pub(super) fn read(call: &Call) -> Result<Self, ApiError> {
        let limit = match call.param("limit").map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if limit > 0 => limit,
            Some(_) => {
                return Err(ApiError::invalid(
                    "Param limit must be an integer greater than zero",
                ));
            }
        };
        let cursor = |name| match call.param(name) {
            None => Ok(None),
            Some(text) => place(text).map(Some).ok_or_else(|| {
                ApiError::new(2642, "(#2642) Invalid cursors values").kind("GraphInvalidCursor")
            }),
        };
        Ok(Self {
            limit,
            after: cursor("after")?,
            before: cursor("before")?,
        })
    }

    /// The wanted page of a list of `length` places, whose rows `row` makes (or passes over).
    pub(super) fn page(
        self,
        call: &Call,
        length: usize,
        mut row: impl FnMut(usize) -> Result<Option<Value>, ApiError>,
    ) -> Result<Value, ApiError> {
        let forward = self.before.is_none();
        let places: Box<dyn Iterator<Item = usize>> = match (self.after, self.before) {
            (_, Some(before)) => Box::new((0..before.min(length)).rev()),
            (Some(after), None) => Box::new(after.saturating_add(1).min(length)..length),
            (None, None) => Box::new(0..length),
        };
        let mut rows = Vec::new();
        let mut more = false;
        for place in places {
            if let Some(found) = row(place)? {
                // One row beyond the page tells whether there is another page.
                if rows.len() == self.limit {
                    more = true;
                    break;
                }
                rows.push((place, found));
            }
        }
        if !forward {
            rows.reverse();
        }
        let mut answer = json!({});
        if let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) {
            let (before, after) = (cursor(*first), cursor(*last));
            let mut paging = json!({});
            if (forward && more) || self.before.is_some() {
                paging["next"] = address(call, "after", &after).into();
            }
            if (!forward && more) || self.after.is_some() {
                paging["previous"] = address(call, "before", &before).into();
            }
            paging["cursors"] = json!({ "before": before, "after": after });
            answer["paging"] = paging;
        }
        answer["data"] = rows.into_iter().map(|(_, row)| row).collect();
        Ok(answer)
    }
}

/// The call's own address with another cursor: it carries the token where the call's did.
pub(super) fn address(call: &Call, name: &str, cursor: &str) -> String {
    let mut address = format!("http://{}{}?", call.host, call.path);
    for (key, value) in &call.query {
        if key != "after" && key != "before" {
            address += &format!("{}={}&", encode(key), encode(value));
        }
    }
    address + &format!("{name}={}", encode(cursor))
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The cursor of a place.
pub(super) fn cursor(place: usize) -> String {
    let mut text = String::new();
    for three in place.to_string().as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at <= three.len() {
                let sextet = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
                text.push(char::from(LETTERS[sextet]));
            } else {
                text.push_str("ZD");
            }
        }
    }
    text
}

fn place(text: &str) -> Option<usize> {
    // Digits never encode to a quartet that ends in `ZD`.
    let letters = text.trim_end_matches("ZD");
    let mut bits: u32 = 0;
    let mut held = 0;
    let mut digits = String::new();
    for letter in letters.bytes() {
        let sextet = LETTERS.iter().position(|known| *known == letter)?;
        bits = (bits << 6 | u32::try_from(sextet).ok()?) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            digits.push(char::from(u8::try_from(bits >> held & 0xFF).ok()?));
        }
    }
    let place = digits.parse().ok()?;
    (cursor(place) == text).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_look_like_meta_s_and_come_back() {
        assert_eq!(cursor(0), "MAZDZD");
        for n in (0..2000).chain([99_999, 1_234_567]) {
            assert_eq!(place(&cursor(n)), Some(n));
        }
        for wrong in ["", "MA==", "hello", "MAZD", "ZDZD", "-1"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pages_pass_over_empty_places_and_end() {
        let page = |query: &[(&str, &str)]| {
            let call = Call {
                path: "/v26.0/act_1/insights".into(),
                host: "localhost:1".into(),
                query: query
                    .iter()
                    .map(|(name, value)| ((*name).into(), (*value).into()))
                    .collect(),
                ..Call::default()
            };
            let odd = |place: usize| Ok((place % 2 == 1).then(|| json!(place)));
            Wanted::read(&call).unwrap().page(&call, 8, odd).unwrap()
        };
        let first = page(&[("limit", "3"), ("access_token", "t k")]);
        assert_eq!(first["data"], json!([1, 3, 5]));
        let next =
            "http://localhost:1/v26.0/act_1/insights?limit=3&access_token=t%20k&after=NQZDZD";
        assert_eq!(first["paging"]["next"], next);
        let last = page(&[("limit", "3"), ("after", "NQZDZD")]);
        assert_eq!(last["data"], json!([7]));
        assert_eq!(last["paging"].get("next"), None);
        assert_eq!(last["paging"]["cursors"]["after"], cursor(7));
        let back = page(&[("limit", "2"), ("before", &cursor(7))]);
        assert_eq!(back["data"], json!([3, 5]));
        assert_eq!(page(&[("after", &cursor(7))]), json!({"data": []}));
        let one = [("limit", "0")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let call = Call {
            query: one.into(),
            ..Call::default()
        };
        assert_eq!(Wanted::read(&call).unwrap_err().code, 100);
    }
}
