//! One poll's way to the API: asks, tries again where that can help, and tells of every call.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::client::{Client, Credentials, Request};
use super::error::Error;
use super::gate::{Gate, Lane};
use super::retry;
use super::usage::Headers;

/// What is asked, as the `endpoint` label has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Insights of an ad account, or of a campaign.
    Insights,
    /// An ad account's campaigns.
    Campaigns,
    /// The ads of an ad account or campaign.
    Ads,
    /// The ad sets of an ad account or campaign.
    Adsets,
    /// An ad account.
    Account,
    /// A campaign, or an ad that somebody took for one.
    Campaign,
    /// A token.
    DebugToken,
}

impl Endpoint {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insights => "insights",
            Self::Campaigns => "campaigns",
            Self::Ads => "ads",
            Self::Adsets => "adsets",
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::DebugToken => "debug_token",
        }
    }
}

/// One request that was answered, or given up.
#[derive(Debug)]
pub struct Call<'a> {
    /// What was asked.
    pub endpoint: Endpoint,
    /// How long the answer took.
    pub duration: Duration,
    /// What went wrong, if anything did.
    pub error: Option<&'a Error>,
    /// What the answer's headers said.
    pub headers: &'a Headers,
}

/// One poll's way to the API.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The API.
    pub client: &'a Client,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// When requests may go.
    pub gate: &'a Gate,
    /// In whose name they go.
    pub lane: &'a Lane,
    /// Who is told of every call.
    pub told: &'a (dyn Fn(&Call<'_>) + Send + Sync),
}

impl Session<'_> {
    /// Asks until there is an answer that `read` can make sense of, or no point in asking again.
    pub(super) async fn get<T>(
        &self,
        endpoint: Endpoint,
        path: &str,
        params: &[(&str, String)],
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        retry::run(|| self.once(endpoint, path, params, &read)).await
    }

    async fn once<T>(
        &self,
        endpoint: Endpoint,
        path: &str,
        params: &[(&str, String)],
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let permit = self.gate.enter(self.lane).await?;
        let start = Instant::now();
        let response = self
            .client
            .send(self.credentials, Request { path, params })
            .await;
        let duration = start.elapsed();
        let answer = response.body.and_then(|body: Bytes| {
            // What cannot be read is quoted, and may quote a secret.
            read(&body).map_err(|text| Error::garbled(self.credentials.conceal(&text)))
        });
        let answer = answer.map_err(|error| Error {
            wait: response.headers.regain,
            ..error
        });
        let error = answer.as_ref().err();
        permit.leave(error, &response.headers);
        (self.told)(&Call {
            endpoint,
            duration,
            error,
            headers: &response.headers,
        });
        answer
    }
}
