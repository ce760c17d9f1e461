//! Encryption: what is kept says nothing, and nothing of it can be changed, moved or opened unseen.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{batch, creation, genesis, store, writer};
use fleetform_state::stores::{Failure, Surroundings};
use fleetform_state::{
    Error, Kept, KeySource, KeySources, Keys, LocalStore, Locked, Log, MemoryStore, SealedStore,
    Store, verify,
};

fn environment(name: &str) -> KeySource {
    KeySource::PassphraseEnv(name.into())
}

/// Keys of the variables OLD and NEW, and of files in this directory.
fn keys(current: Option<KeySource>, previous: &[KeySource], directory: &Path) -> Keys {
    let variables = [("OLD", "correct horse"), ("NEW", "battery staple")];
    let around = Surroundings {
        directory: directory.to_owned(),
        variables: variables.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        ..Surroundings::default()
    };
    let sources = KeySources { current, previous: previous.to_vec() };
    Keys::new(&sources, &around).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

fn sealed(store: &LocalStore, keys: &Keys) -> Arc<SealedStore> {
    Arc::new(SealedStore::new(Arc::new(store.clone()), keys.clone()))
}

async fn open(store: Arc<SealedStore>) -> Result<Log, Error> {
    Log::open(store, writer("run"), genesis()).await
}

async fn grow(store: &Arc<SealedStore>, names: impl Iterator<Item = usize>) {
    let mut log = open(Arc::clone(store)).await.expect("it opens");
    for name in names {
        log.append(creation(&format!("r{name}")).into()).await.expect("appended");
    }
}

/// The text of every file below a directory.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).expect("a file"));
        }
    }
    found
}

fn hint(error: &Error) -> (String, String) {
    let Error::Store { source, .. } = error else { panic!("{error:?}") };
    (source.to_string(), Failure::hint_of(source).unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_is_kept_says_nothing_and_is_read_with_its_key_only() {
    let (directory, store) = store();
    let old = keys(Some(environment("OLD")), &[], directory.path());
    grow(&sealed(&store, &old), 0..60).await;
    let kept = files(store.directory());
    assert!(kept.keys().any(|name| name.contains("snapshots")), "{:?}", kept.keys());
    for (name, bytes) in &kept {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.starts_with("fleetform-sealed 1 argon2id,65536,3,4 "), "{name}");
        for word in ["aws_eks_cluster", "lineage-1", "token-", "genesis", "secret_key"] {
            assert!(!text.contains(word), "{name} says {word}");
        }
    }
    // All of it under one derived key: a passphrase costs its time once.
    let salt =
        |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).split(' ').nth(3).map(str::to_owned);
    assert!(kept.values().all(|bytes| salt(bytes) == salt(&kept.values().next().unwrap().clone())));
    let report = verify(&*sealed(&store, &old)).await.expect("it is whole");
    assert_eq!(report.entries, 121);

    let new = keys(Some(environment("NEW")), &[], directory.path());
    let (what, how) = hint(&open(sealed(&store, &new)).await.err().expect("another key"));
    assert!(what.contains("encrypted with another key"), "{what}");
    assert!(how.contains("previous { … }"), "{how}");
    let (what, how) = hint(&open(sealed(&store, &Keys::none())).await.err().expect("no key"));
    assert!(what.contains("the stack has no `encryption` block"), "{what}");
    assert!(how.contains("passphrase_env"), "{how}");
}

#[tokio::test]
async fn keys_are_rotated_turned_on_and_turned_off() {
    let (directory, store) = store();
    fs::write(directory.path().join("key"), "7f".repeat(32) + "\n").expect("written");
    let file = KeySource::KeyFile("key".into());
    let [old, new] = [environment("OLD"), environment("NEW")];
    // Each step: the keys of the stack from now on, and how the 3 batches of the step before are kept.
    let none = keys(None, &[], directory.path());
    let steps: [(Option<KeySource>, Vec<KeySource>); 4] = [
        (Some(old.clone()), vec![]),
        (Some(new.clone()), vec![old.clone()]),
        (Some(file.clone()), vec![old.clone(), new.clone()]),
        (None, vec![file.clone()]),
    ];
    let mut length = 3;
    grow(&sealed(&store, &none), 0..length).await;
    for (current, previous) in steps {
        let keys = keys(current.clone(), &previous, directory.path());
        let store = sealed(&store, &keys);
        // Read as it is, and written on under the new key.
        grow(&store, length..length + 1).await;
        length += 1;
        let sealing = store.sealing().await.expect("read");
        assert_eq!(sealing.current + sealing.previous + sealing.clear, length as u64);
        assert_eq!(store.rekey().await.expect("written"), length as u64 - 1, "{current:?}");
        assert_eq!(store.rekey().await.expect("written"), 0);
        let alone = self::keys(current.clone(), &[], directory.path());
        let report = verify(&*sealed_again(&store_of(&store), &alone)).await;
        assert_eq!(report.expect("whole, without the old key").entries, 1 + 2 * length as u64);
        let plain = files(Path::new(&store_of(&store).directory()));
        let in_clear =
            plain.values().all(|bytes| String::from_utf8_lossy(bytes).contains("\"hash\""));
        assert_eq!(in_clear, current.is_none());
    }

    fn store_of(store: &SealedStore) -> LocalStore {
        let first = store.place(Kept::Batch(1));
        let directory = first.split_once("/log/").expect("a path").0;
        LocalStore::new(directory)
    }
    fn sealed_again(store: &LocalStore, keys: &Keys) -> Arc<SealedStore> {
        sealed(store, keys)
    }
}

