//! The arguments of `fleetform state …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::arguments::StackArguments;

#[derive(Debug, Subcommand)]
pub enum State {
    /// List the recorded addresses
    List(List),
    /// Show records
    Show(Show),
    /// List the runs that wrote to the state, and what they did
    History(History),
    /// Compare the state after two entries or runs
    Diff(Diff),
    /// Write a plan that goes back to what an earlier run left
    Rollback(Rollback),
    /// Make a lost state again from the tags of what is in the clouds
    Rebuild(Rebuild),
    /// Print the whole state as JSON, in Terraform's layout with our own keys
    Pull(Pull),
    /// Take over a state that `state pull` printed
    Push(Push),
    /// Give a resource, or everything of a service, another address
    Mv(Mv),
    /// Stop managing objects, which go on to exist
    Rm(Rm),
    /// Let protected objects be destroyed again
    Unprotect(Unprotect),
    /// Take tainted objects for what they should be
    Untaint(Untaint),
    /// Replace the oldest entries by what they come to
    Compact(Compact),
    /// Write everything again under the current key
    Rekey(Rekey),
    /// Read everything and name what is damaged
    Verify(Verify),
}

/// Where the stack is.
#[derive(Args, Debug)]
pub struct Place {
    /// The stack's directory
    #[arg(long = "stack-dir", default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
}

#[derive(Args, Debug)]
pub struct List {
    /// Only addresses that start with this, or that belong to service.NAME, job.NAME or cloud.NAME
    #[arg(value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    #[command(flatten)]
    pub place: Place,
    /// Only what is in this cloud
    #[arg(long, value_name = "NAME")]
    pub cloud: Option<String>,
    /// Only what is in the cluster of this site (aws/us-east-1)
    #[arg(long, value_name = "CLOUD/REGION")]
    pub site: Option<String>,
    /// With the clouds' ids
    #[arg(long)]
    pub id: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Show {
    /// As `state list` writes it, or service.NAME, job.NAME, cloud.NAME
    pub address: String,
    #[command(flatten)]
    pub place: Place,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct History {
    /// A run or an entry: every entry of it
    #[arg(value_name = "RUN|ENTRY")]
    pub which: Option<String>,
    #[command(flatten)]
    pub place: Place,
    /// As JSON, with every entry
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Diff {
    /// The state after this entry or run
    #[arg(value_name = "RUN|ENTRY")]
    pub from: String,
    /// The state after this one; without it, the state of now
    #[arg(value_name = "RUN|ENTRY")]
    pub to: Option<String>,
    #[command(flatten)]
    pub place: Place,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Rollback {
    /// Back to the state after this entry or run
    #[arg(value_name = "RUN|ENTRY")]
    pub to: String,
    #[command(flatten)]
    pub place: Place,
    /// Write the plan to this file, to be applied with `fleetform apply FILE`
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Args, Debug)]
pub struct Rebuild {
    #[command(flatten)]
    pub place: Place,
    /// The lineage to recover, where the tags name several
    #[arg(long, value_name = "LINEAGE")]
    pub lineage: Option<String>,
    /// Only say what would be recovered
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct Pull {
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args, Debug)]
pub struct Push {
    /// What `state pull` printed; `-` for standard input
    pub file: PathBuf,
    #[command(flatten)]
    pub place: Place,
    /// Even where it is older, or of another lineage
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct Mv {
    /// A recorded address, or service.NAME
    #[arg(value_name = "FROM")]
    pub from: String,
    /// What it is called from now on
    #[arg(value_name = "TO")]
    pub to: String,
    #[command(flatten)]
    pub place: Place,
    /// Only say what would be moved
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct Rm {
    /// Recorded addresses, or service.NAME, job.NAME, cloud.NAME
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    #[command(flatten)]
    pub place: Place,
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct Unprotect {
    /// Recorded addresses, or service.NAME or job.NAME
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args, Debug)]
pub struct Untaint {
    /// Recorded addresses, or service.NAME, job.NAME, cloud.NAME
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args, Debug)]
pub struct Compact {
    /// Entries that stay as they are: so far back goes the history
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub keep: u64,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args, Debug)]
pub struct Rekey {
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    pub place: Place,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

impl State {
    /// Where the stack is, whatever the verb.
    pub fn place(&self) -> &Place {
        match self {
            State::List(arguments) => &arguments.place,
            State::Show(arguments) => &arguments.place,
            State::History(arguments) => &arguments.place,
            State::Diff(arguments) => &arguments.place,
            State::Rollback(arguments) => &arguments.place,
            State::Rebuild(arguments) => &arguments.place,
            State::Pull(arguments) => &arguments.place,
            State::Push(arguments) => &arguments.place,
            State::Mv(arguments) => &arguments.place,
            State::Rm(arguments) => &arguments.place,
            State::Unprotect(arguments) => &arguments.place,
            State::Untaint(arguments) => &arguments.place,
            State::Compact(arguments) => &arguments.place,
            State::Rekey(arguments) => &arguments.place,
            State::Verify(arguments) => &arguments.place,
        }
    }
}
