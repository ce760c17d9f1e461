//! The emulated API server as clients meet it: refusals, server-side apply, lists, watches.

mod sandbox;

use fleetform_sandbox::{FaultPlan, Served, World};
use http::Request;
use sandbox::{CLUSTER, served};
use serde_json::{Value as Json, json};

struct Client {
    client: kube::Client,
    world: World,
    _served: Served,
}

/// What a request came to: its code, and the answer.
type Answer = (u16, Json);

impl Client {
    async fn new() -> Client {
        let (access, served, world) = served(FaultPlan::default()).await;
        let mut config = kube::Config::new(access.server.parse().expect("a URL"));
        config.default_retry = false;
        let client = kube::Client::try_from(config).expect("a plain client");
        let client = Client { client, world, _served: served };
        client.good("POST", "/api/v1/namespaces", &json!({ "metadata": { "name": "n" } })).await;
        client
    }

    async fn text(&self, method: &str, path: &str, content: &str, body: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content)
            .header(
                "accept",
                if path.contains("table=") {
                    "application/json;as=Table;v=v1;g=meta.k8s.io"
                } else {
                    "application/json"
                },
            )
            .body(kube::client::Body::from(body.as_bytes().to_vec()))
            .expect("a request");
        let answer = self.client.send(request).await.expect("an answer");
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.expect("a body");
        (code, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    async fn send(&self, method: &str, path: &str, content: &str, body: &Json) -> Answer {
        let (code, text) = self.text(method, path, content, &body.to_string()).await;
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    async fn good(&self, method: &str, path: &str, body: &Json) -> Json {
        let (code, answer) = self.send(method, path, "application/json", body).await;
        assert!(code < 300, "{method} {path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        let (code, text) = self.text("GET", path, "application/json", "").await;
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    async fn apply(&self, path: &str, manager: &str, more: &str, body: &Json) -> Answer {
        let path = format!("{path}?fieldManager={manager}{more}");
        self.send("PATCH", &path, "application/apply-patch+yaml", body).await
    }
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/n/deployments";
const MAPS: &str = "/api/v1/namespaces/n/configmaps";

fn deployment(change: impl FnOnce(&mut Json)) -> Json {
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "labels": { "app": "web" } },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "nginx:1" }] },
            },
        },
    });
    change(&mut deployment);
    deployment
}

fn map(name: &str) -> Json {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } })
}

