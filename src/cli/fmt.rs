//! `fmt`: the canonical style, for files, directories and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Ended;
use super::arguments::Fmt;
use super::screen::{Screen, write_out};
use crate::config;
use crate::diagnostic::Diagnostic;

pub fn run(_screen: &Screen, arguments: &Fmt) -> Ended {
    let mut differ = false;
    let mut failures = Vec::new();
    for path in &arguments.paths {
        if path.as_os_str() == "-" {
            differ |= standard_input(arguments)?;
            continue;
        }
        for file in files(path, arguments.recursive)? {
            match one(&file, arguments) {
                Ok(changed) => differ |= changed,
                Err(diagnostics) => failures.extend(diagnostics),
            }
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    Ok(if arguments.check && differ { 3 } else { 0 })
}

fn standard_input(arguments: &Fmt) -> Result<bool, Vec<Diagnostic>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| {
        vec![Diagnostic::error(
            "Cannot read standard input",
            format!("Standard input is no text: {error}."),
        )]
    })?;
    let formatted = config::format(&text)?;
    if !arguments.check {
        write_out(&formatted);
    }
    Ok(formatted != text)
}

fn one(file: &Path, arguments: &Fmt) -> Result<bool, Vec<Diagnostic>> {
    let io = |doing: &str, error: std::io::Error| {
        vec![Diagnostic::error(
            "A file could not be formatted",
            format!("{doing} {}: {error}.", file.display()),
        )]
    };
    let text = std::fs::read_to_string(file).map_err(|error| io("Reading", error))?;
    let formatted = if file.extension().is_some_and(|ending| ending == "json") {
        text.clone()
    } else {
        config::format(&text).map_err(|mut diagnostics| {
            for diagnostic in &mut diagnostics {
                diagnostic.detail = format!("{}: {}", file.display(), diagnostic.detail);
            }
            diagnostics
        })?
    };
    if formatted == text {
        return Ok(false);
    }
    if arguments.list {
        write_out(&format!("{}\n", file.display()));
    }
    if arguments.diff {
        let name = file.display().to_string();
        let difference = similar::TextDiff::from_lines(text.as_str(), formatted.as_str());
        write_out(&difference.unified_diff().header(&name, &name).to_string());
    }
    if arguments.write && !arguments.check {
        std::fs::write(file, formatted).map_err(|error| io("Writing", error))?;
    }
    Ok(true)
}

/// The files of a path that are ours to format, in order.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Vec<Diagnostic>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| {
        vec![Diagnostic::error("No such path", format!("{}: {error}.", path.display()))]
    })?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            if recursive && !hidden {
                found.extend(files(&path, true)?);
            }
        } else if path.extension().is_some_and(|ending| ending == "hcl" || ending == "tfvars")
            && !hidden
        {
            found.push(path);
        }
    }
    Ok(found)
}
