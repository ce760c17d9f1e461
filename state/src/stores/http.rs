//! A log behind Terraform's HTTP state protocol: GET, POST, LOCK, UNLOCK of one document.
//!
//! The whole log is in one document, shaped as a Terraform state of version 4 with nothing in it and
//! the log beside, so that servers which look into what they keep (GitLab) take it. A batch is put
//! under the server's lock: read the document, add the batch, write the document. The protocol can do
//! no less, so an apply of N resources moves more than O(N) bytes.
//!
//! A lock is held for one write only, never for a run. Who dies within a write leaves it behind; only
//! a person can tell that it is dead, so the holder is named.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use reqwest::{Client, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::failure::{Failure, chain};
use super::settings::{Arguments, Refusal, check_url};
use crate::{Batch, Kept, Put, Snapshot, Store};

/// How long a write waits for another's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// Retries of a request without an answer, as in Terraform.
const RETRIES: u32 = 2;
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// One document of a server.
pub struct HttpStore {
    client: Client,
    address: String,
    update: Method,
    lock: (Method, String),
    unlock: (Method, String),
    login: Option<(String, String)>,
    lock_timeout: Duration,
    retries: u32,
    /// `user@host`.
    who: String,
    /// This process writes one thing at a time.
    turn: Mutex<()>,
}

/// Terraform's state, version 4, with the log beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    version: u32,
    terraform_version: String,
    serial: u64,
    lineage: String,
    #[serde(default)]
    outputs: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    resources: Vec<serde_json::Value>,
    #[serde(default)]
    check_results: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleetform: Option<Contents>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Contents {
    format: u32,
    batches: BTreeMap<u64, Base64>,
    /// Below this number batches were dropped.
    #[serde(default)]
    dropped: u64,
    snapshot: Option<Image>,
    heartbeats: BTreeMap<String, Base64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Image {
    number: u64,
    bytes: Base64,
}

#[derive(Clone, Debug, PartialEq)]
struct Base64(Vec<u8>);

/// As Terraform writes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LockInfo {
    #[serde(rename = "ID")]
    id: String,
    operation: String,
    info: String,
    who: String,
    version: String,
    created: String,
    path: String,
}

const FORMAT: u32 = 1;

impl HttpStore {
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<HttpStore, Refusal> {
        let address =
            arguments.text_or("address", &["TF_HTTP_ADDRESS"]).ok_or_else(|| Refusal {
                argument: Some("address"),
                summary: "Missing required argument",
                detail: "Neither the block nor TF_HTTP_ADDRESS says where the state is.".into(),
                hint: "write `address = \"https://…\"`".into(),
            })?;
        check_url("address", address)?;
        if let Some(environment) = &arguments.around.environment
            && !address.contains(environment.as_str())
        {
            return Err(Refusal {
                argument: Some("address"),
                summary: "Environments share a state",
                detail: format!(
                    "The address does not name the environment {environment:?}, so it is the state \
                     of every environment."
                ),
                hint: "write `${fleetform.env}` into the address".into(),
            });
        }
        let lock = arguments.text_or("lock_address", &["TF_HTTP_LOCK_ADDRESS"]).unwrap_or(address);
        check_url("lock_address", lock)?;
        let unlock =
            arguments.text_or("unlock_address", &["TF_HTTP_UNLOCK_ADDRESS"]).unwrap_or(lock);
        check_url("unlock_address", unlock)?;
        let user = arguments.text_or("username", &["TF_HTTP_USERNAME"]);
        let login = user.map(|user| {
            let password = arguments.variable("TF_HTTP_PASSWORD").unwrap_or_default();
            (user.to_owned(), password.to_owned())
        });
        let user = arguments.variable("USER").unwrap_or("fleetform");
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let host = arguments.variable("HOSTNAME").unwrap_or(host.trim());
        let retries = arguments.variable("TF_HTTP_RETRY_MAX").and_then(|text| text.parse().ok());
        let timeout = arguments.seconds("lock_timeout").map(Duration::from_secs_f64);
        Ok(HttpStore {
            client: client(arguments)?,
            address: address.to_owned(),
            update: method(arguments, "update_method", "TF_HTTP_UPDATE_METHOD", "POST")?,
            lock: (
                method(arguments, "lock_method", "TF_HTTP_LOCK_METHOD", "LOCK")?,
                lock.to_owned(),
            ),
            unlock: (
                method(arguments, "unlock_method", "TF_HTTP_UNLOCK_METHOD", "UNLOCK")?,
                unlock.to_owned(),
            ),
            login,
            lock_timeout: timeout.unwrap_or(LOCK_TIMEOUT),
            retries: retries.unwrap_or(RETRIES),
            who: format!("{user}@{host}"),
            turn: Mutex::new(()),
        })
    }

