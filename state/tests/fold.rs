//! What a log means, as a table; and that every entry comes back as it was written.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{
    address, begin, claim, creation, done, failed, fence, genesis, open, record, release, resource,
};
use fleetform_contract::{Record, Secret, Unknown, Value};
use fleetform_state::{
    Action::{Create, Delete, Update},
    Entry, Genesis, Inconsistent, MemoryStore, OutputValue, State, history,
};
use proptest::prelude::*;

/// Records as `name id@version` and open operations as `op action`, of the fold behind a genesis.
fn summary(entries: &[Entry]) -> Result<(Vec<String>, Vec<String>), Inconsistent> {
    let mut state = State::new(genesis());
    state.fold("run", &Entry::Genesis(genesis()))?;
    for entry in entries {
        state.fold("run", entry)?;
    }
    let records = state.records.values();
    let records =
        records.map(|record| format!("{} {}@{}", record.address.name, record.id, record.version));
    let open = state.open.iter().map(|(op, open)| format!("{op} {} @{}", open.action, open.since));
    Ok((records.collect(), open.collect()))
}

#[track_caller]
fn check(entries: &[Entry], records: &[&str], open: &[&str]) {
    let (found_records, found_open) = summary(entries).expect("the entries can follow each other");
    assert_eq!((found_records, found_open), (own(records), own(open)));
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn operations_open_records_and_close() {
    check(&[], &[], &[]);
    check(&[begin("1", "a", Create, None)], &[], &["1 create @2"]);
    check(&creation("a"), &["a id@3"], &[]);
    check(&[begin("1", "a", Create, None), failed("1")], &[], &[]);
    let made = [creation("a"), creation("b")].concat();
    let then = |more: &[Entry]| [&made[..], more].concat();
    check(&made, &["a id@3", "b id@5"], &[]);
    check(&then(&[begin("2", "a", Update, None)]), &["a id@3", "b id@5"], &["2 update @6"]);
    check(
        &then(&[begin("2", "a", Update, None), done("2", Some(record("a", "id")))]),
        &["a id@7", "b id@5"],
        &[],
    );
    check(&then(&[begin("2", "a", Delete, None)]), &["a id@3", "b id@5"], &["2 delete @6"]);
    check(&then(&[begin("2", "a", Delete, None), done("2", None)]), &["b id@5"], &[]);
    check(&then(&[begin("2", "a", Delete, None), failed("2")]), &["a id@3", "b id@5"], &[]);
    check(&then(&[Entry::Forgotten { address: address("b") }]), &["a id@3"], &[]);
    check(&then(&[Entry::Vanished { address: address("a") }]), &["b id@5"], &[]);
    check(&then(&[Entry::Observed { record: record("a", "id") }]), &["a id@6", "b id@5"], &[]);
    check(&[Entry::Adopted { record: record("c", "there") }], &["c there@2"], &[]);
}

#[test]
fn deleting_the_predecessor_leaves_the_successor() {
    let old = Record { version: 3, ..record("a", "id") };
    let replaced = [
        creation("a").to_vec(),
        vec![begin("2", "a", Create, Some(old.clone())), done("2", Some(record("a", "new")))],
        vec![begin("3", "a", Delete, Some(old)), done("3", None)],
    ];
    check(&replaced.concat(), &["a new@5"], &[]);
}

#[test]
fn what_was_observed_after_it_was_planned_is_deleted() {
    let old = Record { version: 3, ..record("a", "id") };
    let observed = [
        creation("a").to_vec(),
        vec![Entry::Observed { record: record("a", "id") }],
        vec![begin("2", "a", Delete, Some(old)), done("2", None)],
    ];
    check(&observed.concat(), &[], &[]);
}

#[test]
fn what_cannot_have_happened_is_refused_and_changes_nothing() {
    let twice = |op: &str| Err(Inconsistent::BeginsTwice(op.into()));
    let not_open = |op: &str| Err(Inconsistent::NotOpen(op.into()));
    let open_one = begin("1", "a", Create, None);
    assert_eq!(summary(&[open_one.clone(), open_one.clone()]), twice("1"));
    assert_eq!(summary(&[done("1", None)]), not_open("1"));
    assert_eq!(summary(&[open_one.clone(), failed("1"), done("1", None)]), not_open("1"));
    assert_eq!(summary(&[Entry::Genesis(genesis())]), Err(Inconsistent::Genesis));

    let mut state = State::new(genesis());
    assert_eq!(state.fold("run", &open_one), Err(Inconsistent::Genesis));
    let newer = Genesis { format: 99, ..genesis() };
    assert_eq!(
        state.fold("run", &Entry::Genesis(newer)),
        Err(Inconsistent::Format { found: 99 }),
        "a log of a later format is not guessed at"
    );
    assert_eq!(state, State::new(genesis()));
}

/// Entries by the runs that write them: the names of the runs that hold a claim afterwards, or why the
/// last entry is refused.
#[track_caller]
fn check_claims(lines: &[(&str, Entry)], expected: Result<&[&str], Inconsistent>) {
    let mut state = State::new(genesis());
    state.fold("x", &Entry::Genesis(genesis())).expect("a log begins so");
    let (last, before) = lines.split_last().expect("there are entries");
    for (run, entry) in before {
        state.fold(run, entry).expect("what comes before is fine");
    }
    let folded = state.fold(last.0, &last.1);
    let held = folded.map(|()| state.claims.held.keys().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(held, expected.map(<[&str]>::to_vec));
}

#[test]
fn claims_exclude_each_other_and_what_others_write() {
    let one = ("one", claim("one", &["a", "b"]));
    let claimed =
        |run: &str| Err(Inconsistent::Claimed { address: address("b"), run: run.to_owned() });
    let after = |run: &'static str, entry: Entry| [one.clone(), (run, entry)];
    check_claims(std::slice::from_ref(&one), Ok(&["one"]));
    check_claims(&after("two", claim("two", &["c"])), Ok(&["one", "two"]));
    check_claims(&after("two", claim("two", &["b", "c"])), claimed("one"));
    check_claims(&after("one", claim("one", &["b", "c"])), Ok(&["one"]));
    check_claims(&after("two", claim("one", &["c"])), Err(Inconsistent::Foreign("one".into())));

    // What others write in it, with or without a claim of their own.
    for entry in [
        begin("1", "b", Create, None),
        Entry::Adopted { record: record("b", "id") },
        Entry::Observed { record: record("b", "id") },
        Entry::Vanished { address: address("b") },
        Entry::Forgotten { address: address("b") },
    ] {
        check_claims(&after("two", entry), claimed("one"));
    }
    check_claims(&after("two", begin("1", "c", Create, None)), Ok(&["one"]));
    check_claims(&after("one", begin("1", "b", Create, None)), Ok(&["one"]));
    let unclaimed = Inconsistent::Unclaimed { address: address("c"), run: "one".into() };
    check_claims(&after("one", begin("1", "c", Create, None)), Err(unclaimed));
    let begun = [one.clone(), ("one", begin("1", "b", Create, None)), ("two", failed("1"))];
    check_claims(&begun, claimed("one"));

    // The end of a claim.
    check_claims(&after("one", release("one")), Ok(&[]));
    check_claims(&after("two", release("one")), Err(Inconsistent::Foreign("one".into())));
    check_claims(&after("two", release("two")), Err(Inconsistent::NoClaim("two".into())));
    check_claims(&after("two", fence("two")), Err(Inconsistent::NoClaim("two".into())));
    let ended =
        |run: &'static str, entry: Entry| [one.clone(), ("one", release("one")), (run, entry)];
    check_claims(&ended("two", claim("two", &["b"])), Ok(&["two"]));
    check_claims(&ended("two", fence("one")), Err(Inconsistent::NoClaim("one".into())));
    let fenced =
        |run: &'static str, entry: Entry| [one.clone(), ("two", fence("one")), (run, entry)];
    check_claims(&fenced("two", claim("two", &["b"])), Ok(&["two"]));
    for entry in [claim("one", &["z"]), begin("1", "z", Create, None), release("one")] {
        let refused = Inconsistent::Fenced { run: "one".into(), by: "somebody".into() };
        check_claims(&fenced("one", entry), Err(refused));
    }
}

/// Runs, addresses and what each run does, told again without the fold: who owns which address.
#[derive(Default)]
struct Model {
    owner: BTreeMap<String, usize>,
    fenced: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    Claim(Vec<usize>),
    Release,
    Fence(usize),
    Write(usize),
}

impl Model {
    /// Whether the run may do this; and does it.
    fn takes(&mut self, run: usize, step: &Step) -> bool {
        let holds = |model: &Model, run| model.owner.values().any(|owner| *owner == run);
        let name = |at: &usize| NAMES[*at].to_owned();
        let may = !self.fenced.contains(&run)
            && match step {
                Step::Claim(at) => {
                    at.iter().all(|at| self.owner.get(NAMES[*at]).is_none_or(|o| *o == run))
                }
                Step::Release => holds(self, run),
                Step::Fence(other) => holds(self, *other),
                Step::Write(at) => match self.owner.get(NAMES[*at]) {
                    Some(owner) => *owner == run,
                    None => !holds(self, run),
                },
            };
        match step {
            _ if !may => {}
            Step::Claim(at) => self.owner.extend(at.iter().map(|at| (name(at), run))),
            Step::Release => self.owner.retain(|_, owner| *owner != run),
            Step::Fence(other) => {
                self.owner.retain(|_, owner| owner != other);
                self.fenced.insert(*other);
            }
            Step::Write(_) => {}
        }
        may
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const RUNS: [&str; 4] = ["one", "two", "three", "four"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(0..NAMES.len(), 1..3).prop_map(Step::Claim),
        1 => Just(Step::Release),
        1 => (0..RUNS.len()).prop_map(Step::Fence),
        3 => (0..NAMES.len()).prop_map(Step::Write),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_fold_takes_what_the_rules_allow_and_nothing_else(
        steps in prop::collection::vec((0..RUNS.len(), step()), 1..40)
    ) {
        let mut state = State::new(genesis());
        state.fold("x", &Entry::Genesis(genesis())).expect("a log begins so");
        let mut model = Model::default();
        for (index, (run, step)) in steps.iter().enumerate() {
            let entry = match step {
                Step::Claim(at) => {
                    claim(RUNS[*run], &at.iter().map(|at| NAMES[*at]).collect::<Vec<_>>())
                }
                Step::Release => release(RUNS[*run]),
                Step::Fence(other) => fence(RUNS[*other]),
                Step::Write(at) => begin(&index.to_string(), NAMES[*at], Update, None),
            };
            let before = state.clone();
            let folded = state.fold(RUNS[*run], &entry);
            prop_assert_eq!(folded.is_ok(), model.takes(*run, step), "{:?}", folded);
            if folded.is_err() {
                prop_assert_eq!(&state, &before, "what is refused changes nothing");
            }
            let owners = state.claims.held.iter().flat_map(|(run, claim)| {
                claim.addresses.iter().map(move |address| (address.name.clone(), run.clone()))
            });
            let owners: Vec<_> = owners.collect();
            prop_assert_eq!(owners.len(), model.owner.len(), "no address has two owners");
            for (name, run) in owners {
                prop_assert_eq!(RUNS[model.owner[&name]], &run[..]);
            }
        }
    }
}

#[test]
fn a_batch_is_admitted_exactly_when_its_entries_fold_one_by_one() {
    let choices = [
        begin("1", "a", Create, None),
        done("1", None),
        failed("1"),
        begin("2", "b", Create, None),
        done("2", None),
        Entry::Genesis(genesis()),
        claim("run", &["a"]),
        release("run"),
        claim("run", &["c"]),
        fence("other"),
        begin("3", "c", Create, None),
        fence("run"),
    ];
    let mut state = State::new(genesis());
    state.fold("run", &Entry::Genesis(genesis())).expect("a log begins so");
    state.fold("other", &claim("other", &["c"])).expect("nobody else claims");
    // Every sequence of three.
    let count = choices.len();
    for code in 0..count * count * count {
        let picks = [code % count, code / count % count, code / count / count];
        let batch: Vec<Entry> = picks.iter().map(|pick| choices[*pick].clone()).collect();
        let mut folded = state.clone();
        let one_by_one = batch.iter().try_for_each(|entry| folded.fold("run", entry));
        assert_eq!(state.admits("run", &batch), one_by_one, "{batch:?}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop::num::f64::NORMAL.prop_map(Value::Number),
        any::<i32>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::String),
        ("[a-z.]{1,9}", "[a-z]{1,9}")
            .prop_map(|(address, path)| Value::Unknown(Unknown { address, path })),
        ("[a-z.]{1,9}", "[0-9a-f]{8}")
            .prop_map(|(reference, digest)| Value::Secret(Secret { reference, digest })),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map("[$a-z]{0,6}", inner, 0..4).prop_map(Value::Map),
        ]
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let attributes = || prop::collection::btree_map("[a-z_]{1,8}", value(), 0..4);
    let made = (attributes(), "[a-z]{1,8}", ".{0,20}").prop_map(|(attributes, name, id)| {
        Entry::Adopted { record: Record { attributes, ..record(&name, &id) } }
    });
    let begun = (attributes(), "[a-z0-9]{8}", ".{1,20}").prop_map(|(attributes, op, key)| {
        let mut desired = resource("x");
        desired.attributes = attributes;
        desired.address.key = Some(key);
        let previous = Some(record("x", "old"));
        let address = desired.address.clone();
        let desired = Some(desired);
        Entry::Begin { op, address, action: Update, token: "t".into(), desired, previous }
    });
    let outputs =
        prop::collection::btree_map(".{0,8}", (value(), any::<bool>()), 0..3).prop_map(|outputs| {
            Entry::Outputs {
                outputs: outputs
                    .into_iter()
                    .map(|(name, (value, sensitive))| (name, OutputValue { value, sensitive }))
                    .collect(),
            }
        });
    prop_oneof![made, begun, outputs]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn entries_come_back_as_they_were_written(entries in prop::collection::vec(entry(), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let store = MemoryStore::default();
            let mut log = open(store.clone(), "run").await.expect("memory opens");
            if log.append(entries.clone()).await.is_err() {
                // Two operations of one name: refused, and tested elsewhere.
                return;
            }
            let lines = history(&store).await.expect("the log is whole");
            let back: Vec<Entry> = lines[1..].iter().map(|line| line.entry.clone()).collect();
            assert_eq!(back, entries);
            let again = open(store, "other").await.expect("memory opens");
            assert_eq!(again.state(), log.state());
        });
    }
}
