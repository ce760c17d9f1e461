//! Holding a claim: waiting for it, keeping it alive, giving it back.
//!
//! A watcher never compares clocks with the holder. It looks at the holder's sign of life (its
//! heartbeat, and the last entry that it wrote) and at its own clock: a sign that stays the same for
//! longer than the time to live in the claim is that of a dead run, which is fenced. A run that is
//! fenced by mistake loses its next append and stops before its next call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleetform_contract::Address;
use tokio::sync::oneshot;

use crate::state::Inconsistent;
use crate::{Claim, Clock, Entry, Error, Holder, Journal, process};

/// How claims are kept and waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long others must see the same sign of life to call us dead.
    pub time_to_live: Duration,
    /// Between two heartbeats.
    pub beat: Duration,
    /// How long to wait for runs that live. Whether they live is always found out.
    pub patience: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            time_to_live: Duration::from_secs(30),
            beat: Duration::from_secs(5),
            patience: Duration::ZERO,
        }
    }
}

/// Hears how waiting goes.
pub trait Listener: Send + Sync {
    /// Said once for each run that is in the way.
    fn waiting(&self, run: &str, claim: &Claim);
    /// A dead run was fenced.
    fn fenced(&self, run: &str, claim: &Claim);
}

/// What one run holds. Dropped without [`Holding::release`] it stops beating, as a crash would.
pub struct Holding {
    journal: Journal,
    holder: Holder,
    terms: Terms,
    clock: Arc<dyn Clock>,
    beating: Option<Beating>,
}

impl Holding {
    /// Holds nothing yet.
    pub fn new(journal: Journal, holder: Holder, terms: Terms, clock: Arc<dyn Clock>) -> Holding {
        Holding { journal, holder, terms, clock, beating: None }
    }

    /// Claims these addresses, in addition to what is held already. Runs in the way that live are
    /// waited for as long as the terms say; dead ones are fenced.
    ///
    /// # Errors
    /// `Claimed`, where a run that lives is in the way for too long.
    pub async fn claim(
        &mut self,
        addresses: BTreeSet<Address>,
        listener: &dyn Listener,
    ) -> Result<(), Error> {
        let mut watch = Watch::new(&*self.clock);
        loop {
            match self.claim_now(&addresses).await {
                Err(Error::Claimed { .. }) => self.wait(&addresses, &mut watch, listener).await?,
                ended => return ended,
            }
        }
    }

    /// Of these addresses, claims those that nobody else has. Waits for nobody.
    pub async fn claim_what_is_free(
        &mut self,
        mut addresses: BTreeSet<Address>,
    ) -> Result<(), Error> {
        loop {
            match self.claim_now(&addresses).await {
                Err(Error::Claimed { claim, .. }) => {
                    addresses = addresses.difference(&claim.addresses).cloned().collect();
                }
                ended => return ended,
            }
        }
    }

    /// Claims the address of every open operation whose run has ended or is found dead. What runs that
    /// live are doing is left to them.
    pub async fn recover(&mut self, listener: &dyn Listener) -> Result<(), Error> {
        let mut watch = Watch::new(&*self.clock);
        loop {
            self.journal.refresh().await?;
            let run = self.journal.run();
            let (open, others) = self
                .journal
                .read(|log| {
                    let open = log.state().open.values().map(|open| open.address.clone());
                    let open: BTreeSet<Address> = open.collect();
                    let others = log.state().claims.in_the_way(run, &open);
                    (open, others)
                })
                .await;
            let look = self.look(&others, &mut watch, listener).await?;
            if look.is_one_fenced {
                continue;
            }
            if look.undecided == 0 {
                return self.claim_what_is_free(open).await;
            }
            watch.announce(&others, listener);
            self.clock.sleep(self.pause()).await;
        }
    }

    /// Gives everything back. What could not be given back others will fence.
    pub async fn release(mut self) -> Result<(), Error> {
        let Some(beating) = self.beating.take() else { return Ok(()) };
        let run = self.journal.run().to_owned();
        let released = self.journal.append(vec![Entry::Release { run: run.clone() }]).await;
        beating.stop().await;
        // A heartbeat that stays behind means nothing without its claim.
        let _ = self.journal.store().remove_heartbeat(&run).await;
        released.map(|_| ())
    }

    /// Claims, or is told at once who is in the way.
    async fn claim_now(&mut self, addresses: &BTreeSet<Address>) -> Result<(), Error> {
        if addresses.is_empty() {
            return Ok(());
        }
        let claim = Entry::Claim {
            run: self.journal.run().to_owned(),
            addresses: addresses.clone(),
            holder: self.holder.clone(),
            ttl_seconds: self.terms.time_to_live.as_secs().max(1),
        };
        self.journal.append(vec![claim]).await?;
        if self.beating.is_none() {
            self.beating = Some(Beating::start(&self.journal, &self.terms, &self.clock).await);
        }
        Ok(())
    }

