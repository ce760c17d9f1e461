//! What goes over the wire, and what happens when something goes wrong on it.

mod common;

use common::{REGION, Sandbox, cloud, create_all, fill, find, owner, record, resources};
use fleetform_contract::{Error, Objects, Owner, Pace, Resource, Result, Silent, Token};
use fleetform_sandbox::FaultPlan;
use serde_json::{Value, json};
use std::time::Duration;

fn group<'a>(resources: &'a [Resource], pool: &str) -> &'a Resource {
    let key = format!("{REGION}/{pool}");
    let found = resources.iter().find(|resource| resource.address.key.as_ref() == Some(&key));
    found.expect("the pool has a node group")
}

/// A node count on its way: from the placement's site, through the resource, to EKS's own words.
#[tokio::test]
async fn nodes_walk_from_the_site_to_the_wire() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider(&cloud());
    let records = create_all(&*provider, &cloud(), 3).await;

    let role = records
        .iter()
        .find(|record| record.text("name").is_some_and(|name| name.ends_with("-node")));
    let cluster = find(&records, "aws_eks_cluster");
    let subnets = cluster.attributes["vpc_config"].at("0.subnet_ids").expect("it has subnets");
    let path = "/clusters/chat/node-groups";
    let sent = sandbox.bodies("POST", path);
    let mut sent = sent.into_iter().find(|body| body["nodegroupName"] == "g6-xlarge-spot");
    let token = sent.as_mut().and_then(|body| body.as_object_mut()?.remove("clientRequestToken"));
    assert_eq!(token.as_ref().and_then(Value::as_str).map(str::len), Some(64));
    assert_eq!(
        sent,
        Some(json!({
            "nodegroupName": "g6-xlarge-spot",
            "scalingConfig": { "minSize": 1, "maxSize": 5, "desiredSize": 3 },
            "instanceTypes": ["g6.xlarge"],
            "capacityType": "SPOT",
            "amiType": "AL2023_x86_64_NVIDIA",
            "diskSize": 100,
            "nodeRole": role.and_then(|role| role.text("arn")),
            "subnets": subnets.to_plain_json(),
            "version": "1.33",
            "labels": { "fleetform.dev/pool": "g6-xlarge-spot" },
            "taints": [{ "key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE" }],
            "updateConfig": { "maxUnavailable": 1 },
            "tags": {
                "fleetform:stack": "chat",
                "fleetform:lineage": owner().lineage,
                "fleetform:address": "aws_eks_node_group.main:us-east-1/g6.xlarge/spot",
            },
        }))
    );
    let nodes = sandbox.world.step(|table| table.nodes("aws/us-east-1/chat"));
    let (_, pool) = nodes.iter().find(|(name, _)| name == "g6-xlarge-spot").expect("it has nodes");
    assert_eq!(pool.count, 3);
    assert!(pool.labels.contains(&("fleetform.dev/pool".into(), "g6-xlarge-spot".into())));
    assert_eq!(pool.taints, [("nvidia.com/gpu".into(), "present".into(), "NoSchedule".into())]);

    // Seven nodes more: the bounds move, the size itself is the autoscaler's.
    let desired = resources(&*provider, &cloud(), 10);
    let desired = fill(group(&desired, "g6.xlarge/spot"), &records);
    let before = records.iter().find(|record| record.address == desired.address);
    let token = Token("grow".into());
    let now = provider.update(before.expect("it was made"), &desired, &token, &Silent).await;
    now.expect("bounds change in place");
    let mut sent =
        sandbox.bodies("POST", "/clusters/chat/node-groups/g6-xlarge-spot/update-config");
    sent[0].as_object_mut().and_then(|body| body.remove("clientRequestToken"));
    let bounds = json!({ "minSize": 1, "maxSize": 12, "desiredSize": 3 });
    assert_eq!(sent, [json!({ "scalingConfig": bounds })]);
}

