//! Damage of every kind, in every place: found, named, and refused when the log is opened.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{batch, log_of, open, store};
use fleetform_state::{Error, Kept, LocalStore, Store, verify};

/// Damages a log of the batches 1..=3, 4..=5, 6..=7 and tells what opening and verifying it says.
async fn after(damage: impl FnOnce(&LocalStore)) -> (LocalStore, Error, tempfile::TempDir) {
    let (directory, store) = store();
    log_of(&store, &["a", "b", "c"]).await;
    damage(&store);
    let opened = open(store.clone(), "reader").await.err().expect("opening finds it");
    let verified = verify(&store).await.expect_err("verifying finds it");
    assert_eq!(opened.to_string(), verified.to_string());
    assert!(opened.hint().contains("backup"), "{}", opened.hint());
    (store, opened, directory)
}

#[track_caller]
fn assert_named(store: &LocalStore, error: &Error, first: u64, entry: u64) {
    let path = store.place(Kept::Batch(first));
    let found = match error {
        Error::Damaged { place, entry: Some(entry), .. } | Error::Missing { place, entry } => {
            (place.clone(), *entry)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(found, (path.clone(), entry), "{error}");
    assert!(error.to_string().contains(&path), "{error}");
    assert!(error.to_string().contains(&format!("entry {entry}")), "{error}");
}

#[tokio::test]
async fn every_flipped_bit_is_found_and_named() {
    let (_directory, store) = store();
    log_of(&store, &["a", "b"]).await;
    let path = batch(&store, 4);
    let whole = fs::read(&path).expect("it reads");
    let first_line = whole.iter().position(|byte| *byte == b'\n').expect("it has lines");
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&path, &bytes).expect("it is written");
        let error = open(store.clone(), "reader").await.err().expect("opening finds it");
        let entry = if position <= first_line { 4 } else { 5 };
        match &error {
            // A flipped line end joins or cuts lines: then the next one may be named.
            Error::Damaged { place, entry: Some(named), .. } => {
                assert_eq!(*place, path.display().to_string());
                assert!(*named == entry || *named == entry + 1, "bit of byte {position}: {error}");
            }
            other => panic!("bit of byte {position}: {other:?}"),
        }
    }
    fs::write(&path, &whole).expect("it is written");
    open(store, "reader").await.expect("whole again");
}

#[tokio::test]
async fn every_truncation_is_found() {
    let (_directory, store) = store();
    log_of(&store, &["a", "b"]).await;
    let path = batch(&store, 4);
    let whole = fs::read(&path).expect("it reads");
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("it is written");
        let error = open(store.clone(), "reader").await.err().expect("opening finds it");
        assert!(matches!(error, Error::Damaged { .. }), "cut to {length}: {error:?}");
    }
}

#[tokio::test]
async fn missing_reordered_and_foreign_entries_are_named() {
    let (store, error, _directory) =
        after(|store| fs::remove_file(batch(store, 4)).expect("it is removed")).await;
    assert_named(&store, &error, 4, 4);

    let (store, error, _directory) =
        after(|store| fs::remove_file(batch(store, 1)).expect("it is removed")).await;
    assert_named(&store, &error, 1, 1);

    let (store, error, _directory) = after(|store| {
        let (four, six) = (batch(store, 4), batch(store, 6));
        let bytes = fs::read(&four).expect("it reads");
        fs::copy(&six, &four).expect("it is copied");
        fs::write(&six, bytes).expect("it is written");
    })
    .await;
    assert_named(&store, &error, 4, 4);
    assert!(error.to_string().contains("entry 6 where entry 4 belongs"), "{error}");

    // An entry of another history: its number and its own hash are right.
    let (_other_directory, other) = common::store();
    log_of(&other, &["x", "y"]).await;
    let foreign = fs::read(batch(&other, 4)).expect("it reads");
    let (store, error, _directory) =
        after(|store| fs::write(batch(store, 4), foreign).expect("it is written")).await;
    assert_named(&store, &error, 4, 4);
    assert!(error.to_string().contains("does not follow the entry 3"), "{error}");

    // Lines swapped within a batch.
    let (store, error, _directory) = after(|store| {
        let text = fs::read_to_string(batch(store, 6)).expect("it reads");
        let lines: Vec<&str> = text.lines().rev().collect();
        fs::write(batch(store, 6), lines.join("\n") + "\n").expect("it is written");
    })
    .await;
    assert_named(&store, &error, 6, 6);
}

#[tokio::test]
async fn what_is_wrong_behind_the_newest_snapshot_is_found_too() {
    let names: Vec<String> = (0..60).map(|index| format!("r{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let write = |path: PathBuf, bytes: &[u8]| fs::write(path, bytes).expect("it is written");
    let read = |path: PathBuf| fs::read(path).expect("it reads");
    // (what is done to the files, the entry that is named)
    type Damage<'a> = &'a dyn Fn(&LocalStore);
    let cases: [(&str, u64, Damage); 6] = [
        ("a flipped bit", 20, &|store| {
            let mut bytes = read(batch(store, 20));
            bytes[100] ^= 1;
            write(batch(store, 20), &bytes);
        }),
        ("a truncated file", 21, &|store| {
            let bytes = read(batch(store, 20));
            write(batch(store, 20), &bytes[..bytes.len() - 10]);
        }),
        ("an emptied file", 20, &|store| write(batch(store, 20), b"")),
        ("two swapped files", 20, &|store| {
            let (one, other) = (read(batch(store, 20)), read(batch(store, 22)));
            write(batch(store, 20), &other);
            write(batch(store, 22), &one);
        }),
        ("two swapped lines", 20, &|store| {
            let text = String::from_utf8(read(batch(store, 20))).expect("it is text");
            let lines: Vec<&str> = text.lines().rev().collect();
            write(batch(store, 20), (lines.join("\n") + "\n").as_bytes());
        }),
        ("a removed file", 20, &|store| {
            fs::remove_file(batch(store, 20)).expect("it is removed");
        }),
    ];
    for (what, entry, damage) in cases {
        let (_directory, store) = store();
        log_of(&store, &names).await;
        let report = verify(&store).await.expect("the log is whole");
        assert!(report.snapshot.is_some_and(|number| number > 100), "{report:?}");
        damage(&store);
        for error in [
            open(store.clone(), "reader").await.err().expect("opening finds it"),
            verify(&store).await.expect_err("verifying finds it"),
        ] {
            let expected = store.place(Kept::Batch(20));
            match &error {
                Error::Damaged { place, entry: Some(named), .. }
                | Error::Missing { place, entry: named } => {
                    assert_eq!((place, *named), (&expected, entry), "{what}: {error}");
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_old_snapshot_in_the_place_of_a_new_one_is_found() {
    let (_directory, store) = store();
    let names: Vec<String> = (0..160).map(|index| format!("r{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    log_of(&store, &names[..60]).await;
    let old = verify(&store).await.expect("the log is whole").snapshot.expect("there is one");
    let old_bytes = fs::read(store.place(Kept::Snapshot(old))).expect("it reads");
    log_of(&store, &names[60..]).await;
    let new = verify(&store).await.expect("the log is whole").snapshot.expect("there is one");
    assert!(new > old, "{new} > {old}");
    fs::write(store.place(Kept::Snapshot(new)), &old_bytes).expect("it is written");
    for error in [
        open(store.clone(), "reader").await.err().expect("opening finds it"),
        verify(&store).await.expect_err("verifying finds it"),
    ] {
        assert!(error.to_string().contains(&store.place(Kept::Snapshot(new))), "{error}");
        assert!(error.to_string().contains(&format!("the snapshot of entry {old}")), "{error}");
    }
}
