//! `version`.

use super::Ended;
use super::arguments::Version;
use super::screen::write_out;

pub fn run(arguments: &Version) -> Ended {
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}_{}", std::env::consts::OS, std::env::consts::ARCH);
    if arguments.json {
        let json = serde_json::json!({
            "fleetform_version": version,
            "terraform_version": version,
            "platform": platform,
            "provider_selections": {},
            "terraform_outdated": false,
        });
        write_out(&format!("{json:#}\n"));
    } else {
        write_out(&format!("Fleetform v{version}\non {platform}\n"));
    }
    Ok(0)
}
