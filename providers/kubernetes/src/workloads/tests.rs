use fleetform_contract::{
    Address, Autoscale, Health, JobSettings, Market, Needs, Offering, Owner, Pool, Resource,
    Secret, SecretEnv, Site, Value, Workload, WorkloadKind,
};
use k8s_openapi::api;

use super::*;

fn pool(instance_type: &str, market: Market, gpus: u32) -> Pool {
    Pool {
        offering: Offering {
            cloud: "aws".into(),
            region: "us-east-1".into(),
            instance_type: instance_type.into(),
            market,
            zones: Vec::new(),
            zone: None,
            max_pods: None,
            gpu_type: (gpus > 0).then(|| "L4".into()),
            gpus,
            gpu_memory_gib: 24.0,
            cpus: 4.0,
            memory_gib: 16.0,
            architecture: "x86_64".into(),
            price_hour: 1.0,
            max_nodes: None,
            location: None,
            as_of: "2026-01-01".into(),
        },
        nodes: 3,
        min_nodes: 0,
        max_nodes: 3,
        workloads: vec!["chat".into()],
    }
}

fn workload(name: &str) -> Workload {
    Workload {
        name: name.into(),
        kind: WorkloadKind::Service,
        image: "ghcr.io/acme/chat:1.4.2".into(),
        command: Vec::new(),
        env: BTreeMap::new(),
        secret_env: Vec::new(),
        replicas: 1,
        pools: BTreeMap::new(),
        zone_spread: None,
        needs: Needs::default(),
        port: None,
        health: None,
        autoscale: None,
    }
}

fn chat() -> Workload {
    Workload {
        image: Value::unknown("aws_ecr_repository.chat", "repository_url"),
        command: vec!["serve".into(), "--port=8080".into()],
        env: BTreeMap::from([
            ("MODE".to_owned(), "fast".into()),
            ("RANKER_URL".to_owned(), Value::unknown("service.ranker", "url")),
            ("SHARDS".to_owned(), 4.into()),
            ("NOTHING".to_owned(), Value::Null),
            (
                "TOKEN".to_owned(),
                Value::Secret(Secret { reference: "var.token".into(), digest: "d1".into() }),
            ),
        ]),
        secret_env: vec![SecretEnv {
            name: "HF_TOKEN".into(),
            secret: "hf".into(),
            key: "token".into(),
        }],
        replicas: 3,
        pools: BTreeMap::from([
            ("g6.xlarge/on_demand".to_owned(), 1),
            ("g6.xlarge/spot".to_owned(), 2),
        ]),
        needs: Needs { gpus: 1, cpus: 3.5, memory_gib: 12.0, storage_tb: 10.0, ..Needs::default() },
        port: Some(8080),
        health: Some(Health { path: "/healthz".into(), port: 8080, initial_delay_seconds: 30 }),
        autoscale: Some(Autoscale { min: 2, max: 10, target_cpu: 0.6 }),
        ..workload("chat")
    }
}

fn finetune(schedule: Option<&str>) -> Workload {
    Workload {
        kind: WorkloadKind::Job(JobSettings {
            duration_seconds: 21_600,
            schedule: schedule.map(str::to_owned),
            retries: 2,
        }),
        replicas: 4,
        needs: Needs { gpus: 8, ..Needs::default() },
        ..workload("finetune")
    }
}

fn site(workloads: Vec<Workload>) -> Site {
    Site {
        cloud: "aws".into(),
        region: "us-east-1".into(),
        cluster: "chat".into(),
        pools: vec![pool("g6.xlarge", Market::OnDemand, 1), pool("g6.xlarge", Market::Spot, 1)],
        workloads,
    }
}

fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "5f0c0de7-0000-4000-8000-000000000001".into() }
}

fn made(workloads: Vec<Workload>, cluster: Option<&str>) -> Vec<Resource> {
    let cluster = cluster.map(|kind| Address::keyed(kind, "main", "us-east-1"));
    let pools = [Address::keyed("aws_eks_node_group", "main", "us-east-1/g6.xlarge/spot")];
    let pools = if cluster.is_some() { &pools[..] } else { &[] };
    super::workloads(&site(workloads), &owner(), cluster.as_ref(), pools)
}

fn find<'a>(resources: &'a [Resource], kind: &str) -> &'a Resource {
    let mut found = resources.iter().filter(|resource| resource.address.kind == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "two of {kind}");
    first
}

fn spec<'a>(resource: &'a Resource, path: &str) -> Option<&'a Value> {
    resource.attributes.get("spec")?.at(path)
}

#[test]
fn a_service_with_everything() {
    let resources = made(vec![chat()], Some("aws_eks_cluster"));
    insta::assert_json_snapshot!(resources);
}

#[test]
fn jobs_once_and_by_schedule() {
    insta::assert_json_snapshot!(made(vec![finetune(None)], Some("google_container_cluster")));
    let scheduled = made(vec![finetune(Some("0 3 * * *"))], Some("google_container_cluster"));
    let cron = find(&scheduled, "kubernetes_cron_job");
    assert_eq!(spec(cron, "schedule"), Some(&"0 3 * * *".into()));
    assert_eq!(spec(cron, "jobTemplate.spec.completions"), Some(&4.into()));
}

