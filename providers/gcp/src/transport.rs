//! The one seam to Google: credentials, endpoints, patience, and what Google's errors mean to us.
//!
//! The SDK never retries here: the policy lives in `apply`, which learns from [`Error`] what to do. Only
//! a look at a running operation that gets no answer is repeated, because the next look is the same.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetform_contract::{Cloud, Error, Pace, Progress, Result};
use google_cloud_artifactregistry_v1::client::ArtifactRegistry;
use google_cloud_auth::credentials::{self, AccessTokenCredentials, Credentials};
use google_cloud_container_v1::client::ClusterManager;
use google_cloud_container_v1::model::{Operation, operation};
use google_cloud_gax::error::Error as SdkError;
use google_cloud_gax::error::rpc::{Code, Status, StatusDetails};
use google_cloud_gax::retry_policy::NeverRetry;
use tokio::sync::{OnceCell, OwnedMutexGuard};

/// The value of `account["credentials"]` that stands for the emulator, which asks for none.
pub const SANDBOX_CREDENTIALS: &str = "sandbox";

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// One request; long operations answer at once and are polled.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections to one project. Made without I/O; the first call connects.
pub struct Transport {
    cloud: String,
    project: Option<String>,
    sandbox: bool,
    endpoints: BTreeMap<String, String>,
    pub pace: Pace,
    tokens: OnceCell<AccessTokenCredentials>,
    container: OnceCell<ClusterManager>,
    registry: OnceCell<ArtifactRegistry>,
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What a look at something unfinished saw.
pub enum Look<T> {
    Over(T),
    /// With the phase it is in.
    Still(String),
}

impl Transport {
    pub fn new(cloud: &Cloud) -> Transport {
        let account = |name: &str| cloud.account.get(name).cloned();
        Transport {
            cloud: cloud.name.clone(),
            project: account("project"),
            sandbox: account("credentials").as_deref() == Some(SANDBOX_CREDENTIALS),
            endpoints: cloud.endpoints.clone(),
            pace: cloud.pace,
            tokens: OnceCell::new(),
            container: OnceCell::new(),
            registry: OnceCell::new(),
            turns: Mutex::default(),
        }
    }

    pub fn project(&self) -> Result<&str> {
        self.project.as_deref().ok_or_else(|| {
            Error::rejected(format!(
                "cloud \"{}\" names no Google Cloud project: set `project = \"…\"` in its block",
                self.cloud
            ))
        })
    }

    /// `projects/P/locations/L`.
    pub fn parent(&self, location: &str) -> Result<String> {
        Ok(format!("projects/{}/locations/{location}", self.project()?))
    }

    /// The Kubernetes Engine API.
    pub async fn container(&self) -> Result<&ClusterManager> {
        let connect = || async {
            let mut builder = ClusterManager::builder()
                .with_credentials(self.credentials().await?)
                .with_retry_policy(NeverRetry)
                .with_attempt_timeout(REQUEST_TIMEOUT);
            if let Some(url) = self.endpoints.get("container") {
                builder = builder.with_endpoint(url.as_str());
            }
            builder.build().await.map_err(unconnected)
        };
        self.container.get_or_try_init(connect).await
    }

    /// The Artifact Registry API.
    pub async fn registry(&self) -> Result<&ArtifactRegistry> {
        let connect = || async {
            let mut builder = ArtifactRegistry::builder()
                .with_credentials(self.credentials().await?)
                .with_retry_policy(NeverRetry)
                .with_attempt_timeout(REQUEST_TIMEOUT);
            if let Some(url) = self.endpoints.get("artifactregistry") {
                builder = builder.with_endpoint(url.as_str());
            }
            builder.build().await.map_err(unconnected)
        };
        self.registry.get_or_try_init(connect).await
    }

    /// A bearer token for clusters, an hour long at most; none for the emulator.
    pub async fn token(&self) -> Result<Option<String>> {
        if self.sandbox {
            return Ok(None);
        }
        match self.tokens().await?.access_token().await {
            Ok(token) => Ok(Some(token.token)),
            Err(error) if error.is_transient() => Err(Error::lost(chain(&error))),
            Err(error) => Err(no_credentials(&error)),
        }
    }

