//! HCL → [`Stack`]: reads a directory, evaluates its expressions, checks every block.
//!
//! The way of a text: [`read`] makes [`Files`] of a directory; the scanner and hcl-edit make syntax
//! trees of those; declarations are checked for shape; values are found, each after what it needs;
//! blocks are read with their types. Mistakes are collected all the way: a value that has failed
//! silences what needs it, and nothing else.
//!
//! Invariants: no input makes this panic, overflow the stack or run for long; the same files and
//! inputs give the same stack; no text of a sensitive value is in a diagnostic.

mod calls;
mod clouds;
mod convert;
mod declare;
mod evaluate;
mod expression;
mod fields;
mod format;
pub mod functions;
mod keeping;
mod lifecycle;
mod operators;
mod quantity;
mod read;
mod refactoring;
mod references;
mod scan;
mod schema;
mod settings;
mod stack;
mod syntax;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod variables;
mod workloads;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fleetform_contract::{SecretKey, Value, Vault};
use fleetform_state::KeySources;

use crate::diagnostic::{Diagnostic, Sources};
use declare::Source;
use evaluate::Run;
use expression::Evaluator;
use fields::{Notes, Reader};
use table::Table;

pub use format::{format, format_named};
pub use read::{Files, Given, read};
#[cfg(test)]
use scan::position;
pub use stack::*;
pub(crate) use table::instance_name;
pub(crate) use workloads::matches_pattern;

/// What a stack is evaluated with, beside its files.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `-env`.
    pub environment: Option<String>,
    /// `-var` and `-var-file`, in their order.
    pub assignments: Vec<Assignment>,
    /// The process's environment: variables are looked up in it as `FLEETFORM_VAR_name` and
    /// `TF_VAR_name`.
    pub env: BTreeMap<String, String>,
    /// The key of the digests of sensitive values.
    pub secret_key: SecretKey,
    /// What was unknown and has become known.
    pub known: Known,
}

/// `-var` or `-var-file`.
#[derive(Clone, Debug)]
pub enum Assignment {
    File(PathBuf),
    Variable { name: String, text: String },
}

/// Values of unknowns, by address and path: `registry.main.urls`.
pub type Known = BTreeMap<String, Value>;

/// A stack that could not be loaded.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the diagnostics point into.
    pub sources: Sources,
    /// At least one error, and the warnings; by place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Inputs {
    /// No variables and nothing known.
    pub fn new(secret_key: SecretKey) -> Inputs {
        Inputs {
            environment: None,
            assignments: Vec::new(),
            env: BTreeMap::new(),
            secret_key,
            known: Known::new(),
        }
    }
}

/// Reads and evaluates the stack of a directory.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(directory: &Path, inputs: &Inputs) -> Result<Stack, Failure> {
    let (files, diagnostics) = read(directory, inputs);
    evaluate_after(&files, inputs, diagnostics)
}

/// Evaluates files that were read before, as a saved plan keeps them.
///
/// # Errors
/// Everything that is wrong with them.
pub fn evaluate(files: &Files, inputs: &Inputs) -> Result<Stack, Failure> {
    evaluate_after(files, inputs, Vec::new())
}

/// The parser and the evaluator are recursive. Their depth is limited, to what fits here with room
/// to spare; the caller's stack may be that of a test or a worker thread.
const STACK_BYTES: usize = 256 << 20;

fn evaluate_after(
    files: &Files,
    inputs: &Inputs,
    diagnostics: Vec<Diagnostic>,
) -> Result<Stack, Failure> {
    on_large_stack(|| build(files, inputs, diagnostics))
}

