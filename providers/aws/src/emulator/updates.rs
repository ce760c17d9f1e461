//! EKS's updates: what changes a cluster or a node group for a while.

use fleetform_sandbox::{Object, Table};
use serde_json::{Value, json};

use super::Call;
use super::clusters::{invalid, missing};
use super::wire::{self, Answer, Refusal};

const UPDATES: &str = "aws/eks/updates";

/// Whose update it is: a cluster's, or a node group's where one is named.
pub struct Subject<'a> {
    pub region: &'a str,
    pub cluster: &'a str,
    pub group: Option<&'a str>,
}

impl Subject<'_> {
    /// No name has a slash or is empty, so nothing of one subject is another's.
    fn prefix(&self) -> String {
        format!("{}/{}/{}/", self.region, self.cluster, self.group.unwrap_or_default())
    }
}

/// Writes a new update down: the object changes by `patch` when it settles.
pub fn start(
    table: &mut Table,
    subject: &Subject<'_>,
    kind: &str,
    token: Option<&str>,
    parameters: &[(&str, String)],
) -> Value {
    let id = wire::uuid(&format!("{}{kind}{}", subject.prefix(), table.tick()));
    let parameters = parameters.iter().map(|(kind, value)| json!({"type": kind, "value": value}));
    let update = json!({
        "id": id,
        "status": "InProgress",
        "type": kind,
        "params": parameters.collect::<Vec<_>>(),
        "createdAt": table.now_unix(),
        "errors": [],
    });
    let body = json!({ "update": update, "token": token });
    table.put(UPDATES, format!("{}{id}", subject.prefix()), Object { body, settles_at: 0 });
    update
}

/// The update that this token has started already.
pub fn started(table: &Table, subject: &Subject<'_>, token: Option<&str>) -> Option<Value> {
    let token = token?;
    let prefix = subject.prefix();
    let mut found = table.list(UPDATES, &prefix);
    let found = found.find(|(_, object)| object.body["token"] == token);
    found.map(|(_, object)| object.body["update"].clone())
}

/// Marks an update as done.
pub fn finish(table: &mut Table, subject: &Subject<'_>, id: &str) {
    let key = format!("{}{id}", subject.prefix());
    if let Some(object) = table.get_mut(UPDATES, &key) {
        object.body["update"]["status"] = "Successful".into();
    }
}

/// Forgets every update under a cluster or of a node group.
pub fn forget(table: &mut Table, subject: &Subject<'_>) {
    let prefix = match subject.group {
        Some(_) => subject.prefix(),
        None => format!("{}/{}/", subject.region, subject.cluster),
    };
    let keys: Vec<String> = table.list(UPDATES, &prefix).map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        table.remove(UPDATES, &key);
    }
}

pub fn describe(
    table: &Table,
    call: &Call<'_>,
    cluster: &str,
    id: &str,
) -> Result<Answer, Refusal> {
    call.only(&["nodegroupName"], "InvalidParameterException")?;
    let group = call.parameter("nodegroupName");
    let subject = Subject { region: &call.scope.region, cluster, group };
    match table.get(UPDATES, &format!("{}{id}", subject.prefix())) {
        Some(object) => Ok(Answer::Json(json!({ "update": object.body["update"] }))),
        None => Err(missing(format!("No update found for ID: {id}")).with("clusterName", cluster)),
    }
}

pub fn list(table: &Table, call: &Call<'_>, cluster: &str) -> Result<Answer, Refusal> {
    call.only(&["nodegroupName", "maxResults", "nextToken"], "InvalidParameterException")?;
    super::clusters::find(table, &call.scope.region, cluster)?;
    let group = call.parameter("nodegroupName");
    let prefix = Subject { region: &call.scope.region, cluster, group }.prefix();
    let ids: Vec<String> =
        table.list(UPDATES, &prefix).map(|(key, _)| key[prefix.len()..].to_owned()).collect();
    let (size, token) = (call.parameter("maxResults"), call.parameter("nextToken"));
    let (ids, next) = wire::page(&ids, size, 100, token, invalid)?;
    Ok(Answer::Json(json!({ "updateIds": ids, "nextToken": next })))
}
