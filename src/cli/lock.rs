//! `lock list`, `lock break` and Terraform's `force-unlock`; and what an apply tells others of itself.

use std::future::Future;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use fleetform_contract::Address;
use fleetform_state::{
    Claim, Entry, Error, Holder, Holding, Journal, Kept, SystemClock, Terms, hold, process,
};

use super::Ended;
use super::arguments::{RunArguments, StackArguments};
use super::locked::Locking;
use super::screen::{Screen, now, write_out};
use super::session::{Session, Setting};
use crate::diagnostic::Diagnostic;
use crate::view;

#[derive(Debug, Subcommand)]
pub enum Lock {
    /// Show who holds which addresses
    List(List),
    /// End a run's lock by its ID
    Break(Break),
}

#[derive(Args, Debug)]
pub struct List {
    /// The stack's directory
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub stack_dir: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// In the layout of Terraform's lock info
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Break {
    /// As `lock list` shows it
    pub id: String,
    /// Do not ask
    #[arg(long)]
    pub force: bool,
    /// The stack's directory
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub stack_dir: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
}

pub async fn run(screen: &Screen, arguments: &Lock, ordered: &[(bool, String)]) -> Ended {
    match arguments {
        Lock::List(arguments) => list(screen, arguments, ordered).await,
        Lock::Break(arguments) => force_unlock(screen, arguments, ordered).await,
    }
}

async fn list(screen: &Screen, arguments: &List, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.stack_dir, &arguments.stack, ordered);
    let kept = Session::open_state(screen, &setting).await?;
    let claims = kept.journal.read(|log| log.state().claims.clone()).await;
    if arguments.json {
        let locks: Vec<_> =
            claims.held.iter().map(|(run, claim)| view::lock::json(run, claim)).collect();
        write_out(&format!("{:#}\n", serde_json::Value::from(locks)));
    } else if claims.held.is_empty() {
        write_out("No locks are held.\n");
    } else {
        let blocks: Vec<String> =
            claims.held.iter().map(|(run, claim)| view::lock::claim(run, claim)).collect();
        write_out(&blocks.join("\n"));
    }
    Ok(0)
}

pub async fn force_unlock(screen: &Screen, arguments: &Break, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.stack_dir, &arguments.stack, ordered);
    let kept = Session::open_state(screen, &setting).await?;
    let claims = kept.journal.read(|log| log.state().claims.clone()).await;
    let id = &arguments.id;
    let Some(claim) = claims.held.get(id) else {
        let held: Vec<&str> = claims.held.keys().map(String::as_str).collect();
        return Err(vec![
            Diagnostic::error("Failed to unlock state", format!("No run {id} holds a lock.")).hint(
                match held.is_empty() {
                    true => "no lock is held at all".to_owned(),
                    false => format!("locks are held by {}", held.join(", ")),
                },
            ),
        ]);
    };
    if !arguments.force {
        confirm(screen, id, claim)?;
    }
    let by = format!("{} (lock break)", who());
    let fence = Entry::Fence { run: id.clone(), by };
    kept.journal.append(vec![fence]).await.map_err(|error| vec![told(&error)])?;
    // One that stays behind means nothing without its claim.
    let _ = kept.journal.store().remove_heartbeat(id).await;
    screen.say(
        "Fleetform state has been successfully unlocked!\n\nThe run can write nothing any more, and \
        its addresses are free. What it had begun\nis settled by the next apply.\n",
    );
    Ok(0)
}

fn confirm(screen: &Screen, id: &str, claim: &Claim) -> Result<(), Vec<Diagnostic>> {
    screen.say(&format!(
        "{}\nDo you really want to force-unlock?\n  Fleetform will end the lock above. The run may \
        still be at work: it makes no new\n  call once it notices. A run that is dead needs no \
        unlocking, the next apply finds out.\n  Only 'yes' will be accepted to confirm.\n\n  Enter \
        a value: ",
        view::lock::claim(id, claim)
    ));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if !std::io::stdin().is_terminal() {
        screen.say("\n");
    }
    match read {
        Ok(_) if answer.trim() == "yes" => {
            screen.say("\n");
            Ok(())
        }
        _ => Err(vec![
            Diagnostic::error(
                "force-unlock cancelled",
                "The answer was not 'yes'; nothing was changed.",
            )
            .hint("use -force where nobody can answer"),
        ]),
    }
}

