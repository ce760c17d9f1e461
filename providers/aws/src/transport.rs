//! The seam to AWS: who we are, where each API is, how long we wait. SDK clients for EKS and ECR, and
//! signed calls of the query APIs (IAM, EC2, STS), whose SDKs are too large for the dozen calls we make.
//!
//! Nothing is retried here: the retry policy is the applier's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use fleetform_contract::{Cloud, Error, Pace, Progress, Result, Token};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::errors::{Refusal, chain, classify, credentials_missing};
use crate::text;
use crate::xml::Element;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A cloud's connections: one set of clients for each region, made at the first use.
pub struct Transport {
    cloud: Cloud,
    base: OnceCell<(SdkConfig, SharedHttpConnector)>,
    regions: Mutex<BTreeMap<String, Arc<Clients>>>,
}

/// The clients of one region.
pub struct Clients {
    pub region: String,
    pub eks: aws_sdk_eks::Client,
    pub ecr: aws_sdk_ecr::Client,
    pub query: Query,
}

impl Transport {
    pub fn new(cloud: Cloud) -> Transport {
        Transport { cloud, base: OnceCell::new(), regions: Mutex::default() }
    }

    /// The clients of a region; the first call loads the credentials' configuration.
    pub async fn region(&self, region: &str) -> Result<Arc<Clients>> {
        let mut regions = self.regions.lock().await;
        if let Some(clients) = regions.get(region) {
            return Ok(clients.clone());
        }
        let (base, connector) = self.base.get_or_init(|| self.connect(region)).await;
        let clients = Arc::new(self.clients(base, connector, region)?);
        if regions.is_empty() {
            self.check_account(&clients.query).await?;
        }
        regions.insert(region.to_owned(), clients.clone());
        Ok(clients)
    }

