//! The one seam to Azure Resource Manager: base URL, credentials, time limits, long operations, and
//! what each answer means for the caller.
//!
//! Nothing is sent twice here, because the policy for that lives in the applier. The one exception is
//! looking: while an operation runs, a few looks at it may fail before the operation is given up.

mod credentials;
mod errors;

use std::time::Duration;

use fleetform_contract::{Cloud, Error, Pace, Progress, Result};
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::Url;
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use credentials::Tokens;

/// The public cloud.
const MANAGEMENT: &str = "https://management.azure.com";

/// `account["credentials"]` of a cloud that points at the emulator.
pub const SANDBOX: &str = "sandbox";

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const PAGES_LIMIT: usize = 1000;
/// Looks in a row that may fail while an operation runs.
const MISSES_LIMIT: u32 = 5;

/// Azure Resource Manager, for one subscription. Connects on the first call.
pub struct Arm {
    base: Url,
    /// Where tokens come from, when it is not the public cloud's.
    authority: Option<String>,
    subscription: Option<String>,
    sandbox: bool,
    pace: Pace,
    connection: OnceCell<Connection>,
}

struct Connection {
    client: reqwest::Client,
    tokens: Tokens,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Json,
}

/// A request that changes something.
pub struct Change<'a> {
    pub method: Method,
    pub path: &'a str,
    pub version: &'a str,
    pub body: Json,
    /// `If-Match` or `If-None-Match`, where the API knows them.
    pub condition: Option<(header::HeaderName, String)>,
}

impl Arm {
    /// No I/O; the error is for an endpoint that is no URL.
    pub fn new(cloud: &Cloud) -> Result<Arm> {
        let base = cloud.endpoints.get("management").map_or(MANAGEMENT, String::as_str);
        let base = Url::parse(base).ok().filter(|url| url.has_host()).ok_or_else(|| {
            Error::rejected(format!(
                "endpoints.management of cloud `{}` is no URL: {base}",
                cloud.name
            ))
        })?;
        let sandbox = cloud.account.get("credentials").is_some_and(|value| value == SANDBOX);
        Ok(Arm {
            base,
            authority: cloud.endpoints.get("identity").cloned(),
            subscription: cloud.account.get("subscription_id").cloned(),
            sandbox,
            pace: cloud.pace,
            connection: OnceCell::new(),
        })
    }

    /// The subscription's path: `/subscriptions/GUID`.
    pub fn subscription(&self) -> Result<String> {
        let from_environment = || {
            ["ARM_SUBSCRIPTION_ID", "AZURE_SUBSCRIPTION_ID"].iter().find_map(credentials::variable)
        };
        let id = self.subscription.clone().or_else(from_environment).ok_or_else(|| {
            Error::rejected(
                "no Azure subscription is named: set `subscription_id` in the cloud block or \
                 ARM_SUBSCRIPTION_ID in the environment",
            )
        })?;
        Ok(format!("/subscriptions/{id}"))
    }

    /// What stands at the path; `None` for nothing.
    pub async fn get(&self, path: &str, version: &str) -> Result<Option<Json>> {
        let url = self.url(path, &[("api-version", version)])?;
        Ok(self.look(url).await?.map(|answer| answer.body))
    }

    /// Every item of a list, over all its pages.
    pub async fn list(&self, path: &str, version: &str, filter: Option<&str>) -> Result<Vec<Json>> {
        let mut query = vec![("api-version", version)];
        query.extend(filter.map(|filter| ("$filter", filter)));
        let mut url = self.url(path, &query)?;
        let mut items = Vec::new();
        for _ in 0..PAGES_LIMIT {
            let Some(mut answer) = self.look(url).await? else { return Ok(items) };
            if let Json::Array(page) = answer.body["value"].take() {
                items.extend(page);
            }
            match answer.body["nextLink"].as_str().filter(|next| !next.is_empty()) {
                Some(next) => url = self.follow(next)?,
                None => return Ok(items),
            }
        }
        Err(Error::rejected(format!("the list {path} has more than {PAGES_LIMIT} pages")))
    }

    /// An action that answers at once (`listClusterUserCredential`).
    pub async fn post(&self, path: &str, version: &str) -> Result<Json> {
        let url = self.url(path, &[("api-version", version)])?;
        let answer = self.send(Method::POST, url, None, None).await?;
        Ok(succeeded(answer)?.body)
    }