/// Everything decodes as the API's own types, which refuse wrong types and missing fields, and nothing
/// gets lost on the way, which finds wrong names.
#[test]
fn manifests_are_what_the_api_expects() {
    fn decode<T: serde::de::DeserializeOwned + serde::Serialize>(address: &Address, json: &Json) {
        let typed: T = serde_json::from_value(json.clone())
            .unwrap_or_else(|error| panic!("{address}: {error}\n{json:#}"));
        let back = serde_json::to_value(&typed).expect("API types serialize");
        assert_eq!(&back, json, "{address}");
    }
    let plain = |mut workload: Workload| {
        workload.image = "ghcr.io/acme/chat:1".into();
        workload.env.insert("RANKER_URL".into(), "http://ranker".into());
        workload.env.insert("TOKEN".into(), "plain".into());
        workload
    };
    let secret = Workload {
        env: BTreeMap::from([(
            "TOKEN".to_owned(),
            Value::Secret(Secret { reference: "var.token".into(), digest: "d".into() }),
        )]),
        ..workload("sealed")
    };
    let mut count = 0;
    let nightly = Workload { name: "nightly".into(), ..finetune(Some("0 3 * * *")) };
    let all = vec![plain(chat()), plain(finetune(None)), nightly, secret];
    for resource in made(all, Some("azurerm_kubernetes_cluster")) {
        let mut attributes = Value::Map(resource.attributes.clone());
        if let Some(Value::Map(texts)) = attributes.as_map().and_then(|map| map.get("stringData")) {
            let opened = Value::map(texts.keys().map(|key| (key.clone(), Value::from("opened"))));
            put(&mut attributes, "stringData", opened);
        }
        let json = attributes.to_plain_json();
        let address = &resource.address;
        match address.kind.as_str() {
            "kubernetes_namespace" => decode::<api::core::v1::Namespace>(address, &json),
            "kubernetes_secret" => decode::<api::core::v1::Secret>(address, &json),
            "kubernetes_service" => decode::<api::core::v1::Service>(address, &json),
            "kubernetes_deployment" => decode::<api::apps::v1::Deployment>(address, &json),
            "kubernetes_daemon_set" => decode::<api::apps::v1::DaemonSet>(address, &json),
            "kubernetes_horizontal_pod_autoscaler" => {
                decode::<api::autoscaling::v2::HorizontalPodAutoscaler>(address, &json)
            }
            "kubernetes_pod_disruption_budget" => {
                decode::<api::policy::v1::PodDisruptionBudget>(address, &json)
            }
            "kubernetes_job" => decode::<api::batch::v1::Job>(address, &json),
            "kubernetes_cron_job" => decode::<api::batch::v1::CronJob>(address, &json),
            other => panic!("{other} is not tested"),
        }
        count += 1;
    }
    assert_eq!(count, 12);
}

#[test]
fn no_secret_text_and_no_digest_of_the_state_is_in_a_pod() {
    let resources = made(vec![chat()], Some("aws_eks_cluster"));
    let deployment =
        serde_json::to_string(find(&resources, "kubernetes_deployment")).expect("JSON");
    assert!(!deployment.contains("$secret") && !deployment.contains("\"d1\""), "{deployment}");
    let annotation = "template.metadata.annotations";
    let digest = |resources: &[Resource]| {
        spec(find(resources, "kubernetes_deployment"), annotation).cloned().expect("an annotation")
    };
    let mut changed = chat();
    changed.env.insert(
        "TOKEN".into(),
        Value::Secret(Secret { reference: "var.token".into(), digest: "d2".into() }),
    );
    assert_ne!(digest(&resources), digest(&made(vec![changed], Some("aws_eks_cluster"))));
}

#[test]
fn the_device_plugin_is_made_where_gpus_need_it() {
    for (cluster, expected) in [
        (Some("aws_eks_cluster"), true),
        (Some("azurerm_kubernetes_cluster"), true),
        (Some("google_container_cluster"), false),
        (None, false),
    ] {
        let resources = made(vec![chat()], cluster);
        let plugins = resources.iter().filter(|r| r.address.kind == "kubernetes_daemon_set");
        assert_eq!(plugins.count(), usize::from(expected), "{cluster:?}");
    }
}

#[test]
fn existing_clusters_have_no_labels_of_ours_on_their_nodes() {
    let resources = made(vec![chat()], None);
    let deployment = find(&resources, "kubernetes_deployment");
    assert_eq!(spec(deployment, "template.spec.affinity"), None);
    assert!(spec(deployment, "template.spec.tolerations").is_some());
    assert!(
        resources.iter().all(|r| r.depends_on.iter().all(|a| a.kind.starts_with("kubernetes_")))
    );
}

#[test]
fn replicas_belong_to_the_autoscaler_where_there_is_one() {
    let resources = made(vec![chat()], Some("aws_eks_cluster"));
    assert_eq!(spec(find(&resources, "kubernetes_deployment"), "replicas"), None);
    let mut fixed = chat();
    fixed.autoscale = None;
    let resources = made(vec![fixed], Some("aws_eks_cluster"));
    assert_eq!(spec(find(&resources, "kubernetes_deployment"), "replicas"), Some(&3.into()));
    assert!(!resources.iter().any(|r| r.address.kind == "kubernetes_horizontal_pod_autoscaler"));
    // One replica needs no budget: it would only keep nodes from being drained.
    let alone = made(vec![workload("one")], Some("aws_eks_cluster"));
    assert!(!alone.iter().any(|r| r.address.kind == "kubernetes_pod_disruption_budget"));
}

#[test]
fn long_names_fit_a_cron_job() {
    let name = "a".repeat(60);
    let cron = Workload { name: name.clone(), ..finetune(Some("@daily")) };
    let resources = made(vec![cron], None);
    let cron = find(&resources, "kubernetes_cron_job");
    let made = cron.attributes["metadata"].at("name").and_then(Value::as_str).expect("a name");
    assert!(made.len() <= 52, "{made}");
    assert_eq!(cron.address.name, name);
}
