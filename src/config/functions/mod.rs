//! Terraform's functions, on our [`Value`].
//!
//! Names, arguments and results are those of Terraform 1.11; `table.txt` beside this file holds what
//! `terraform console` says, and a test compares. `docs/functions.md` lists every function. Three
//! things differ by design:
//!
//! - A set is a list without duplicates in order: text by its bytes, numbers by size, anything else
//!   in the order Terraform prints it.
//! - Numbers are IEEE doubles, where Terraform computes with 512 bits: `1/3` has 17 digits, and whole
//!   numbers are exact up to 2^53.
//! - Results have limits ([`MAX_TEXT_BYTES`], [`MAX_ELEMENTS`]): a function refuses what would not
//!   fit in memory or time.
//!
//! Every function is a pure function of its arguments and, for the file functions, of the files it
//! reads. Those of Terraform's that are not, [`left_out`] explains.

mod arguments;
mod numbers;
mod types;
mod weight;

mod collections;
mod csv;
mod encoding;
mod files;
mod format;
mod hashes;
mod json;
mod networks;
mod numeric;
mod patterns;
mod sets;
mod strings;
mod time;
mod yaml;
mod yaml_reader;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use fleetform_contract::Value;

use arguments::Arguments;

pub use numbers::{number_to_text, parse_number, tidy};
pub use types::{NoCommonType, text, to_text, unify};

/// Most bytes of text in what a function gives or a file function reads, beyond what its arguments
/// have.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// Most elements a function puts into a list that is longer than its arguments.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// What functions know besides their arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// The stack's directory: relative paths start here.
    pub directory: PathBuf,
}

/// Why a function gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FunctionError {
    /// The argument at fault, counted from 0; `None` where it is no single one.
    pub argument: Option<usize>,
    /// A sentence.
    pub message: String,
}

impl FunctionError {
    fn new(message: impl Into<String>) -> FunctionError {
        FunctionError { argument: None, message: message.into() }
    }
}

type Result<T> = std::result::Result<T, FunctionError>;

/// A function: its parameters as Terraform names them, and what it does.
struct Function {
    name: &'static str,
    parameters: &'static [&'static str],
    /// The name of the parameter that takes any further arguments.
    rest: Option<&'static str>,
    run: fn(&Arguments) -> Result<Value>,
}

const fn function(
    name: &'static str,
    parameters: &'static [&'static str],
    run: fn(&Arguments) -> Result<Value>,
) -> Function {
    Function { name, parameters, rest: None, run }
}

const fn variadic(
    name: &'static str,
    parameters: &'static [&'static str],
    rest: &'static str,
    run: fn(&Arguments) -> Result<Value>,
) -> Function {
    Function { name, parameters, rest: Some(rest), run }
}

static FUNCTIONS: LazyLock<BTreeMap<&'static str, &'static Function>> = LazyLock::new(|| {
    [
        collections::FUNCTIONS,
        sets::FUNCTIONS,
        encoding::FUNCTIONS,
        files::FUNCTIONS,
        format::FUNCTIONS,
        hashes::FUNCTIONS,
        networks::FUNCTIONS,
        numeric::FUNCTIONS,
        patterns::FUNCTIONS,
        strings::FUNCTIONS,
        time::FUNCTIONS,
        types::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
    .map(|function| (function.name, function))
    .collect()
});

/// Functions that see their arguments' expressions, unknowns or secrets: the evaluator has them.
const EVALUATED_ELSEWHERE: [&str; 7] =
    ["can", "issensitive", "nonsensitive", "sensitive", "templatefile", "templatestring", "try"];

/// Calls a function by name (`upper`, or `core::upper`). The arguments are known and plain: unknowns
/// and secrets are the evaluator's.
///
/// # Errors
/// Where there is no such function here, arguments are too few or too many, one is of a wrong type,
/// or the result would pass a limit.
pub fn call(name: &str, arguments: &[Value], context: &Context) -> Result<Value> {
    let name = name.strip_prefix("core::").unwrap_or(name);
    let Some(function) = FUNCTIONS.get(name) else {
        return Err(FunctionError::new(match left_out(name) {
            Some(reason) => reason.to_owned(),
            None => format!("There is no function named \"{name}\"."),
        }));
    };
    (function.run)(&Arguments::new(function, arguments, context)?)
}

/// The names of all functions, those of the evaluator included, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut names: Vec<_> = FUNCTIONS.keys().copied().chain(EVALUATED_ELSEWHERE).collect();
        names.sort_unstable();
        names
    });
    NAMES.iter().copied()
}

/// Why a function that Terraform has is not here.
pub fn left_out(name: &str) -> Option<&'static str> {
    Some(match name {
        "bcrypt" => {
            "bcrypt is left out: it salts at random, so that no two plans would be the same."
        }
        "ephemeralasnull" => {
            "ephemeralasnull is left out: there are no ephemeral values here; a secret is a reference."
        }
        "plantimestamp" | "timestamp" => {
            "The clock is left out: two plans of the same stack are the same. Pass the time in a \
             variable."
        }
        "rsadecrypt" => {
            "rsadecrypt is left out: a decrypted secret would be plain text in the plan. Refer to a \
             secret of the cluster or the cloud instead."
        }
        "type" => "type is left out: Terraform has it in its console only.",
        "uuid" => {
            "uuid is left out: it is random, so that no two plans would be the same. Use uuidv5, \
             which makes the same identifier of the same name."
        }
        name if name.starts_with("provider::") => {
            "Functions of Terraform's providers are left out: there are no Terraform providers here."
        }
        _ => return None,
    })
}