    /// Sends a PUT or a PATCH and waits until what it names is settled.
    pub async fn change(&self, change: Change<'_>, progress: &dyn Progress) -> Result<Json> {
        let url = self.url(change.path, &[("api-version", change.version)])?;
        let mut patience = self.patience();
        let answer = self.send(change.method, url, Some(&change.body), change.condition).await?;
        self.finish(succeeded(answer)?, &mut patience, progress).await?;
        self.settle(change.path, change.version, &mut patience, progress).await
    }

    /// Waits until what stands at the path is in its final state, whoever began.
    pub async fn settled(
        &self,
        path: &str,
        version: &str,
        progress: &dyn Progress,
    ) -> Result<Json> {
        self.settle(path, version, &mut self.patience(), progress).await
    }

    /// Removes what stands at the path and waits until it is gone. Nothing there is fine.
    pub async fn delete(&self, path: &str, version: &str, progress: &dyn Progress) -> Result<()> {
        let url = self.url(path, &[("api-version", version)])?;
        let mut patience = self.patience();
        let answer = self.send(Method::DELETE, url, None, None).await?;
        if is_nothing(&answer) {
            return Ok(());
        }
        self.finish(succeeded(answer)?, &mut patience, progress).await?;
        self.vanish(path, version, &mut patience, progress).await
    }

    /// Waits until nothing stands at the path.
    pub async fn gone(&self, path: &str, version: &str, progress: &dyn Progress) -> Result<()> {
        self.vanish(path, version, &mut self.patience(), progress).await
    }

    /// A token for another API than Resource Manager.
    pub async fn token(&self, scope: &str) -> Result<String> {
        self.connection().await?.tokens.get(scope).await
    }

    /// Looks at the operation that the answer names until it is over.
    async fn finish(
        &self,
        answer: Answer,
        patience: &mut Patience,
        progress: &dyn Progress,
    ) -> Result<()> {
        let named = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let (monitor, by_status) = match (named("azure-asyncoperation"), named("location")) {
            (Some(monitor), _) => (monitor, false),
            (None, Some(monitor)) if answer.status == StatusCode::ACCEPTED => (monitor, true),
            _ => return Ok(()),
        };
        let monitor = self.follow(monitor)?;
        let mut after = retry_after(&answer.headers);
        loop {
            self.rest(patience, after, monitor.path()).await?;
            let Some(answer) = self.look_patiently(&monitor, patience).await? else {
                // Azure forgets operations that are over; what they made says how they ended.
                return Ok(());
            };
            after = retry_after(&answer.headers);
            if by_status {
                if answer.status != StatusCode::ACCEPTED {
                    return Ok(());
                }
                progress.report("Accepted");
                continue;
            }
            match answer.body["status"].as_str().unwrap_or("Succeeded") {
                "Succeeded" => return Ok(()),
                "Failed" | "Canceled" => return Err(errors::of_operation(&answer.body)),
                running => progress.report(running),
            }
        }
    }

    async fn settle(
        &self,
        path: &str,
        version: &str,
        patience: &mut Patience,
        progress: &dyn Progress,
    ) -> Result<Json> {
        let url = self.url(path, &[("api-version", version)])?;
        loop {
            let Some(answer) = self.look_patiently(&url, patience).await? else {
                return Err(Error::lost(format!("{path} vanished while it was waited for")));
            };
            match answer.body["properties"]["provisioningState"].as_str().unwrap_or("Succeeded") {
                "Succeeded" => return Ok(answer.body),
                state @ ("Failed" | "Canceled") => {
                    return Err(Error::rejected(format!(
                        "{path} is in the state {state}; the subscription's activity log says why"
                    )));
                }
                running => progress.report(running),
            }
            self.rest(patience, retry_after(&answer.headers), path).await?;
        }
    }

    async fn vanish(
        &self,
        path: &str,
        version: &str,
        patience: &mut Patience,
        progress: &dyn Progress,
    ) -> Result<()> {
        let url = self.url(path, &[("api-version", version)])?;
        while let Some(answer) = self.look_patiently(&url, patience).await? {
            match answer.body["properties"]["provisioningState"].as_str() {
                Some("Failed") => {
                    return Err(Error::rejected(format!(
                        "{path} could not be deleted; the subscription's activity log says why"
                    )));
                }
                state => progress.report(state.unwrap_or("Deleting")),
            }
            self.rest(patience, retry_after(&answer.headers), path).await?;
        }
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience { deadline: Instant::now() + self.pace.patience, misses: 0 }
    }

