//! `state rekey` and `state compact`: what is done to the log itself, without changing what it says.

use std::sync::Arc;

use fleetform_state::{Error, compact as compact_log};

use super::arguments::{Compact, Rekey};
use crate::cli::Ended;
use crate::cli::lock;
use crate::cli::screen::{Screen, now};
use crate::cli::session::{Setting, unreadable};

pub async fn rekey(screen: &Screen, setting: &Setting, _: &Rekey) -> Ended {
    let (kept, _) = super::open(screen, setting).await?;
    if !kept.journal.read(|log| log.has_begun()).await {
        screen.say("The state is empty: there is nothing to encrypt yet.\n");
        return Ok(0);
    }
    let work = async {
        kept.store.rekey().await.map_err(|source| {
            let doing = "writing the state under the key of now".to_owned();
            vec![unreadable(&Error::Store { doing, source: Arc::new(source) })]
        })
    };
    let written = lock::alone(screen, &kept.journal, work).await?;
    let batches = if written == 1 { "1 batch was" } else { &format!("{written} batches were") };
    screen.say(&match (written, kept.store.seals()) {
        (0, true) => "Everything is encrypted with the current key already.\n".to_owned(),
        (0, false) => "Nothing is encrypted, and no key is asked for.\n".to_owned(),
        (_, true) => format!(
            "{batches} written again. Everything is encrypted with the current key; `previous` can go.\n"
        ),
        (_, false) => format!(
            "{batches} written again, without encryption. The `encryption` block can go.\n"
        ),
    });
    Ok(0)
}

pub async fn compact(screen: &Screen, setting: &Setting, arguments: &Compact) -> Ended {
    let (kept, _) = super::open(screen, setting).await?;
    let keep = arguments.keep;
    let work = async {
        let compacted = compact_log(&kept.journal, keep, &now()).await;
        compacted.map_err(|error| vec![lock::told(&error)])
    };
    let begun = kept.journal.read(|log| log.has_begun()).await;
    let compacted = if begun { lock::alone(screen, &kept.journal, work).await? } else { None };
    screen.say(&match compacted {
        None => format!("Nothing to compact: the log has nothing but its last {keep} entries.\n"),
        Some(done) => format!(
            "Everything up to entry {} was compacted: {} batches became {}. The state is known from there on.\n",
            done.through, done.batches, done.left
        ),
    });
    Ok(0)
}
