//! Claims as Terraform shows locks: the Lock Info block, and the lock info's JSON.

use fleetform_state::Claim;
use serde_json::{Value as Json, json};

/// Terraform's lock info, with its keys; ours beside them: what is claimed.
pub fn json(run: &str, claim: &Claim) -> Json {
    let holder = &claim.holder;
    json!({
        "ID": run,
        "Operation": holder.operation,
        "Info": holder.info,
        "Who": holder.who,
        "Version": holder.version,
        "Created": holder.created,
        "Path": holder.path,
        "Addresses": claim.addresses,
    })
}

/// Terraform's Lock Info block.
pub fn block(run: &str, claim: &Claim) -> String {
    let holder = &claim.holder;
    let rows = [
        ("ID", run),
        ("Path", &holder.path),
        ("Operation", &holder.operation),
        ("Who", &holder.who),
        ("Version", &holder.version),
        ("Created", &created(&holder.created)),
        ("Info", &holder.info),
    ];
    let mut text = "Lock Info:\n".to_owned();
    for (name, value) in rows {
        text += &format!("  {:<10} {value}", format!("{name}:"));
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// A claim with everything that it is on.
pub fn claim(run: &str, claim: &Claim) -> String {
    let mut text = block(run, claim);
    text += "  Addresses:\n";
    for address in &claim.addresses {
        text += &format!("    {address}\n");
    }
    text
}

/// As Go prints times, which is how Terraform shows this one.
fn created(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetform_state::Holder;

    #[test]
    fn a_lock_is_shown_as_terraform_shows_it() {
        let kept = Claim {
            addresses: ["aws_eks_cluster.main".parse().expect("an address")].into(),
            holder: Holder {
                operation: "OperationTypeApply".into(),
                who: "root@vm".into(),
                version: "1.11.4".into(),
                created: "2026-11-23T08:55:26.382007187Z".into(),
                path: "state".into(),
                ..Holder::default()
            },
            ttl_seconds: 30,
            since: 1,
            latest: 1,
        };
        assert_eq!(
            claim("368a9750-45bf-b966-ee96-a102888dde0c", &kept),
            "Lock Info:\n\
            \x20 ID:        368a9750-45bf-b966-ee96-a102888dde0c\n\
            \x20 Path:      state\n\
            \x20 Operation: OperationTypeApply\n\
            \x20 Who:       root@vm\n\
            \x20 Version:   1.11.4\n\
            \x20 Created:   2026-11-23 08:55:26.382007187 +0000 UTC\n\
            \x20 Info:\n\
            \x20 Addresses:\n\
            \x20   aws_eks_cluster.main\n"
        );
        let info = json("id", &kept);
        let keys: Vec<&String> = info.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            ["Addresses", "Created", "ID", "Info", "Operation", "Path", "Version", "Who"]
        );
    }
}
