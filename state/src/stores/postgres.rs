//! A log in a table of a PostgreSQL database: one row a batch, a snapshot, a heartbeat.
//!
//! The primary key gives a name once: of two inserts of one batch, the second waits for the first
//! and then does nothing. A connection that breaks says nothing about the insert that was under way:
//! it is sent again, and a row with our own bytes is our own write.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Mutex;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Failure, chain};
use super::settings::{Arguments, Refusal};
use crate::{Batch, Kept, Put, Snapshot, Store};

const TABLE: &str = "fleetform_state";
const BATCH: &str = "batch";
const SNAPSHOT: &str = "snapshot";
const HEARTBEAT: &str = "heartbeat";
/// Its key is the number of the first batch that is not dropped.
const BEGINNING: &str = "beginning";
/// The newest one, and one more in case somebody is reading it.
const SNAPSHOTS_KEPT: i64 = 2;
/// Rows that are fetched at once.
const PAGE: i64 = 1000;
/// How often a statement is sent whose connection breaks.
const ATTEMPTS: u32 = 4;

/// The rows of one state.
pub struct PostgresStore {
    config: Config,
    tls: MakeRustlsConnect,
    /// Quoted.
    table: String,
    /// Whose rows these are.
    state: String,
    may_create: bool,
    /// `postgres://host/database`, without a password.
    name: String,
    client: Mutex<Option<Arc<Client>>>,
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl PostgresStore {
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<PostgresStore, Refusal> {
        let (config, mut said) = config(arguments)?;
        let table = arguments.text("table").unwrap_or(TABLE);
        let table = quoted(table).ok_or_else(|| Refusal {
            argument: Some("table"),
            summary: "Invalid table name",
            detail: format!("{table:?} is no name of a table."),
            hint: "write a name, or a schema and a name: `fleetform.state`".into(),
        })?;
        let mut state = arguments.text("name").unwrap_or(&arguments.around.stack).to_owned();
        if let Some(environment) = &arguments.around.environment {
            state = format!("{state}/envs/{environment}");
        }
        if let Some(path) = arguments.path("root_certificate") {
            said.root_certificate = Some(path.display().to_string());
        }
        let hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        Ok(PostgresStore {
            name: format!("postgres://{}/{database}", hosts.join(",")),
            tls: tls(&config, said.root_certificate.as_deref())?,
            config,
            table,
            state,
            may_create: arguments.flag("create_table").unwrap_or(true),
            client: Mutex::new(None),
        })
    }

    /// The open connection, or a new one.
    async fn client(&self) -> Result<Arc<Client>, tokio_postgres::Error> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            // The statement that the connection breaks under says so itself.
            let _ = connection.await;
        });
        // What is kept is durable, whatever the server's default is.
        client
            .batch_execute(
                "SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') IN ('off', 'local')",
            )
            .await?;
        let client = Arc::new(client);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Runs a statement that may be run twice, and again where the connection breaks.
    async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        for attempt in 1.. {
            let ran = match self.client().await {
                Ok(client) => client.query_typed(sql, parameters).await,
                Err(error) => Err(error),
            };
            match ran {
                Err(error) if is_passing(&error) && attempt < ATTEMPTS => {
                    *self.client.lock().await = None;
                    tokio::time::sleep(Duration::from_millis(50) * attempt * attempt).await;
                }
                ran => return ran,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// As [`PostgresStore::query`]; nothing where there is no table yet.
    async fn read(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> io::Result<Vec<Row>> {
        match self.query(sql, parameters).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(Vec::new()),
            ran => ran.map_err(|error| self.failure(doing, &error)),
        }
    }

    /// As [`PostgresStore::query`]; makes the table where there is none yet.
    async fn write(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> io::Result<Vec<Row>> {
        match self.query(sql, parameters).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) && self.may_create => {
                self.create_table().await?;
                let ran = self.query(sql, parameters).await;
                ran.map_err(|error| self.failure(doing, &error))
            }
            ran => ran.map_err(|error| self.failure(doing, &error)),
        }
    }

    async fn create_table(&self) -> io::Result<()> {
        let ddl = ddl(&self.table);
        match self.query(&ddl, &[]).await {
            Ok(_) => Ok(()),
            // Two runs that make it at once trip over each other in the server's own tables.
            Err(error)
                if [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE]
                    .iter()
                    .any(|code| error.code() == Some(code)) =>
            {
                Ok(())
            }
            Err(error) => Err(self.failure("making the table", &error)),
        }
    }

    /// The number below which batches were dropped.
    async fn beginning(&self) -> io::Result<u64> {
        let sql = format!(
            "SELECT key FROM {} WHERE state = $1 AND kind = '{BEGINNING}' ORDER BY key DESC LIMIT 1",
            self.table
        );
        let rows = self.read("reading the log", &sql, &[(&self.state, Type::TEXT)]).await?;
        rows.first().map_or(Ok(0), number)
    }

    /// Keeps a row in place of the one with the same kind and key.
    async fn put(&self, doing: &str, kind: &str, key: &str, bytes: &[u8]) -> io::Result<()> {
        let sql = format!(
            "INSERT INTO {} (state, kind, key, bytes) VALUES ($1, '{kind}', $2, $3) \
             ON CONFLICT (state, kind, key) DO UPDATE SET bytes = EXCLUDED.bytes, written = now()",
            self.table
        );
        let parameters: [Parameter; 3] =
            [(&self.state, Type::TEXT), (&key, Type::TEXT), (&bytes, Type::BYTEA)];
        self.write(doing, &sql, &parameters).await.map(|_| ())
    }

    /// Removes the rows of a kind below a key.
    async fn remove_below(&self, kind: &str, key: &str) -> io::Result<()> {
        let sql =
            format!("DELETE FROM {} WHERE state = $1 AND kind = '{kind}' AND key < $2", self.table);
        let parameters: [Parameter; 2] = [(&self.state, Type::TEXT), (&key, Type::TEXT)];
        self.read("dropping old rows", &sql, &parameters).await.map(|_| ())
    }

    fn failure(&self, doing: &str, error: &tokio_postgres::Error) -> io::Error {
        let (table, text) = (&self.table, chain(error));
        let what = format!("{doing} in table {table} of {} failed ({text})", self.name);
        let code = error.code();
        let is = |codes: &[SqlState]| codes.iter().any(|one| code == Some(one));
        let (kind, hint) =
            if is(&[SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION])
                || (code.is_none() && text.contains("password"))
            {
                let hint = "Give the user and the password in PGUSER and PGPASSWORD.".to_owned();
                (io::ErrorKind::PermissionDenied, hint)
            } else if is(&[SqlState::UNDEFINED_TABLE, SqlState::INSUFFICIENT_PRIVILEGE]) {
                let hint = format!(
                    "Let the user read and write the table, or make it once: {}",
                    ddl(table)
                );
                (io::ErrorKind::PermissionDenied, hint)
            } else if is(&[SqlState::INVALID_CATALOG_NAME]) {
                let hint =
                    "Make the database, or correct its name in `url` or PGDATABASE.".to_owned();
                (io::ErrorKind::NotFound, hint)
            } else if text.contains("certificate") || text.contains("TLS") {
                let hint = "Name the server's root certificate with `root_certificate` or \
                PGSSLROOTCERT; `sslmode=disable` in the URL sends everything in clear.";
                (io::ErrorKind::ConnectionRefused, hint.to_owned())
            } else {
                let hint =
                    "Check that the database can be reached: `url`, PGHOST, PGPORT.".to_owned();
                (io::ErrorKind::Other, hint)
            };
        Failure::error(kind, what, hint)
    }
}

