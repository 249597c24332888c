//! The `process_*` metrics, read from `/proc` at each scrape.
//!
//! Names and HELP are those of the Prometheus client libraries. The collector of the `prometheus`
//! crate is not used because it reports CPU time in whole seconds. On systems without `/proc` the
//! metrics are absent.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// Clock ticks per second in `/proc` (`USER_HZ`): 100 on every Linux architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Collector for the metrics of this process.
#[derive(Debug)]
pub struct ProcessCollector {
    descs: Vec<Desc>,
    /// Boot time in seconds since the Unix epoch; `None` if `/proc/stat` is not readable.
    boot_time: Option<f64>,
}

/// Name, help, and whether the family is a counter.
const FAMILIES: [(&str, &str, bool); 7] = [
    (
        "process_cpu_seconds_total",
        "User and system CPU time spent in seconds",
        true,
    ),
    ("process_open_fds", "Number of open file descriptors", false),
    (
        "process_max_fds",
        "Maximum number of open file descriptors",
        false,
    ),
    (
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes",
        false,
    ),
    (
        "process_resident_memory_bytes",
        "Resident memory size in bytes",
        false,
    ),
    (
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds",
        false,
    ),
    (
        "process_threads",
        "Number of OS threads in the process",
        false,
    ),
];

impl ProcessCollector {
    /// Creates a collector for this process.
    ///
    /// # Errors
    ///
    /// Returns an error if a metric name is invalid; the constant names are valid.
    pub fn new() -> prometheus::Result<Self> {
        let desc = |(name, help, _): &(&str, &str, bool)| {
            Desc::new(
                (*name).to_owned(),
                (*help).to_owned(),
                Vec::new(),
                std::collections::HashMap::new(),
            )
        };
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot_time = stat.lines().find_map(|line| line.strip_prefix("btime "));
        Ok(Self {
            descs: FAMILIES.iter().map(desc).collect::<Result<_, _>>()?,
            boot_time: boot_time.and_then(|seconds| seconds.trim().parse().ok()),
        })
    }

    /// Returns the values of [`FAMILIES`], in their order; `None` if a value is not readable.
    fn values(&self) -> [Option<f64>; 7] {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the program name in parentheses, which can contain spaces and
        // parentheses itself.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        // Numbered from 1 as in proc_pid_stat(5); the third field is the first after the name.
        let field = |number: usize| {
            fields
                .get(number - 3)
                .and_then(|text| text.parse::<f64>().ok())
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib = line.split_whitespace().next()?.parse::<f64>().ok()?;
            Some(kib * 1024.0)
        };
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let max_fds = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let open_fds = fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|fds| u32::try_from(fds.count()).ok());
        [
            field(14)
                .zip(field(15))
                .map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            open_fds.map(f64::from),
            max_fds.and_then(|line| line.split_whitespace().next()?.parse().ok()),
            bytes("VmSize:"),
            bytes("VmRSS:"),
            field(22)
                .zip(self.boot_time)
                .map(|(ticks, boot_time)| boot_time + ticks / TICKS_PER_SECOND),
            field(20),
        ]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = FAMILIES.iter().zip(self.values());
        families
            .filter_map(|(family, value)| Some(metric_family(*family, value?)))
            .collect()
    }
}

fn metric_family((name, help, is_counter): (&str, &str, bool), value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    let metric_type = if is_counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        MetricType::COUNTER
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        MetricType::GAUGE
    };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(metric_type);
    family.set_metric(vec![metric]);
    family
}