/// Runs work on a thread with [`STACK_BYTES`] of stack.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        // Nothing can be evaluated without memory; that is no mistake of the stack's.
        let thread = thread.expect("the system gives a thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn build(
    files: &Files,
    inputs: &Inputs,
    mut diagnostics: Vec<Diagnostic>,
) -> Result<Stack, Failure> {
    let unreadable: BTreeSet<_> =
        diagnostics.iter().filter_map(|d| d.span.as_ref().map(|span| span.file.clone())).collect();
    let mut sources = Vec::new();
    for (file, text) in &files.sources.files {
        // Saved sources have the texts of templates and variable files beside the stack's own.
        if !file.ends_with(".hcl") || unreadable.contains(file) {
            continue;
        }
        match syntax::parse(file, text) {
            Ok(body) => sources.push(Source { file: file.clone(), text: text.clone(), body }),
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    // What a file that cannot be read declares is missing elsewhere; saying so would be noise.
    let complete = !diagnostics.iter().any(Diagnostic::is_error);
    let declarations = declare::declare(&sources, &mut diagnostics);
    let notes = Notes { problems: RefCell::new(diagnostics), spans: RefCell::default() };
    let name = stack_name(&files.directory);
    let mut table = Table::new(&declarations, &inputs.known);
    table.directory = files.directory.display().to_string();
    table.environment = inputs.environment.clone();
    table.name.clone_from(&name);
    let vault = Vault::new(inputs.secret_key.clone());
    let context = functions::Context { directory: files.directory.clone() };
    let evaluator = Evaluator::new(&table, &vault, &context);

    let before = notes.problems.borrow().len();
    let variables: Vec<variables::Variable> = declarations
        .variables
        .iter()
        .map(|declared| variables::Variable::read(declared, &evaluator, &notes))
        .collect();
    let (values, texts) =
        variables::assign(&variables, &files.variables, &evaluator, &vault, &notes);
    *table.variables.borrow_mut() = values.clone();
    let run = Run { table: &table, evaluator: &evaluator, notes: &notes };
    run.everything();
    if !complete {
        notes.problems.borrow_mut().truncate(before);
    }

    let mut stack = Stack {
        name,
        directory: files.directory.clone(),
        environment: inputs.environment.clone(),
        sources: files.sources.clone(),
        variables: values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        clouds: BTreeMap::new(),
        registries: BTreeMap::new(),
        images: BTreeMap::new(),
        models: BTreeMap::new(),
        workloads: BTreeMap::new(),
        optimize: Optimize {
            budget_month: None,
            move_penalty: DEFAULT_MOVE_PENALTY,
            weights: None,
        },
        prometheus: None,
        outputs: BTreeMap::new(),
        checks: BTreeMap::new(),
        moved: Vec::new(),
        removed: Vec::new(),
        imports: Vec::new(),
        state: StateSettings::default(),
        encryption: KeySources::default(),
        spans: BTreeMap::new(),
        warnings: Vec::new(),
        vault: vault.clone(),
    };
    if complete {
        for declared in &declarations.variables {
            settings::validations(&run, declared);
        }
        read_blocks(&run, &mut stack);
        for declared in &declarations.rest {
            settings::read(&run, declared, &mut stack);
        }
        refactoring::check(&stack, &notes);
    }
    stack.sources.files.extend(texts);
    stack.sources.files.extend(table.remembered());
    stack.spans = notes.spans.take();
    if complete {
        settings::missing_server(&stack).into_iter().for_each(|problem| notes.report(problem));
    }

    let mut all = notes.problems.take();
    all.append(&mut stack.warnings);
    all.sort_by(|left, right| {
        (left.span.is_none(), &left.span, left.severity).cmp(&(
            right.span.is_none(),
            &right.span,
            right.severity,
        ))
    });
    if all.len() > fields::MAX_PROBLEMS {
        all.truncate(fields::MAX_PROBLEMS);
        let detail = format!("Only the first {} are shown.", fields::MAX_PROBLEMS);
        all.push(Diagnostic::error("Too many mistakes", detail).hint("correct these first"));
    }
    if all.iter().any(Diagnostic::is_error) {
        return Err(Failure { sources: stack.sources, diagnostics: all });
    }
    stack.warnings = all;
    Ok(stack)
}

/// A replica moves only where it saves this share of its monthly cost.
const DEFAULT_MOVE_PENALTY: f64 = 0.05;

/// Reads the blocks that expressions refer to, clouds first: placement rules are checked against
/// them.
fn read_blocks(run: &Run, stack: &mut Stack) {
    let declarations = run.table.declarations;
    let kinds = fleetform_providers::kinds();
    for kind in ["cloud", "registry", "image", "model", "service", "job"] {
        for (at, block) in declarations.blocks.iter().enumerate().filter(|(_, b)| b.kind == kind) {
            let Some(instances) = run.table.found.borrow()[at].instances.clone() else { continue };
            let path = block.path();
            // A block without instances has a place too.
            run.notes.spans.borrow_mut().insert(path.clone(), block.header());
            let whole = block.header();
            let label = block.label.clone();
            for (index, instance) in instances.iter().enumerate() {
                let section = run.assembled(at, index);
                let reader = Reader {
                    section: &section,
                    path: &path,
                    notes: run.notes,
                    table: run.table,
                    vault: run.evaluator.vault,
                };
                reader.note_spans();
                match kind {
                    "cloud" => {
                        let cloud = clouds::cloud(&reader, &label, kinds);
                        stack.clouds.insert(label.clone(), cloud);
                    }
                    "registry" => {
                        drop(stack.registries.insert(label.clone(), clouds::registry(&reader)));
                    }
                    "image" => {
                        let image = clouds::image(&reader, &mut stack.warnings);
                        stack.images.insert(label.clone(), image);
                    }
                    "model" => drop(stack.models.insert(label.clone(), clouds::model(&reader))),
                    _ => {
                        let key = instance.as_ref().map(|(key, _)| key.as_str());
                        let name = table::instance_name(&label, key);
                        let reference = table::reference(&path, key);
                        let instance =
                            workloads::Instance { name: &name, reference, job: kind == "job" };
                        let workload = workloads::workload(&reader, &instance, stack);
                        if let Some(other) = stack.workloads.get(&name) {
                            let detail = format!(
                                "`{}` and `{}` would both be called {name:?} in clusters.",
                                other.reference, workload.reference
                            );
                            let diagnostic = Diagnostic::error("Names collide", detail);
                            run.notes.report(
                                diagnostic
                                    .at(whole.clone())
                                    .hint("choose another name or key for one of them"),
                            );
                        }
                        stack.workloads.insert(name, workload);
                    }
                }
            }
        }
    }
    workloads::settle_calls(&mut stack.workloads, run.notes);
    let mut seen: BTreeSet<(String, Option<crate::diagnostic::Span>)> = BTreeSet::new();
    stack.warnings.retain(|warning| seen.insert((warning.summary.clone(), warning.span.clone())));
}

/// The directory's own name.
fn stack_name(directory: &Path) -> String {
    let own = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    // `.` and `..` have names only once they are resolved.
    let resolved = || std::fs::canonicalize(directory).ok().and_then(|path| own(&path));
    own(directory).or_else(resolved).unwrap_or_else(|| "stack".into())
}

/// Lower-case letters, digits and single dashes, neither first nor last.
pub(crate) fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// `a service`, `an image`.
fn a(kind: &str) -> String {
    format!("{} {kind}", if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" })
}

/// `1 element`, `3 elements`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The known name that was probably meant.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // A stack with more names than this, and a slip of the finger in it, does without.
    const MAX_NAMES: usize = 5_000;
    let length = name.chars().count();
    let limit = (length / 3).max(1).min(length.saturating_sub(1));
    let lower = name.to_lowercase();
    known
        .into_iter()
        .take(MAX_NAMES)
        .filter(|known| *known != name && known.chars().count().abs_diff(length) <= limit)
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Evaluates one expression on its own, without a stack: the functions and operators see nothing.
#[cfg(test)]
fn evaluate_alone(text: &str, directory: &Path) -> Result<Value, Box<Diagnostic>> {
    let file: std::sync::Arc<str> = "expression".into();
    let expression = syntax::parse_expression(&file, text)?;
    let declarations = declare::Declarations::default();
    let known = Known::new();
    let table = Table::new(&declarations, &known);
    let vault = Vault::new(SecretKey::new([0; 32]));
    let context = functions::Context { directory: directory.to_owned() };
    let evaluator = Evaluator::new(&table, &vault, &context);
    for reference in references::references(&expression) {
        let at = declare::span(&file, reference.range.clone());
        table.targets(reference.root, reference.steps, at)?;
    }
    let frame = expression::Frame::new(&file, text);
    match evaluator.evaluate(&expression, &frame) {
        Ok(value) => Ok(value),
        Err(expression::Fault::New(diagnostic)) => Err(diagnostic),
        Err(expression::Fault::Reported) => Err(Box::new(Diagnostic::error("Reported", ""))),
    }
}