#[tokio::test]
async fn wrong_objects_are_refused_in_kubernetes_own_words() {
    let client = Client::new().await;
    type Change = Box<dyn FnOnce(&mut Json)>;
    let cases: Vec<(&str, u16, &str, Change)> = vec![
        (
            "unknown field \"spec.template.spec.containers[0].imag\"",
            400,
            "BadRequest",
            Box::new(|d| d["spec"]["template"]["spec"]["containers"][0]["imag"] = "x".into()),
        ),
        (
            "invalid type: string",
            400,
            "BadRequest",
            Box::new(|d| d["spec"]["replicas"] = "3".into()),
        ),
        (
            "does not match the expected kind",
            400,
            "BadRequest",
            Box::new(|d| d["kind"] = "Pod".into()),
        ),
        (
            "does not match the namespace",
            400,
            "BadRequest",
            Box::new(|d| d["metadata"]["namespace"] = "other".into()),
        ),
        (
            "a lowercase RFC 1123 subdomain",
            422,
            "Invalid",
            Box::new(|d| d["metadata"]["name"] = "Web_1".into()),
        ),
        (
            "metadata.name: Required value",
            422,
            "Invalid",
            Box::new(|d| d["metadata"]["name"] = "".into()),
        ),
        (
            "spec.selector: Required value",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"].as_object_mut().expect("a map").remove("selector");
            }),
        ),
        (
            "`selector` does not match template `labels`",
            422,
            "Invalid",
            Box::new(|d| d["spec"]["template"]["metadata"]["labels"]["app"] = "other".into()),
        ),
        (
            "must be greater than or equal to 0",
            422,
            "Invalid",
            Box::new(|d| d["spec"]["replicas"] = json!(-1)),
        ),
        (
            "containers: Required value",
            422,
            "Invalid",
            Box::new(|d| d["spec"]["template"]["spec"]["containers"] = json!([])),
        ),
        (
            "image: Required value",
            422,
            "Invalid",
            Box::new(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = "".into()),
        ),
        (
            "Duplicate value",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"]["template"]["spec"]["containers"] = json!([
                { "name": "a", "image": "i" }, { "name": "a", "image": "i" }])
            }),
        ),
        (
            "must be between 1 and 65535",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"]["template"]["spec"]["containers"][0]["ports"] =
                    json!([{ "containerPort": 0 }])
            }),
        ),
        (
            "Limit must be set for non overcommitable resources",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"]["template"]["spec"]["containers"][0]["resources"] =
                    json!({ "requests": { "nvidia.com/gpu": 1 } })
            }),
        ),
        (
            "must be equal to nvidia.com/gpu limit",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "requests": { "nvidia.com/gpu": 1 }, "limits": { "nvidia.com/gpu": 2 } })
            }),
        ),
        (
            "must be less than or equal to memory limit",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"]["template"]["spec"]["containers"][0]["resources"] =
                    json!({ "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } })
            }),
        ),
        (
            "quantities must match",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"]["template"]["spec"]["containers"][0]["resources"] =
                    json!({ "requests": { "cpu": "many" } })
            }),
        ),
        (
            "may not specify more than 1 handler type",
            422,
            "Invalid",
            Box::new(|d| {
                d["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] =
                    json!({ "httpGet": { "port": 1 }, "tcpSocket": { "port": 1 } })
            }),
        ),
        (
            "restartPolicy: Unsupported value",
            422,
            "Invalid",
            Box::new(|d| d["spec"]["template"]["spec"]["restartPolicy"] = "Never".into()),
        ),
        (
            "a valid label must be",
            422,
            "Invalid",
            Box::new(|d| d["metadata"]["labels"]["app"] = "a b".into()),
        ),
        (
            "resourceVersion should not be set",
            400,
            "BadRequest",
            Box::new(|d| d["metadata"]["resourceVersion"] = "1".into()),
        ),
    ];
    for (part, code, reason, change) in cases {
        let body = deployment(change);
        let (got, answer) = client.send("POST", DEPLOYMENTS, "application/json", &body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{part}: {answer}");
        assert_eq!((got, answer["reason"].as_str()), (code, Some(reason)), "{answer}");
        assert_eq!(
            (answer["kind"].as_str(), answer["status"].as_str()),
            (Some("Status"), Some("Failure"))
        );
        if code == 422 {
            assert!(answer["details"]["causes"][0]["field"].is_string(), "{answer}");
        }
    }
    let (_, list) = client.get(DEPLOYMENTS).await;
    assert_eq!(list["items"], json!([]), "nothing refused was kept");
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let client = Client::new().await;
    client.good("POST", DEPLOYMENTS, &deployment(|_| {})).await;
    let web = &format!("{DEPLOYMENTS}/web");
    let elsewhere = "/apis/apps/v1/namespaces/none/deployments";
    let nowhere = "/apis/apps/v1/deployments";
    let merge = "application/merge-patch+json";
    let json_patch = "application/json-patch+json";
    let apply = "application/apply-patch+yaml";
    let plain = "application/json";
    let stale = deployment(|d| d["metadata"]["resourceVersion"] = "1".into());
    let selector = json!({ "spec": { "selector": { "matchLabels": { "x": "y" } } } });
    let remove = json!([{ "op": "remove", "path": "/x" }]);
    let nothing = json!(null);
    for (method, path, content, body, code, reason) in [
        ("POST", DEPLOYMENTS, plain, deployment(|_| {}), 409, "AlreadyExists"),
        ("POST", elsewhere, plain, deployment(|_| {}), 404, "NotFound"),
        ("POST", nowhere, plain, deployment(|_| {}), 405, "MethodNotAllowed"),
        ("GET", &format!("{DEPLOYMENTS}/none"), plain, nothing.clone(), 404, "NotFound"),
        ("GET", "/apis/apps/v1/namespaces/n/abaci", plain, nothing.clone(), 404, "NotFound"),
        ("GET", "/apis/apps/v1/namespaces/n/nodes", plain, nothing.clone(), 404, "NotFound"),
        ("PUT", web, plain, stale, 409, "Conflict"),
        ("PATCH", web, merge, selector, 422, "Invalid"),
        ("PATCH", web, merge, json!({ "metadata": { "name": "other" } }), 400, "BadRequest"),
        ("PATCH", web, json_patch, remove, 422, "Invalid"),
        ("PATCH", web, "text/plain", json!({}), 415, "UnsupportedMediaType"),
        ("PATCH", web, apply, deployment(|_| {}), 400, "BadRequest"),
        ("DELETE", "/api/v1/namespaces/kube-system", plain, json!({}), 403, "Forbidden"),
        ("DELETE", web, plain, json!({ "preconditions": { "uid": "other" } }), 409, "Conflict"),
        ("DELETE", web, plain, json!({ "propagationPolicy": "Sideways" }), 422, "Invalid"),
        (
            "GET",
            &format!("{DEPLOYMENTS}?labelSelector=a%20in%20b"),
            plain,
            nothing.clone(),
            400,
            "BadRequest",
        ),
        ("GET", &format!("{DEPLOYMENTS}?continue=xyz"), plain, nothing, 400, "BadRequest"),
    ] {
        let (got, answer) = client.send(method, path, content, &body).await;
        assert_eq!(
            (got, answer["reason"].as_str()),
            (code, Some(reason)),
            "{method} {path}: {answer}"
        );
    }
    let (code, text) = client.text("POST", DEPLOYMENTS, plain, "{ not json").await;
    assert_eq!(code, 400, "{text}");
}

