//! What the emulator refuses, in AWS's own shapes.

mod common;

use axum::body::{Body, to_bytes};
use fleetform_sandbox::World;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// One client of the emulator, without an SDK.
struct Client {
    world: World,
}

struct Reply {
    status: u16,
    error: Option<String>,
    body: String,
}

impl Client {
    fn new() -> Client {
        Client { world: World::in_memory(7) }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let routes = fleetform_aws::emulator::api(&self.world).routes;
        let response = routes.oneshot(request).await.expect("a router answers");
        let header = response.headers().get("x-amzn-errortype");
        assert!(response.headers().contains_key("x-amzn-requestid"));
        let error = header.map(|value| value.to_str().expect("it is text").to_owned());
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("it has a body");
        Reply { status, error, body: String::from_utf8(body.to_vec()).expect("it is UTF-8") }
    }

    async fn eks(&self, method: &str, path: &str, body: Value) -> Reply {
        self.send(signed(method, path, "eks", JSON, body.to_string())).await
    }

    async fn ecr(&self, operation: &str, body: Value) -> Reply {
        let mut request =
            signed("POST", "/", "ecr", "application/x-amz-json-1.1", body.to_string());
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
        request.headers_mut().insert("x-amz-target", target.parse().expect("it is a header"));
        self.send(request).await
    }

    async fn query(&self, service: &str, form: &str) -> Reply {
        self.send(signed("POST", "/", service, FORM, form.to_owned())).await
    }
}

fn signed(method: &str, path: &str, service: &str, content: &str, body: String) -> Request<Body> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}",
        "0".repeat(64)
    );
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", authorization)
        .header("content-type", content)
        .body(Body::from(body))
        .expect("it is a request")
}

#[tokio::test]
async fn eks_refuses_with_its_own_shapes() {
    let client = Client::new();
    let cluster = |change: Value| {
        let mut cluster = json!({
            "name": "a",
            "roleArn": "arn:aws:iam::123456789012:role/none",
            "resourcesVpcConfig": { "subnetIds": ["subnet-1", "subnet-2"] },
        });
        for (name, value) in change.as_object().expect("it is an object") {
            cluster[name] = value.clone();
        }
        cluster
    };
    for (method, path, body, status, code, message) in [
        ("GET", "/clusters/a", json!({}), 404, "ResourceNotFoundException", "No cluster found"),
        ("DELETE", "/clusters/a", json!({}), 404, "ResourceNotFoundException", "No cluster found"),
        ("POST", "/clusters", json!({}), 400, "InvalidParameterException", "clusterName ''"),
        (
            "POST",
            "/clusters",
            cluster(json!({"name": "a b"})),
            400,
            "InvalidParameterException",
            "clusterName 'a b'",
        ),
        (
            "POST",
            "/clusters",
            cluster(json!({"colour": 1})),
            400,
            "InvalidParameterException",
            "unknown field `colour`",
        ),
        (
            "POST",
            "/clusters",
            cluster(json!({"version": 1})),
            400,
            "InvalidParameterException",
            "expected a string",
        ),
        (
            "POST",
            "/clusters",
            cluster(json!({})),
            400,
            "InvalidParameterException",
            "does not exist",
        ),
        (
            "POST",
            "/clusters",
            cluster(json!({"clientRequestToken": "x".repeat(65)})),
            400,
            "InvalidParameterException",
            "clientRequestToken",
        ),
        (
            "GET",
            "/clusters?maxResults=0",
            json!({}),
            400,
            "InvalidParameterException",
            "from 1 to 100",
        ),
        ("GET", "/clusters?nextToken=%21", json!({}), 400, "InvalidParameterException", "token"),
        (
            "GET",
            "/clusters?colour=1",
            json!({}),
            400,
            "InvalidParameterException",
            "unknown parameter",
        ),
        (
            "POST",
            "/clusters/a/node-groups",
            json!({"nodegroupName": "g"}),
            404,
            "ResourceNotFoundException",
            "No cluster found",
        ),
        (
            "POST",
            "/clusters/a/updates",
            json!({"version": "1.34"}),
            404,
            "ResourceNotFoundException",
            "No cluster found",
        ),
        (
            "GET",
            "/tags/arn%3Aaws%3Aeks%3Aus-east-1%3A123456789012%3Acluster%2Fa",
            json!({}),
            404,
            "NotFoundException",
            "not found",
        ),
        ("GET", "/nowhere", json!({}), 404, "UnknownOperationException", "no such operation"),
    ] {
        let reply = client.eks(method, path, body).await;
        assert_eq!((reply.status, reply.error.as_deref()), (status, Some(code)), "{method} {path}");
        let body: Value = serde_json::from_str(&reply.body).expect("it is JSON");
        let text = body["message"].as_str().expect("it says why");
        assert!(text.contains(message), "{text}");
        if text.starts_with("No cluster found") {
            assert_eq!(body["clusterName"], "a");
        }
    }
    let broken = client.send(signed("POST", "/clusters", "eks", JSON, "{".into())).await;
    assert_eq!(broken.error.as_deref(), Some("SerializationException"));
}

