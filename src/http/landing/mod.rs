//! The landing page: what this is, where the metrics are, and how every source fares.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use crate::exposition::Page;
use crate::snapshot::{Known, WindowKnown};

/// Nothing is loaded from anywhere; only the style below is believed.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "
:root{color-scheme:light dark;--edge:#8884;--good:#1a7f37;--bad:#c9302c}
@media(prefers-color-scheme:dark){:root{--good:#4ac26b;--bad:#ff7b72}}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}.wide{overflow-x:auto}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--edge);vertical-align:top}
td.n{white-space:nowrap}.up{color:var(--good)}.down{color:var(--bad)}small{opacity:.75}
";

/// The page as HTML.
pub(super) fn html(page: &Page, telemetry_path: &str, now: Timestamp) -> String {
    let mut html = String::with_capacity(4096);
    let version = env!("CARGO_PKG_VERSION");
    let path = escaped(telemetry_path);
    html.push_str("<!doctype html><html lang=en><meta charset=utf-8>");
    html.push_str("<meta name=viewport content='width=device-width,initial-scale=1'><meta http-equiv=refresh content=15>");
    push(
        &mut html,
        format_args!(
            "<title>Marketing Messages exporter</title><style>{STYLE}</style><h1>Marketing Messages exporter</h1>"
        ),
    );
    push(
        &mut html,
        format_args!(
            "<p>Version {version} · <a href='{path}'>Metrics</a> ({} series) · <a href='/-/healthy'>Health</a> · <a href='/-/ready'>Readiness</a></p>",
            page.series
        ),
    );
    html.push_str("<h2>Sources</h2><div class=wide tabindex=0 role=region aria-label=Sources><table><thead><tr><th>Business<th>Source<th>Window<th>State<th>Data age<th>Next poll<th>Last fault</tr></thead><tbody>");
    for known in &page.snapshot.sources {
        for (window, state) in known.source.windows.iter().zip(&known.windows) {
            row(&mut html, known, &window.name, state, now);
        }
    }
    html.push_str("</tbody></table></div></html>\n");
    html
}

fn row(html: &mut String, known: &Known, window: &str, state: &WindowKnown, now: Timestamp) {
    let (class, word) = match (known.gives_way, state.tried, state.up) {
        (true, _, _) => ("", "shown by its ad account"),
        (false, false, _) => ("", "not yet polled"),
        (false, true, true) => ("up", "up"),
        (false, true, false) => ("down", "down"),
    };
    let age = state
        .last_success
        .map_or_else(|| "never".to_owned(), |at| span(between(at, now)));
    let next = state.next_poll.map_or_else(
        || "now".to_owned(),
        |at| format!("in {}", span(between(now, at))),
    );
    let fault = state
        .fault
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    push(
        html,
        format_args!(
            "<tr><td>{}<td>{}<td>{}<td class='n {class}'>{word}<td class=n>{age}<td class=n>{next}<td><small>{}</small></tr>",
            escaped(&known.source.business),
            escaped(&known.source.name),
            escaped(window),
            escaped(&fault)
        ),
    );
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = html.write_fmt(text);
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Text for an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