    /// One request, without retries.
    async fn send(
        &self,
        method: &Method,
        url: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response, reqwest::Error> {
        let mut request = self.client.request(method.clone(), url);
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .header("Content-MD5", BASE64.encode(Md5::digest(&body)))
                .body(body);
        }
        request.send().await
    }

    /// A request that may be sent twice, until there is an answer that is no server error.
    async fn ask(
        &self,
        doing: &str,
        method: &Method,
        url: &str,
        body: Option<&[u8]>,
    ) -> io::Result<(StatusCode, Vec<u8>)> {
        let mut attempt = 0;
        loop {
            let answer = match self.send(method, url, body.map(<[u8]>::to_vec)).await {
                Ok(response) => {
                    let status = response.status();
                    response.bytes().await.map(|bytes| (status, bytes.to_vec()))
                }
                Err(error) => Err(error),
            };
            let is_passing = match &answer {
                Ok((status, _)) => {
                    status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(error) => !error.is_builder(),
            };
            if !is_passing || attempt == self.retries {
                return answer.map_err(|error| {
                    let what = format!(
                        "{doing} {} failed ({})",
                        self.address,
                        chain(&error.without_url())
                    );
                    Failure::error(io::ErrorKind::Other, what, UNREACHABLE)
                });
            }
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(100) * 3_u32.pow(attempt.min(4))).await;
        }
    }

    /// What the server keeps; `None` for nothing yet.
    async fn fetch(&self) -> io::Result<Option<Document>> {
        let (status, body) = self.ask("reading", &Method::GET, &self.address, None).await?;
        match status {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK if body.is_empty() => Ok(None),
            StatusCode::OK => self.decode(&body).map(Some),
            status => Err(self.refused("reading", status, &body)),
        }
    }

    fn decode(&self, body: &[u8]) -> io::Result<Document> {
        let foreign = |what: String| {
            Failure::error(
                io::ErrorKind::InvalidData,
                format!("{} holds something else than a state of Fleetform: {what}", self.address),
                "Give every stack an address of its own; what is there is left as it is.",
            )
        };
        let document: Document =
            serde_json::from_slice(body).map_err(|error| foreign(error.to_string()))?;
        match &document.fleetform {
            Some(contents) if contents.format > FORMAT => {
                Err(foreign(format!("it has format {}", contents.format)))
            }
            Some(_) => Ok(document),
            // A new state of GitLab's interface, say.
            None if document.resources.is_empty() => {
                Ok(Document { fleetform: Some(Contents::default()), ..document })
            }
            None => Err(foreign("it is a state of Terraform".to_owned())),
        }
    }

    /// Changes the document under the server's lock. The change is durable when this returns.
    async fn change<T>(
        &self,
        doing: &str,
        edit: impl FnOnce(&mut Contents) -> Edit<T>,
    ) -> io::Result<T> {
        let _turn = self.turn.lock().await;
        let lock = self.acquire().await?;
        let changed = self.change_locked(doing, &lock, edit).await;
        // Where this fails after its retries the lock stays, and the next to wait for it says whose
        // it is. The change itself is as it is.
        let body = serde_json::to_vec(&lock).expect("locks serialize");
        let _ = self.ask("unlocking", &self.unlock.0, &self.unlock.1, Some(&body)).await;
        changed
    }

