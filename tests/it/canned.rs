//! A tiny server of answers that a test writes itself: for what no faithful simulator would say.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{Exporter, parse};

/// Until the tier is known the exporter takes it for the slowest, and asks little.
const STANDARD: &str =
    "x-fb-ads-insights-throttle: {\"ads_api_access_tier\":\"standard_access\"}\r\n";

/// It ends when it is dropped.
pub(crate) struct Canned {
    url: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    serving: JoinHandle<()>,
}

impl Canned {
    /// Answers each path and (still encoded) query with what `answer` makes of it: JSON, or, where
    /// that is a text, the text itself.
    pub(crate) async fn start(
        answer: impl Fn(&str, &str) -> Value + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                connections.spawn(async move {
                    let served = serve(stream, |path, query| {
                        let entry = (path.to_owned(), query.to_owned());
                        log.lock().unwrap().push(entry);
                        match answer(path, query) {
                            Value::String(text) => text,
                            json => json.to_string(),
                        }
                    });
                    drop(served.await);
                });
            }
        });
        Self {
            url,
            asked,
            serving,
        }
    }

    /// The exporter against it, for a config without `graph`.
    pub(crate) async fn exporter(&self, config: &str) -> Exporter {
        Exporter::start(&parse(config, &self.url)).await
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Paths and queries so far.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: impl Fn(&str, &str) -> String,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(request) = lines.next_line().await? {
        while lines
            .next_line()
            .await?
            .is_some_and(|line| !line.is_empty())
        {}
        let target = request.split(' ').nth(1).unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let body = answer(path, query);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{STANDARD}Content-Length: {}\r\n\r\n",
            body.len()
        );
        write.write_all(head.as_bytes()).await?;
        write.write_all(body.as_bytes()).await?;
    }
    Ok(())
}