    async fn connect(&self, region: &str) -> (SdkConfig, SharedHttpConnector) {
        let sleep = SharedAsyncSleep::new(TokioSleep::new());
        // Nothing of the user's environment reaches the sandbox, and the other way round.
        let proxy =
            if self.is_sandbox() { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        let connector = connector(settings, proxy.clone(), sleep.clone());
        let (shared, patient) = (connector.clone(), sleep.clone());
        let http = http_client_fn(move |settings, _| {
            // Sources of credentials have time-outs of their own; all else shares connections.
            let usual = settings.connect_timeout() == Some(CONNECT_TIMEOUT)
                && settings.read_timeout() == Some(READ_TIMEOUT);
            if usual {
                return shared.clone();
            }
            self::connector(settings.clone(), proxy.clone(), patient.clone())
        });
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        let region = Region::new(region.to_owned());
        let sdk = if self.is_sandbox() {
            let dummy = Credentials::new("sandbox", "sandbox", None, None, "sandbox");
            SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(region)
                .credentials_provider(SharedCredentialsProvider::new(dummy))
                .http_client(http)
                .sleep_impl(sleep)
                .retry_config(RetryConfig::disabled())
                .timeout_config(timeouts)
                .build()
        } else {
            let loader = aws_config::defaults(BehaviorVersion::latest())
                .region(region)
                .http_client(http)
                .sleep_impl(sleep)
                .retry_config(RetryConfig::disabled())
                .timeout_config(timeouts);
            match self.cloud.account.get("profile") {
                Some(profile) => loader.profile_name(profile).load().await,
                None => loader.load().await,
            }
        };
        (sdk, connector)
    }

    fn clients(
        &self,
        base: &SdkConfig,
        connector: &SharedHttpConnector,
        region: &str,
    ) -> Result<Clients> {
        let sdk = base.to_builder().region(Region::new(region.to_owned())).build();
        let mut eks = aws_sdk_eks::config::Builder::from(&sdk);
        eks.set_endpoint_url(self.endpoint("eks").or(base.endpoint_url().map(str::to_owned)));
        let mut ecr = aws_sdk_ecr::config::Builder::from(&sdk);
        ecr.set_endpoint_url(self.endpoint("ecr").or(base.endpoint_url().map(str::to_owned)));
        let credentials = base.credentials_provider().ok_or_else(|| Error::Denied {
            message: "no credentials for AWS: the configuration has no source of them".into(),
            permission: None,
        })?;
        let named = ["ec2", "iam", "sts"].map(|service| {
            let endpoint = self.endpoint(service).or(base.endpoint_url().map(str::to_owned));
            (service, endpoint.unwrap_or_else(|| public_endpoint(service, region)))
        });
        Ok(Clients {
            region: region.to_owned(),
            eks: aws_sdk_eks::Client::from_conf(eks.build()),
            ecr: aws_sdk_ecr::Client::from_conf(ecr.build()),
            query: Query {
                region: region.to_owned(),
                credentials,
                connector: connector.clone(),
                endpoints: named.into_iter().collect(),
            },
        })
    }

    fn endpoint(&self, service: &str) -> Option<String> {
        self.cloud.endpoints.get(service).map(|url| url.trim_end_matches('/').to_owned())
    }

    fn is_sandbox(&self) -> bool {
        self.cloud.account.get("credentials").is_some_and(|kind| kind == "sandbox")
    }

    /// Refuses to work in another account than the stack names.
    async fn check_account(&self, query: &Query) -> Result<()> {
        let Some(wanted) = self.cloud.account.get("account_id").filter(|_| !self.is_sandbox())
        else {
            return Ok(());
        };
        let answer = query.call("sts", "GetCallerIdentity", &[]).await?;
        match answer.text("GetCallerIdentityResult.Account") {
            Some(account) if account == wanted => Ok(()),
            account => Err(Error::Denied {
                message: format!(
                    "the credentials of cloud `{}` belong to account {}, the stack says \
                     account_id = \"{wanted}\"",
                    self.cloud.name,
                    account.unwrap_or("unknown")
                ),
                permission: None,
            }),
        }
    }
}

/// Signed calls of APIs that take forms and answer XML.
pub struct Query {
    region: String,
    credentials: SharedCredentialsProvider,
    connector: SharedHttpConnector,
    endpoints: BTreeMap<&'static str, String>,
}

impl Query {
    /// Calls an action of `ec2`, `iam` or `sts`; gives the answer's root element.
    pub async fn call(
        &self,
        service: &'static str,
        action: &str,
        parameters: &[(String, String)],
    ) -> std::result::Result<Element, Refused> {
        let version = match service {
            "ec2" => "2016-11-15",
            "iam" => "2010-05-08",
            _ => "2011-06-15",
        };
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            form = format!("{form}&{name}={}", text::percent_encode(value));
        }
        let url = format!("{}/", self.endpoints[service]);
        let content = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let signed = self.sign(service, "POST", &url, &[content], form.as_bytes(), None).await?;

        let mut request = HttpRequest::new(SdkBody::from(form));
        request.set_method("POST").map_err(|error| Error::rejected(chain(&error)))?;
        request.set_uri(url).map_err(|error| Error::rejected(chain(&error)))?;
        request.headers_mut().insert(content.0, content.1);
        for (name, value) in signed.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        let answer =
            self.connector.call(request).await.map_err(|error| Error::lost(chain(&error)))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|text| text.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let body = read_body(answer.into_body()).await?;
        let root = Element::parse(&body);
        if (200..300).contains(&status) {
            return root
                .ok_or_else(|| Error::lost(format!("{service} answered no XML: {body}")).into());
        }
        let root = root.unwrap_or_default();
        // IAM and STS say `Error`, EC2 `Errors.Error`.
        let part = |name: &str| {
            let text = root.text(&format!("Error.{name}"));
            text.or_else(|| root.text(&format!("Errors.Error.{name}"))).unwrap_or_default()
        };
        let (code, message) = (part("Code"), part("Message"));
        let error = classify(&Refusal { status, code, message, retry_after });
        Err(Refused { code: code.to_owned(), error })
    }

