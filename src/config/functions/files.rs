//! Files, below the stack's directory unless their path is absolute or starts with `~/`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetform_contract::Value;
use regex::{Regex, RegexBuilder};

use super::arguments::Arguments;
use super::types::text;
use super::{Function, FunctionError, MAX_TEXT_BYTES, Result, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("abspath", &["path"], |arguments| {
        let path = arguments.context.directory.join(&*arguments.text(0)?);
        let path = std::path::absolute(&path)
            .map_err(|error| FunctionError::new(format!("there is no such path: {error}")))?;
        Ok(text(clean(&path.to_string_lossy())))
    }),
    function("basename", &["path"], |arguments| Ok(text(basename(&arguments.text(0)?)))),
    function("dirname", &["path"], |arguments| Ok(text(dirname(&arguments.text(0)?)))),
    function("file", &["path"], |arguments| {
        let contents = String::from_utf8(read(arguments)?).map_err(|_| {
            arguments.wrong(
                0,
                "contents of the file are not valid UTF-8; use the filebase64 function to obtain \
                 the Base64 encoded contents or the other file functions (e.g. filemd5, \
                 filesha256) to obtain file hashing results instead",
            )
        })?;
        Ok(text(contents))
    }),
    function("filebase64", &["path"], |arguments| Ok(STANDARD.encode(read(arguments)?).into())),
    function("fileexists", &["path"], fileexists),
    function("fileset", &["path", "pattern"], fileset),
    function("pathexpand", &["path"], |arguments| Ok(text(expanded(arguments)?.to_string_lossy()))),
];

/// Most directory entries that `fileset` looks at.
const MAX_ENTRIES: usize = 100_000;

/// Deepest directory that `fileset` looks into; symbolic links can make circles.
const MAX_DEPTH: usize = 64;

/// The path in the first argument, with the home directory in place of a leading `~`.
fn expanded(arguments: &Arguments) -> Result<PathBuf> {
    let path = arguments.text(0)?;
    let rest = match path.strip_prefix('~') {
        None => return Ok(PathBuf::from(&*path)),
        Some("") => "",
        Some(rest) => rest
            .strip_prefix('/')
            .ok_or_else(|| arguments.wrong(0, "cannot expand user-specific home dir"))?,
    };
    let home = std::env::home_dir()
        .ok_or_else(|| arguments.wrong(0, "the home directory is not known"))?;
    Ok(if rest.is_empty() { home } else { home.join(rest) })
}

/// The bytes of the file that the first argument names.
pub(super) fn read(arguments: &Arguments) -> Result<Vec<u8>> {
    let name = arguments.text(0)?;
    let path = arguments.context.directory.join(expanded(arguments)?);
    let wrong = |why: String| arguments.wrong(0, why);
    let metadata = fs::metadata(&path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            wrong(format!(
                "no file exists at \"{name}\"; this function works only with files that exist \
                 before the plan is made"
            ))
        } else {
            wrong(format!("failed to open file at \"{name}\": {error}"))
        }
    })?;
    // A device or a pipe may have no end.
    if !metadata.is_file() {
        return Err(wrong(format!("\"{name}\" is not a file")));
    }
    let mut bytes = Vec::new();
    let limit = MAX_TEXT_BYTES as u64 + 1;
    File::open(&path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| wrong(format!("failed to read file at \"{name}\": {error}")))?;
    if bytes.len() > MAX_TEXT_BYTES {
        let limit = MAX_TEXT_BYTES >> 20;
        return Err(wrong(format!("the file at \"{name}\" is larger than {limit} MiB")));
    }
    Ok(bytes)
}