/// How this run claims what it writes; `None` where it is told not to.
pub fn locking<'a>(
    session: &Session<'_>,
    run: &RunArguments,
    listener: &'a Waiting<'a>,
) -> Option<Locking<'a>> {
    run.lock.then(|| Locking {
        holder: holder(&session.journal),
        terms: Terms { patience: run.lock_timeout, ..Terms::default() },
        clock: Arc::new(SystemClock::default()),
        listener,
        told: &told,
    })
}

/// Does something to the log itself, while nobody else does such a thing. Applies go on meanwhile.
pub async fn alone<T>(
    screen: &Screen,
    journal: &Journal,
    work: impl Future<Output = Result<T, Vec<Diagnostic>>>,
) -> Result<T, Vec<Diagnostic>> {
    let clock = Arc::new(SystemClock::default());
    let mut holding = Holding::new(journal.clone(), holder(journal), Terms::default(), clock);
    let log = Address::new("fleetform_state", "log");
    holding.claim([log].into(), &Waiting(screen)).await.map_err(|error| vec![told(&error)])?;
    let worked = work.await;
    let released = holding.release().await;
    let worked = worked?;
    released.map_err(|error| vec![told(&error)])?;
    Ok(worked)
}

/// Gives back what the run held. Where the run failed its own errors count.
pub async fn release(screen: &Screen, holding: Option<Holding>, ended: &Ended) {
    let Some(holding) = holding else { return };
    if let Err(error) = holding.release().await
        && ended.is_ok()
    {
        screen.diagnostics(&[Diagnostic::warning(
            "Error releasing the state lock",
            format!("{error}. The run itself is complete and recorded."),
        )
        .hint("the next run finds this one dead and takes its lock over")]);
    }
}

/// What an apply tells others of itself.
fn holder(journal: &Journal) -> Holder {
    let first = journal.store().place(Kept::Batch(1));
    let path = first.rsplit_once("/log/").map_or(&first[..], |(path, _)| path).to_owned();
    Holder {
        operation: "OperationTypeApply".to_owned(),
        info: ci_run(|name| std::env::var(name).ok()),
        who: who(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: now(),
        path,
        process: process::identity(),
    }
}

/// A duration as Go writes it: `90s`, `1m30s`, `500ms`, `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || "expected a duration: 30s, 5m, 1m30s".to_owned();
    let parsed = text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// The diagnostic of a claim that could not be had, or of a state that could not be written.
pub fn told(error: &Error) -> Diagnostic {
    match error {
        Error::Claimed { run, claim, address } => Diagnostic::error(
            "Error acquiring the state lock",
            format!(
                "Error message: {address} is being changed by another run.\n{}\nFleetform claims the \
                addresses that an apply changes, to protect them from being changed by two runs at \
                the same time. Runs that change other addresses are not in each other's way.",
                view::lock::block(run, claim)
            ),
        )
        .hint(error.hint()),
        error => {
            let cause = std::error::Error::source(error);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            Diagnostic::error("The state could not be written", format!("{error}{cause}."))
                .hint(error.hint())
        }
    }
}

/// Tells the screen how waiting goes.
pub struct Waiting<'a>(pub &'a Screen);

impl hold::Listener for Waiting<'_> {
    fn waiting(&self, run: &str, claim: &Claim) {
        let message = "Acquiring state lock. This may take a few moments...";
        self.0.say(&format!("{message}\n  waiting for {} (run {run})\n", claim.holder.who));
        self.0.event("info", "state_lock_acquire", message, serde_json::json!({}));
    }

    fn fenced(&self, run: &str, claim: &Claim) {
        let who = &claim.holder.who;
        let message = format!("The run {run} of {who} is dead: its lock was taken over.");
        self.0.say(&format!("{message}\n"));
        self.0.event("info", "state_lock_takeover", &message, view::lock::json(run, claim));
    }
}