    /// A URL that proves who we are for a minute, for whoever calls it: what EKS takes as a token.
    pub async fn presigned_identity(&self, header: (&str, &str)) -> Result<String> {
        let base = &self.endpoints["sts"];
        let url = format!("{base}/?Action=GetCallerIdentity&Version=2011-06-15");
        let lifetime = Some(Duration::from_secs(60));
        let signed = self.sign("sts", "GET", &url, &[header], b"", lifetime).await?;
        let parameters = signed.params().iter();
        let more =
            parameters.map(|(name, value)| format!("&{name}={}", text::percent_encode(value)));
        Ok(format!("{url}{}", more.collect::<String>()))
    }

    async fn sign(
        &self,
        service: &str,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        presign: Option<Duration>,
    ) -> Result<aws_sigv4::http_request::SigningInstructions> {
        let identity = self.credentials.provide_credentials().await;
        let identity = identity.map_err(|error| {
            credentials_missing(&error).unwrap_or_else(|| Error::lost(chain(&error)))
        })?;
        let identity = identity.into();
        let mut settings = SigningSettings::default();
        if presign.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = presign;
        }
        let region = if service == "iam" { iam_region(&self.region) } else { &self.region };
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| Error::rejected(chain(&error)))?;
        let request =
            SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body))
                .map_err(|error| Error::rejected(chain(&error)))?;
        let signed =
            sign(request, &parameters.into()).map_err(|error| Error::rejected(chain(&error)))?;
        Ok(signed.into_parts().0)
    }
}

/// A query API said no: its code, and what it means.
#[derive(Debug)]
pub struct Refused {
    /// Empty where there was no answer.
    pub code: String,
    pub error: Error,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused { code: String::new(), error }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        refused.error
    }
}

/// TLS by rustls on ring, with the system's certificates.
fn connector(
    settings: HttpConnectorSettings,
    proxy: ProxyConfig,
    sleep: SharedAsyncSleep,
) -> SharedHttpConnector {
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let connector = Connector::builder()
        .tls_provider(ring)
        .connector_settings(settings)
        .proxy_config(proxy)
        .sleep_impl(sleep)
        .build();
    SharedHttpConnector::new(connector)
}

async fn read_body(body: SdkBody) -> Result<String> {
    let bytes = ByteStream::new(body).collect().await;
    let bytes = bytes.map_err(|error| Error::lost(chain(&error)))?.into_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn public_endpoint(service: &str, region: &str) -> String {
    match (service, text::partition(region)) {
        ("iam", "aws") => "https://iam.amazonaws.com".to_owned(),
        ("iam", "aws-us-gov") => "https://iam.us-gov.amazonaws.com".to_owned(),
        ("iam", _) => "https://iam.cn-north-1.amazonaws.com.cn".to_owned(),
        (service, "aws-cn") => format!("https://{service}.{region}.amazonaws.com.cn"),
        (service, _) => format!("https://{service}.{region}.amazonaws.com"),
    }
}

/// IAM is in one place for each partition.
fn iam_region(region: &str) -> &'static str {
    match text::partition(region) {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    }
}

/// Looks again and again until something long is over.
pub struct Patience {
    pace: Pace,
    since: Instant,
}

impl Patience {
    pub fn new(pace: Pace) -> Patience {
        Patience { pace, since: Instant::now() }
    }

    /// Sleeps until the next look; gives up when it has taken too long.
    pub async fn pause(&self, what: &str) -> Result<()> {
        if self.since.elapsed() >= self.pace.patience {
            let minutes = self.pace.patience.as_secs() / 60;
            return Err(Error::lost(format!("{what} is not over after {minutes} minutes")));
        }
        tokio::time::sleep(self.pace.poll).await;
        Ok(())
    }
}

/// One operation on one object: what every call of it needs.
pub struct Operation<'a> {
    pub clients: &'a Clients,
    pub pace: Pace,
    pub token: &'a Token,
    pub progress: &'a dyn Progress,
}

impl Operation<'_> {
    /// The `clientRequestToken` of one call.
    pub fn client_token(&self, call: &str) -> String {
        text::client_token(self.token, call)
    }

    pub fn patience(&self) -> Patience {
        Patience::new(self.pace)
    }

    pub fn report(&self, phase: &str) {
        self.progress.report(phase);
    }
}
