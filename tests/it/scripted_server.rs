//! HTTP server with responses written by the test, for those that the simulator does not send.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{Exporter, parse};

/// Without a tier, the exporter limits itself to the quota of the development tier.
const STANDARD_TIER_HEADER: &str =
    "x-fb-ads-insights-throttle: {\"ads_api_access_tier\":\"standard_access\"}\r\n";

/// Response of the server. A [`Value`] becomes one with status 200, where a JSON string is sent as
/// text, without quotes.
pub(crate) struct ScriptedResponse {
    pub(crate) status: u16,
    /// Additional headers, each line with its end.
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl ScriptedResponse {
    pub(crate) fn with_status(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: String::new(),
            body: body.as_bytes().to_vec(),
        }
    }
}

impl From<Value> for ScriptedResponse {
    fn from(body: Value) -> Self {
        match body {
            Value::String(text) => Self::with_status(200, &text),
            json => Self::with_status(200, &json.to_string()),
        }
    }
}

/// Server on loopback, stopped on drop.
pub(crate) struct ScriptedServer {
    url: String,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    task: JoinHandle<()>,
}

impl ScriptedServer {
    /// Starts a server that sends `respond(path, query)`; the query is still percent-encoded.
    pub(crate) async fn start<R: Into<ScriptedResponse>>(
        respond: impl Fn(&str, &str) -> R + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (respond, log) = (Arc::new(respond), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (respond, log) = (Arc::clone(&respond), Arc::clone(&log));
                connections.spawn(async move {
                    let result = serve(stream, |path, query| {
                        let request = (path.to_owned(), query.to_owned());
                        log.lock().unwrap().push(request);
                        respond(path, query).into()
                    });
                    // Fails if the exporter closes the connection.
                    let _ = result.await;
                });
            }
        });
        Self {
            url,
            requests,
            task,
        }
    }

    /// Starts an exporter that polls this server, with a config without `graph`.
    pub(crate) async fn exporter(&self, config: &str) -> Exporter {
        Exporter::start(&parse(config, &self.url)).await
    }

    /// Returns the URL of the server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns path and query of all requests so far.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    respond: impl Fn(&str, &str) -> ScriptedResponse,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(request) = lines.next_line().await? {
        // Skips the headers.
        while lines
            .next_line()
            .await?
            .is_some_and(|line| !line.is_empty())
        {}
        let target = request.split(' ').nth(1).unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let ScriptedResponse {
            status,
            headers,
            body,
        } = respond(path, query);
        let tier = if headers.contains("x-fb-ads-insights-throttle") {
            ""
        } else {
            STANDARD_TIER_HEADER
        };
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n{tier}{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        write.write_all(head.as_bytes()).await?;
        write.write_all(&body).await?;
    }
    Ok(())
}