fn fileexists(arguments: &Arguments) -> Result<Value> {
    let name = arguments.text(0)?;
    match fs::metadata(arguments.context.directory.join(expanded(arguments)?)) {
        Ok(metadata) if metadata.is_file() => Ok(true.into()),
        Ok(_) => Err(arguments.wrong(0, format!("\"{name}\" is not a regular file"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false.into()),
        Err(error) => Err(arguments.wrong(0, format!("failed to stat \"{name}\": {error}"))),
    }
}

/// The shortest path of the same meaning, by its text alone.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let rooted = path.starts_with('/');
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            Component::ParentDir if rooted => {}
            Component::ParentDir => parts.push(".."),
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn basename(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

fn dirname(path: &str) -> String {
    match path.rfind('/') {
        Some(end) => clean(&path[..=end]),
        None => ".".to_owned(),
    }
}

fn fileset(arguments: &Arguments) -> Result<Value> {
    let pattern = arguments.text(1)?;
    let mut root = arguments.context.directory.join(expanded(arguments)?);
    let mut prefix = String::new();
    let mut pattern = clean(&pattern);
    while let Some(rest) = pattern.strip_prefix("../") {
        root.push("..");
        prefix.push_str("../");
        pattern = rest.to_owned();
    }
    let glob = glob(&pattern).ok_or_else(|| arguments.wrong(1, "syntax error in pattern"))?;
    let mut walk = Walk { glob, seen: 0, found: Vec::new() };
    walk.directory(&root, "", 0).map_err(|why| arguments.wrong(0, why))?;
    walk.found.sort_unstable();
    Ok(Value::list(walk.found.into_iter().map(|name| prefix.clone() + &name)))
}

struct Walk {
    glob: Regex,
    seen: usize,
    found: Vec<String>,
}

impl Walk {
    fn directory(
        &mut self,
        path: &Path,
        prefix: &str,
        depth: usize,
    ) -> std::result::Result<(), String> {
        // What cannot be read has no files, as a directory that is not there has none.
        let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
        for entry in entries.flatten() {
            self.seen += 1;
            if self.seen > MAX_ENTRIES {
                return Err(format!("there are more than {MAX_ENTRIES} files below it"));
            }
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}"))
            else {
                continue;
            };
            // Follows symbolic links.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() && depth < MAX_DEPTH {
                self.directory(&path, &format!("{name}/"), depth + 1)?;
            } else if metadata.is_file() && self.glob.is_match(&name) {
                self.found.push(name);
            }
        }
        Ok(())
    }
}

/// A glob as a regular expression: `*`, `?`, `[…]`, `{a,b}` within a part of a path, `**` for any parts.
/// `None` where it is none.
fn glob(pattern: &str) -> Option<Regex> {
    let mut out = String::from("^");
    let mut rest = pattern;
    let mut braces = 0;
    let mut part_begins = true;
    while let Some(c) = rest.chars().next() {
        let begins = std::mem::replace(&mut part_begins, c == '/');
        if begins && let Some(tail) = rest.strip_prefix("**/") {
            out.push_str("(?:[^/]+/)*");
            rest = tail;
            part_begins = true;
            continue;
        }
        if begins && rest == "**" {
            out.push_str(".*");
            break;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '{' => {
                braces += 1;
                out.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                out.push(')');
            }
            ',' if braces > 0 => out.push('|'),
            '[' => {
                let end = rest.find(']')?;
                let (class, tail) = rest.split_at(end);
                let (negation, class) = match class.strip_prefix(['^', '!']) {
                    Some(class) => ("^/", class),
                    None => ("", class),
                };
                if class.is_empty() {
                    return None;
                }
                out.push('[');
                out.push_str(negation);
                for c in class.chars() {
                    if c == '-' {
                        out.push(c)
                    } else {
                        out.push_str(&regex::escape(&c.to_string()))
                    }
                }
                out.push(']');
                rest = &tail[1..];
            }
            '\\' => {
                let escaped = rest.chars().next()?;
                out.push_str(&regex::escape(&escaped.to_string()));
                rest = &rest[escaped.len_utf8()..];
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    if braces > 0 {
        return None;
    }
    out.push('$');
    RegexBuilder::new(&out).dot_matches_new_line(true).size_limit(1 << 20).build().ok()
}
