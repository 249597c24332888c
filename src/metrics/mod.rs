//! Everything between a snapshot and the bytes of `/metrics`.
//!
//! `catalog` lists all metric families, and `header` adds those of the config's `extra_fields`. `render`
//! writes a snapshot as text, with the help of `labels`, `numbers` and `day_start`. `page` keeps the text compressed and
//! renders only the chunks that changed. `series_limit` leaves out campaigns beyond `max_series`. `formats` converts it
//! to OpenMetrics and JSON, and `history` writes past days for backfilling. `self_metrics` counts
//! what the exporter does, with `server_metrics` and `recent_errors`, `health_collector` exports the health of the
//! businesses, and `encode` writes them. API formats are handled in `graph`.

pub mod catalog;
mod day_start;
mod encode;
pub mod formats;
mod header;
mod health_collector;
mod history;
mod labels;
mod numbers;
mod page;
mod recent_errors;
mod render;
mod self_metrics;
mod series_limit;
mod server_metrics;

pub use self::history::{DayBounds, HistoryLabels, RowHistory, write_history};
pub use self::page::{CONTENT_TYPE, GzipBody, MetricsPage, OPENMETRICS_CONTENT_TYPE, PageFormat};
pub use self::render::write_campaign_page;
pub use self::self_metrics::{CallSample, SelfMetrics};
pub use self::series_limit::{DroppedSeries, limit_series};
pub use self::server_metrics::ServerMetrics;