#[tokio::test]
async fn changed_and_moved_files_are_found_and_named() {
    let (directory, store) = store();
    fs::write(directory.path().join("key"), [7; 32]).expect("written");
    let keys = keys(Some(KeySource::KeyFile("key".into())), &[], directory.path());
    grow(&sealed(&store, &keys), 0..3).await;
    let (four, six) = (batch(&store, 4), batch(&store, 6));
    let whole = fs::read(&four).expect("a file");
    let assert_named = async |what: &str| {
        let error = open(sealed(&store, &keys)).await.err().expect("opening finds it");
        let named = match &error {
            Error::Damaged { place, entry: Some(4), .. } => place.clone(),
            // A header that speaks of another key or a later version is not told from one that does.
            Error::Store { .. } => hint(&error).0,
            other => panic!("{what}: {other:?}"),
        };
        assert!(named.contains(&four.display().to_string()), "{what}: {named}");
    };
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&four, &bytes).expect("written");
        assert_named(&format!("bit of byte {position}")).await;
    }
    for length in [0, 10, 100, whole.len() - 1] {
        fs::write(&four, &whole[..length]).expect("written");
        assert_named(&format!("cut to {length}")).await;
    }
    fs::copy(&six, &four).expect("copied");
    assert_named("the batch of another number").await;
    // Even the same bytes, whole and ours, say which number they are for.
    let sealed_six = fs::read(&six).expect("a file");
    assert_eq!(keys.open("batch 4", &sealed_six), Err(Locked::Damaged));
    assert!(keys.open("batch 6", &sealed_six).is_ok());
    fs::write(&four, &whole).expect("written");
    open(sealed(&store, &keys)).await.expect("whole again");

    // Who has no key puts nothing behind what is encrypted.
    fs::write(batch(&store, 8), b"{\"number\":8}\n").expect("written");
    let (what, _) = hint(&open(sealed(&store, &keys)).await.err().expect("in clear"));
    assert!(what.contains("is not encrypted, although what is before it is"), "{what}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_known_again() {
    // The same entries are sealed with another nonce each time; what counts is what is inside.
    let memory = MemoryStore::default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let keys = keys(Some(environment("OLD")), &[], directory.path());
    let store = || Arc::new(SealedStore::new(Arc::new(memory.clone()), keys.clone()));
    let mut first = Log::open(store(), writer("run"), genesis()).await.expect("it opens");
    let mut again = Log::open(store(), writer("run"), genesis()).await.expect("it opens");
    first.append(creation("a").into()).await.expect("appended");
    // As if the answer to the first had been lost and the run sent it once more.
    let numbers = again.append(creation("a").into()).await.expect("its own write");
    assert_eq!(numbers, 2..4);
    assert_eq!(memory.batches(), 1);
}

#[test]
fn keys_that_are_none_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("short"), "abc").expect("written");
    let around = Surroundings {
        directory: directory.path().to_owned(),
        variables: [("SHORT".to_owned(), "abc".to_owned())].into(),
        ..Surroundings::default()
    };
    for (source, argument, detail) in [
        (environment("UNSET"), "passphrase_env", "UNSET is not set"),
        (environment("SHORT"), "passphrase_env", "too short"),
        (KeySource::KeyFile("nowhere".into()), "key_file", "cannot be read"),
        (KeySource::KeyFile("short".into()), "key_file", "does not hold 32 bytes"),
    ] {
        let sources = KeySources { current: Some(source), previous: Vec::new() };
        let refusal = Keys::new(&sources, &around).expect_err("refused");
        assert_eq!(refusal.argument, Some(argument));
        assert!(refusal.detail.contains(detail), "{refusal:?}");
        assert!(!refusal.detail.contains("abc"), "{refusal:?}");
    }
}
