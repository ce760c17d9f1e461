//! How the state is kept, through the program: elsewhere (S3 by moto, PostgreSQL), encrypted (keys that are
//! given, wrong, missing and replaced), compacted, damaged; and that no secret is ever in it.

#[path = "../state/tests/stores/azurite.rs"]
mod azurite;
mod common;
#[path = "../state/tests/stores/http.rs"]
mod http;
#[path = "../state/tests/stores/servers.rs"]
mod servers;
#[path = "common/spellings.rs"]
mod spellings;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::{Place, Ran};
use fleetform_contract::{Address, Cloud, NodeGroup};
use fleetform_providers::sandbox::{self, Running};
use fleetform_state::stores::Surroundings;
use fleetform_state::{
    Entry, Genesis, Kept, KeySource, KeySources, Keys, LocalStore, Log, SealedStore, Store, Writer,
    verify,
};
use spellings::spellings;

/// A cluster that exists already; `STATE` stands for what is in the `fleetform` block.
const STACK: &str = r#"
fleetform {
STATE
}
variable "api" {
  type    = string
  default = "http://127.0.0.1:1"
}
variable "replicas" {
  type    = number
  default = 1
}
cloud "edge" {
  kind = "kubernetes"
  endpoints {
    kubernetes = var.api
  }
  node "box" {
    count  = 8
    cpus   = 8
    memory = "32GiB"
  }
}
image "chat" { source = "ghcr.io/acme/chat:1.4.2" }
service "chat" {
  image    = image.chat
  replicas = var.replicas
  port     = 8080
  resources {
    cpus   = 1
    memory = "1GiB"
  }
}
"#;

fn place(state: &str) -> Place {
    let place = Place::with(&STACK.replace("STATE", state));
    std::fs::create_dir(place.path().join("envs")).expect("a directory");
    std::fs::write(place.path().join("envs/prod.tfvars"), "replicas = 2\n").expect("written");
    place
}

/// The API server of the stack's cluster, as a real one would be there: not by `-sandbox`.
async fn cluster(place: &Place) -> Running {
    let node = NodeGroup {
        name: "box".into(),
        count: 8,
        cpus: 8.0,
        memory_gib: 32.0,
        ..NodeGroup::default()
    };
    let edge = Cloud {
        name: "edge".into(),
        kind: "kubernetes".into(),
        nodes: vec![node],
        ..Cloud::default()
    };
    let world = place.path().join("world");
    sandbox::serve(&world, 1, &[edge], 0).await.expect("the sandbox starts")
}

fn run(place: &Place, line: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command: Command = place.command(line);
    command.envs(variables.iter().copied());
    command.into()
}

/// Plans, applies, plans again, and separates environments: with a state that is not beside the stack.
async fn live(place: &Place, variables: &[(&str, &str)]) {
    let cluster = cluster(place).await;
    let api = format!("-var api={}", cluster.urls()["kubernetes"]);
    let run = |line: &str| run(place, &format!("{line} stack"), variables);
    run(&format!("plan {api} -out=a.plan")).ends(0).says("kubernetes_deployment.chat");
    self::run(place, "apply a.plan", variables).ends(0).says("Apply complete!");
    run(&format!("plan {api} -detailed-exitcode")).ends(0).says("No changes.");
    // Another environment has a state of its own.
    run(&format!("plan {api} -env prod -detailed-exitcode")).ends(2).says("will be created");
    let verify =
        |more: &str| self::run(place, &format!("state verify -stack-dir stack {more}"), variables);
    verify("").ends(0).says("The state is whole.");
    // To plan an environment begins its state: its outputs are the one entry beside the genesis.
    verify("-env prod").ends(0).says("2 entries in 1 batch");
    // The sandbox's state is another one still, beside the stack.
    verify("-sandbox").ends(0).says("The state is empty");
    assert!(!place.path().join("state").exists(), "nothing is kept beside the stack");
    run(&format!("destroy {api} -auto-approve")).ends(0).says("Destroy complete!");
    self::run(place, "state list -stack-dir stack", variables).ends(0);
}

