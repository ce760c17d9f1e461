//! IAM roles and the policies on them. IAM is global: every region sees the same roles.

use std::collections::BTreeMap;

use fleetform_sandbox::{Object, Table};
use serde_json::{Value, json};

use super::wire::{self, Answer, Form, Refusal, leaf};
use super::{ACCOUNT, Call};
use crate::text;
use crate::xml::Element;

const ROLES: &str = "aws/iam/roles";
const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// Policies that AWS manages and clusters need.
const MANAGED: [&str; 9] = [
    "AmazonEKSClusterPolicy",
    "AmazonEKSServicePolicy",
    "AmazonEKSVPCResourceController",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKSWorkerNodeMinimalPolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
];
const POLICIES_ON_A_ROLE: usize = 10;

pub fn answer(table: &mut Table, call: &Call<'_>) -> Result<Answer, Refusal> {
    let form = call.form()?;
    match form.action()? {
        "CreateRole" => create_role(table, &form),
        "GetRole" => {
            form.only(&["Action", "Version", "RoleName"])?;
            let role = find(table, form.required("RoleName")?)?;
            Ok(reply("GetRole", Some(vec![role_element("Role", role, true)])))
        }
        "ListRoles" => list_roles(table, &form),
        "UpdateRole" => update_role(table, &form),
        "UpdateAssumeRolePolicy" => {
            form.only(&["Action", "Version", "RoleName", "PolicyDocument"])?;
            let trust = form.required("PolicyDocument")?.to_owned();
            check_trust(&trust)?;
            find_mut(table, form.required("RoleName")?)?["trust"] = trust.into();
            Ok(reply("UpdateAssumeRolePolicy", None))
        }
        "DeleteRole" => delete_role(table, &form),
        "TagRole" => tag_role(table, &form),
        "UntagRole" => untag_role(table, &form),
        "ListRoleTags" => list_role_tags(table, &form),
        "AttachRolePolicy" => attach(table, &form),
        "DetachRolePolicy" => detach(table, &form),
        "ListAttachedRolePolicies" => list_attached(table, &form),
        "ListInstanceProfilesForRole" | "ListRolePolicies" => {
            form.only(&["Action", "Version", "RoleName", "Marker", "MaxItems"])?;
            find(table, form.required("RoleName")?)?;
            let profiles = form.action()? == "ListInstanceProfilesForRole";
            let list = if profiles { "InstanceProfiles" } else { "PolicyNames" };
            let result = vec![Element::node(list, Vec::new()), leaf("IsTruncated", "false")];
            Ok(reply(form.action()?, Some(result)))
        }
        _ => Err(form.unknown_action()),
    }
}

/// Why a service cannot work with a role: it does not exist, does not trust the service, or lacks a
/// policy (one of each group).
pub fn check_service_role(
    table: &Table,
    arn: &str,
    service: &str,
    policies: &[&[&str]],
) -> Result<(), String> {
    let name = arn.rsplit('/').next().unwrap_or_default();
    let role = table.get(ROLES, name).map(|object| &object.body);
    let role = role.filter(|role| role["arn"] == arn);
    let role = role.ok_or_else(|| format!("The role with arn: {arn} does not exist"))?;
    let trust: Value =
        serde_json::from_str(role["trust"].as_str().unwrap_or_default()).unwrap_or_default();
    let mut principals =
        statements(&trust).flat_map(|statement| many(&statement["Principal"]["Service"]));
    if !principals.any(|principal| principal == service) {
        return Err(format!(
            "Role with arn: {arn}, could not be assumed because it does not exist or the trusted \
             entity is not correct"
        ));
    }
    let attached: Vec<String> = many(&role["policies"]).map(str::to_owned).collect();
    let has = |name: &&str| attached.iter().any(|arn| arn.ends_with(&format!("/{name}")));
    match policies.iter().find(|choices| !choices.iter().any(has)) {
        None => Ok(()),
        Some(missing) => Err(format!(
            "The provided role doesn't have the Amazon EKS Managed Policies associated with it. \
             Please ensure the following policies [{}] are attached",
            missing[0]
        )),
    }
}

