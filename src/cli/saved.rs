//! Saved plans: a line that says what the file is and the plan's hash, then the plan.
//!
//! Where the stack's state is encrypted, so are its plans, with the same key. The first line then says
//! where the key comes from, because the stack is known only from the plan.

use std::path::Path;

use fleetform_state::stores::Surroundings;
use fleetform_state::{KeySource, KeySources, Keys, Locked};

use super::session::environment;
use crate::diagnostic::Diagnostic;
use crate::plan::Plan;

const MAGIC: &str = "fleetform plan 1";
const SEALED: &str = "fleetform plan 1 sealed";

/// Writes a plan, sealed with the current one of these keys; key files are relative to `directory`.
pub fn write(
    path: &Path,
    plan: &Plan,
    keys: &KeySources,
    directory: &Path,
) -> Result<(), Vec<Diagnostic>> {
    let body = serde_json::to_string(plan).expect("plans serialize");
    let text = format!("{MAGIC} {}\n{body}\n", plan.hash()).into_bytes();
    let bytes = match &keys.current {
        None => text,
        Some(source) => {
            let source = match source {
                KeySource::KeyFile(path) => KeySource::KeyFile(directory.join(path)),
                source => source.clone(),
            };
            let said = serde_json::to_string(&source).expect("sources serialize");
            let first = format!("{SEALED} {said}\n");
            let sealed = open_keys(source)?.seal(&first, &text);
            [first.into_bytes(), sealed].concat()
        }
    };
    std::fs::write(path, bytes).map_err(|error| {
        vec![Diagnostic::error(
            "The plan could not be saved",
            format!("Writing {}: {error}.", path.display()),
        )]
    })
}

/// Reads a plan and checks that it is whole: its hash is over every byte that matters.
pub fn read(path: &Path) -> Result<Plan, Vec<Diagnostic>> {
    let bad = |why: String, hint: &str| {
        let what = format!("{} {why}.", path.display());
        vec![Diagnostic::error("Not a usable plan file", what).hint(hint)]
    };
    let bytes = std::fs::read(path).map_err(|error| {
        bad(format!("cannot be read: {error}"), "give a plan file, or a directory with *.hcl files")
    })?;
    let bytes = match unsealed(&bytes)? {
        Ok(bytes) => bytes,
        Err(Locked::WrongKey) => {
            return Err(bad(
                "is encrypted with another key".into(),
                "give the key that it was made with, or plan again",
            ));
        }
        Err(_) => return Err(bad("is damaged: it is not what was encrypted".into(), "plan again")),
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| bad("is no text".into(), "plans are written by `fleetform plan -out=FILE`"))?;
    let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
    let Some(hash) = head.strip_prefix(MAGIC).map(str::trim) else {
        return Err(bad(
            "is no plan of this version of Fleetform".into(),
            "plans are written by `fleetform plan -out=FILE`",
        ));
    };
    let plan: Plan = serde_json::from_str(body)
        .map_err(|error| bad(format!("is damaged: {error}"), "plan again"))?;
    if plan.hash() != hash {
        return Err(bad("is damaged: its hash does not match".into(), "plan again"));
    }
    Ok(plan)
}

/// What is inside a sealed plan; another file as it is.
fn unsealed(bytes: &[u8]) -> Result<Result<Vec<u8>, Locked>, Vec<Diagnostic>> {
    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let (first, sealed) = bytes.split_at(end);
    let Some(source) = std::str::from_utf8(first).ok().and_then(|line| line.strip_prefix(SEALED))
    else {
        return Ok(Ok(bytes.to_vec()));
    };
    let Ok(source) = serde_json::from_str::<KeySource>(source) else {
        return Ok(Err(Locked::Damaged));
    };
    let keys = open_keys(source)?;
    if !fleetform_state::seal::is_sealed(sealed) {
        return Ok(Err(Locked::Damaged));
    }
    Ok(keys.open(&String::from_utf8_lossy(first), sealed))
}

fn open_keys(source: KeySource) -> Result<Keys, Vec<Diagnostic>> {
    let sources = KeySources { current: Some(source), previous: Vec::new() };
    let around = Surroundings { variables: environment(), ..Surroundings::default() };
    Keys::new(&sources, &around).map_err(|refusal| {
        vec![Diagnostic::error(refusal.summary, refusal.detail).hint(refusal.hint)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        serde_json::from_value(serde_json::json!({
            "format": 1, "fleetform_version": "0", "stack": "chat", "lineage": "l", "serial": 3,
            "operation": "apply", "changes": [], "drift": [], "outputs": {}, "checks": [],
            "placement": null, "cost_before_month": null, "created": "2026-01-01T00:00:00Z",
            "inputs": { "directory": ".", "environment": null, "variables": {},
                "variable_files": [], "sandbox": true, "sources": {} },
        }))
        .expect("a plan")
    }

    #[test]
    fn a_changed_file_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("p.plan");
        let plan = plan();
        write(&path, &plan, &KeySources::default(), Path::new("")).expect("written");
        assert_eq!(read(&path).expect("read"), plan);
        let text = std::fs::read_to_string(&path).expect("text");
        for (from, to) in
            [("\"serial\":3", "\"serial\":4"), ("fleetform plan 1", "something"), ("}\n", "")]
        {
            std::fs::write(&path, text.replace(from, to)).expect("written");
            let error = read(&path).expect_err("a damaged plan is refused");
            assert_eq!(error[0].summary, "Not a usable plan file");
        }
    }
    #[test]
    fn an_encrypted_plan_is_read_with_its_key_only() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (path, key) = (directory.path().join("p.plan"), directory.path().join("key"));
        std::fs::write(&key, [7; 32]).expect("written");
        let keys = KeySources { current: Some(KeySource::KeyFile("key".into())), previous: vec![] };
        write(&path, &plan(), &keys, directory.path()).expect("written");
        assert_eq!(read(&path).expect("read"), plan());
        let whole = std::fs::read(&path).expect("bytes");
        assert!(!String::from_utf8_lossy(&whole).contains("lineage"));
        let end = whole.len() - 1;
        for (position, why) in [(end, "damaged"), (end - 40, "damaged")] {
            let mut bytes = whole.clone();
            bytes[position] ^= 1;
            std::fs::write(&path, bytes).expect("written");
            let error = read(&path).expect_err("a damaged plan is refused");
            assert!(error[0].detail.contains(why), "{error:?}");
        }
        std::fs::write(&path, &whole).expect("written");
        std::fs::write(&key, [8; 32]).expect("written");
        let error = read(&path).expect_err("another key");
        assert!(error[0].detail.contains("encrypted with another key"), "{error:?}");
        std::fs::remove_file(&key).expect("removed");
        assert_eq!(read(&path).expect_err("no key")[0].summary, "No key");
    }
}
