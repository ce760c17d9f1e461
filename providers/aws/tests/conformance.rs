//! The contract's suite, through the real SDK over HTTP, against the emulator.

mod common;

use common::{Sandbox, cloud, owner, resources};
use fleetform_contract::conformance::{Case, check};
use fleetform_contract::{Resource, Value};

/// What each type is updated to.
fn updated(resource: &Resource) -> Option<Resource> {
    let mut updated = resource.clone();
    let attributes = &mut updated.attributes;
    let mut set = |name: &str, value: Value| attributes.insert(name.to_owned(), value);
    match resource.address.kind.as_str() {
        "aws_eks_cluster" => {
            // Two minor versions up: two updates.
            set("version", "1.35".into());
            set("enabled_cluster_log_types", Value::list(["api", "audit"]));
            set("access_config", block([("authentication_mode", "API".into())]));
            set("upgrade_policy", block([("support_type", "STANDARD".into())]));
            set(
                "vpc_config",
                block([
                    ("endpoint_private_access", true.into()),
                    ("endpoint_public_access", true.into()),
                    ("public_access_cidrs", Value::list(["10.0.0.0/8", "192.168.0.0/16"])),
                ]),
            );
        }
        "aws_eks_node_group" => {
            set("version", "1.35".into());
            set("labels", Value::map([("team", "search".into())]));
            let taint = [("key", "team"), ("value", "search"), ("effect", "NO_EXECUTE")];
            set("taint", block(taint.map(|(name, value)| (name, value.into()))));
            let size = resource.attributes["scaling_config"].at("0.desired_size").cloned();
            set(
                "scaling_config",
                block([
                    ("desired_size", size.expect("there is a size")),
                    ("max_size", 9.into()),
                    ("min_size", 0.into()),
                ]),
            );
        }
        "aws_ecr_repository" => {
            set("image_tag_mutability", "MUTABLE".into());
            set("image_scanning_configuration", block([("scan_on_push", false.into())]));
        }
        "aws_ecr_lifecycle_policy" => {
            let policy = resource.text("policy").expect("there is a policy");
            set("policy", policy.replace("20", "5").into());
        }
        "aws_iam_role" => {
            set("description", "Changed".into());
            set("max_session_duration", 7200.into());
        }
        _ => return None,
    }
    if let Some(Value::Map(tags)) = updated.attributes.get_mut("tags") {
        tags.insert("team".into(), "search & ads".replace('&', "+").into());
    }
    Some(updated)
}

fn block<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::List(vec![Value::map(pairs)])
}

#[tokio::test]
async fn every_type_keeps_the_contract() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider(&cloud());
    let cases = resources(&*provider, &cloud(), 3).into_iter().map(|resource| {
        let updated = updated(&resource);
        Case { resource, updated }
    });
    check(&*provider, &owner(), cases.collect()).await;
    assert_eq!(sandbox.census(), [], "the world is empty again");
}