#[tokio::test]
async fn applying_creates_shares_conflicts_and_prunes() {
    let client = Client::new().await;
    let web = &format!("{DEPLOYMENTS}/web");
    let (code, made) =
        client.apply(web, "a", "", &deployment(|d| d["spec"]["replicas"] = 2.into())).await;
    assert_eq!(code, 201, "{made}");
    let managed = &made["metadata"]["managedFields"];
    assert_eq!(
        (managed[0]["manager"].as_str(), managed[0]["operation"].as_str()),
        (Some("a"), Some("Apply"))
    );
    assert_eq!(managed[0]["fieldsV1"]["f:spec"]["f:replicas"], json!({}));
    assert!(managed[0]["fieldsV1"]["f:spec"].get("f:strategy").is_none(), "defaults are nobody's");
    assert_eq!(made["spec"]["strategy"]["type"], "RollingUpdate", "and are there");

    // Another value is a conflict that names field and owner; nothing changes.
    let (code, refused) =
        client.apply(web, "b", "", &deployment(|d| d["spec"]["replicas"] = 3.into())).await;
    assert_eq!((code, refused["reason"].as_str()), (409, Some("Conflict")));
    let cause = &refused["details"]["causes"][0];
    assert_eq!(cause["reason"], "FieldManagerConflict");
    assert_eq!(
        (cause["field"].as_str(), cause["message"].as_str()),
        (Some(".spec.replicas"), Some("conflict with \"a\""))
    );

    // A dry run answers as if, and changes nothing.
    let force = "&force=true";
    let wanted = deployment(|d| d["spec"]["replicas"] = 3.into());
    let (code, dry) = client.apply(web, "b", "&force=true&dryRun=All", &wanted).await;
    assert_eq!((code, dry["spec"]["replicas"].as_i64()), (200, Some(3)));
    assert_eq!(client.get(web).await.1["spec"]["replicas"], 2);

    // By force the field changes hands; its old owner may drop it without an effect.
    let (_, forced) = client.apply(web, "b", force, &wanted).await;
    assert_eq!(forced["spec"]["replicas"], 3);
    let (_, dropped) = client.apply(web, "a", "", &deployment(|_| {})).await;
    assert_eq!(dropped["spec"]["replicas"], 3);
    // Its new and only owner drops it: the default comes back.
    let (_, dropped) = client.apply(web, "b", "", &deployment(|_| {})).await;
    assert_eq!(dropped["spec"]["replicas"], 1);

    // Applying the same again is no write.
    let (_, again) = client.apply(web, "b", "", &deployment(|_| {})).await;
    assert_eq!(
        again["metadata"]["resourceVersion"],
        client.get(web).await.1["metadata"]["resourceVersion"]
    );
    let before = again["metadata"]["managedFields"].clone();
    let (_, again) = client.apply(web, "b", "", &deployment(|_| {})).await;
    assert_eq!(again["metadata"]["managedFields"], before);

    let typo = deployment(|d| d["spec"]["replica"] = 1.into());
    let (code, refused) = client.apply(web, "a", "", &typo).await;
    assert_eq!(code, 500);
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains(".spec.replica: field not declared in schema"), "{message}");

    // YAML, as other clients send it.
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: b}\n";
    let path = format!("{MAPS}/y?fieldManager=a");
    let (code, text) = client.text("PATCH", &path, "application/apply-patch+yaml", yaml).await;
    assert_eq!(code, 201, "{text}");
}