fn create_role(table: &mut Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&[
        "Action",
        "Version",
        "RoleName",
        "AssumeRolePolicyDocument",
        "Path",
        "Description",
        "MaxSessionDuration",
        "Tags.member.#.Key",
        "Tags.member.#.Value",
    ])?;
    let name = form.required("RoleName")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if name.len() > 64 || !name.chars().all(allowed) {
        return Err(invalid(format!("The specified value for roleName is invalid: {name}")));
    }
    let trust = form.required("AssumeRolePolicyDocument")?;
    check_trust(trust)?;
    let path = form.get("Path").unwrap_or("/");
    if !path.starts_with('/') || !path.ends_with('/') {
        return Err(invalid(format!("The specified value for path is invalid: {path}")));
    }
    if table.get(ROLES, name).is_some() {
        let message = format!("Role with name {name} already exists.");
        return Err(Refusal::new(409, "EntityAlreadyExists", message));
    }
    let tags = tags(form)?;
    let seconds = duration(form)?.unwrap_or(3600);
    let id = text::hash(&format!("{name}/{}", table.tick())).to_uppercase();
    let role = json!({
        "name": name,
        "arn": format!("arn:aws:iam::{ACCOUNT}:role{path}{name}"),
        "id": format!("AROA{}", &id[..17]),
        "path": path,
        "trust": trust,
        "description": form.get("Description"),
        "max_session_seconds": seconds,
        "created": date(table.now_unix()),
        "tags": tags,
        "policies": [],
    });
    let answer = reply("CreateRole", Some(vec![role_element("Role", &role, true)]));
    table.put(ROLES, name, Object { body: role, settles_at: 0 });
    Ok(answer)
}

fn list_roles(table: &Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&["Action", "Version", "PathPrefix", "Marker", "MaxItems"])?;
    let prefix = form.get("PathPrefix").unwrap_or("/");
    let under = |role: &Value| role["path"].as_str().is_some_and(|path| path.starts_with(prefix));
    let roles: BTreeMap<String, &Value> = table
        .list(ROLES, "")
        .filter(|(_, object)| under(&object.body))
        .map(|(name, object)| (name.to_owned(), &object.body))
        .collect();
    let names: Vec<String> = roles.keys().cloned().collect();
    paged("ListRoles", "Roles", form, &names, |name| role_element("member", roles[name], false))
}

fn update_role(table: &mut Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&["Action", "Version", "RoleName", "Description", "MaxSessionDuration"])?;
    let seconds = duration(form)?;
    let role = find_mut(table, form.required("RoleName")?)?;
    if let Some(description) = form.get("Description") {
        role["description"] = description.into();
    }
    if let Some(seconds) = seconds {
        role["max_session_seconds"] = seconds.into();
    }
    Ok(reply("UpdateRole", Some(Vec::new())))
}

fn delete_role(table: &mut Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&["Action", "Version", "RoleName"])?;
    let name = form.required("RoleName")?;
    if many(&find(table, name)?["policies"]).next().is_some() {
        let message = "Cannot delete entity, must detach all policies first.";
        return Err(Refusal::new(409, "DeleteConflict", message));
    }
    table.remove(ROLES, name);
    Ok(reply("DeleteRole", None))
}

fn tag_role(table: &mut Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&["Action", "Version", "RoleName", "Tags.member.#.Key", "Tags.member.#.Value"])?;
    let new = tags(form)?;
    let role = find_mut(table, form.required("RoleName")?)?;
    for (key, value) in new {
        role["tags"][key] = value.into();
    }
    Ok(reply("TagRole", None))
}

fn untag_role(table: &mut Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&["Action", "Version", "RoleName", "TagKeys.member.#"])?;
    let role = find_mut(table, form.required("RoleName")?)?;
    for key in form.numbered("TagKeys.member") {
        role["tags"].as_object_mut().and_then(|tags| tags.remove(key));
    }
    Ok(reply("UntagRole", None))
}