/// The table, as `docs/state.md` shows it.
fn ddl(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (state text COLLATE \"C\" NOT NULL, \
         kind text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL, bytes bytea NOT NULL, \
         written timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (state, kind, key))"
    )
}

/// What the URL or the environment says and the client library does not know.
#[derive(Default)]
struct Said {
    root_certificate: Option<String>,
}

fn config(arguments: &Arguments) -> Result<(Config, Said), Refusal> {
    let url = arguments.text_or("url", &["FLEETFORM_POSTGRES_URL", "PG_CONN_STR"]).unwrap_or("");
    let mut said =
        Said { root_certificate: arguments.variable("PGSSLROOTCERT").map(str::to_owned) };
    let mut mode = arguments.variable("PGSSLMODE").map(str::to_owned);
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => said.root_certificate = Some(value.to_owned()),
            _ => rest.push(pair),
        }
    }
    let invalid = |what: String| Refusal {
        argument: Some("url"),
        summary: "Invalid database URL",
        detail: what,
        hint: "for example `postgres://user@db.example.com:5432/fleetform?sslmode=require`; \
               the password belongs into PGPASSWORD"
            .into(),
    };
    let is_url = ["", "postgres", "postgresql"]
        .contains(&address.split_once("://").map_or("", |(scheme, _)| scheme));
    if !is_url || (!address.is_empty() && !address.contains("://") && !address.contains('=')) {
        // What is in it may be a password: it is not said again.
        return Err(invalid("The value is no `postgres://` URL.".into()));
    }
    let joined = match rest.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", rest.join("&")),
    };
    let mut config = match joined.is_empty() {
        true => Config::new(),
        false => joined
            .parse::<Config>()
            .map_err(|error| invalid(format!("The value cannot be read: {}.", chain(&error))))?,
    };
    complete(&mut config, arguments);
    let is_near = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    // Where nothing is said, nothing leaves this machine in clear.
    let mode = mode.as_deref().unwrap_or(if is_near { "disable" } else { "verify-full" });
    config.ssl_mode(match mode {
        "disable" => SslMode::Disable,
        "require" | "verify-ca" | "verify-full" => SslMode::Require,
        other => {
            return Err(invalid(format!(
                "`sslmode` is `disable`, `require`, `verify-ca` or `verify-full`; {other:?} is not."
            )));
        }
    });
    Ok((config, said))
}

