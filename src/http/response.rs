//! Constructors of HTTP responses, and negotiation of gzip.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::ChunkedBody;
use crate::metrics::{CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE, PageFormat};

/// Response of the server.
pub(super) type HttpResponse = Response<ChunkedBody>;

/// Returns a plain text response.
pub(super) fn plain_text(status: StatusCode, text: impl Into<Bytes>) -> HttpResponse {
    let mut response = with_content_type("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

/// Returns a response with status 200 that must not be stored by caches.
pub(super) fn with_content_type(
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> HttpResponse {
    let mut response = Response::new(ChunkedBody::from_bytes([body.into()]));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    insert_protective_headers(headers);
    response
}

/// Returns a redirect to a path.
pub(super) fn redirect(path: &str) -> HttpResponse {
    let mut response = plain_text(StatusCode::FOUND, format!("see {path}\n"));
    if let Ok(location) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Returns the response for a metrics page, which is compressed if `gzip` is true.
pub(super) fn metrics(body: ChunkedBody, format: PageFormat, gzip: bool) -> HttpResponse {
    let content_type = match format {
        PageFormat::Text => CONTENT_TYPE,
        PageFormat::OpenMetrics => OPENMETRICS_CONTENT_TYPE,
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding"),
    );
    insert_protective_headers(headers);
    response
}

/// Adds the headers that every response has: it must not be stored, and its type must not be guessed.
fn insert_protective_headers(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// Returns the format that the client prefers by its `Accept` header: OpenMetrics 1.0 if its weight is
/// higher than that of the text format, or equal and it is listed first (RFC 9110, section 12.5.1).
pub(super) fn preferred_format(headers: &HeaderMap) -> PageFormat {
    let lists = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    // The best weight and its format so far; a later entry needs a higher weight.
    let mut best: Option<(f64, PageFormat)> = None;
    for entry in lists.flat_map(|list| list.split(',')) {
        let mut parts = entry.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<(String, &str)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| {
                (
                    name.trim().to_ascii_lowercase(),
                    value.trim().trim_matches('"'),
                )
            })
            .collect();
        let parameter = |name: &str| {
            let mut found = parameters.iter().filter(|(other, _)| other == name);
            found.next().map(|(_, value)| *value)
        };
        let format = match media_type.as_str() {
            // Version 0.0.1 is a draft that clients list together with 1.0.0.
            "application/openmetrics-text"
                if parameter("version").is_none_or(|version| version == "1.0.0") =>
            {
                PageFormat::OpenMetrics
            }
            "text/plain" | "text/*" | "*/*" => PageFormat::Text,
            _ => continue,
        };
        let weight = parameter("q").map_or(Some(1.0), |weight| weight.parse().ok());
        let weight = weight.unwrap_or(0.0);
        if weight > best.map_or(0.0, |(weight, _)| weight) {
            best = Some((weight, format));
        }
    }
    best.map_or(PageFormat::Text, |(_, format)| format)
}

/// Returns whether the client accepts gzip: named or covered by `*`, with a weight above 0 (RFC 9110,
/// section 12.5.3).
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lists = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut accepted = None;
    for coding in lists.flat_map(|list| list.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or(part.strip_prefix("Q="));
            weight
                .and_then(|weight| weight.trim().parse::<f64>().ok())
                .is_some_and(|weight| weight <= 0.0)
        });
        match name.as_str() {
            "gzip" | "x-gzip" => return !refused,
            "*" => accepted = Some(!refused),
            _ => {}
        }
    }
    accepted.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

    use super::{accepts_gzip, preferred_format};
    use crate::metrics::PageFormat;

    #[test]
    fn openmetrics_is_sent_only_if_preferred() {
        use hyper::header::ACCEPT;
        for (accept, format) in [
            ("application/openmetrics-text", PageFormat::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                PageFormat::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.2",
                PageFormat::OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5",
                PageFormat::Text,
            ),
            ("application/openmetrics-text;q=0", PageFormat::Text),
            (
                "application/openmetrics-text;version=2.0.0,*/*;q=0.1",
                PageFormat::Text,
            ),
            ("*/*", PageFormat::Text),
            (
                "text/html,application/xhtml+xml,*/*;q=0.8",
                PageFormat::Text,
            ),
            ("", PageFormat::Text),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(preferred_format(&headers), format, "{accept}");
        }
    }

    #[test]
    fn gzip_weight_zero_or_absent_is_refused() {
        for (accept, gzip) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("*;q=1, gzip;q=0.0", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts_gzip(&headers), gzip, "{accept}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
