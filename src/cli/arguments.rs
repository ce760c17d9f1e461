//! The command line, in Terraform's manner: `-flag`, `-flag=value` and `-flag value`, one dash or two.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Plan and apply AI infrastructure on several clouds.
#[derive(Debug, Parser)]
#[command(
    name = "fleetform",
    disable_version_flag = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Flags may be written with one dash or two. DIR is a directory of *.hcl files; \
        without it, the current directory.\n\nStart with: fleetform init DIR"
)]
pub struct Cli {
    /// Change to this directory first
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    pub chdir: Option<PathBuf>,
    /// Write no colours (as does the environment variable NO_COLOR)
    #[arg(long, global = true, display_order = 100)]
    pub no_color: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a first stack into a directory
    Init(Init),
    /// Check a stack without touching any cloud
    Validate(Validate),
    /// Rewrite *.hcl files in the canonical style
    Fmt(Fmt),
    /// Show what would change and what it would cost
    Plan(PlanArguments),
    /// Make what the stack, or a saved plan, asks for
    Apply(Apply),
    /// Remove everything the stack made
    Destroy(Destroy),
    /// Compare what exists with what is recorded (exit 2: something changed)
    Drift(Drift),
    /// Show a saved plan, or the state
    Show(Show),
    /// Draw the resources and their dependencies
    Graph(Graph),
    /// Say why a workload runs where it runs, and what would move it
    Explain(Explain),
    /// Show where everything would run, also under other conditions
    Placement(PlacementArguments),
    /// Print the outputs of the last apply
    Output(Output),
    /// List what can be rented, and for how much
    Catalog(Catalog),
    /// The embedded clouds
    #[command(subcommand)]
    Sandbox(Sandbox),
    /// Take over an object that exists already
    Import(super::import::Import),
    /// Look into the state, and mend it
    #[command(subcommand)]
    State(super::state::arguments::State),
    /// Who is changing what
    #[command(subcommand)]
    Lock(super::lock::Lock),
    /// End a run's lock by its ID, as `lock break` does
    ForceUnlock(super::lock::Break),
    /// Print the version
    Version(Version),
    /// Print the completion script for a shell
    Completions {
        /// Shell to complete in
        shell: clap_complete::Shell,
    },
}

/// Where the stack is and what it is evaluated with.
#[derive(Args, Clone, Debug, Default)]
pub struct StackArguments {
    /// Set a variable; may be repeated (NAME=VALUE)
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Read variables from a file; may be repeated
    #[arg(long = "var-file", value_name = "FILE")]
    pub variable_files: Vec<PathBuf>,
    /// The environment: reads envs/NAME.tfvars and has a state of its own
    #[arg(long = "env", value_name = "NAME", env = "FLEETFORM_ENV", hide_env_values = true)]
    pub environment: Option<String>,
    /// Use the embedded clouds: no account is needed and nothing is paid
    #[arg(long, env = "FLEETFORM_SANDBOX", hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new())]
    pub sandbox: bool,
}

#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    #[command(flatten)]
    pub stack: StackArguments,
    /// Read what exists before planning
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub refresh: bool,
    /// Replace this address even where it need not be; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub replace: Vec<String>,
    /// Calls to clouds at the same time
    #[arg(long, default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub parallelism: u16,
    /// Write events as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Ask for what is missing; with -input=false, never
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL",
        env = "TF_INPUT", hide_env_values = true, value_parser = boolean)]
    pub input: bool,
    /// Claim the addresses that are changed; with -lock=false others are not kept out. Plans claim
    /// nothing
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub lock: bool,
    /// Wait so long for living runs that change the same addresses (30s, 5m)
    #[arg(long, default_value = "0s", value_name = "DURATION",
        value_parser = super::lock::duration)]
    pub lock_timeout: std::time::Duration,
    /// Show warnings as one line each
    #[arg(long)]
    pub compact_warnings: bool,
    /// Plan only this address or block, and what it needs; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub target: Vec<String>,
    /// Leave out this address or block, and what needs it; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub exclude: Vec<String>,
    /// Only record what was changed outside, without changing any object
    #[arg(long)]
    pub refresh_only: bool,
    /// Write events as -json does into a file, beside the text
    #[arg(long, value_name = "FILE")]
    pub json_into: Option<PathBuf>,
    // A flag of Terraform's that means nothing here: known, so that it can be refused in words.
    #[arg(long, hide = true)]
    pub generate_config_out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Init {
    /// Where to write it
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
}

#[derive(Args, Debug)]
pub struct Validate {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// Write the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Fmt {
    /// Directories or files; `-` for standard input
    #[arg(default_value = ".", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Change nothing; exit 3 where something would change
    #[arg(long)]
    pub check: bool,
    /// Show the differences
    #[arg(long)]
    pub diff: bool,
    /// Go into subdirectories
    #[arg(long)]
    pub recursive: bool,
    /// List the files that differ
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub list: bool,
    /// Write the files
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub write: bool,
}

