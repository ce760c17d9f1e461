//! Compaction: the oldest entries of a log become their fold.
//!
//! The fold of everything up to an entry takes the place of the batch that ends with this entry, and the
//! batches before it are dropped. An entry at the end of the log names the new beginning before it is
//! there, so that another one in its place is found out. A crash between these steps leaves a log that
//! is whole, with more in it than need be.
//!
//! Readers that were under way read again; writers that were asleep find their number taken, and go on
//! from the new beginning.

use std::sync::Arc;

use crate::line::{self, Head};
use crate::log::read_all;
use crate::{Entry, Error, Journal, Kept, as_of};

/// What [`compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// The last entry that is in the new beginning.
    pub through: u64,
    /// Batches before, and now.
    pub batches: u64,
    pub left: u64,
}

/// Compacts everything but the last `keep` entries, and what is in one batch with them. `None` where
/// that is nothing. Who does this has the log to himself: two at once could undo each other.
pub async fn compact(
    journal: &Journal,
    keep: u64,
    time: &str,
) -> Result<Option<Compaction>, Error> {
    let store = Arc::clone(journal.store());
    let (batches, lines) = read_all(&*store).await?;
    let Some(last) = lines.last().map(|line| line.number) else { return Ok(None) };
    let ends = lines.iter().rposition(|line| {
        line.more == 0
            && line.number + keep <= last
            && !matches!(line.entry, Entry::Beginning { .. })
    });
    let Some(end) = ends else { return Ok(None) };
    let through = lines[end].number;
    let state = as_of(&lines, through)?;
    let in_batch = lines[..end].iter().rev().take_while(|line| line.more > 0).count();
    let first = through - in_batch as u64;
    let head = Head { number: through, hash: lines[end].hash.clone() };
    let (batch, beginning) = line::encode_beginning(&head, first, time, journal.run(), state);
    journal.append(vec![Entry::Compacted { through, beginning }]).await?;
    let failed = |doing: &str, source| Error::Store {
        doing: format!("{doing} {}", store.place(Kept::Batch(first))),
        source: Arc::new(source),
    };
    store
        .replace(batch)
        .await
        .map_err(|source| failed("writing the log's beginning to", source))?;
    for kept in [Kept::Batch(first), Kept::Snapshot(through)] {
        let dropped = store.drop_before(kept).await;
        dropped.map_err(|source| failed("dropping what is before", source))?;
    }
    let (left, _) = read_all(&*store).await?;
    let [batches, left] = [&batches, &left].map(|numbers| numbers.len() as u64);
    Ok(Some(Compaction { through, batches, left }))
}