/// The cluster's first request, whole.
#[tokio::test]
async fn a_cluster_is_asked_for_with_the_default_subnets() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider(&cloud());
    create_all(&*provider, &cloud(), 1).await;
    let mut sent = sandbox.bodies("POST", "/clusters");
    assert_eq!(sent.len(), 1, "asked once");
    let subnets = sent[0]["resourcesVpcConfig"]["subnetIds"].take();
    // Four zones, one of which cannot hold a control plane.
    assert_eq!(subnets.as_array().map(Vec::len), Some(5));
    sent[0].as_object_mut().and_then(|body| body.remove("clientRequestToken"));
    assert_eq!(
        sent[0],
        json!({
            "name": "chat",
            "version": "1.33",
            "roleArn": "arn:aws:iam::123456789012:role/fleetform-chat-aws-cluster",
            "resourcesVpcConfig": {
                "subnetIds": null,
                "endpointPrivateAccess": true,
                "endpointPublicAccess": true,
            },
            "accessConfig": { "authenticationMode": "API_AND_CONFIG_MAP" },
            "tags": {
                "fleetform:stack": "chat",
                "fleetform:lineage": owner().lineage,
                "fleetform:address": "aws_eks_cluster.main:us-east-1",
            },
        })
    );
}

/// Tries until it works, as the applier does for what can be tried again.
async fn insist<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> T {
    for _ in 0..500 {
        match attempt().await {
            Ok(done) => return done,
            Err(Error::Throttled { .. } | Error::Lost { .. } | Error::Conflict { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it never works");
}

#[tokio::test]
async fn nothing_is_made_twice_when_answers_are_lost() {
    let faults =
        FaultPlan { throttled: 0.1, unavailable: 0.1, answer_lost: 0.2, ..FaultPlan::default() };
    let sandbox = Sandbox::with_faults(faults).await;
    let provider = sandbox.provider(&cloud());
    let mut records = Vec::new();
    for resource in resources(&*provider, &cloud(), 2) {
        let desired = fill(&resource, &records);
        let token = Token(format!("create-{}", desired.address));
        let made = insist(async || provider.create(&desired, &token, &Silent).await).await;
        records.push(record(&desired, made));
    }
    let census = sandbox.census();
    for (collection, count) in [
        ("aws/ecr/repositories", 1),
        ("aws/eks/clusters", 1),
        ("aws/eks/nodegroups", 2),
        ("aws/iam/roles", 2),
    ] {
        assert!(census.contains(&(collection.to_owned(), count)), "{collection}: {census:?}");
    }
    let listed = insist(async || provider.list(&owner().stack).await).await;
    assert_eq!(listed.len(), records.len());
    for record in records.iter().rev() {
        let token = Token(format!("delete-{}", record.address));
        insist(async || provider.delete(record, &token, &Silent).await).await;
    }
    assert_eq!(sandbox.census(), [], "nothing is left behind");
}

#[tokio::test]
async fn a_cluster_in_the_making_is_waited_for() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider(&cloud());
    let mut records = Vec::new();
    let mut cluster = None;
    for resource in resources(&*provider, &cloud(), 1) {
        let desired = fill(&resource, &records);
        if desired.address.kind == "aws_eks_cluster" {
            cluster = Some(desired);
            break;
        }
        let made = provider.create(&desired, &Token("x".into()), &Silent).await;
        records.push(record(&desired, made.expect("roles are made")));
    }
    let cluster = cluster.expect("there is a cluster");

    // A run that ends before the cluster is ready.
    let mut hasty = fleetform_aws::sandboxed(cloud(), &sandbox.served.urls);
    hasty.pace = Pace { poll: Duration::ZERO, patience: Duration::ZERO };
    let hasty = fleetform_aws::provider(&hasty).expect("the cloud is sound");
    let token = Token("create".into());
    let lost = hasty.create(&cluster, &token, &Silent).await;
    assert!(matches!(lost, Err(Error::Lost { .. })), "{lost:?}");

    // The next one, whether it knows the token or only the tags.
    let made = provider.create(&cluster, &token, &Silent).await.expect("it is waited for");
    let found = provider.create(&cluster, &Token("other".into()), &Silent).await;
    assert_eq!(found.expect("it is found by its tags").id, made.id);
    assert_eq!(made.attributes["status"], "ACTIVE".into());

    // Somebody else's stack.
    let mut stranger = resources(&*provider, &cloud(), 1)
        .into_iter()
        .find(|resource| resource.address == cluster.address)
        .map(|resource| fill(&resource, &records))
        .expect("it is the same cluster");
    let other = Owner { stack: "other".into(), lineage: "other".into() };
    stranger.attributes.insert(
        "tags".into(),
        fleetform_contract::Value::map(
            other.tags("fleetform:", &stranger.address).map(|(key, _)| (key, "other".into())),
        ),
    );
    match provider.create(&stranger, &token, &Silent).await {
        Err(Error::Rejected { message }) => assert_eq!(
            message,
            "the cluster `chat` exists already and belongs to `chat` (its fleetform:* tags name \
             another object): give it another name, or remove it"
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_role_that_never_comes_is_refused_in_the_end() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider(&cloud());
    let mut cluster = resources(&*provider, &cloud(), 1)
        .into_iter()
        .find(|resource| resource.address.kind == "aws_eks_cluster")
        .expect("there is a cluster");
    let arn = "arn:aws:iam::123456789012:role/none";
    cluster.attributes.insert("role_arn".into(), arn.into());
    match provider.create(&cluster, &Token("x".into()), &Silent).await {
        Err(Error::Rejected { message }) => assert!(message.contains(arn), "{message}"),
        other => panic!("{other:?}"),
    }
    assert!(sandbox.bodies("POST", "/clusters").len() > 1, "IAM gets its time");
}

#[tokio::test]
async fn access_is_a_signed_question_to_sts() {
    use base64::Engine;
    let sandbox = Sandbox::start().await;
    let mut cloud = cloud();
    cloud.endpoints.insert("kubernetes".into(), "http://127.0.0.1:1/".into());
    let provider = sandbox.provider(&cloud);
    let records = create_all(&*provider, &cloud, 1).await;
    let cluster = find(&records, "aws_eks_cluster");
    let access = provider.cluster_access(REGION, Some(cluster)).await.expect("it is there");
    assert_eq!(access.server, "http://127.0.0.1:1/aws/us-east-1/chat");
    let token = access.token.expect("there is a token");
    let encoded = token.strip_prefix("k8s-aws-v1.").expect("EKS knows it by this");
    let url = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(encoded).expect("it is base64url");
    let url = String::from_utf8(url).expect("it is a URL");
    for part in [
        "/?Action=GetCallerIdentity&Version=2011-06-15&",
        "X-Amz-Expires=60",
        "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id",
        "us-east-1%2Fsts%2Faws4_request",
    ] {
        assert!(url.contains(part), "{part} in {url}");
    }

    cloud.endpoints.clear();
    let provider = sandbox.provider(&cloud);
    let access = provider.cluster_access(REGION, Some(cluster)).await.expect("it is there");
    assert_eq!(Some(access.server.as_str()), cluster.text("endpoint"));
    let authority = access.certificate_authority.expect("there is one");
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"), "{authority}");
    assert!(provider.cluster_access(REGION, None).await.is_err());
}

#[tokio::test]
async fn unknown_types_are_refused() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider(&cloud());
    let mut resource = resources(&*provider, &cloud(), 1).remove(0);
    resource.address.kind = "aws_s3_bucket".into();
    assert!(provider.schema("aws_s3_bucket").is_none());
    let objects: &dyn Objects = &*provider;
    let refused = objects.read(resource.reference()).await;
    assert!(matches!(refused, Err(Error::Rejected { .. })), "{refused:?}");
}
