//! Node groups that do not come up: an EKS that answers from a script, because the emulator's always do.

mod common;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::{cloud, resources};
use fleetform_contract::{Error, Provider, Silent, Token};
use serde_json::json;

/// A group that becomes `CREATE_FAILED` for this reason and can be deleted; the calls that came.
async fn failing(code: &'static str, message: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = calls.clone();
    let answer = async move |request: Request| -> Response {
        let mut calls = log.lock().expect("no holder panics");
        calls.push(request.method().to_string());
        let deleted = calls.iter().any(|method| method == "DELETE");
        if request.method() == "GET" && deleted {
            let headers = [("x-amzn-errortype", "ResourceNotFoundException")];
            return (StatusCode::NOT_FOUND, headers, "{}").into_response();
        }
        let issue = json!({ "code": code, "message": message });
        let group = json!({
            "nodegroupName": "g6-xlarge-spot",
            "clusterName": "chat",
            "status": if calls.len() < 3 { "CREATING" } else { "CREATE_FAILED" },
            "health": { "issues": [issue] },
        });
        json!({ "nodegroup": group }).to_string().into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let routes = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, calls)
}

async fn create(url: String) -> Error {
    let cloud = fleetform_aws::sandboxed(cloud(), &[("aws", url)].into());
    let provider: Box<dyn Provider> = fleetform_aws::provider(&cloud).expect("the cloud is sound");
    let mut group = resources(&*provider, &cloud, 1)
        .into_iter()
        .find(|resource| resource.text("node_group_name") == Some("g6-xlarge-spot"))
        .expect("there is a node group");
    group.attributes.insert("node_role_arn".into(), "arn:aws:iam::1:role/n".into());
    group.attributes.insert("subnet_ids".into(), fleetform_contract::Value::list(["subnet-1"]));
    let failed = provider.create(&group, &Token("x".into()), &Silent).await;
    failed.expect_err("it does not come up")
}

#[tokio::test]
async fn a_group_without_capacity_says_so_and_leaves_nothing() {
    let reason = "Could not launch Spot Instances. UnfulfillableCapacity";
    let (url, calls) = failing("AsgInstanceLaunchFailures", reason).await;
    let error = create(url).await;
    assert_eq!(
        error,
        Error::NoCapacity {
            message: format!(
                "the node group `g6-xlarge-spot` is CREATE_FAILED: AsgInstanceLaunchFailures: {reason}"
            ),
        }
    );
    let calls = calls.lock().expect("no holder panics");
    assert_eq!(calls.iter().filter(|method| *method == "DELETE").count(), 1, "{calls:?}");
}

#[tokio::test]
async fn a_group_whose_nodes_do_not_join_is_refused() {
    let (url, _) = failing("NodeCreationFailure", "Instances failed to join the cluster").await;
    let error = create(url).await;
    assert!(
        matches!(&error, Error::Rejected { message } if message.contains("failed to join")),
        "{error:?}"
    );
}