    async fn change_locked<T>(
        &self,
        doing: &str,
        lock: &LockInfo,
        edit: impl FnOnce(&mut Contents) -> Edit<T>,
    ) -> io::Result<T> {
        let mut document = self.fetch().await?.unwrap_or_else(Document::new);
        let contents = document.fleetform.get_or_insert_default();
        contents.format = FORMAT;
        let result = match edit(contents) {
            Edit::Nothing(result) => return Ok(result),
            Edit::Changed(result) => result,
        };
        document.serial += 1;
        let body = serde_json::to_vec(&document).expect("documents serialize");
        let separator = if self.address.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}ID={}", self.address, lock.id);
        let posted = self.ask(doing, &self.update, &url, Some(&body)).await;
        let refused = match posted {
            Ok((status, _)) if status.is_success() => return Ok(result),
            Ok((status, body)) => self.refused(doing, status, &body),
            Err(error) => error,
        };
        // The answer may be lost, or tell that the same was written before: what is there says it.
        match self.fetch().await {
            Ok(Some(there)) if there == document => Ok(result),
            _ => Err(refused),
        }
    }

    async fn acquire(&self) -> io::Result<LockInfo> {
        let info = LockInfo {
            id: uuid::Uuid::new_v4().to_string(),
            operation: "OperationTypeApply".into(),
            info: "one write of Fleetform".into(),
            who: self.who.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            created: jiff::Timestamp::now().to_string(),
            path: self.address.clone(),
        };
        let body = serde_json::to_vec(&info).expect("locks serialize");
        let deadline = Instant::now() + self.lock_timeout;
        let mut wait = Duration::from_millis(20);
        loop {
            let (status, answer) =
                self.ask("locking", &self.lock.0, &self.lock.1, Some(&body)).await?;
            let holder = match status {
                status if status.is_success() => return Ok(info),
                StatusCode::CONFLICT | StatusCode::LOCKED => {
                    serde_json::from_slice::<LockInfo>(&answer).unwrap_or_default()
                }
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                    return Err(Failure::error(
                        io::ErrorKind::Unsupported,
                        format!(
                            "{} {} is answered with {status}: the server does not lock there",
                            self.lock.0, self.lock.1
                        ),
                        "Fleetform keeps no state without a lock. Set `lock_address`, `unlock_address`, \
                         `lock_method` and `unlock_method` as the server wants them; GitLab wants \
                         ADDRESS/lock with POST and DELETE.",
                    ));
                }
                status => return Err(self.refused("locking", status, &answer)),
            };
            // Ours: the answer to our own request was lost.
            if holder.id == info.id {
                return Ok(info);
            }
            if Instant::now() >= deadline {
                return Err(self.held(&holder));
            }
            // Not all at the same moment.
            let jitter = 50 + u32::from(uuid::Uuid::new_v4().as_bytes()[0]) % 100;
            tokio::time::sleep(wait * jitter / 100).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn held(&self, holder: &LockInfo) -> io::Error {
        let LockInfo { id, operation, info, who, version, created, path } = holder;
        Failure::error(
            io::ErrorKind::TimedOut,
            format!(
                "acquiring the state lock of {} took longer than {} s\nLock Info:\n  ID:        {id}\n  \
                 Path:      {path}\n  Operation: {operation}\n  Who:       {who}\n  Version:   {version}\n  \
                 Created:   {created}\n  Info:      {info}\n",
                self.address,
                self.lock_timeout.as_secs_f64(),
            ),
            format!(
                "Fleetform holds this lock for one write, which takes seconds. If its holder is dead, \
                 unlock the state in the server, or send {} {} with the ID.",
                self.unlock.0, self.unlock.1
            ),
        )
    }

    fn refused(&self, doing: &str, status: StatusCode, body: &[u8]) -> io::Error {
        let said = String::from_utf8_lossy(body);
        let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let said: String = said.chars().take(300).collect();
        let what = format!("{doing} {} was answered with {status} ({said})", self.address);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::error(
                io::ErrorKind::PermissionDenied,
                what,
                "Give the user with `username` or TF_HTTP_USERNAME, and the password or token in \
                 TF_HTTP_PASSWORD.",
            ),
            StatusCode::CONFLICT | StatusCode::LOCKED => Failure::error(
                io::ErrorKind::Other,
                what,
                "Somebody has taken the lock away. Run the command again.",
            ),
            _ => Failure::error(io::ErrorKind::Other, what, UNREACHABLE),
        }
    }

    async fn contents(&self) -> io::Result<Contents> {
        let document = self.fetch().await?;
        Ok(document.and_then(|document| document.fleetform).unwrap_or_default())
    }
}

const UNREACHABLE: &str =
    "Check `address` and that the server answers; then run the command again.";

/// What became of the contents.
enum Edit<T> {
    Nothing(T),
    Changed(T),
}

impl Document {
    fn new() -> Document {
        Document {
            version: 4,
            terraform_version: "1.11.4".into(),
            serial: 0,
            lineage: uuid::Uuid::new_v4().to_string(),
            outputs: BTreeMap::new(),
            resources: Vec::new(),
            check_results: None,
            fleetform: None,
        }
    }
}

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(Base64).map_err(serde::de::Error::custom)
    }
}

