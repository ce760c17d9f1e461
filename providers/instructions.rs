//! How the official clients of each cloud are pointed at the sandbox: lines to copy into a shell, all of
//! them at once if you like.

use std::fmt::Write;

use fleetform_contract::Cloud;

/// For what runs inside the clusters of any cloud. `keys` are those of the clusters there are.
pub fn clusters(url: &str, clouds: &[Cloud], keys: &[String]) -> String {
    let mut text =
        format!("# Kubernetes: every cluster's API server is at {url}/KIND/REGION/CLUSTER\n");
    // Without a kubeconfig of its own kubectl would send this server a user's credentials.
    let kubectl = |key: &str| {
        format!("  kubectl --kubeconfig=/dev/null --server={url}/{key} get all --all-namespaces\n")
    };
    for key in keys {
        text += &kubectl(key);
    }
    if keys.is_empty()
        && let Some(cloud) = clouds.first()
    {
        let region = cloud.regions.first().map_or("local", String::as_str);
        text += &kubectl(&format!("{}/{region}/CLUSTER", cloud.kind));
    }
    text + "\n"
}

/// Nothing but its clusters.
pub fn kubernetes(_cloud: &Cloud, _url: &str) -> String {
    String::new()
}

pub fn aws(cloud: &Cloud, url: &str) -> String {
    let region = region(cloud, "us-east-1");
    let mut text = title(cloud, "any access key will do");
    let _ = writeln!(
        text,
        "  export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={region}\n  \
           export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox\n  \
           aws eks list-clusters\n  \
           python3 -c 'import boto3; print(boto3.client(\"eks\").list_clusters()[\"clusters\"])'\n"
    );
    text
}

pub fn gcp(cloud: &Cloud, url: &str) -> String {
    let project = account(cloud, "project");
    let mut text = title(cloud, "no credentials are needed");
    let _ = writeln!(
        text,
        "  python3 - <<'END'\n\
         from google.auth.credentials import AnonymousCredentials\n\
         from google.cloud import container_v1\n\
         client = container_v1.ClusterManagerClient(\n    \
             transport='rest', credentials=AnonymousCredentials(),\n    \
             client_options={{'api_endpoint': '{url}'}})\n\
         answer = client.list_clusters(parent='projects/{project}/locations/-')\n\
         print([cluster.name for cluster in answer.clusters])\n\
         END\n"
    );
    text
}

pub fn azure(cloud: &Cloud, url: &str) -> String {
    let subscription = account(cloud, "subscription_id");
    let mut text = title(cloud, "no credentials are needed");
    // Azure's clients refuse to send a token over plain HTTP, so they get a policy that sends none.
    let _ = writeln!(
        text,
        "  python3 - <<'END'\n\
         from azure.core.credentials import AccessToken\n\
         from azure.core.pipeline.policies import SansIOHTTPPolicy\n\
         from azure.mgmt.containerservice import ContainerServiceClient\n\
         class Anybody:\n    \
             def get_token(self, *scopes, **options): return AccessToken('sandbox', 1 << 40)\n\
         client = ContainerServiceClient(\n    \
             Anybody(), '{subscription}', base_url='{url}',\n    \
             authentication_policy=SansIOHTTPPolicy())\n\
         print([cluster.name for cluster in client.managed_clusters.list()])\n\
         END\n"
    );
    text
}

/// What identifies the account; a sandboxed cloud has it.
fn account<'a>(cloud: &'a Cloud, name: &str) -> &'a str {
    cloud.account.get(name).map_or("", String::as_str)
}

fn title(cloud: &Cloud, remark: &str) -> String {
    format!("# cloud \"{}\" ({remark})\n", cloud.name)
}

fn region<'a>(cloud: &'a Cloud, default: &'a str) -> &'a str {
    cloud.regions.first().map_or(default, String::as_str)
}