/// Adds what the URL does not say: libpq's variables, and its defaults.
fn complete(config: &mut Config, arguments: &Arguments) {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host(arguments.variable("PGHOST").unwrap_or("localhost"));
    }
    if config.get_ports().is_empty()
        && let Some(port) = arguments.variable("PGPORT").and_then(|port| port.parse().ok())
    {
        config.port(port);
    }
    if let Some(user) = arguments.variable("PGUSER").filter(|_| config.get_user().is_none()) {
        config.user(user);
    }
    if let Some(password) =
        arguments.variable("PGPASSWORD").filter(|_| config.get_password().is_none())
    {
        config.password(password);
    }
    if let Some(name) = arguments.variable("PGDATABASE").filter(|_| config.get_dbname().is_none()) {
        config.dbname(name);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(10));
    }
    if config.get_application_name().is_none() {
        config.application_name("fleetform");
    }
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

fn tls(config: &Config, root_certificate: Option<&str>) -> Result<MakeRustlsConnect, Refusal> {
    let refuse = |what: String| Refusal {
        argument: Some("root_certificate"),
        summary: "The certificates cannot be read",
        detail: what,
        hint: "name a file in PEM with `root_certificate` or PGSSLROOTCERT".into(),
    };
    let mut roots = rustls::RootCertStore::empty();
    match root_certificate {
        _ if config.get_ssl_mode() == SslMode::Disable => {}
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path)
                .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
                .map_err(|error| refuse(format!("Reading {path}: {error}.")))?;
            if roots.add_parsable_certificates(read).0 == 0 {
                return Err(refuse(format!("{path} holds no certificate.")));
            }
        }
        None => {
            // Those that cannot be read are missed where they are needed.
            return MakeRustlsConnect::with_native_certs()
                .map(|(tls, _)| tls)
                .map_err(|errors| refuse(format!("The system's certificates: {errors:?}.")));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3");
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A table's name, or a schema's and a table's.
fn quoted(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_name = |part: &&str| {
        !part.is_empty()
            && part.len() < 64
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_whole = (1..=2).contains(&parts.len()) && parts.iter().all(is_name);
    is_whole.then(|| parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join("."))
}

/// Whether the same statement may succeed on another connection.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code),
        // No answer at all. What is wrong with a password or a certificate stays wrong.
        None => {
            let text = chain(error);
            !["certificate", "password", "TLS", "authentication", "user"]
                .iter()
                .any(|word| text.contains(word))
        }
    }
}

fn key(number: u64) -> String {
    format!("{number:020}")
}

fn number(row: &Row) -> io::Result<u64> {
    let key: String = row.try_get(0).map_err(io::Error::other)?;
    key.parse().map_err(|_| io::Error::other(format!("{key:?} is no number of a row")))
}

fn bytes(row: &Row, column: usize) -> io::Result<Vec<u8>> {
    row.try_get(column).map_err(io::Error::other)
}