    /// The base URL under which the sandbox serves clusters, where it does.
    pub fn kubernetes(&self) -> Option<&str> {
        self.endpoints.get("kubernetes").map(String::as_str)
    }

    /// Waits for this process's turn at a cluster. Google runs one operation on a cluster at a time and
    /// refuses the next, so they queue here instead of being refused and sent again.
    pub async fn turn(&self, cluster: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().expect("no holder panics");
            Arc::clone(turns.entry(cluster.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    /// Looks until it is over, as patiently as the cloud's pace says.
    pub async fn watch<T, F, L>(
        &self,
        what: &str,
        progress: &dyn Progress,
        mut look: F,
    ) -> Result<T>
    where
        F: FnMut() -> L + Send,
        L: Future<Output = std::result::Result<Look<T>, SdkError>> + Send,
    {
        let began = tokio::time::Instant::now();
        loop {
            match look().await {
                Ok(Look::Over(outcome)) => return Ok(outcome),
                Ok(Look::Still(phase)) => progress.report(&phase),
                Err(failure) => match error(failure) {
                    Error::Lost { .. } | Error::Throttled { .. } => {}
                    other => return Err(other),
                },
            }
            if began.elapsed() >= self.pace.patience {
                let minutes = self.pace.patience.as_secs() / 60;
                return Err(Error::lost(format!("{what} did not end within {minutes} minutes")));
            }
            tokio::time::sleep(self.pace.poll).await;
        }
    }

    /// Waits for an operation of the Kubernetes Engine API; its failure is an error.
    pub async fn finish(
        &self,
        location: &str,
        started: Operation,
        progress: &dyn Progress,
    ) -> Result<()> {
        let client = self.container().await?;
        let name = format!("{}/operations/{}", self.parent(location)?, started.name);
        let look = || {
            let request = client.get_operation().set_name(&name);
            async move {
                let now = request.send().await?;
                let kind = now.operation_type.name().unwrap_or_default().to_owned();
                Ok(match now.status {
                    operation::Status::Done => Look::Over(now),
                    other => Look::Still(format!("{kind} {}", other.name().unwrap_or_default())),
                })
            }
        };
        let ended = self.watch(&name, progress, look).await?;
        match ended.error {
            Some(status) => Err(classify(Code::from(status.code), &status.message, &[])),
            None => Ok(()),
        }
    }

    async fn credentials(&self) -> Result<Credentials> {
        install_tls();
        if self.sandbox {
            return Ok(credentials::anonymous::Builder::new().build());
        }
        Ok(Credentials::from(self.tokens().await?.clone()))
    }

    /// Application default credentials: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own, or the metadata
    /// server's.
    async fn tokens(&self) -> Result<&AccessTokenCredentials> {
        let build = || async {
            let builder = credentials::Builder::default().with_scopes([SCOPE]);
            builder.build_access_token_credentials().map_err(|error| no_credentials(&error))
        };
        self.tokens.get_or_try_init(build).await
    }
}

/// The SDK has no TLS of its own and panics where the process has none. The program installs one at its
/// start; a test or another host may not have.
fn install_tls() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Whether the cloud answered with this code.
pub fn has_code(failure: &SdkError, code: Code) -> bool {
    failure.status().is_some_and(|status| status.code == code)
}

/// What to do about a failed call.
pub fn error(failure: SdkError) -> Error {
    if let Some(Status { code, message, details, .. }) = failure.status() {
        return classify(*code, message, details);
    }
    // Before anything was sent, or after: nobody knows which, except for what is told apart here.
    if failure.is_authentication() {
        return no_credentials(&failure);
    }
    if failure.is_binding() || failure.is_serialization() {
        return Error::rejected(chain(&failure));
    }
    match failure.http_status_code() {
        Some(429) => Error::Throttled { message: http(429, &failure), after: None },
        Some(status @ (401 | 403)) => {
            Error::Denied { message: http(status, &failure), permission: None }
        }
        Some(status @ 400..=499) => Error::rejected(http(status, &failure)),
        Some(status) => Error::lost(http(status, &failure)),
        None => Error::lost(chain(&failure)),
    }
}

/// Texts by which Google says that there are no machines to be had, whatever the code around them.
const OUT_OF_STOCK: &[&str] = &[
    "ZONE_RESOURCE_POOL_EXHAUSTED",
    "GCE_STOCKOUT",
    "STOCKOUT",
    "does not have enough resources available",
    "GCE_QUOTA_EXCEEDED",
    "QUOTA_EXCEEDED",
    "Insufficient regional quota",
    "Insufficient project quota",
    "Insufficient quota to satisfy the request",
];

/// Texts by which Google says that something else runs on the object.
const BUSY: &[&str] = &[
    "running incompatible operation",
    "currently has operation",
    "operation in progress",
    "is currently being",
    "try again later",
];

/// The meaning of Google's code and text.
pub fn classify(code: Code, text: &str, details: &[StatusDetails]) -> Error {
    let message = format!("{}: {text}", code.name());
    if OUT_OF_STOCK.iter().any(|phrase| text.contains(phrase)) || is_resource_quota(text) {
        return Error::NoCapacity { message };
    }
    match code {
        Code::ResourceExhausted => Error::Throttled { message, after: retry_delay(details) },
        Code::FailedPrecondition if BUSY.iter().any(|phrase| text.contains(phrase)) => {
            Error::Conflict { message }
        }
        Code::Aborted => Error::Conflict { message },
        Code::PermissionDenied | Code::Unauthenticated => {
            Error::Denied { permission: permission(text, details), message }
        }
        Code::Unknown
        | Code::Internal
        | Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::DataLoss => Error::Lost { message },
        _ => Error::Rejected { message },
    }
}

/// `Quota 'NVIDIA_L4_GPUS' exceeded. Limit: 8.0 in region …` is about machines; `Quota exceeded for quota
/// metric '…' and limit 'Read requests per minute'` is about the rate of calls.
fn is_resource_quota(text: &str) -> bool {
    let after_name = text.split_once("Quota '").and_then(|(_, rest)| rest.split_once('\''));
    after_name.is_some_and(|(_, rest)| rest.starts_with(" exceeded"))
}

fn retry_delay(details: &[StatusDetails]) -> Option<Duration> {
    details.iter().find_map(|detail| match detail {
        StatusDetails::RetryInfo(info) => {
            let delay = info.retry_delay.as_ref()?;
            u64::try_from(delay.seconds()).ok().map(Duration::from_secs)
        }
        _ => None,
    })
}

/// The missing permission: Google says `Required "container.clusters.create" permission(s) for …` or
/// `Permission 'artifactregistry.repositories.create' denied on resource …`, or puts it into the details.
fn permission(text: &str, details: &[StatusDetails]) -> Option<String> {
    let named = details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) => info.metadata.get("permission").cloned(),
        _ => None,
    });
    let is_permission = |word: &&str| {
        word.split('.').count() >= 3 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
    };
    named.or_else(|| text.split(['"', '\'']).find(is_permission).map(str::to_owned))
}

fn no_credentials(cause: &(dyn std::error::Error + 'static)) -> Error {
    let message = format!(
        "no Google credentials: {}; run `gcloud auth application-default login`, or set \
         GOOGLE_APPLICATION_CREDENTIALS",
        chain(cause)
    );
    Error::Denied { message, permission: None }
}

fn unconnected(cause: google_cloud_gax::client_builder::Error) -> Error {
    if cause.is_default_credentials() {
        return no_credentials(&cause);
    }
    Error::rejected(format!("connecting to Google Cloud: {}", chain(&cause)))
}

fn http(status: u16, failure: &SdkError) -> String {
    let body = failure.http_payload().map(|body| String::from_utf8_lossy(body).into_owned());
    let body: String = body.unwrap_or_default().trim().chars().take(300).collect();
    format!("HTTP {status}: {body}")
}

/// The error's text with its causes, which the SDK keeps apart.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: Code, text: &str) -> &'static str {
        error(SdkError::service(Status::default().set_code(code).set_message(text))).class()
    }

