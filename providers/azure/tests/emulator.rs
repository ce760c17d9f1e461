//! What the emulator refuses, in Azure's words, and what a group takes with it.

mod sandbox;

use fleetform_contract::Market;
use sandbox::{CLUSTERS, GROUP, SUBSCRIPTION, Sandbox, owner, pool, registry, site};
use serde_json::{Value as Json, json};

#[tokio::test]
async fn the_emulator_is_stricter_than_azure() {
    let sandbox = Sandbox::start().await;
    let group = "/resourceGroups/g?api-version=2021-04-01";
    let made = sandbox.ask("PUT", group, json!({ "location": "East US" })).await;
    assert_eq!((made.0, &made.1["location"]), (201, &json!("eastus")));
    let cluster =
        |name: &str| format!("/resourceGroups/G/{CLUSTERS}/{name}?api-version=2025-08-01");
    let pool = |cluster: &str, name: &str| {
        format!("/resourceGroups/g/{CLUSTERS}/{cluster}/agentPools/{name}?api-version=2025-08-01")
    };
    let registry = |name: &str| {
        format!(
            "/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/{name}?api-version=2025-11-01"
        )
    };
    let system =
        json!({ "name": "system", "mode": "System", "vmSize": "Standard_D2s_v5", "count": 1 });
    let good = json!({
        "location": "eastus",
        "identity": { "type": "SystemAssigned" },
        "properties": { "dnsPrefix": "c", "agentPoolProfiles": [system] },
    });
    let with = |path: &str, value: Json| {
        let mut body = good.clone();
        *body.pointer_mut(path).expect("a place") = value;
        body
    };
    let worker = |extra: Json| {
        let mut properties = json!({ "mode": "User", "vmSize": "Standard_D2s_v5", "count": 1 });
        for (name, value) in extra.as_object().expect("fields") {
            properties[name] = value.clone();
        }
        json!({ "properties": properties })
    };
    assert_eq!(sandbox.ask("PUT", &cluster("c"), good.clone()).await.0, 201);
    let (status, answer) = sandbox.ask("PUT", &pool("c", "a"), worker(json!({}))).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("OperationNotAllowed")));
    assert_eq!(
        sandbox
            .ask(
                "PUT",
                &registry("taken"),
                json!({ "location": "eastus", "sku": { "name": "Basic" } })
            )
            .await
            .0,
        201
    );

    let profile = "/properties/agentPoolProfiles";
    let null = Json::Null;
    let refused: Vec<(&str, String, Json, u16, &str)> = vec![
        ("GET", "/resourceGroups/g".into(), null.clone(), 400, "MissingApiVersionParameter"),
        (
            "GET",
            "/resourceGroups/g?api-version=2001-01-01".into(),
            null.clone(),
            400,
            "InvalidApiVersionParameter",
        ),
        (
            "GET",
            "/resourceGroups/none?api-version=2021-04-01".into(),
            null.clone(),
            404,
            "ResourceGroupNotFound",
        ),
        ("POST", group.into(), null.clone(), 405, "HttpMethodNotAllowed"),
        (
            "PUT",
            group.into(),
            json!({ "location": "mars" }),
            400,
            "LocationNotAvailableForResourceType",
        ),
        ("PUT", group.into(), json!({ "location": "westus" }), 409, "InvalidResourceGroupLocation"),
        ("PUT", group.into(), json!({}), 400, "LocationRequired"),
        (
            "PUT",
            group.into(),
            json!({ "location": "eastus", "colour": 1 }),
            400,
            "InvalidRequestContent",
        ),
        (
            "PUT",
            group.into(),
            json!({ "location": "eastus", "tags": { "a/b": "c" } }),
            400,
            "InvalidTagNameCharacters",
        ),
        (
            "PUT",
            group.into(),
            json!({ "location": "eastus", "tags": { "a": 1 } }),
            400,
            "InvalidTagValueLength",
        ),
        ("PUT", group.into(), json!([1]), 400, "InvalidRequestContent"),
        ("GET", cluster("none"), null.clone(), 404, "ResourceNotFound"),
        ("PUT", cluster("-x"), good.clone(), 400, "InvalidParameter"),
        ("PUT", cluster("d").replace("/G/", "/none/"), good.clone(), 404, "ResourceGroupNotFound"),
        ("PUT", cluster("d"), with("/identity", null.clone()), 400, "InvalidParameter"),
        ("PUT", cluster("d"), with("/properties/dnsPrefix", "a_b".into()), 400, "InvalidParameter"),
        ("PUT", cluster("d"), with(profile, json!([])), 400, "InvalidParameter"),
        ("PUT", cluster("d"), with("/properties", 5.into()), 400, "InvalidRequestContent"),
        (
            "PUT",
            cluster("d"),
            with("/properties/agentPoolProfiles/0/vmSize", "Standard_Nope".into()),
            400,
            "BadRequest",
        ),
        (
            "PUT",
            cluster("d"),
            with("/properties/agentPoolProfiles/0/count", 0.into()),
            400,
            "InvalidParameter",
        ),
        (
            "PUT",
            cluster("d"),
            with("/properties", json!({ "dnsPrefix": "c", "kubernetesVersion": "1.9" })),
            400,
            "K8sVersionNotSupported",
        ),
        ("PUT", pool("none", "a"), worker(json!({})), 404, "ParentResourceNotFound"),
        ("PUT", registry("Taken"), json!({ "location": "eastus" }), 400, "InvalidRequestContent"),
        (
            "PUT",
            registry("no"),
            json!({ "location": "eastus", "sku": { "name": "Basic" } }),
            400,
            "InvalidResourceName",
        ),
        (
            "PUT",
            registry("fine1"),
            json!({ "location": "eastus", "sku": { "name": "Gold" } }),
            400,
            "InvalidParameter",
        ),
        (
            "GET",
            "/providers/Microsoft.Compute/disks?api-version=2021-04-01".into(),
            null.clone(),
            404,
            "InvalidResourceType",
        ),
        (
            "GET",
            "/resources?api-version=2021-04-01&$filter=colour%20eq%20'red'".into(),
            null.clone(),
            400,
            "InvalidFilterInQueryString",
        ),
        (
            "GET",
            format!(
                "/providers/Microsoft.ContainerService/locations/eastus/operations/{SUBSCRIPTION}?api-version=2025-08-01"
            ),
            null.clone(),
            404,
            "InvalidResourceType",
        ),
        // Now that the cluster is there.
        (
            "PUT",
            cluster("c"),
            with("/properties/dnsPrefix", "d".into()),
            400,
            "PropertyChangeNotAllowed",
        ),
        ("PUT", cluster("c"), with("/location", "westus".into()), 409, "InvalidResourceLocation"),
        (
            "PUT",
            cluster("c"),
            with("/properties/agentPoolProfiles/0/name", "other".into()),
            400,
            "BadRequest",
        ),
        ("PUT", pool("c", "Big"), worker(json!({})), 400, "InvalidParameter"),
        ("PUT", pool("c", "a"), worker(json!({ "colour": 1 })), 400, "InvalidRequestContent"),
        ("PUT", pool("c", "a"), worker(json!({ "minCount": 1 })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "enableAutoScaling": true, "minCount": 2, "maxCount": 3 })),
            400,
            "InvalidParameter",
        ),
        ("PUT", pool("c", "a"), worker(json!({ "spotMaxPrice": -1 })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "scaleSetPriority": "Spot", "mode": "System" })),
            400,
            "InvalidParameter",
        ),
        ("PUT", pool("c", "a"), worker(json!({ "nodeTaints": ["gpu"] })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "nodeLabels": { "kubernetes.azure.com/mode": "x" } })),
            400,
            "InvalidParameter",
        ),
        ("PUT", pool("c", "a"), worker(json!({ "osDiskSizeGB": 3 })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "vmSize": "Standard_ND40rs_v9" })),
            400,
            "BadRequest",
        ),
        ("PUT", pool("c", "system"), worker(json!({ "mode": "User" })), 400, "InvalidParameter"),
        ("DELETE", pool("c", "system"), null.clone(), 400, "OperationNotAllowed"),
        ("GET", pool("c", "none"), null.clone(), 404, "NotFound"),
        (
            "PUT",
            registry("TAKEN2").replace("/g/", "/g2/"),
            json!({ "location": "eastus", "sku": { "name": "Basic" } }),
            404,
            "ResourceGroupNotFound",
        ),
    ];
    for (method, path, body, status, code) in refused {
        let (found, answer) = sandbox.ask(method, &path, body.clone()).await;
        let what = format!("{method} {path} {body} answers {answer}");
        assert_eq!((found, answer["error"]["code"].as_str()), (status, Some(code)), "{what}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
    }

    // A name that is taken in another group, and a token that is none.
    assert_eq!(
        sandbox
            .ask(
                "PUT",
                "/resourceGroups/g2?api-version=2021-04-01",
                json!({ "location": "eastus" })
            )
            .await
            .0,
        201
    );
    let body = json!({ "location": "eastus", "sku": { "name": "Basic" } });
    let (status, answer) =
        sandbox.ask("PUT", &registry("Taken").replace("/g/", "/g2/"), body).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("AlreadyInUse")));
    let request = sandbox
        .client
        .get(sandbox.url("?api-version=2022-12-01"))
        .header("authorization", "Basic eDp5");
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 401);
    let request = sandbox.client.put(sandbox.url(group)).body("{\"location\": ");
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 400);
}

#[tokio::test]
async fn a_group_takes_everything_with_it() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider.as_ref();
    let pools = vec![pool(provider, "Standard_D4s_v5", Market::OnDemand, 2)];
    sandbox.make(&provider.resources(&[site(pools)], &[registry()], &owner())).await;
    let path = format!("/resourcegroups/{GROUP}?api-version=2021-04-01");
    assert_eq!(sandbox.ask("DELETE", &path, Json::Null).await.0, 202);
    for _ in 0..8 {
        sandbox.ask("HEAD", &path, Json::Null).await;
    }
    let census = sandbox.world.step(|table| table.census().len());
    assert_eq!(census, 0);
}