#[tokio::test]
async fn lists_are_paged_selected_and_printed() {
    let client = Client::new().await;
    for name in ["a", "b", "c"] {
        let mut object = map(name);
        object["metadata"]["labels"] = json!({ "odd": if name == "b" { "no" } else { "yes" } });
        client.good("POST", MAPS, &object).await;
    }
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let (_, page) = client.get(&format!("/api/v1/configmaps?limit=2&continue={next}")).await;
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|item| item["metadata"]["name"].clone()));
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);
    let (_, odd) = client.get(&format!("{MAPS}?labelSelector=odd%3Dyes")).await;
    assert_eq!(odd["items"].as_array().map(Vec::len), Some(2));
    let (_, table) = client.get(&format!("{MAPS}?table=yes")).await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][1]["cells"][0], "b");
}

#[tokio::test]
async fn a_watch_tells_what_happened_since() {
    let client = Client::new().await;
    for name in ["changed", "deleted", "same"] {
        client.good("POST", MAPS, &map(name)).await;
    }
    let (_, list) = client.get(MAPS).await;
    let version = list["metadata"]["resourceVersion"].as_str().expect("a version");
    client.good("POST", MAPS, &map("added")).await;
    let patch = json!({ "data": { "x": "y" } });
    client.send("PATCH", &format!("{MAPS}/changed"), "application/merge-patch+json", &patch).await;
    client.good("DELETE", &format!("{MAPS}/deleted"), &json!({})).await;
    client.good("POST", MAPS, &map("brief")).await;
    client.good("DELETE", &format!("{MAPS}/brief"), &json!({})).await;

    let events = |text: String| -> Vec<String> {
        text.lines()
            .map(|line| {
                let event: Json = serde_json::from_str(line).expect("JSON lines");
                let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
                format!("{} {name}", event["type"].as_str().unwrap_or_default())
            })
            .collect()
    };
    let watch = |more: &str| format!("{MAPS}?watch=true&timeoutSeconds=0{more}");
    let since = watch(&format!("&resourceVersion={version}"));
    let (_, text) = client.text("GET", &since, "", "").await;
    assert_eq!(events(text), ["DELETED deleted", "ADDED added", "MODIFIED changed"]);
    let (_, text) = client.text("GET", &watch(""), "", "").await;
    assert_eq!(events(text), ["ADDED added", "ADDED changed", "ADDED same"]);
    let (_, text) = client.text("GET", &watch("&fieldSelector=metadata.name%3Dsame"), "", "").await;
    assert_eq!(events(text), ["ADDED same"]);
    let (code, text) = client.text("GET", &watch("&resourceVersion=0x"), "", "").await;
    assert_eq!(code, 400, "{text}");
}