#[async_trait]
impl Store for PostgresStore {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        let sql = format!(
            "SELECT key, bytes FROM {} WHERE state = $1 AND kind = '{SNAPSHOT}' \
             ORDER BY key DESC LIMIT 1",
            self.table
        );
        let rows = self.read("reading the snapshot", &sql, &[(&self.state, Type::TEXT)]).await?;
        let snapshot = rows.first().map(|row| {
            Ok::<_, io::Error>(Snapshot { number: number(row)?, bytes: bytes(row, 1)? })
        });
        snapshot.transpose()
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        let doing = "writing a snapshot";
        self.put(doing, SNAPSHOT, &key(snapshot.number), &snapshot.bytes).await?;
        let sql = format!(
            "DELETE FROM {table} WHERE state = $1 AND kind = '{SNAPSHOT}' AND key NOT IN \
             (SELECT key FROM {table} WHERE state = $1 AND kind = '{SNAPSHOT}' \
              ORDER BY key DESC LIMIT {SNAPSHOTS_KEPT})",
            table = self.table
        );
        self.write(doing, &sql, &[(&self.state, Type::TEXT)]).await.map(|_| ())
    }

    async fn read_from(&self, number_from: u64) -> io::Result<Vec<Batch>> {
        let sql = format!(
            "SELECT key, bytes FROM {} WHERE state = $1 AND kind = '{BATCH}' AND key >= $2 \
             ORDER BY key LIMIT {PAGE}",
            self.table
        );
        let number_from = number_from.max(self.beginning().await?);
        let mut batches: Vec<Batch> = Vec::new();
        loop {
            let start = key(batches.last().map_or(number_from, |batch| batch.first + 1));
            let parameters: [Parameter; 2] = [(&self.state, Type::TEXT), (&start, Type::TEXT)];
            let rows = self.read("reading the log", &sql, &parameters).await?;
            for row in &rows {
                batches.push(Batch { first: number(row)?, bytes: bytes(row, 1)? });
            }
            if (rows.len() as i64) < PAGE {
                return Ok(batches);
            }
        }
    }

    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        let doing = "writing to the log";
        let sql = format!(
            "INSERT INTO {} (state, kind, key, bytes) VALUES ($1, '{BATCH}', $2, $3) \
             ON CONFLICT DO NOTHING RETURNING key",
            self.table
        );
        let key = key(batch.first);
        let parameters: [Parameter; 3] =
            [(&self.state, Type::TEXT), (&key, Type::TEXT), (&batch.bytes, Type::BYTEA)];
        let inserted = self.write(doing, &sql, &parameters).await?;
        let beginning = self.beginning().await?;
        if batch.first < beginning {
            // Who was asleep while it was dropped has put it where nobody reads.
            self.remove_below(BATCH, &self::key(beginning)).await?;
            return Ok(Put::Taken);
        }
        if !inserted.is_empty() {
            return Ok(Put::Kept);
        }
        let sql = format!(
            "SELECT 1 FROM {} WHERE state = $1 AND kind = '{BATCH}' AND key = $2 AND bytes = $3",
            self.table
        );
        let ours = self.read(doing, &sql, &parameters).await?;
        Ok(if ours.is_empty() { Put::Taken } else { Put::Kept })
    }

    async fn replace(&self, batch: Batch) -> io::Result<()> {
        self.put("writing to the log", BATCH, &key(batch.first), &batch.bytes).await
    }

    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        match kept {
            Kept::Batch(first) => {
                let key = key(first);
                self.put("dropping old batches", BEGINNING, &key, b"").await?;
                self.remove_below(BEGINNING, &key).await?;
                self.remove_below(BATCH, &key).await
            }
            Kept::Snapshot(number) => self.remove_below(SNAPSHOT, &key(number)).await,
        }
    }

    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        self.put("writing a heartbeat", HEARTBEAT, run, &bytes).await
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let sql = format!(
            "SELECT key, bytes FROM {} WHERE state = $1 AND kind = '{HEARTBEAT}'",
            self.table
        );
        let rows = self.read("reading heartbeats", &sql, &[(&self.state, Type::TEXT)]).await?;
        let beat = |row: &Row| Ok((row.try_get(0).map_err(io::Error::other)?, bytes(row, 1)?));
        rows.iter().map(beat).collect()
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        let sql = format!(
            "DELETE FROM {} WHERE state = $1 AND kind = '{HEARTBEAT}' AND key = $2",
            self.table
        );
        let parameters: [Parameter; 2] = [(&self.state, Type::TEXT), (&run, Type::TEXT)];
        self.read("removing a heartbeat", &sql, &parameters).await.map(|_| ())
    }

    fn place(&self, kept: Kept) -> String {
        let what = match kept {
            Kept::Batch(first) => format!("batch {first}"),
            Kept::Snapshot(number) => format!("snapshot {number}"),
        };
        format!("{} (table {}, state {:?}, {what})", self.name, self.table, self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn only_names_are_tables() {
        assert_eq!(quoted("state").as_deref(), Some("\"state\""));
        assert_eq!(quoted("ops.state").as_deref(), Some("\"ops\".\"state\""));
        for bad in ["", "a.b.c", "a;drop", "a b", "\"a\"", ".a"] {
            assert_eq!(quoted(bad), None, "{bad}");
        }
    }
}