const AWS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_s3() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = servers::moto();
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let made = reqwest::Client::new().put(format!("{endpoint}/states")).send().await;
    assert!(made.expect("moto answers").status().is_success());
    // `key` is Terraform's word.
    let state = format!(
        "  state \"s3\" {{\n    bucket   = \"states\"\n    key      = \"shop\"\n    endpoint = \"{endpoint}\"\n  }}"
    );
    let place = place(&state);
    live(&place, &AWS).await;

    place.edit("\"states\"", "\"nowhere\"");
    let refused = run(&place, "plan stack", &AWS).ends(1).says("The state cannot be read");
    refused.says("the bucket \"nowhere\"").says("Make the bucket");
    place.edit(&endpoint, "http://127.0.0.1:1");
    let refused = run(&place, "plan stack", &AWS).ends(1);
    refused.says("The state cannot be read").says("Check the network, and `endpoint`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_state_in_postgresql() {
    let server = servers::postgres();
    let state = format!(
        "  state \"postgres\" {{\n    url = \"postgres://deploy@127.0.0.1:{}/postgres\"\n  }}\n  \
         encryption {{\n    passphrase_env = \"PASSPHRASE\"\n  }}",
        server.port
    );
    let place = place(&state);
    live(&place, &[("PGPASSWORD", "secret"), ("PASSPHRASE", "correct horse")]).await;
    let refused =
        run(&place, "plan stack", &[("PGPASSWORD", "no"), ("PASSPHRASE", "correct horse")]);
    refused.ends(1).says("password authentication failed").says("PGPASSWORD");
    // Whoever runs the database learns nothing.
    let rows = Command::new("sh")
        .args([
            "-c",
            "cat $(find . -path './data/base/*' -type f) $(find . -path './data/pg_wal/*' -type f)",
        ])
        .current_dir(server.directory.path())
        .output()
        .expect("cat runs");
    let text = String::from_utf8_lossy(&rows.stdout);
    assert!(text.contains("fleetform-sealed 1 argon2id,"), "the table is not where we look");
    assert!(!text.contains("kubernetes_deployment"), "the database holds it in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_azure_blob_storage() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = azurite::serve();
    azurite::make_container(server.port, "states").await;
    let endpoint = format!("http://127.0.0.1:{}/{}", server.port, azurite::ACCOUNT);
    // Terraform's words.
    let state = format!(
        "  state \"azblob\" {{\n    container_name       = \"states\"\n    storage_account_name = {:?}\n    \
         endpoint             = \"{endpoint}\"\n  }}",
        azurite::ACCOUNT
    );
    let place = place(&state);
    live(&place, &[("ARM_ACCESS_KEY", azurite::KEY)]).await;
    place.edit("\"states\"", "\"nowhere\"");
    let refused = run(&place, "plan stack", &[("ARM_ACCESS_KEY", azurite::KEY)]).ends(1);
    refused.says("The state cannot be read").says("the container \"nowhere\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_by_terraforms_http_protocol() {
    let (port, kept) = http::serve().await;
    let address = format!("http://127.0.0.1:{port}/shop-${{fleetform.env}}");
    let state = format!(
        "  state \"http\" {{\n    address        = \"{address}\"\n    lock_address   = \"{address}/lock\"\n    \
         unlock_address = \"{address}/lock\"\n    lock_method    = \"POST\"\n    unlock_method  = \"DELETE\"\n  }}"
    );
    let place = place(&state);
    let login = [("TF_HTTP_USERNAME", "user"), ("TF_HTTP_PASSWORD", "secret")];
    live(&place, &login).await;
    {
        let kept = kept.lock().expect("no holder panics");
        let documents: Vec<&String> = kept.documents.keys().collect();
        assert_eq!(documents, ["/shop-default", "/shop-prod"]);
        assert!(kept.locks.is_empty(), "a lock was left behind");
    }
    let refused = run(&place, "plan stack", &[login[0], ("TF_HTTP_PASSWORD", "no")]).ends(1);
    refused.says("The state cannot be read").says("401");
}

#[test]
fn settings_that_do_not_do_are_explained_with_their_place() {
    for (state, says) in [
        ("  state \"s3\" {\n    bucket = \"b\"\n    endpoint = \"x\"\n  }", "Invalid URL"),
        ("  state \"http\" {}", "Neither the block nor TF_HTTP_ADDRESS"),
        ("  encryption {\n    passphrase_env = \"UNSET\"\n  }", "variable UNSET is not set"),
        ("  encryption {\n    key_file = \"nowhere\"\n  }", "cannot be read"),
    ] {
        place(state).run("plan stack").ends(1).says(says).says("main.hcl line");
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Whether a file below this directory has this text.
fn holds(directory: &Path, text: &str) -> bool {
    files(directory).iter().any(|path| {
        let bytes = std::fs::read(path).expect("a file");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

const OLD: (&str, &str) = ("OLD", "correct horse");
const NEW: (&str, &str) = ("NEW", "battery staple");

#[test]
fn encryption_is_turned_on_its_key_replaced_and_turned_off() {
    let place = place("");
    let state = place.path().join(".fleetform/sandbox/state");
    run(&place, "apply -sandbox -auto-approve stack", &[]).ends(0);
    assert!(holds(&state, "kubernetes_deployment"));
    let verify = "state verify -sandbox -stack-dir stack";
    let rekey = "state rekey -sandbox -stack-dir stack";

    // Turned on: what is there is read, what comes is encrypted, and `rekey` does the rest.
    place.edit("fleetform {\n", "fleetform {\n  encryption {\n    passphrase_env = \"OLD\"\n  }\n");
    run(&place, "plan -sandbox stack", &[]).ends(1).says("The environment variable OLD is not set");
    let apply = "apply -sandbox -auto-approve -var replicas=2 stack";
    run(&place, apply, &[OLD]).ends(0).says("1 changed");
    run(&place, verify, &[OLD])
        .ends(0)
        .says("not written with the current key")
        .says("state rekey");
    run(&place, rekey, &[OLD]).ends(0).says("Everything is encrypted with the current key");
    assert!(!holds(&state, "kubernetes_deployment"));
    run(&place, verify, &[OLD]).ends(0).says("The state is whole.").says("It is encrypted.");
    run(&place, rekey, &[OLD]).ends(0).says("with the current key already");
    run(&place, "plan -sandbox -detailed-exitcode -var replicas=2 stack", &[OLD]).ends(0);

    // Another passphrase is no damage.
    let wrong = run(&place, "plan -sandbox stack", &[("OLD", "correct donkey")]).ends(1);
    wrong.says("encrypted with another key").says("previous");
    let wrong = run(&place, verify, &[("OLD", "correct donkey")]).ends(1);
    assert!(!wrong.says("encrypted with another key").err.contains("damaged"));

    // A saved plan is as secret as the state.
    run(&place, "plan -sandbox -out=a.plan -var replicas=3 stack", &[OLD]).ends(0);
    let plan = std::fs::read(place.path().join("../a.plan")).expect("a plan");
    assert!(plan.starts_with(b"fleetform plan 1 sealed {\"passphrase_env\":\"OLD\"}\n"));
    assert!(!String::from_utf8_lossy(&plan).contains("kubernetes"));
    run(&place, "show a.plan", &[]).ends(1).says("OLD is not set");
    let wrong = run(&place, "apply a.plan", &[("OLD", "correct donkey")]).ends(1);
    wrong.says("Not a usable plan file").says("encrypted with another key");
    run(&place, "show a.plan", &[OLD]).ends(0).says("kubernetes_deployment.chat");
    run(&place, "apply a.plan", &[OLD]).ends(0).says("1 changed");

    // The key is replaced.
    place.edit("\"OLD\"", "\"NEW\"\n    previous {\n      passphrase_env = \"OLD\"\n    }");
    run(&place, "plan -sandbox -detailed-exitcode -var replicas=3 stack", &[OLD, NEW]).ends(0);
    run(&place, rekey, &[OLD, NEW]).ends(0).says("`previous` can go");
    place.edit("\n    previous {\n      passphrase_env = \"OLD\"\n    }", "");
    run(&place, "plan -sandbox -detailed-exitcode -var replicas=3 stack", &[NEW]).ends(0);

    // And turned off: first the block without a key of its own, then no block.
    place.edit(
        "    passphrase_env = \"NEW\"\n",
        "    previous {\n      passphrase_env = \"NEW\"\n    }\n",
    );
    run(&place, rekey, &[NEW]).ends(0).says("without encryption");
    place.edit("  encryption {\n    previous {\n      passphrase_env = \"NEW\"\n    }\n  }\n", "");
    run(&place, "plan -sandbox -detailed-exitcode -var replicas=3 stack", &[]).ends(0);
    run(&place, verify, &[]).ends(0).says("The state is whole.");
}

#[test]
fn an_encrypted_state_without_its_block_says_so() {
    let place = place("  encryption {\n    key_file = \"key\"\n  }");
    std::fs::write(place.path().join("key"), "7f".repeat(32)).expect("written");
    run(&place, "apply -sandbox -auto-approve stack", &[]).ends(0);
    place.edit("  encryption {\n    key_file = \"key\"\n  }", "");
    let refused = run(&place, "plan -sandbox stack", &[]).ends(1).says("The state cannot be read");
    refused.says("the stack has no `encryption` block").says("Say in the `fleetform` block");
}

#[test]
fn a_state_in_clear_in_the_place_of_an_encrypted_one_is_told() {
    let block = "  encryption {\n    key_file = \"key\"\n  }";
    let place = place(block);
    let state = place.path().join(".fleetform/sandbox/state");
    let told = |ran: &Ran| ran.err.contains("The state is not encrypted yet");
    std::fs::write(place.path().join("key"), "7f".repeat(32)).expect("written");
    run(&place, "apply -sandbox -auto-approve stack", &[]).ends(0);
    assert!(!told(&run(&place, "plan -sandbox stack", &[]).ends(0)), "it is encrypted");
    // Somebody without the key begins another one there.
    std::fs::remove_dir_all(&state).expect("removed");
    place.edit(block, "");
    run(&place, "apply -sandbox -auto-approve stack", &[]).ends(0);
    place.edit("fleetform {\n", &format!("fleetform {{\n{block}"));
    assert!(told(&run(&place, "plan -sandbox stack", &[]).ends(0)), "it is in clear");
    run(&place, "state rekey -sandbox -stack-dir stack", &[]).ends(0);
    assert!(!told(&run(&place, "plan -sandbox stack", &[]).ends(0)), "it is encrypted again");
}

/// A state of the sandbox with some history: two snapshots and a few hundred batches.
struct Grown {
    place: Place,
    store: LocalStore,
    /// With the stack's keys, as the program reads it.
    sealed: Arc<SealedStore>,
    /// The snapshots, the older one first, with their bytes.
    snapshots: Vec<(u64, Vec<u8>)>,
}

async fn grown(state: &str, keys: KeySources) -> Grown {
    let place = place(state);
    std::fs::write(place.path().join("key"), "7f".repeat(32)).expect("written");
    place.run("apply -sandbox -auto-approve stack").ends(0);
    let around = Surroundings { directory: place.path(), ..Surroundings::default() };
    let keys = Keys::new(&keys, &around).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let store = LocalStore::new(place.path().join(".fleetform/sandbox/state"));
    let sealed = Arc::new(SealedStore::new(Arc::new(store.clone()), keys));
    let clock = Box::new(|| "2026-01-01T00:00:00Z".to_owned());
    let writer = Writer { run: "older".to_owned(), clock };
    let opened = Log::open(Arc::clone(&sealed) as Arc<dyn Store>, writer, Genesis::random("x"));
    let mut log = opened.await.expect("the state opens");
    let mut snapshots: Vec<(u64, Vec<u8>)> = Vec::new();
    let address = Address::new("kubernetes_deployment", "other");
    for round in 0.. {
        let entry = match round % 2 {
            0 => Entry::Protected { address: address.clone(), by: "service.other".to_owned() },
            _ => Entry::Unprotected { address: address.clone() },
        };
        log.append(vec![entry]).await.expect("appended");
        let newest = store.read_snapshot().await.expect("it reads");
        if let Some(newest) = newest.filter(|new| snapshots.iter().all(|(n, _)| *n != new.number)) {
            snapshots.push((newest.number, newest.bytes));
        }
        if snapshots.len() == 2 && round % 2 == 1 {
            break;
        }
    }
    Grown { place, store, sealed, snapshots }
}

impl Grown {
    fn file(&self, kept: Kept) -> PathBuf {
        self.store.place(kept).into()
    }

    /// Every file of the state.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("a file"));
        files(self.store.directory()).into_iter().map(read).collect()
    }

    /// As it was: with these files and no others.
    fn restore(&self, kept: &[(PathBuf, Vec<u8>)]) {
        for (path, _) in self.files() {
            std::fs::remove_file(path).expect("removed");
        }
        for (path, bytes) in kept {
            std::fs::write(path, bytes).expect("written");
        }
    }
}

#[tokio::test]
async fn damage_is_named_by_verify_and_refused_by_plan() {
    let file = KeySources { current: Some(KeySource::KeyFile("key".into())), previous: vec![] };
    for (block, keys) in
        [("", KeySources::default()), ("  encryption {\n    key_file = \"key\"\n  }", file)]
    {
        let grown = grown(block, keys).await;
        let whole = grown.files();
        let [(old, old_bytes), (new, _)] = &grown.snapshots[..] else { panic!("two snapshots") };
        let (inside, next) = (grown.file(Kept::Batch(*old + 2)), grown.file(Kept::Batch(*old + 3)));
        let bytes = std::fs::read(&inside).expect("a batch");
        let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).expect("written");
        // (what is done, the file that is named, the entry that is)
        type Damage<'a> = (&'a str, &'a dyn Fn(), Kept, Option<u64>);
        let cases: [Damage; 6] = [
            (
                "a flipped bit",
                &|| {
                    let mut bytes = bytes.clone();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 4;
                    write(&inside, &bytes);
                },
                Kept::Batch(*old + 2),
                Some(*old + 2),
            ),
            (
                "a truncated file",
                &|| write(&inside, &bytes[..bytes.len() / 3]),
                Kept::Batch(*old + 2),
                Some(*old + 2),
            ),
            (
                "reordered entries",
                &|| {
                    let other = std::fs::read(&next).expect("a batch");
                    write(&inside, &other);
                    write(&next, &bytes);
                },
                Kept::Batch(*old + 2),
                Some(*old + 2),
            ),
            (
                "a lost entry",
                &|| std::fs::remove_file(&inside).expect("removed"),
                Kept::Batch(*old + 2),
                Some(*old + 2),
            ),
            (
                "a replayed old snapshot",
                &|| write(&grown.file(Kept::Snapshot(*new)), old_bytes),
                Kept::Snapshot(*new),
                None,
            ),
            // What nobody sees is the loss of entries that no snapshot has.
            (
                "lost newest entries",
                &|| {
                    for (path, _) in &whole {
                        if path >= &grown.file(Kept::Batch(*new))
                            && path.starts_with(grown.store.directory().join("log"))
                        {
                            std::fs::remove_file(path).expect("removed");
                        }
                    }
                },
                Kept::Batch(*new),
                Some(*new),
            ),
        ];
        for (what, damage, named, entry) in cases {
            damage();
            let named = grown.file(named);
            let named = named.strip_prefix(grown.place.path()).expect("below the stack");
            let verified = grown.place.run("state verify -sandbox -stack-dir stack").ends(1);
            let planned = grown.place.run("plan -sandbox stack").ends(1);
            let planned = planned.says("The state cannot be read");
            for said in [&verified.err, &planned.err] {
                let said = said.split_whitespace().collect::<String>();
                assert!(said.contains(&named.display().to_string()), "{what}: {said}");
            }
            let json = grown.place.run("state verify -sandbox -json -stack-dir stack").ends(1).out;
            let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!(json["whole"], false, "{what}");
            assert_eq!(json["damages"][0]["entry"], serde_json::json!(entry), "{what}: {json:#}");
            grown.restore(&whole);
        }
        grown
            .place
            .run("state verify -sandbox -stack-dir stack")
            .ends(0)
            .says("The state is whole.");
        grown.place.run("plan -sandbox -detailed-exitcode stack").ends(0);
    }
}

#[tokio::test]
async fn a_compacted_state_goes_on_and_says_what_is_gone() {
    let grown = grown("", KeySources::default()).await;
    let run = |line: &str| grown.place.run(&format!("{line} -sandbox -stack-dir stack"));
    let before = verify(&*grown.sealed).await.expect("whole");
    run("state compact").ends(0).says("Nothing to compact");
    // Two entries of the claim that the run before this one left, and one of its own.
    let through = before.entries + 3 - 50;
    run("state compact -keep=50").ends(0).says(&format!("Everything up to entry {through}"));
    let after = verify(&*grown.sealed).await.expect("whole");
    assert_eq!(after.beginning, Some(through));
    assert!(after.batches < 60 && before.batches > 150, "{before:?} {after:?}");
    run("state verify").ends(0).says(&format!("Everything up to entry {through} was compacted."));
    run("state history").ends(0).says(&format!("What was before entry {through} was compacted"));
    run("state diff 1").ends(1).says("Entry 1 is gone").says(&format!("from entry {through} on"));
    run(&format!("state diff {through}")).ends(0);
    run("state list").ends(0).says("kubernetes_deployment.chat");
    grown.place.run("plan -sandbox -detailed-exitcode stack").ends(0);
    let apply = "apply -sandbox -auto-approve -var replicas=2 stack";
    grown.place.run(apply).ends(0).says("1 changed");
    grown.place.run("destroy -sandbox -auto-approve stack").ends(0);
    run("state verify").ends(0).says("The state is whole.");
}

/// A text whose spelling in JSON is another one.
const PLANTED: &str = "pl@nted \"secret\" \\ of 41 characters, no less";

#[test]
fn the_text_of_a_secret_is_nowhere() {
    let secret = "variable \"token\" {\n  type = string\n  sensitive = true\n}\n\
        output \"token\" {\n  value = \"<${var.token}>\"\n  sensitive = true\n}\n";
    let env = "env = {\n    TOKEN  = var.token\n    HEADER = \"Bearer ${var.token}\"\n  }\n  port";
    for block in ["", "  encryption {\n    key_file = \"key\"\n  }"] {
        let place = Place::with(&STACK.replace("STATE", block).replace("port", env));
        std::fs::write(place.path().join("secret.hcl"), secret).expect("written");
        std::fs::write(place.path().join("key"), "7f".repeat(32)).expect("written");
        let second = format!("{PLANTED} too");
        let mut said = String::new();
        for (line, token, code) in [
            ("validate stack", PLANTED, 0),
            ("plan -sandbox -out=a.plan stack", PLANTED, 0),
            ("show a.plan", PLANTED, 0),
            ("show -json a.plan", PLANTED, 0),
            ("apply -json a.plan", PLANTED, 0),
            ("plan -sandbox -json -out=b.plan stack", second.as_str(), 0),
            ("plan -sandbox -concise stack", &second, 0),
            ("apply -sandbox -auto-approve stack", &second, 0),
            ("show -sandbox stack", &second, 0),
            ("show -sandbox -json stack", &second, 0),
            ("graph -sandbox stack", &second, 0),
            ("output -sandbox -stack-dir stack", &second, 0),
            ("output -sandbox -json -stack-dir stack", &second, 0),
            ("drift -sandbox -json stack", &second, 0),
            ("explain -sandbox service.chat stack", &second, 0),
            ("state pull -sandbox -stack-dir stack", &second, 0),
            ("state show -sandbox -json service.chat -stack-dir stack", &second, 0),
            ("state history -sandbox -json -stack-dir stack", &second, 0),
            ("state diff -sandbox -json 1 -stack-dir stack", &second, 0),
            ("state compact -keep=2 -sandbox -stack-dir stack", &second, 0),
            // What fails shows no more.
            ("plan -sandbox -var replicas=900 stack", &second, 1),
            ("plan -sandbox -json -var replicas=900 stack", &second, 1),
            ("apply a.plan", &second, 1),
        ] {
            let variables = [
                ("TF_VAR_token", token),
                ("TF_LOG", "trace"),
                ("RUST_LOG", "trace"),
                ("RUST_BACKTRACE", "1"),
            ];
            let ran = run(&place, line, &variables).ends(code);
            said = format!("{said}\n# {line}\n{}{}", ran.out, ran.err);
        }
        // The emulated cluster has the text, as a real one would: it is what the secret is for.
        let root = place.path().join("..");
        let mut seen_in_world = false;
        let mut searched = 0;
        for path in files(&root) {
            let bytes = std::fs::read(&path).expect("a file");
            let text = String::from_utf8_lossy(&bytes);
            let found: Vec<String> =
                spellings(PLANTED).into_iter().filter(|spelling| text.contains(spelling)).collect();
            if path.components().any(|part| part.as_os_str() == "world") {
                seen_in_world |= !found.is_empty();
            } else {
                searched += 1;
                assert!(found.is_empty(), "{} holds {found:?}", path.display());
            }
        }
        assert!(seen_in_world, "the secret reached the cluster");
        assert!(searched > 6, "state, plans and stack were searched");
        for spelling in spellings(PLANTED) {
            let at = said.find(&spelling).map(|at| &said[..at + spelling.len()]);
            assert!(at.is_none(), "printed: {}", at.unwrap_or_default());
        }
    }
}