fn list_role_tags(table: &Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&["Action", "Version", "RoleName", "Marker", "MaxItems"])?;
    let role = find(table, form.required("RoleName")?)?;
    let tags = role["tags"].as_object().cloned().unwrap_or_default();
    let keys: Vec<String> =
        tags.keys().cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    paged("ListRoleTags", "Tags", form, &keys, |key| tag_element(key, &tags[key]))
}

fn attach(table: &mut Table, form: &Form) -> Result<Answer, Refusal> {
    let (role, arn) = role_and_policy(table, form)?;
    let known = arn.strip_prefix("arn:aws:iam::aws:policy/");
    if !known.is_some_and(|name| MANAGED.contains(&name)) {
        let message = format!("Policy {arn} does not exist or is not attachable.");
        return Err(Refusal::new(404, "NoSuchEntity", message));
    }
    let mut policies: Vec<String> = many(&role["policies"]).map(str::to_owned).collect();
    if !policies.contains(&arn) {
        policies.push(arn);
        policies.sort();
    }
    if policies.len() > POLICIES_ON_A_ROLE {
        let message = format!("Cannot exceed quota for PoliciesPerRole: {POLICIES_ON_A_ROLE}");
        return Err(Refusal::new(409, "LimitExceeded", message));
    }
    role["policies"] = policies.into();
    Ok(reply("AttachRolePolicy", None))
}

fn detach(table: &mut Table, form: &Form) -> Result<Answer, Refusal> {
    let (role, arn) = role_and_policy(table, form)?;
    let mut policies: Vec<String> = many(&role["policies"]).map(str::to_owned).collect();
    let before = policies.len();
    policies.retain(|policy| *policy != arn);
    if policies.len() == before {
        return Err(Refusal::new(404, "NoSuchEntity", format!("Policy {arn} was not found.")));
    }
    role["policies"] = policies.into();
    Ok(reply("DetachRolePolicy", None))
}

fn list_attached(table: &Table, form: &Form) -> Result<Answer, Refusal> {
    form.only(&["Action", "Version", "RoleName", "PathPrefix", "Marker", "MaxItems"])?;
    let role = find(table, form.required("RoleName")?)?;
    let arns: Vec<String> = many(&role["policies"]).map(str::to_owned).collect();
    paged("ListAttachedRolePolicies", "AttachedPolicies", form, &arns, |arn| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        Element::node("member", vec![leaf("PolicyName", name), leaf("PolicyArn", arn)])
    })
}

fn role_and_policy<'a>(
    table: &'a mut Table,
    form: &Form,
) -> Result<(&'a mut Value, String), Refusal> {
    form.only(&["Action", "Version", "RoleName", "PolicyArn"])?;
    let arn = form.required("PolicyArn")?.to_owned();
    Ok((find_mut(table, form.required("RoleName")?)?, arn))
}

fn find<'a>(table: &'a Table, name: &str) -> Result<&'a Value, Refusal> {
    table.get(ROLES, name).map(|object| &object.body).ok_or_else(|| no_role(name))
}

fn find_mut<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut Value, Refusal> {
    table.get_mut(ROLES, name).map(|object| &mut object.body).ok_or_else(|| no_role(name))
}

fn no_role(name: &str) -> Refusal {
    let message = format!("The role with name {name} cannot be found.");
    Refusal::new(404, "NoSuchEntity", message)
}

fn invalid(message: String) -> Refusal {
    Refusal::new(400, "ValidationError", message)
}

fn duration(form: &Form) -> Result<Option<u32>, Refusal> {
    let Some(text) = form.get("MaxSessionDuration") else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (3600..=43_200).contains(seconds));
    seconds.map(Some).ok_or_else(|| invalid(format!("MaxSessionDuration {text} is out of range")))
}

