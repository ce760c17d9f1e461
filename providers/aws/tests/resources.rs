//! What sites and registries become: names and nesting as in Terraform's AWS provider.

mod common;

use common::{cloud, offering, owner, registry, site};
use fleetform_aws::resources::resources;
use fleetform_contract::{Cloud, Market, Owner, Resource, Site};
use serde_json::json;

fn find<'a>(resources: &'a [Resource], address: &str) -> &'a Resource {
    let found = resources.iter().find(|resource| resource.address.to_string() == address);
    found.unwrap_or_else(|| panic!("{address} is not made"))
}

fn addresses(resources: &[Resource]) -> Vec<String> {
    resources.iter().map(|resource| resource.address.to_string()).collect()
}

#[test]
fn a_fleet_becomes_terraforms_resources() {
    let made = resources(&cloud(), &[site(&cloud(), 3)], &[registry()], &owner());
    assert_eq!(
        addresses(&made),
        [
            r#"aws_ecr_lifecycle_policy.main["us-east-1/main/chat"]"#,
            r#"aws_ecr_repository.main["us-east-1/main/chat"]"#,
            r#"aws_eks_cluster.main["us-east-1"]"#,
            r#"aws_eks_node_group.main["us-east-1/g6.xlarge/spot"]"#,
            r#"aws_eks_node_group.main["us-east-1/m7g.large/on_demand"]"#,
            r#"aws_iam_role.main["cluster"]"#,
            r#"aws_iam_role.main["node"]"#,
            r#"aws_iam_role_policy_attachment.main["cluster/AmazonEKSClusterPolicy"]"#,
            r#"aws_iam_role_policy_attachment.main["node/AmazonEC2ContainerRegistryReadOnly"]"#,
            r#"aws_iam_role_policy_attachment.main["node/AmazonEKSWorkerNodePolicy"]"#,
            r#"aws_iam_role_policy_attachment.main["node/AmazonEKS_CNI_Policy"]"#,
        ]
    );
    let group = find(&made, r#"aws_eks_node_group.main["us-east-1/g6.xlarge/spot"]"#);
    assert_eq!(
        serde_json::to_value(&group.attributes).expect("attributes serialize"),
        json!({
            "region": "us-east-1",
            "cluster_name": "chat",
            "node_group_name": "g6-xlarge-spot",
            "node_role_arn": { "$unknown": {
                "address": "aws_iam_role.main[\"node\"]", "path": "arn",
            } },
            "subnet_ids": { "$unknown": {
                "address": "aws_eks_cluster.main[\"us-east-1\"]", "path": "vpc_config.0.subnet_ids",
            } },
            "version": "1.33",
            "instance_types": ["g6.xlarge"],
            "capacity_type": "SPOT",
            "ami_type": "AL2023_x86_64_NVIDIA",
            "disk_size": 100,
            "scaling_config": [{ "desired_size": 3, "max_size": 5, "min_size": 1 }],
            "update_config": [{ "max_unavailable": 1 }],
            "labels": { "fleetform.dev/pool": "g6-xlarge-spot" },
            "taint": [{ "key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE" }],
            "tags": {
                "fleetform:stack": "chat",
                "fleetform:lineage": "5f0c1a52-0000-4000-8000-000000000001",
                "fleetform:address": "aws_eks_node_group.main:us-east-1/g6.xlarge/spot",
            },
        })
    );
    let arm = find(&made, r#"aws_eks_node_group.main["us-east-1/m7g.large/on_demand"]"#);
    assert_eq!(arm.text("ami_type"), Some("AL2023_ARM_64_STANDARD"));
    assert_eq!(arm.attributes.get("taint"), None);
    assert_eq!(
        arm.depends_on.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            r#"aws_eks_cluster.main["us-east-1"]"#,
            r#"aws_iam_role.main["node"]"#,
            r#"aws_iam_role_policy_attachment.main["node/AmazonEC2ContainerRegistryReadOnly"]"#,
            r#"aws_iam_role_policy_attachment.main["node/AmazonEKSWorkerNodePolicy"]"#,
            r#"aws_iam_role_policy_attachment.main["node/AmazonEKS_CNI_Policy"]"#,
        ]
    );
}

#[test]
fn what_exists_is_referred_to() {
    let mut cloud = cloud();
    cloud.cluster.cluster_role_arn = Some("arn:aws:iam::1:role/c".into());
    cloud.cluster.node_role_arn = Some("arn:aws:iam::1:role/n".into());
    cloud.cluster.subnet_ids = vec!["subnet-b".into(), "subnet-a".into()];
    let made = resources(&cloud, &[site(&cloud, 1)], &[], &owner());
    assert_eq!(
        addresses(&made),
        [
            r#"aws_eks_cluster.main["us-east-1"]"#,
            r#"aws_eks_node_group.main["us-east-1/g6.xlarge/spot"]"#,
            r#"aws_eks_node_group.main["us-east-1/m7g.large/on_demand"]"#,
        ]
    );
    assert_eq!(made[0].text("role_arn"), Some("arn:aws:iam::1:role/c"));
    assert_eq!(made[0].depends_on, []);
    for subnets in
        [made[0].attributes["vpc_config"].at("0.subnet_ids"), made[1].attributes.get("subnet_ids")]
    {
        let subnets = subnets.and_then(|subnets| subnets.as_list()).expect("subnets are named");
        assert_eq!(subnets, ["subnet-a".into(), "subnet-b".into()]);
    }
}

#[test]
fn bounds_are_what_eks_takes() {
    // Nodes, least, most; then what is asked for: desired, max, min.
    for (nodes, min, max, want) in [
        (3, 1, 5, (3, 5, 1)),
        (3, 3, 3, (3, 3, 3)),
        (4, 0, 2, (4, 4, 0)),
        (0, 0, 0, (0, 1, 0)),
        (1, 5, 2, (2, 2, 2)),
    ] {
        let mut site = site(&cloud(), nodes);
        (site.pools[0].min_nodes, site.pools[0].max_nodes) = (min, max);
        let made = resources(&cloud(), &[site], &[], &owner());
        let group = find(&made, r#"aws_eks_node_group.main["us-east-1/g6.xlarge/spot"]"#);
        let size = |name: &str| {
            let size = group.attributes["scaling_config"].at(&format!("0.{name}"));
            size.and_then(|size| size.as_i64()).expect("it is a number")
        };
        let found = (size("desired_size"), size("max_size"), size("min_size"));
        assert_eq!(found, want, "{nodes} nodes, {min} to {max}");
    }
}

#[test]
fn reserved_nodes_are_bought_on_demand() {
    let mut site = site(&cloud(), 1);
    site.pools[0].offering = offering(&cloud(), "g5g.xlarge", Market::Reserved);
    let made = resources(&cloud(), &[site], &[], &owner());
    let group = find(&made, r#"aws_eks_node_group.main["us-east-1/g5g.xlarge/reserved"]"#);
    assert_eq!(group.text("capacity_type"), Some("ON_DEMAND"));
    assert_eq!(group.text("ami_type"), Some("AL2023_ARM_64_NVIDIA"));
}

#[test]
fn names_fit_and_stay_apart() {
    let owner = Owner { stack: format!("Größe {}", "x".repeat(80)), lineage: "l".into() };
    let second = Cloud { name: "aws-dev".into(), ..cloud() };
    let mut names = std::collections::BTreeSet::new();
    // Two environments of one stack, whose clusters are told apart.
    let fleets = [cloud(), second].into_iter().flat_map(|cloud| {
        ["", "-prod"].map(|environment| {
            let cluster = format!("{}{environment}", owner.stack);
            (cloud.clone(), Site { cluster, cloud: cloud.name.clone(), ..site(&cloud, 1) })
        })
    });
    for (cloud, site) in fleets {
        for resource in resources(&cloud, &[site], &[], &owner) {
            if resource.address.kind != "aws_iam_role" {
                continue;
            }
            let name = resource.text("name").expect("roles have names");
            assert!(name.len() <= 64 && name.is_ascii(), "{name}");
            assert!(names.insert(name.to_owned()), "{name} twice");
        }
    }
    assert_eq!(names.len(), 8);
    let mut registry = registry();
    registry.repositories[0].image = "Chat_Server".into();
    let made = resources(&cloud(), &[], &[registry], &common::owner());
    let name = made.iter().find_map(|resource| resource.text("name"));
    assert_eq!(name, Some("chat/main/chat-server"));
}

#[test]
fn other_clouds_are_passed_over() {
    let mut site = site(&cloud(), 1);
    site.cloud = "gcp".into();
    let mut registry = registry();
    registry.cloud = "gcp".into();
    assert_eq!(resources(&cloud(), &[site], &[registry], &owner()), []);
}