#[derive(Args, Debug)]
pub struct PlanArguments {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub run: RunArguments,
    /// Save the plan for `apply`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Plan the removal of everything
    #[arg(long)]
    pub destroy: bool,
    /// Exit 0 without changes, 1 on an error, 2 with changes
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Show one line a change
    #[arg(long)]
    pub concise: bool,
}

#[derive(Args, Debug)]
pub struct Apply {
    /// A saved plan, or a stack's directory
    #[arg(default_value = ".", value_name = "PLAN|DIR")]
    pub plan_or_directory: PathBuf,
    #[command(flatten)]
    pub run: RunArguments,
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
    /// Remove everything instead
    #[arg(long)]
    pub destroy: bool,
}

#[derive(Args, Debug)]
pub struct Destroy {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub run: RunArguments,
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
}

#[derive(Args, Debug)]
pub struct Drift {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub run: RunArguments,
}

#[derive(Args, Debug)]
pub struct Show {
    /// A saved plan, or a stack's directory for its state
    #[arg(default_value = ".", value_name = "PLAN|DIR")]
    pub target: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// In Terraform's JSON layout
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Graph {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// Language of the drawing
    #[arg(long, default_value = "dot", value_enum)]
    pub format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    Dot,
    Mermaid,
}

#[derive(Args, Debug)]
pub struct Explain {
    /// A workload (service.chat), or the address of a resource
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PlacementArguments {
    #[command(subcommand)]
    pub action: Option<PlacementAction>,
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// As if this could not be rented: a cloud, region or offering (aws, aws/us-east-1, */*/*/spot); may
    /// be repeated
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub without: Vec<String>,
    /// As if this limit were so: quota:CLOUD/REGION/GPU_TYPE=GPUS (* for any), capacity:CLOUD/gpus=N; may be
    /// repeated
    #[arg(long, value_name = "LIMIT", value_delimiter = ',')]
    pub with: Vec<String>,
    /// As if this were the budget, in dollars a month
    #[arg(long, value_name = "DOLLARS")]
    pub budget: Option<f64>,
    /// What could be had of two ends: cost,latency or cost,carbon
    #[arg(long, value_name = "ENDS", value_delimiter = ',')]
    pub pareto: Vec<String>,
    /// With -pareto: write the chart to a file, as SVG
    #[arg(long, value_name = "FILE", requires = "pareto")]
    pub out: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum PlacementAction {
    /// Write the exact model, to be solved by any other solver
    Export(PlacementExport),
}

#[derive(Args, Debug)]
pub struct PlacementExport {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// Language of the model
    #[arg(long, default_value = "mps", value_enum)]
    pub format: ModelFormat,
    /// Write to a file; to standard output without it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelFormat {
    Mps,
}

#[derive(Args, Debug)]
pub struct Output {
    /// One output; all without it
    pub name: Option<String>,
    /// The stack's directory
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub stack_dir: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// As JSON, with types where all are shown
    #[arg(long)]
    pub json: bool,
    /// A string, number or bool without quotes
    #[arg(long)]
    pub raw: bool,
}

#[derive(Args, Debug)]
pub struct Catalog {
    /// Only this kind of cloud (aws, gcp, azure)
    #[arg(long)]
    pub cloud: Option<String>,
    /// Only this GPU (L4, A100, H100, …); `none` for CPU-only types
    #[arg(long)]
    pub gpu: Option<String>,
    /// Only regions that match (us-*)
    #[arg(long)]
    pub region: Option<String>,
    /// Only this market (on_demand, spot)
    #[arg(long)]
    pub market: Option<String>,
    /// Only types with at least this many GPUs
    #[arg(long, value_name = "N")]
    pub min_gpus: Option<u32>,
    /// Only up to this price in dollars an hour
    #[arg(long, value_name = "DOLLARS")]
    pub max_price: Option<f64>,
    /// What to order by
    #[arg(long, default_value = "price", value_enum)]
    pub sort: CatalogOrder,
    /// At most this many rows; 0 for all
    #[arg(long, default_value_t = 40, value_name = "N")]
    pub limit: usize,
    /// Write the offerings as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CatalogOrder {
    Price,
    /// Price of one GPU
    GpuPrice,
    Name,
}

#[derive(Debug, Subcommand)]
pub enum Sandbox {
    /// Keep a stack's embedded clouds up and print how to reach them
    Serve(Serve),
    /// Count what exists in a stack's embedded clouds
    Census(SandboxPlace),
    /// Throw a stack's embedded clouds and their state away
    Reset(SandboxPlace),
}

#[derive(Args, Debug)]
pub struct Serve {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// First of four ports; 0 for any free ones
    #[arg(long, default_value_t = 8471, value_name = "PORT")]
    pub port: u16,
}

#[derive(Args, Debug)]
pub struct SandboxPlace {
    /// The stack's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub stack: StackArguments,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Version {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Terraform's spellings of booleans in the environment: `0` and `false`, `1` and `true`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err("expected true or false".to_owned()),
    }
}

/// The arguments with one dash turned into two, and with those that `TF_CLI_ARGS` and
/// `TF_CLI_ARGS_<verb>` add behind the verb (ours first, then theirs).
pub fn normalise(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    let mut only_values = false;
    let mut verb_at = None;
    for argument in arguments {
        let text = argument.to_str();
        if let Some(text) = text.filter(|_| !only_values && !out.is_empty()) {
            if text == "--" {
                only_values = true;
            } else if is_single_dash(text) || text.starts_with("--") {
                let dashes = if text.starts_with("--") { "" } else { "-" };
                out.extend(switch(format!("{dashes}{text}")).map(OsString::from));
                continue;
            } else if verb_at.is_none()
                && !text.starts_with('-')
                && out.last().is_none_or(|last| last != "--chdir")
            {
                verb_at = Some(out.len());
            }
        }
        out.push(argument);
    }
    // `-version` and `-help` alone are verbs of old.
    if out.len() == 2 && (out[1] == "--version" || out[1] == "-v" || out[1] == "-V") {
        out[1] = "version".into();
    }
    let Some(at) = verb_at else { return out };
    let verb = out[at].to_string_lossy().into_owned();
    let mut added = Vec::new();
    for prefix in ["FLEETFORM", "TF"] {
        for name in [format!("{prefix}_CLI_ARGS"), format!("{prefix}_CLI_ARGS_{verb}")] {
            for word in environment(&name).unwrap_or_default().split_whitespace() {
                let dashes = if is_single_dash(word) { "-" } else { "" };
                added.push(OsString::from(format!("{dashes}{word}")));
            }
        }
    }
    out.splice(at + 1..at + 1, added);
    out
}

/// A switch that is given a value, as Go's flags allow: `--json=true` is `--json`, `--json=false`
/// is nothing.
fn switch(flag: String) -> Option<String> {
    const SWITCHES: [&str; 16] = [
        "auto-approve",
        "check",
        "compact-warnings",
        "concise",
        "destroy",
        "detailed-exitcode",
        "diff",
        "dry-run",
        "force",
        "id",
        "json",
        "no-color",
        "raw",
        "recursive",
        "refresh-only",
        "sandbox",
    ];
    match flag[2..].split_once('=') {
        Some((name, value)) if SWITCHES.contains(&name) => match value {
            "true" | "1" => Some(format!("--{name}")),
            "false" | "0" => None,
            _ => Some(flag),
        },
        _ => Some(flag),
    }
}

/// `-flag`, but not `-h`, `-` or a negative number.
fn is_single_dash(text: &str) -> bool {
    text.len() > 2
        && text.starts_with('-')
        && !text.starts_with("--")
        && text[1..].starts_with(|c: char| c.is_ascii_alphabetic())
}

/// `-var` and `-var-file` in the order in which they were given, which clap keeps per flag only:
/// (`true` for a file, text).
pub fn variable_order(arguments: &[OsString]) -> Vec<(bool, String)> {
    let mut ordered = Vec::new();
    let mut words = arguments.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        for (flag, is_file) in [("--var", false), ("--var-file", true)] {
            if word == flag {
                ordered.extend(words.next().map(|value| (is_file, value.to_owned())));
                break;
            }
            if let Some(value) = word.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
                ordered.push((is_file, value.to_owned()));
                break;
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        Cli::command().debug_assert();
        for (line, expected) in [
            ("ff plan -out=x -var a=b stacks/x", "ff plan --out=x --var a=b stacks/x"),
            ("ff plan --out x -h", "ff plan --out x -h"),
            ("ff -chdir=d plan", "ff --chdir=d plan"),
            ("ff -version", "ff version"),
            ("ff fmt -", "ff fmt -"),
        ] {
            assert_eq!(normalise(words(line), |_| None), words(expected), "{line}");
        }
        let environment = |name: &str| (name == "TF_CLI_ARGS_plan").then(|| "-no-color".to_owned());
        assert_eq!(normalise(words("ff plan x"), environment), words("ff plan --no-color x"));
        assert_eq!(normalise(words("ff apply x"), environment), words("ff apply x"));
        assert_eq!(
            normalise(words("ff -chdir apply plan x"), environment),
            words("ff --chdir apply plan --no-color x")
        );
    }

    #[test]
    fn variables_keep_their_order() {
        let given = words("ff plan --var a=1 --var-file f --var=b=2 d");
        assert_eq!(
            variable_order(&given),
            [(false, "a=1".to_owned()), (true, "f".to_owned()), (false, "b=2".to_owned())]
        );
    }

    #[test]
    fn terraform_flags_are_understood() {
        for line in [
            "ff plan -refresh=false -input=false -lock=false -lock-timeout=5s -no-color -parallelism=3 d",
            "ff plan -detailed-exitcode -out p.plan -json",
            "ff apply -auto-approve p.plan",
            "ff apply -auto-approve=true -json=false",
            "ff destroy -auto-approve -sandbox stacks/lepton",
            "ff output -json",
            "ff state list",
            "ff lock list -json -stack-dir=d",
            "ff lock break -force id",
            "ff force-unlock -force id",
        ] {
            let parsed = Cli::try_parse_from(normalise(words(line), |_| None));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}
