//! The log looked at as history: the state as of an entry, the runs, everything that is damaged.
//!
//! Nothing here writes.

use std::collections::BTreeMap;

use crate::line::{self, Head};
use crate::state::Inconsistent;
use crate::{Batch, Entry, Error, Kept, Line, State, Store};

/// What one run wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Run<'a> {
    /// The run's name.
    pub name: &'a str,
    /// In the order of the log; never empty. Other runs' lines may lie between them.
    pub lines: Vec<&'a Line>,
}

impl Run<'_> {
    /// The number of its first entry.
    pub fn first(&self) -> u64 {
        self.lines.first().map_or(0, |line| line.number)
    }

    /// The number of its last entry: the state after it is the state after the run.
    pub fn last(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.number)
    }
}

/// The runs of a history, in the order in which they began.
pub fn runs(lines: &[Line]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| !matches!(line.entry, Entry::Beginning { .. })) {
        let place = *places.entry(&line.run).or_insert_with(|| {
            runs.push(Run { name: &line.run, lines: Vec::new() });
            runs.len() - 1
        });
        runs[place].lines.push(line);
    }
    runs
}

/// The state after the entry `number` of a whole history.
///
/// # Errors
/// `Inconsistent` where the entries make no sense, `Compacted` where nothing is left from before that
/// entry. A number behind the last entry is the last state.
pub fn as_of(lines: &[Line], number: u64) -> Result<State, Error> {
    let nonsense = |entry, what| Error::Inconsistent { entry, what };
    let (mut state, folded) = match lines.first() {
        Some(Line { entry: Entry::Genesis(genesis), .. }) => (State::new(genesis.clone()), 0),
        Some(Line { number: through, .. }) if number < *through => {
            return Err(Error::Compacted { entry: number, through: *through });
        }
        Some(Line { entry: Entry::Beginning { state, .. }, .. }) => ((**state).clone(), 1),
        _ => return Err(nonsense(1, Inconsistent::Genesis)),
    };
    for line in lines.iter().skip(folded).take_while(|line| line.number <= number) {
        state.fold(&line.run, &line.entry).map_err(|what| nonsense(line.number, what))?;
    }
    Ok(state)
}

/// Everything that is damaged in the batches of a log, not only the first of it: behind a damaged batch
/// the next one is taken at its word about what came before.
///
/// # Errors
/// `Store`, where the log cannot be read at all.
pub async fn damages(store: &dyn Store) -> Result<Vec<Error>, Error> {
    let batches = store.read_from(1).await.map_err(|source| Error::Store {
        doing: format!("reading the log from {}", store.place(Kept::Batch(1))),
        source: std::sync::Arc::new(source),
    })?;
    let mut damages = Vec::new();
    let mut head = Some(Head::start());
    for batch in &line::from_beginning(batches) {
        if line::is_beginning(&batch.bytes) {
            let begun = line::decode_beginning(batch, &store.place(Kept::Batch(batch.first)));
            head = begun.map(|(_, head)| head).map_err(|error| damages.push(error)).ok();
            continue;
        }
        let before = head.take().or_else(|| claimed_head(batch));
        let place = store.place(Kept::Batch(batch.first));
        let Some(before) = before else {
            let what = "its first line cannot be read".to_owned();
            damages.push(Error::Damaged { place, entry: Some(batch.first), what });
            continue;
        };
        if before.number + 1 < batch.first {
            let place = store.place(Kept::Batch(before.number + 1));
            damages.push(Error::Missing { place, entry: before.number + 1 });
        }
        let before = match before.number + 1 == batch.first {
            true => Some(before),
            false => claimed_head(batch),
        };
        match before.map(|before| line::decode(&before, &batch.bytes, &place)) {
            Some(Ok((_, after))) => head = Some(after),
            Some(Err(error)) => damages.push(error),
            None => {
                let what = "its first line cannot be read".to_owned();
                damages.push(Error::Damaged { place, entry: Some(batch.first), what });
            }
        }
    }
    Ok(damages)
}

/// What a batch says came before it.
fn claimed_head(batch: &Batch) -> Option<Head> {
    let first = batch.bytes.split(|byte| *byte == b'\n').next()?;
    let json: serde_json::Value = serde_json::from_slice(first).ok()?;
    let hash = json.get("previous")?.as_str()?.to_owned();
    Some(Head { number: batch.first.checked_sub(1)?, hash })
}
