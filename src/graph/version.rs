//! Ends of the versions of the Marketing API, which are earlier than those of the Graph API.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

/// Versions with a known end: the day from which requests with the version fail, or are answered by
/// another one. Source: Meta's page "Marketing API Versions", November 2026.
const VERSION_ENDS: [(&str, Date); 3] = [
    ("v23.0", date(2026, 6, 9)),
    ("v24.0", date(2026, 11, 10)),
    ("v25.0", date(2027, 2, 23)),
];

/// Returns the end of a version; `None` if Meta has not announced one.
pub fn version_end(version: &str) -> Option<Timestamp> {
    let (_, end) = VERSION_ENDS.iter().find(|(known, _)| *known == version)?;
    let end = end.to_zoned(TimeZone::UTC).ok()?;
    Some(end.timestamp())
}

/// Whether a version is known to have ended on a day. Versions before the oldest known one have ended earlier.
pub fn is_retired(version: &str, today: Date) -> bool {
    let number = |version: &str| {
        version
            .trim_start_matches('v')
            .parse::<f32>()
            .unwrap_or(f32::MAX)
    };
    let ended = VERSION_ENDS.iter().filter(|(_, end)| *end <= today);
    ended
        .into_iter()
        .any(|(ended, _)| number(version) <= number(ended))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{is_retired, version_end};

    #[test]
    fn version_end_is_known_for_old_versions_only() {
        let end = version_end("v25.0").unwrap();
        assert_eq!(end.to_string(), "2027-02-23T00:00:00Z");
        assert_eq!(version_end("v27.0"), None);
    }

    #[test]
    fn version_is_retired_from_its_last_day() {
        let today = date(2026, 11, 10);
        for (version, expected) in [
            ("v19.0", true),
            ("v24.0", true),
            ("v25.0", false),
            ("v27.0", false),
        ] {
            assert_eq!(is_retired(version, today), expected, "{version}");
        }
        assert!(!is_retired("v24.0", date(2026, 11, 9)));
    }
}