#[tokio::test]
async fn ecr_refuses_with_its_own_shapes() {
    let client = Client::new();
    for (operation, body, code) in [
        ("CreateRepository", json!({"repositoryName": "Upper"}), "InvalidParameterException"),
        ("CreateRepository", json!({"repositoryName": "a//b"}), "InvalidParameterException"),
        (
            "CreateRepository",
            json!({"repositoryName": "ab", "force": true}),
            "InvalidParameterException",
        ),
        (
            "CreateRepository",
            json!({"repositoryName": "ab", "registryId": "1"}),
            "InvalidParameterException",
        ),
        (
            "CreateRepository",
            json!({"repositoryName": "ab", "tags": [{"Key": "a", "Value": "[]"}]}),
            "InvalidTagParameterException",
        ),
        ("DescribeRepositories", json!({"repositoryNames": ["ab"]}), "RepositoryNotFoundException"),
        ("DeleteRepository", json!({"repositoryName": "ab"}), "RepositoryNotFoundException"),
        ("GetLifecyclePolicy", json!({"repositoryName": "ab"}), "RepositoryNotFoundException"),
        ("Fly", json!({}), "UnknownOperationException"),
    ] {
        let reply = client.ecr(operation, body).await;
        assert_eq!(reply.status, 400, "{operation}");
        let body: Value = serde_json::from_str(&reply.body).expect("it is JSON");
        assert_eq!(body["__type"], code, "{operation}: {body}");
    }
    let made = client.ecr("CreateRepository", json!({"repositoryName": "ab"})).await;
    assert_eq!(made.status, 200);
    for (policy, fault) in [
        ("{}", "no rules"),
        ("x", "no JSON"),
        (
            r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":0},"action":{"type":"expire"}}]}"#,
            "countNumber",
        ),
    ] {
        let body = json!({"repositoryName": "ab", "lifecyclePolicyText": policy});
        let reply = client.ecr("PutLifecyclePolicy", body).await;
        assert!(reply.body.contains("Lifecycle policy validation failure"), "{}", reply.body);
        assert!(reply.body.contains(fault), "{}", reply.body);
    }
}