/// `user@host`.
fn who() -> String {
    let unknown = || "unknown".to_owned();
    let user = whoami::username().unwrap_or_else(|_| unknown());
    format!("{user}@{}", whoami::hostname().unwrap_or_else(|_| unknown()))
}

/// The page of the CI run that we are, as its environment tells.
fn ci_run(environment: impl Fn(&str) -> Option<String>) -> String {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    let github = || {
        let (server, repository) = (get("GITHUB_SERVER_URL")?, get("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", get("GITHUB_RUN_ID")?))
    };
    let devops = || {
        let (server, project) = (get("SYSTEM_COLLECTIONURI")?, get("SYSTEM_TEAMPROJECT")?);
        Some(format!("{server}{project}/_build/results?buildId={}", get("BUILD_BUILDID")?))
    };
    let bitbucket = || {
        let repository = get("BITBUCKET_GIT_HTTP_ORIGIN")?;
        Some(format!("{repository}/pipelines/results/{}", get("BITBUCKET_BUILD_NUMBER")?))
    };
    // GitLab; CircleCI, Buildkite; Jenkins and those that copy it.
    let named = ["CI_JOB_URL", "CIRCLE_BUILD_URL", "BUILDKITE_BUILD_URL", "BUILD_URL"];
    let found = github().or_else(devops).or_else(bitbucket);
    found.or_else(|| named.iter().find_map(|name| get(name))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_run_is_found_in_its_environment() {
        for (variables, url) in [
            (&[("CI", "true")][..], ""),
            (
                &[
                    ("GITHUB_SERVER_URL", "https://github.com"),
                    ("GITHUB_REPOSITORY", "a/b"),
                    ("GITHUB_RUN_ID", "7"),
                ],
                "https://github.com/a/b/actions/runs/7",
            ),
            (
                &[("CI_JOB_URL", "https://gitlab.com/a/b/-/jobs/7")],
                "https://gitlab.com/a/b/-/jobs/7",
            ),
            (&[("BUILD_URL", "https://ci/job/b/7/")], "https://ci/job/b/7/"),
            (
                &[
                    ("SYSTEM_COLLECTIONURI", "https://dev.azure.com/a/"),
                    ("SYSTEM_TEAMPROJECT", "b"),
                    ("BUILD_BUILDID", "7"),
                ],
                "https://dev.azure.com/a/b/_build/results?buildId=7",
            ),
            (
                &[
                    ("BITBUCKET_GIT_HTTP_ORIGIN", "https://bitbucket.org/a/b"),
                    ("BITBUCKET_BUILD_NUMBER", "7"),
                ],
                "https://bitbucket.org/a/b/pipelines/results/7",
            ),
        ] {
            let environment = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(ci_run(environment), url, "{variables:?}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, seconds) in
            [("0", 0.0), ("0s", 0.0), ("1m30s", 90.0), ("500ms", 0.5), ("2h", 7200.0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "5", "-5s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_conflict_is_told_as_terraform_tells_it() {
        let claim = Claim {
            addresses: Default::default(),
            holder: Holder { who: "ada@ci".into(), ..Holder::default() },
            ttl_seconds: 30,
            since: 1,
            latest: 1,
        };
        let address = "aws_eks_cluster.main".parse().expect("an address");
        let told = told(&Error::Claimed { run: "id-1".into(), claim: Box::new(claim), address });
        assert_eq!(told.summary, "Error acquiring the state lock");
        for part in ["aws_eks_cluster.main is being changed", "Lock Info:\n  ID:        id-1\n"] {
            assert!(told.detail.contains(part), "{}", told.detail);
        }
        let hint = told.hint.expect("it has a hint");
        assert!(hint.contains("-lock-timeout") && hint.contains("lock break id-1"), "{hint}");
    }
}