fn method(
    arguments: &Arguments,
    name: &'static str,
    variable: &str,
    default: &str,
) -> Result<Method, Refusal> {
    let text = arguments.text_or(name, &[variable]).unwrap_or(default);
    Method::from_bytes(text.as_bytes()).map_err(|_| Refusal {
        argument: Some(name),
        summary: "Invalid HTTP method",
        detail: format!("{text:?} is no method of HTTP."),
        hint: format!("the usual one is {default}"),
    })
}

fn client(arguments: &Arguments) -> Result<Client, Refusal> {
    let refuse = |detail: String| Refusal {
        argument: Some("root_certificate"),
        summary: "The certificates cannot be read",
        detail,
        hint: "name a file in PEM".into(),
    };
    let mut builder = Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(60))
        .redirect(reqwest::redirect::Policy::none());
    let pem = match arguments.path("root_certificate") {
        Some(path) => Some(
            std::fs::read(&path)
                .map_err(|error| refuse(format!("Reading {}: {error}.", path.display())))?,
        ),
        None => arguments
            .variable("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM")
            .map(|pem| pem.as_bytes().to_vec()),
    };
    if let Some(pem) = pem {
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| refuse(format!("{}.", chain(&error))))?;
        builder = builder.tls_certs_merge(certificates);
    }
    if arguments.variable("TF_HTTP_SKIP_CERT_VERIFICATION") == Some("true") {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build().map_err(|error| refuse(format!("{}.", chain(&error))))
}

#[async_trait]
impl Store for HttpStore {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        let snapshot = self.contents().await?.snapshot;
        Ok(snapshot.map(|image| Snapshot { number: image.number, bytes: image.bytes.0 }))
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        let Snapshot { number, bytes } = snapshot;
        self.change("writing a snapshot to", |contents| {
            if contents.snapshot.as_ref().is_some_and(|kept| kept.number > number) {
                return Edit::Nothing(());
            }
            contents.snapshot = Some(Image { number, bytes: Base64(bytes) });
            Edit::Changed(())
        })
        .await
    }

    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        let mut batches = self.contents().await?.batches;
        let wanted = batches.split_off(&number).into_iter();
        Ok(wanted.map(|(first, bytes)| Batch { first, bytes: bytes.0 }).collect())
    }

    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        // Who has lost already need not wait for the lock.
        let contents = self.contents().await?;
        if batch.first < contents.dropped {
            return Ok(Put::Taken);
        }
        if let Some(there) = contents.batches.get(&batch.first) {
            return Ok(if there.0 == batch.bytes { Put::Kept } else { Put::Taken });
        }
        let Batch { first, bytes } = batch;
        self.change("writing to", |contents| match contents.batches.get(&first) {
            Some(there) if there.0 == bytes => Edit::Nothing(Put::Kept),
            Some(_) => Edit::Nothing(Put::Taken),
            None if first < contents.dropped => Edit::Nothing(Put::Taken),
            None => {
                contents.batches.insert(first, Base64(bytes));
                Edit::Changed(Put::Kept)
            }
        })
        .await
    }

    async fn replace(&self, batch: Batch) -> io::Result<()> {
        let Batch { first, bytes } = batch;
        self.change("writing to", |contents| {
            contents.batches.insert(first, Base64(bytes));
            Edit::Changed(())
        })
        .await
    }

    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        self.change("dropping old batches from", |contents| {
            match kept {
                Kept::Batch(first) => {
                    contents.dropped = contents.dropped.max(first);
                    contents.batches = contents.batches.split_off(&first);
                }
                Kept::Snapshot(number) => {
                    contents.snapshot.take_if(|snapshot| snapshot.number < number);
                }
            }
            Edit::Changed(())
        })
        .await
    }

    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        self.change("writing a heartbeat to", |contents| {
            contents.heartbeats.insert(run.to_owned(), Base64(bytes));
            Edit::Changed(())
        })
        .await
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let heartbeats = self.contents().await?.heartbeats;
        Ok(heartbeats.into_iter().map(|(run, bytes)| (run, bytes.0)).collect())
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        if !self.contents().await?.heartbeats.contains_key(run) {
            return Ok(());
        }
        self.change("removing a heartbeat from", |contents| match contents.heartbeats.remove(run) {
            Some(_) => Edit::Changed(()),
            None => Edit::Nothing(()),
        })
        .await
    }

    fn place(&self, kept: Kept) -> String {
        match kept {
            Kept::Batch(first) => format!("{} (batch {first})", self.address),
            Kept::Snapshot(number) => format!("{} (snapshot {number})", self.address),
        }
    }
}
