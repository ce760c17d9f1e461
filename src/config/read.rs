//! Files → texts. The only part of the language that touches the disk, beside its file functions.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetform_contract::Value;

use super::Inputs;
use crate::diagnostic::{Diagnostic, Sources, Span};

/// Everything that a stack is evaluated from, as text.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// As the user gave it.
    pub directory: PathBuf,
    /// The `*.hcl` files.
    pub sources: Sources,
    /// What gives variables their values; later ones win.
    pub variables: Vec<Given>,
}

/// Something that gives values to variables.
#[derive(Clone, Debug)]
pub enum Given {
    /// A variable file: HCL, or JSON where its name ends in `.json`.
    File { file: Arc<str>, text: Arc<str> },
    /// `-var name=text`.
    Option { name: String, text: String },
    /// An environment variable. One that no variable asks for is ignored.
    Environment { name: String, text: String },
    /// A value that is known already, as a saved plan keeps it.
    Value { name: String, value: Value },
}

/// One file may have 4 MiB. The largest hand-written stacks have a hundredth of that.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// All files of a stack together.
const MAX_STACK_BYTES: usize = 32 << 20;

/// Reads a directory and the variable files. What could be read is there even where there are
/// diagnostics.
pub fn read(directory: &Path, inputs: &Inputs) -> (Files, Vec<Diagnostic>) {
    let mut files = Files { directory: directory.to_owned(), ..Files::default() };
    let mut diagnostics = Vec::new();
    let names = match list(directory) {
        Ok(names) => names,
        Err(diagnostic) => return (files, vec![*diagnostic]),
    };

    let mut total = 0;
    for name in names.iter().filter(|name| name.ends_with(".hcl")) {
        let path = directory.join(name);
        let file: Arc<str> = shown(&path).into();
        match text(&path, &file) {
            Ok(text) => {
                total += text.len();
                files.sources.files.insert(file, text);
            }
            Err(diagnostic) => {
                let near = diagnostic.span.as_ref().and_then(|_| invalid_text(&path));
                files.sources.files.extend(near.map(|text| (file, text)));
                diagnostics.push(*diagnostic);
            }
        }
        if total > MAX_STACK_BYTES {
            diagnostics.push(
                Diagnostic::error(
                    "Stack too large",
                    "The stack's files together have more than 32 MiB.",
                )
                .hint("data belongs in files that are read by `file(…)` or `jsondecode(file(…))`"),
            );
            break;
        }
    }
    if files.sources.files.is_empty() && diagnostics.is_empty() {
        let hint = if names.iter().any(|name| name.ends_with(".tf")) {
            "Fleetform reads *.hcl; *.tf files are Terraform's"
        } else {
            "`fleetform init` writes a first stack"
        };
        diagnostics.push(
            Diagnostic::error(
                "No configuration files",
                format!("The directory {} has no *.hcl files.", shown(directory)),
            )
            .hint(hint),
        );
    }
    files.variables = given(directory, &names, inputs, &mut diagnostics);
    (files, diagnostics)
}