    /// Waits between two looks: the cloud's pace, or longer where Azure asks for it.
    async fn rest(&self, patience: &Patience, after: Option<Duration>, what: &str) -> Result<()> {
        let pause = self.pace.poll.max(after.unwrap_or_default());
        if Instant::now() + pause > patience.deadline {
            return Err(Error::lost(format!(
                "{what} was not over after {} seconds",
                self.pace.patience.as_secs()
            )));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn look_patiently(&self, url: &Url, patience: &mut Patience) -> Result<Option<Answer>> {
        loop {
            let error = match self.look(url.clone()).await {
                Ok(answer) => {
                    patience.misses = 0;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let after = match &error {
                Error::Throttled { after, .. } => *after,
                Error::Lost { .. } => None,
                _ => return Err(error),
            };
            patience.misses += 1;
            if patience.misses > MISSES_LIMIT {
                return Err(error);
            }
            self.rest(patience, after, url.path()).await?;
        }
    }

    /// One GET; `None` for nothing there.
    async fn look(&self, url: Url) -> Result<Option<Answer>> {
        let answer = self.send(Method::GET, url, None, None).await?;
        if is_nothing(&answer) { Ok(None) } else { succeeded(answer).map(Some) }
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Json>,
        condition: Option<(header::HeaderName, String)>,
    ) -> Result<Answer> {
        let connection = self.connection().await?;
        let token = connection.tokens.get(&self.scope()).await?;
        let what = format!("{method} {}", url.path());
        let is_post = method == Method::POST;
        let mut request = connection.client.request(method, url).bearer_auth(token);
        request = match body {
            Some(body) => request.json(body),
            // Azure's front asks for a length, even where it is none.
            None if is_post => request.body(""),
            None => request,
        };
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let lost = |error: reqwest::Error| {
            Error::lost(format!("{what}: {}", errors::chain(&error.without_url())))
        };
        let answer = request.send().await.map_err(lost)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.bytes().await.map_err(lost)?;
        let body = match serde_json::from_slice(&text) {
            Ok(body) => body,
            Err(_) if text.is_empty() || !status.is_success() => Json::Null,
            Err(error) => {
                return Err(Error::lost(format!("{what}: the answer is no JSON: {error}")));
            }
        };
        Ok(Answer { status, headers, body })
    }

    async fn connection(&self) -> Result<&Connection> {
        self.connection
            .get_or_try_init(|| async {
                let client = client(self.base.scheme() == "http")?;
                let authority = self.authority.as_deref();
                let tokens = Tokens::new(self.sandbox, authority, client.clone())?;
                Ok(Connection { client, tokens })
            })
            .await
    }

    fn scope(&self) -> String {
        format!("{}/.default", self.base.origin().ascii_serialization())
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url> {
        let text = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut url = Url::parse_with_params(&text, query)
            .map_err(|error| Error::rejected(format!("{path} is no path of an object: {error}")))?;
        // A plus stands for a space in forms only; one that is meant is an escape by now.
        let query = url.query().map(|query| query.replace('+', "%20"));
        url.set_query(query.as_deref());
        Ok(url)
    }

    /// A URL that Azure told us, if it is Azure's: a token is shown to nobody else.
    fn follow(&self, link: &str) -> Result<Url> {
        let is_ours = |url: &Url| {
            let (Some(host), Some(base)) = (url.host_str(), self.base.host_str()) else {
                return false;
            };
            url.scheme() == self.base.scheme()
                && url.port_or_known_default() == self.base.port_or_known_default()
                && (host == base || host.ends_with(&format!(".{base}")))
        };
        Url::parse(link)
            .ok()
            .filter(is_ours)
            .ok_or_else(|| Error::rejected(format!("Azure points at another host: {link}")))
    }
}

/// How long an operation is still waited for.
struct Patience {
    deadline: Instant,
    misses: u32,
}

fn client(plain: bool) -> Result<reqwest::Client> {
    // The program installs its provider of cryptography at the start; a test that uses this crate alone
    // has none yet. Losing the race to install one is fine: then there is one.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(ANSWER_LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("fleetform/", env!("CARGO_PKG_VERSION")));
    if plain {
        // An emulator on loopback is behind nobody's proxy, and reading the system's certificates for it
        // would cost more than everything else.
        builder = builder.no_proxy().tls_certs_only([]);
    }
    builder.build().map_err(|error| {
        Error::rejected(format!("the HTTP client cannot be set up: {}", errors::chain(&error)))
    })
}

/// Whether the answer says that what was asked for is not there. That the subscription is missing is
/// another matter.
fn is_nothing(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND
        && !matches!(
            errors::code(&answer.body),
            Some("SubscriptionNotFound" | "InvalidResourceType")
        )
}

fn succeeded(answer: Answer) -> Result<Answer> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    Err(errors::of_answer(answer.status, &answer.body, retry_after(&answer.headers)))
}

/// Azure asks in whole seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