fn tags(form: &Form) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags = BTreeMap::new();
    for number in 1.. {
        let Some(key) = form.get(&format!("Tags.member.{number}.Key")) else { break };
        let value = form.get(&format!("Tags.member.{number}.Value")).unwrap_or_default();
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            let message = "Duplicate tag keys found";
            return Err(Refusal::new(400, "InvalidInput", message));
        }
    }
    match wire::tags_fault(super::clusters::pairs(&tags)) {
        None => Ok(tags),
        Some(fault) => Err(invalid(fault)),
    }
}

/// A trust policy: statements that let services or principals assume the role.
fn check_trust(text: &str) -> Result<(), Refusal> {
    let malformed =
        |why: &str| Refusal::new(400, "MalformedPolicyDocument", format!("{why} in the policy"));
    let trust: Value = serde_json::from_str(text).map_err(|_| malformed("no JSON"))?;
    if trust["Version"] != "2012-10-17" {
        return Err(malformed("no Version 2012-10-17"));
    }
    let mut statements = statements(&trust).peekable();
    if statements.peek().is_none() {
        return Err(malformed("no Statement"));
    }
    let whole = statements.all(|statement| {
        let effect = statement["Effect"].as_str().unwrap_or_default();
        ["Allow", "Deny"].contains(&effect)
            && !statement["Principal"].is_null()
            && many(&statement["Action"]).all(|action| action.starts_with("sts:"))
            && many(&statement["Action"]).next().is_some()
    });
    if whole { Ok(()) } else { Err(malformed("a Statement without Effect, Principal or Action")) }
}

fn statements(document: &Value) -> impl Iterator<Item = &Value> {
    let statement = &document["Statement"];
    let list = statement.as_array().into_iter().flatten();
    list.chain(statement.is_object().then_some(statement))
}

/// What may be one text or a list of them.
fn many(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().into_iter().flatten();
    list.chain(value.is_string().then_some(value)).filter_map(Value::as_str)
}

fn role_element(name: &str, role: &Value, with_tags: bool) -> Element {
    let text = |member: &str| role[member].as_str().unwrap_or_default();
    let mut children = vec![
        leaf("Path", text("path")),
        leaf("RoleName", text("name")),
        leaf("RoleId", text("id")),
        leaf("Arn", text("arn")),
        leaf("CreateDate", text("created")),
        leaf("AssumeRolePolicyDocument", text::percent_encode(text("trust"))),
        leaf("MaxSessionDuration", role["max_session_seconds"].to_string()),
    ];
    if !text("description").is_empty() {
        children.push(leaf("Description", text("description")));
    }
    if with_tags {
        let tags = role["tags"].as_object().into_iter().flatten();
        let tags = tags.map(|(key, value)| tag_element(key, value)).collect();
        children.push(Element::node("Tags", tags));
    }
    Element::node(name, children)
}

fn tag_element(key: &str, value: &Value) -> Element {
    let value = value.as_str().unwrap_or_default();
    Element::node("member", vec![leaf("Key", key), leaf("Value", value)])
}

/// One page of a list.
fn paged(
    action: &str,
    list: &str,
    form: &Form,
    names: &[String],
    element: impl Fn(&str) -> Element,
) -> Result<Answer, Refusal> {
    let (size, marker) = (form.get("MaxItems"), form.get("Marker"));
    let (names, next) = wire::page(names, size, 100, marker, invalid)?;
    let members = names.iter().map(|name| element(name)).collect();
    let mut result = vec![
        leaf("IsTruncated", if next.is_some() { "true" } else { "false" }),
        Element::node(list, members),
    ];
    result.extend(next.map(|next| leaf("Marker", next)));
    Ok(reply(action, Some(result)))
}

fn reply(action: &str, result: Option<Vec<Element>>) -> Answer {
    let name = format!("{action}Result");
    let result = result.map(|children| (name.as_str(), children));
    Answer::xml(&format!("{action}Response"), NAMESPACE, result)
}

/// RFC 3339, from seconds since the Unix epoch.
fn date(seconds: u64) -> String {
    use aws_smithy_types::DateTime;
    use aws_smithy_types::date_time::Format;
    let time = DateTime::from_secs(seconds as i64);
    time.fmt(Format::DateTime).expect("the world's clock stays in this millennium")
}