#[tokio::test]
async fn a_namespace_goes_with_everything_in_it_as_finalizers_allow() {
    let client = Client::new().await;
    client.good("POST", DEPLOYMENTS, &deployment(|_| {})).await;
    let mut held = map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    client.good("POST", MAPS, &held).await;
    let namespace = "/api/v1/namespaces/n";
    let going = client.good("DELETE", namespace, &json!({})).await;
    assert_eq!(going["status"]["phase"], "Terminating");
    let (code, refused) = client.send("POST", MAPS, "application/json", &map("late")).await;
    assert_eq!(code, 403);
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    // Requests are what makes time pass.
    for _ in 0..5 {
        assert_eq!(client.get(namespace).await.0, 200, "a finalizer holds it");
    }
    assert_eq!(client.get(&format!("{DEPLOYMENTS}/web")).await.0, 404);
    let release = json!({ "metadata": { "finalizers": null } });
    client.send("PATCH", &format!("{MAPS}/held"), "application/merge-patch+json", &release).await;
    let mut left = 10;
    while client.get(namespace).await.0 == 200 {
        left -= 1;
        assert!(left > 0, "the namespace stays");
    }
}

#[tokio::test]
async fn deployments_roll_within_their_bounds_and_scale() {
    let client = Client::new().await;
    let tolerant = |d: &mut Json| {
        d["spec"]["replicas"] = 3.into();
        d["spec"]["strategy"] = json!({ "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } });
        d["spec"]["template"]["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
    };
    client.good("POST", DEPLOYMENTS, &deployment(tolerant)).await;
    let web = &format!("{DEPLOYMENTS}/web");
    let settled = async |least: i64| {
        for _ in 0..60 {
            let (_, now) = client.get(web).await;
            let count = |name: &str| now["status"][name].as_i64().unwrap_or(0);
            let wanted = now["spec"]["replicas"].as_i64().expect("a number");
            let observed = now["status"]["observedGeneration"] == now["metadata"]["generation"];
            if observed
                && count("updatedReplicas") == wanted
                && count("availableReplicas") == wanted
                && count("replicas") == wanted
            {
                return now;
            }
            assert!(count("replicas") <= 3 && count("availableReplicas") >= least, "{now}");
        }
        panic!("the rollout does not end");
    };
    settled(0).await;
    let image = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "web", "image": "nginx:2" }] } } } });
    let strategic = "application/strategic-merge-patch+json";
    let (code, patched) = client.send("PATCH", web, strategic, &image).await;
    assert_eq!((code, patched["metadata"]["generation"].as_i64()), (200, Some(2)), "{patched}");
    settled(2).await;
    let (_, sets) = client.get("/apis/apps/v1/namespaces/n/replicasets").await;
    assert_eq!(sets["items"].as_array().map(Vec::len), Some(2));

    let scale =
        client.good("PUT", &format!("{web}/scale"), &json!({ "spec": { "replicas": 1 } })).await;
    assert_eq!(
        (scale["kind"].as_str(), scale["spec"]["replicas"].as_i64()),
        (Some("Scale"), Some(1))
    );
    settled(1).await;
    let (_, pods) = client.get("/api/v1/namespaces/n/pods").await;
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(1));

    // A pod that is deleted comes back, under another name.
    let name = pods["items"][0]["metadata"]["name"].as_str().expect("a name");
    client.good("DELETE", &format!("/api/v1/namespaces/n/pods/{name}"), &json!({})).await;
    settled(0).await;
    let (_, pods) = client.get("/api/v1/namespaces/n/pods").await;
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(1));
    assert_ne!(pods["items"][0]["metadata"]["name"], name);

    // Without its nodes the pod waits, and says why.
    client.world.step(|table| {
        for (pool, nodes) in table.nodes(CLUSTER) {
            let none = fleetform_sandbox::NodePool { count: 0, ..nodes };
            table.set_nodes(CLUSTER, &pool, &none);
        }
    });
    client.get(web).await;
    client.get(web).await;
    client.get(web).await;
    let (_, pods) = client.get("/api/v1/namespaces/n/pods").await;
    let condition = &pods["items"][0]["status"]["conditions"][0];
    assert_eq!(condition["message"], "no nodes available to schedule pods", "{pods}");
}