#[tokio::test]
async fn query_apis_refuse_with_their_own_shapes() {
    let client = Client::new();
    let trust = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow\
                 %22%2C%22Principal%22%3A%7B%22Service%22%3A%22ec2.amazonaws.com%22%7D%2C%22Action%22\
                 %3A%22sts%3AAssumeRole%22%7D%5D%7D";
    let create = format!("Action=CreateRole&RoleName=r&AssumeRolePolicyDocument={trust}");
    assert_eq!(client.query("iam", &create).await.status, 200);
    for (service, form, status, code) in [
        ("iam", create.as_str(), 409, "EntityAlreadyExists"),
        ("iam", "Action=GetRole&RoleName=x", 404, "NoSuchEntity"),
        ("iam", "Action=GetRole", 400, "MissingParameter"),
        ("iam", "Action=GetRole&RoleName=r&Colour=red", 400, "UnknownParameter"),
        (
            "iam",
            "Action=CreateRole&RoleName=b&AssumeRolePolicyDocument=%7B%7D",
            400,
            "MalformedPolicyDocument",
        ),
        (
            "iam",
            "Action=AttachRolePolicy&RoleName=r&PolicyArn=arn:aws:iam::aws:policy/None",
            404,
            "NoSuchEntity",
        ),
        ("iam", "Action=Fly", 400, "InvalidAction"),
        ("iam", "RoleName=r", 400, "MissingAction"),
        ("iam", "Action=%zz", 400, "MalformedQueryString"),
        ("ec2", "Action=DescribeSubnets&SubnetId.1=subnet-1", 400, "InvalidSubnetID.NotFound"),
        ("ec2", "Action=DescribeVpcs&VpcId.1=vpc-1", 400, "InvalidVpcID.NotFound"),
        (
            "ec2",
            "Action=DescribeSubnets&Filter.1.Name=colour&Filter.1.Value.1=red",
            400,
            "InvalidParameterValue",
        ),
        ("ec2", "Action=RunInstances", 400, "InvalidAction"),
        ("sts", "Action=AssumeRole", 400, "InvalidAction"),
    ] {
        let reply = client.query(service, form).await;
        assert_eq!(reply.status, status, "{form}: {}", reply.body);
        let shape = match service {
            "ec2" => format!("<Response><Errors><Error><Code>{code}</Code><Message>"),
            _ => format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>"),
        };
        assert!(reply.body.starts_with(&shape), "{form}: {}", reply.body);
    }
    let identity = client.query("sts", "Action=GetCallerIdentity&Version=2011-06-15").await;
    assert!(identity.body.contains("<Account>123456789012</Account>"), "{}", identity.body);
}

#[tokio::test]
async fn who_does_not_sign_is_not_answered() {
    let client = Client::new();
    let plain = || Request::builder().method("GET").uri("/clusters");
    let header = |value: &str| plain().header("authorization", value);
    let scope = |scope: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=KEY/20260101/{scope}/aws4_request, SignedHeaders=host, \
             Signature={}",
            "0".repeat(64)
        )
    };
    for (request, status, code) in [
        (plain(), 403, "MissingAuthenticationTokenException"),
        (header("Basic eDp5"), 400, "IncompleteSignatureException"),
        (header("AWS4-HMAC-SHA256 Credential=KEY"), 400, "IncompleteSignatureException"),
        (header(&scope("us-east-1/ecr")), 403, "InvalidSignatureException"),
        (header(&scope("moon-1/eks")), 403, "UnrecognizedClientException"),
        (header(&scope("us-east-1/eks").replace("host", "date")), 403, "InvalidSignatureException"),
    ] {
        let reply = client.send(request.body(Body::empty()).expect("it is a request")).await;
        assert_eq!((reply.status, reply.error.as_deref()), (status, Some(code)), "{}", reply.body);
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let client = Client::new();
    for name in ["aa", "bb", "cc"] {
        client.ecr("CreateRepository", json!({ "repositoryName": name })).await;
    }
    let mut names = Vec::new();
    let mut request = json!({ "maxResults": 2 });
    loop {
        let reply = client.ecr("DescribeRepositories", request).await;
        let page: Value = serde_json::from_str(&reply.body).expect("it is JSON");
        let found = page["repositories"].as_array().expect("it is a list").iter();
        names.extend(found.map(|one| one["repositoryName"].as_str().unwrap_or("").to_owned()));
        let Some(next) = page["nextToken"].as_str() else { break };
        request = json!({ "maxResults": 2, "nextToken": next });
    }
    assert_eq!(names, ["aa", "bb", "cc"]);
}
