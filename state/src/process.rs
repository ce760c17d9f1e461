//! Whether a process of this machine lives: a run that was killed here need not be waited for.
//!
//! Invariant: a process is called alive or gone only where it can be seen from here. It is named by the boot, the
//! process namespace, its number and the time it started at, and a name of another boot or namespace
//! (another machine, another container) is never judged. Only Linux tells all of that; elsewhere
//! nothing is known, and heartbeats decide.

use std::fs;
use std::io::ErrorKind;

/// The name of this process.
pub fn identity() -> Option<String> {
    let number = std::process::id();
    // A `/proc` of another namespace would number us differently.
    let seen = fs::read_link("/proc/self").ok()?;
    (seen.to_str()? == number.to_string()).then_some(())?;
    let started = match state_and_start(number) {
        Ok(Some((_, started))) => started,
        _ => return None,
    };
    Some(format!("{}/{number}/{started}", world()?))
}

/// Whether the process of that name runs; `None` where that cannot be told from here.
pub fn lives(identity: &str) -> Option<bool> {
    let mut parts = identity.rsplitn(3, '/');
    let (started, number, there) = (parts.next()?, parts.next()?, parts.next()?);
    let number = number.parse::<u32>().ok()?;
    // Where the first process cannot be seen, `/proc` hides others' processes.
    if world()? != there || !fs::exists("/proc/1").ok()? {
        return None;
    }
    let found = state_and_start(number).ok()?;
    Some(found.is_some_and(|(state, now)| now == started && state != "Z" && state != "X"))
}

/// What a process number means something in: this boot, this namespace.
fn world() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.to_str()?))
}

/// The state letter of a process and its start in ticks since the boot; `None` where there is none.
fn state_and_start(number: u32) -> std::io::Result<Option<(String, String)>> {
    let text = match fs::read_to_string(format!("/proc/{number}/stat")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    // The second field is the program's name in brackets, with whatever is in it.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    match (fields.first(), fields.get(19)) {
        (Some(state), Some(started)) => Ok(Some(((*state).to_owned(), (*started).to_owned()))),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_over_is_gone() {
        let ours = identity().expect("Linux names its processes");
        assert_eq!(lives(&ours), Some(true));
        let (rest, started) = ours.rsplit_once('/').expect("it has parts");
        let (there, _) = rest.rsplit_once('/').expect("it has parts");
        let successor = lives(&format!("{rest}/{started}0"));
        assert_eq!(successor, Some(false), "the number was given to another process");
        for unknown in [&format!("elsewhere/{rest}/{started}"), "", "1", "a/b/c", "a/1/2"] {
            assert_eq!(lives(unknown), None, "{unknown}: of another machine, or of none");
        }

        let mut child = std::process::Command::new("true").spawn().expect("a process starts");
        let number = child.id();
        let named = state_and_start(number).expect("it is seen").map(|(_, started)| started);
        child.wait().expect("it ends");
        if let Some(started) = named {
            assert_eq!(lives(&format!("{there}/{number}/{started}")), Some(false));
        }
    }
}