#[tokio::test]
async fn a_cluster_answers_exactly_as_long_as_it_is_open() {
    let client = Client::new().await;
    let (code, version) = client.get("/version").await;
    assert_eq!((code, version["minor"].as_str()), (200, Some("34")));
    client.world.step(|table| table.close_cluster(CLUSTER));
    for path in ["/version", "/api/v1/namespaces", DEPLOYMENTS, "/nothing"] {
        let (code, answer) = client.get(path).await;
        assert_eq!((code, answer["kind"].as_str()), (404, Some("Status")), "{path}");
    }
    assert_eq!(client.world.census(), Default::default(), "nothing is left");
    // A new one of the name is new.
    client.world.step(|table| table.open_cluster(CLUSTER, "1.34"));
    let (_, namespaces) = client.get("/api/v1/namespaces").await;
    let names = namespaces["items"].as_array().expect("a list").iter();
    let names: Vec<&str> = names.filter_map(|item| item["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
}

#[tokio::test]
async fn the_same_requests_give_the_same_cluster() {
    let run = async || {
        let client = Client::new().await;
        let tolerant = |d: &mut Json| {
            d["spec"]["template"]["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
        };
        client.good("POST", DEPLOYMENTS, &deployment(tolerant)).await;
        for _ in 0..10 {
            client.get(DEPLOYMENTS).await;
        }
        (client.get("/api/v1/pods").await, client.get(DEPLOYMENTS).await)
    };
    let (first, second) = (run().await, run().await);
    assert_eq!(first, second);
    assert_eq!(first.0.1["items"][0]["status"]["phase"], "Running");
}

#[tokio::test]
async fn an_existing_cluster_has_the_nodes_that_are_declared() {
    use fleetform_contract::{Cloud, NodeGroup};
    let client = Client::new().await;
    let mut cloud = Cloud {
        name: "edge".into(),
        kind: "kubernetes".into(),
        nodes: vec![NodeGroup {
            name: "jetson".into(),
            count: 2,
            gpu_type: Some("Orin".into()),
            gpus: 1,
            cpus: 8.0,
            memory_gib: 32.0,
            ..NodeGroup::default()
        }],
        ..Cloud::default()
    };
    let names = |world: &World| -> Vec<(String, u32)> {
        let pools = world.step(|table| table.nodes("kubernetes/local/edge"));
        pools.into_iter().map(|(name, pool)| (name, pool.count)).collect()
    };
    fleetform_kubernetes::emulator::existing(&client.world, &cloud);
    fleetform_kubernetes::emulator::existing(&client.world, &cloud);
    assert_eq!(names(&client.world), [("jetson".to_owned(), 2)]);
    cloud.nodes[0].name = "xavier".into();
    cloud.nodes[0].count = 1;
    fleetform_kubernetes::emulator::existing(&client.world, &cloud);
    assert_eq!(names(&client.world), [("xavier".to_owned(), 1)]);
}