    /// Returns when nobody may be in the way any more.
    async fn wait(
        &self,
        addresses: &BTreeSet<Address>,
        watch: &mut Watch,
        listener: &dyn Listener,
    ) -> Result<(), Error> {
        loop {
            self.journal.refresh().await?;
            let run = self.journal.run();
            let others =
                self.journal.read(|log| log.state().claims.in_the_way(run, addresses)).await;
            let look = self.look(&others, watch, listener).await?;
            if others.is_empty() || look.is_one_fenced {
                return Ok(());
            }
            if let Some(run) = look.alive
                && self.clock.now() - watch.began >= self.terms.patience
            {
                let (claim, address) = others[&run].clone();
                return Err(Error::Claimed { run, claim: Box::new(claim), address });
            }
            watch.announce(&others, listener);
            self.clock.sleep(self.pause()).await;
        }
    }

    /// Looks once at the signs of life of these runs, and fences those that are dead.
    async fn look(
        &self,
        others: &BTreeMap<String, (Claim, Address)>,
        watch: &mut Watch,
        listener: &dyn Listener,
    ) -> Result<Look, Error> {
        let mut look = Look::default();
        if others.is_empty() {
            return Ok(look);
        }
        let beats = self.journal.store().read_heartbeats().await;
        let beats = beats.map_err(|source| Error::Store {
            doing: "reading the heartbeats of other runs".to_owned(),
            source: Arc::new(source),
        })?;
        let now = self.clock.now();
        for (run, (claim, _)) in others {
            match watch.judge(run, claim, beats.get(run), now) {
                Verdict::Dead => {
                    self.fence(run).await?;
                    listener.fenced(run, claim);
                    look.is_one_fenced = true;
                }
                Verdict::Alive => look.alive = Some(run.clone()),
                Verdict::Unknown => look.undecided += 1,
            }
        }
        Ok(look)
    }

    /// Often enough to see an end soon, seldom enough to cost a store nothing.
    fn pause(&self) -> Duration {
        self.terms.beat / 5
    }

    async fn fence(&self, run: &str) -> Result<(), Error> {
        let by = format!("{} (run {})", self.holder.who, self.journal.run());
        match self.journal.append(vec![Entry::Fence { run: run.to_owned(), by }]).await {
            Ok(_) => {
                let _ = self.journal.store().remove_heartbeat(run).await;
                Ok(())
            }
            // It ended by itself, or somebody else was faster.
            Err(Error::Refused(Inconsistent::NoClaim(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[derive(Default)]
struct Look {
    /// One that lives.
    alive: Option<String>,
    is_one_fenced: bool,
    /// Runs of which nothing is known yet.
    undecided: usize,
}

enum Verdict {
    Alive,
    Dead,
    Unknown,
}

/// What a waiting run has seen of others.
struct Watch {
    began: Duration,
    seen: BTreeMap<String, Seen>,
    announced: BTreeSet<String>,
}

struct Seen {
    sign: (Option<Vec<u8>>, u64),
    since: Duration,
    has_moved: bool,
}

impl Watch {
    fn new(clock: &dyn Clock) -> Watch {
        Watch { began: clock.now(), seen: BTreeMap::new(), announced: BTreeSet::new() }
    }

    fn announce(&mut self, others: &BTreeMap<String, (Claim, Address)>, listener: &dyn Listener) {
        for (run, (claim, _)) in others {
            if self.announced.insert(run.clone()) {
                listener.waiting(run, claim);
            }
        }
    }

    fn judge(
        &mut self,
        run: &str,
        claim: &Claim,
        beat: Option<&Vec<u8>>,
        now: Duration,
    ) -> Verdict {
        let sign = (beat.cloned(), claim.latest);
        let seen = self.seen.entry(run.to_owned()).or_insert_with(|| Seen {
            sign: sign.clone(),
            since: now,
            has_moved: false,
        });
        if seen.sign != sign {
            *seen = Seen { sign, since: now, has_moved: true };
        }
        let is_silent = now - seen.since > Duration::from_secs(claim.ttl_seconds);
        match claim.holder.process.as_deref().and_then(process::lives) {
            Some(false) => Verdict::Dead,
            _ if is_silent => Verdict::Dead,
            Some(true) => Verdict::Alive,
            None if seen.has_moved => Verdict::Alive,
            None => Verdict::Unknown,
        }
    }
}

/// The task that shows others that we live.
struct Beating {
    task: Option<tokio::task::JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Beating {
    async fn start(journal: &Journal, terms: &Terms, clock: &Arc<dyn Clock>) -> Beating {
        let (store, run) = (Arc::clone(journal.store()), journal.run().to_owned());
        let (clock, interval) = (Arc::clone(clock), terms.beat);
        // The first one before anything else, so that a watcher sees it move from the start. One that
        // is lost costs nothing: the next one comes soon.
        let _ = store.put_heartbeat(&run, sign(0)).await;
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            for count in 1.. {
                tokio::select! {
                    _ = &mut stopped => return,
                    () = clock.sleep(interval) => {}
                }
                let _ = store.put_heartbeat(&run, sign(count)).await;
            }
        });
        Beating { task: Some(task), stop: Some(stop) }
    }

    /// When this returns no heartbeat is on its way any more.
    async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take() {
            // It has no way to fail but a store's panic, which has been told.
            let _ = task.await;
        }
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A heartbeat: never the same twice, also of a run that begins to count again.
fn sign(count: u64) -> Vec<u8> {
    format!("{{\"beat\":{count},\"nonce\":\"{}\"}}\n", uuid::Uuid::new_v4()).into_bytes()
}