/// What gives variables their values, the weakest first.
fn given(
    directory: &Path,
    names: &[String],
    inputs: &Inputs,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Given> {
    let mut given = Vec::new();
    for prefix in ["TF_VAR_", "FLEETFORM_VAR_"] {
        given.extend(inputs.env.iter().filter_map(|(key, text)| {
            let name = key.strip_prefix(prefix)?.to_owned();
            Some(Given::Environment { name, text: text.clone() })
        }));
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for name in ["fleetform.tfvars", "fleetform.tfvars.json"] {
        paths.extend(names.iter().any(|found| found == name).then(|| directory.join(name)));
    }
    let automatic =
        |name: &&String| name.ends_with(".auto.tfvars") || name.ends_with(".auto.tfvars.json");
    paths.extend(names.iter().filter(automatic).map(|name| directory.join(name)));
    if let Some(environment) = &inputs.environment {
        let found: Vec<PathBuf> = ["tfvars", "tfvars.json"]
            .map(|end| directory.join("envs").join(format!("{environment}.{end}")))
            .into_iter()
            .filter(|path| path.is_file())
            .collect();
        if found.is_empty() {
            diagnostics.push(
                Diagnostic::error(
                    "Unknown environment",
                    format!(
                        "There is no file {}.",
                        shown(&directory.join("envs").join(format!("{environment}.tfvars")))
                    ),
                )
                .hint("each environment has a variable file in `envs`; it may be empty"),
            );
        }
        paths.extend(found);
    }
    let mut open = |path: &Path| {
        let file: Arc<str> = shown(path).into();
        match text(path, &file) {
            Ok(text) => Some(Given::File { file, text }),
            Err(diagnostic) => {
                // Without its place: the file may hold secrets, so nothing of it is shown.
                diagnostics.push(Diagnostic { span: None, ..*diagnostic });
                None
            }
        }
    };
    given.extend(paths.iter().filter_map(|path| open(path)));
    for assignment in &inputs.assignments {
        match assignment {
            super::Assignment::File(path) => given.extend(open(path)),
            super::Assignment::Variable { name, text } => {
                given.push(Given::Option { name: name.clone(), text: text.clone() });
            }
        }
    }
    given
}

fn list(directory: &Path) -> Result<Vec<String>, Box<Diagnostic>> {
    let fail = |error: std::io::Error| {
        let diagnostic = Diagnostic::error(
            "Cannot read the stack",
            format!("The directory {} cannot be read: {error}.", shown(directory)),
        );
        diagnostic.hint("give the directory of a stack")
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Editors leave `.#main.hcl` and `main.hcl~` behind.
        if !name.starts_with('.') && !name.ends_with('~') && entry.path().is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A text file, without a byte order mark.
pub(super) fn text(path: &Path, file: &Arc<str>) -> Result<Arc<str>, Box<Diagnostic>> {
    let fail = |error: std::io::Error| {
        Diagnostic::error("Cannot read a file", format!("{file} cannot be read: {error}."))
    };
    let mut bytes = Vec::new();
    fs::File::open(path)
        .map_err(fail)?
        // A device or a growing file has no length to ask for first.
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Diagnostic::error(
            "File too large",
            format!("{file} has more than {} MiB.", MAX_FILE_BYTES >> 20),
        )
        .hint("split the file; a stack is all *.hcl files of its directory")
        .into());
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).into()),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let span = Span { file: file.clone(), start: at, end: at + 1 };
            Err(Diagnostic::error(
                "File is not UTF-8",
                format!(
                    "{file} has the byte 0x{:02X} in line {line}, which is no UTF-8.",
                    bytes[at]
                ),
            )
            .hint("save the file as UTF-8")
            .at(span)
            .into())
        }
    }
}

/// The text up to the byte that is no UTF-8, and a mark for that, so that a diagnostic can show the
/// line.
fn invalid_text(path: &Path) -> Option<Arc<str>> {
    let bytes = fs::read(path).ok().filter(|bytes| bytes.len() as u64 <= MAX_FILE_BYTES)?;
    let valid = std::str::from_utf8(&bytes).err()?.valid_up_to();
    Some(format!("{}\u{fffd}", std::str::from_utf8(&bytes[..valid]).ok()?).into())
}

/// A path as the user would write it: without a leading `./`.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    match text.strip_prefix("./") {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => text,
    }
}

/// A variable file with every value masked that is not declared to be harmless, byte for byte, so
/// that places stay where they are.
pub(super) fn masked(text: &str, secret: &[std::ops::Range<usize>]) -> Arc<str> {
    let mut bytes = text.as_bytes().to_vec();
    for range in secret {
        for byte in bytes.iter_mut().take(range.end).skip(range.start) {
            if !matches!(*byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    String::from_utf8(bytes).map_or_else(|_| "".into(), Into::into)
}

/// Everything that could be part of a value masked: for a file that cannot be parsed.
pub(super) fn masked_entirely(text: &str) -> Arc<str> {
    let keep = |c: char| c.is_ascii_whitespace() || "{}[]()=:,\"".contains(c);
    let bytes = text.chars().flat_map(|c| {
        std::iter::repeat_n(if keep(c) { c } else { '*' }, if keep(c) { 1 } else { c.len_utf8() })
    });
    bytes.collect::<String>().into()
}

/// The members of a JSON variable file.
pub(super) fn json_values(
    file: &Arc<str>,
    text: &str,
) -> Result<BTreeMap<String, Value>, Box<Diagnostic>> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        // serde_json's message may quote a value; its place says enough.
        let start = offset(text, error.line(), error.column());
        Diagnostic::error(
            "Invalid JSON",
            format!("{file} is no JSON: the mistake is in line {}.", error.line()),
        )
        .at(Span { file: file.clone(), start, end: start })
    })?;
    match Value::from_plain_json(&json) {
        Value::Map(map) => Ok(map),
        _ => Err(Diagnostic::error(
            "Invalid variable file",
            format!("{file} must hold one object, with the variables' names as keys."),
        )
        .at(Span { file: file.clone(), start: 0, end: 0 })
        .into()),
    }
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}