    #[test]
    fn every_answer_says_what_to_do_next() {
        let busy = "Cluster is running incompatible operation operation-1-a.";
        let rate = "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per \
                    minute' of service 'container.googleapis.com' for consumer 'project_number:1'.";
        let stock = "Google Compute Engine: The zone 'projects/p/zones/us-central1-a' does not have \
                     enough resources available to fulfill the request.";
        let quota = "Insufficient regional quota to satisfy request: resource \"NVIDIA_L4_GPUS\": \
                     request requires '2.0' and is short '1.0'.";
        for (code, text, expected) in [
            (Code::ResourceExhausted, rate, "throttled"),
            (Code::ResourceExhausted, "Quota 'NVIDIA_L4_GPUS' exceeded. Limit: 1.0", "no_capacity"),
            (Code::PermissionDenied, quota, "no_capacity"),
            (Code::Unknown, stock, "no_capacity"),
            (Code::Internal, "[GCE_STOCKOUT]: Instance 'x' creation failed", "no_capacity"),
            (Code::Unknown, "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "no_capacity"),
            (Code::FailedPrecondition, busy, "conflict"),
            (Code::FailedPrecondition, "Cluster has no such pool.", "rejected"),
            (Code::Aborted, "The operation was aborted.", "conflict"),
            (Code::InvalidArgument, "Invalid value for field", "rejected"),
            (Code::AlreadyExists, "Already exists: projects/p/…", "rejected"),
            (Code::NotFound, "Not found: projects/p/…", "rejected"),
            (
                Code::PermissionDenied,
                "Required \"container.clusters.create\" permission(s)",
                "denied",
            ),
            (Code::Unauthenticated, "Request had invalid credentials.", "denied"),
            (Code::Unavailable, "The service is currently unavailable.", "lost"),
            (Code::Internal, "Internal error encountered.", "lost"),
            (Code::DeadlineExceeded, "Deadline exceeded.", "lost"),
        ] {
            assert_eq!(class(code, text), expected, "{} {text}", code.name());
        }
    }

    #[test]
    fn failures_without_an_answer_of_google_are_told_apart() {
        let page = |status: u16| {
            error(SdkError::http(status, Default::default(), "<html>no</html>".into())).class()
        };
        assert_eq!(page(429), "throttled");
        assert_eq!(page(403), "denied");
        assert_eq!(page(404), "rejected");
        assert_eq!(page(502), "lost");
        assert_eq!(error(SdkError::timeout("too slow")).class(), "lost");
        assert_eq!(error(SdkError::io("reset by peer")).class(), "lost");
        assert_eq!(error(SdkError::connect("refused")).class(), "lost");
        assert_eq!(error(SdkError::deser("half an answer")).class(), "lost");
        assert_eq!(error(SdkError::ser("not sent")).class(), "rejected");
    }

    #[test]
    fn the_missing_permission_is_named() {
        for (text, expected) in [
            (
                "Required \"container.clusters.create\" permission(s) for \"projects/acme\".",
                Some("container.clusters.create"),
            ),
            (
                "Permission 'artifactregistry.repositories.create' denied on resource \
                 '//artifactregistry.googleapis.com/projects/acme/locations/us-central1'",
                Some("artifactregistry.repositories.create"),
            ),
            ("The caller does not have permission", None),
        ] {
            let status = Status::default().set_code(Code::PermissionDenied).set_message(text);
            let Error::Denied { permission, message } = error(SdkError::service(status)) else {
                panic!("{text}")
            };
            assert_eq!(permission.as_deref(), expected);
            assert!(message.starts_with("PERMISSION_DENIED: "), "{message}");
        }
    }

    #[test]
    fn without_a_project_the_answer_says_where_to_put_it() {
        let cloud = Cloud { name: "gcp".into(), ..Cloud::default() };
        let error = Transport::new(&cloud).parent("us-central1").expect_err("there is none");
        assert!(error.to_string().contains("set `project"), "{error}");
    }
}
