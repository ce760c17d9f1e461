//! Credentials for a cluster's API server, taken at the moment of use.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fleetform_contract::{Cloud, Error, KubeAccess, Record, Result};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::attributes::{required, segment};
use crate::clusters::VERSION;
use crate::transport::Arm;

/// The application that every AKS cluster with Entra ID trusts tokens for.
/// <https://learn.microsoft.com/azure/aks/kubelogin-authentication>
const AKS_SCOPE: &str = "6dae42f8-4368-4678-94ff-3960e28e3630/.default";

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    /// Present where the cluster asks for Entra ID: kubectl would run a program for a token.
    exec: Option<serde_norway::Value>,
}

/// Asks AKS for the user's kubeconfig. Needs the action
/// `Microsoft.ContainerService/managedClusters/listClusterUserCredential/action`.
pub async fn cluster_access(
    arm: &Arm,
    cloud: &Cloud,
    region: &str,
    cluster: &Record,
) -> Result<KubeAccess> {
    let path = format!("{}/listClusterUserCredential", cluster.id);
    let answer = arm.post(&path, VERSION).await?;
    let mut access = parse(&answer)
        .map_err(|what| Error::rejected(format!("the kubeconfig of {} {what}", cluster.address)))?;
    if access.token.is_none() && access.client_certificate.is_none() {
        access.token = Some(arm.token(AKS_SCOPE).await?);
    }
    if let Some(base) = cloud.endpoints.get("kubernetes") {
        let name = match segment(&cluster.id, "managedClusters") {
            Some(name) => name,
            None => required(&cluster.attributes, "name")?,
        };
        access.server = format!("{}/azure/{region}/{name}", base.trim_end_matches('/'));
        access.certificate_authority = None;
    }
    Ok(access)
}

fn parse(answer: &Json) -> std::result::Result<KubeAccess, &'static str> {
    let decode =
        |text: &str| BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let encoded = answer["kubeconfigs"][0]["value"].as_str().ok_or("is not in the answer")?;
    let text = decode(encoded).ok_or("is not base64")?;
    let config: Kubeconfig =
        serde_norway::from_str(&text).map_err(|_| "has not the form of a kubeconfig")?;
    let cluster = config.clusters.into_iter().next().ok_or("names no cluster")?.cluster;
    let user = config.users.into_iter().next().ok_or("names no user")?.user;
    let pem = |data: Option<String>| match data {
        Some(data) => decode(&data).map(Some).ok_or("holds a certificate that is not base64"),
        None => Ok(None),
    };
    let certificate = pem(user.client_certificate_data)?;
    let key = pem(user.client_key_data)?;
    Ok(KubeAccess {
        server: cluster.server,
        certificate_authority: pem(cluster.certificate_authority_data)?,
        token: user.token.filter(|_| user.exec.is_none()),
        client_certificate: certificate.zip(key).filter(|_| user.exec.is_none()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(user: &str) -> Json {
        let authority = BASE64.encode("CA PEM");
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\npreferences: {{}}\n\
             clusters:\n- name: c\n  cluster:\n    server: https://c.hcp.eastus.azmk8s.io:443\n    \
             certificate-authority-data: {authority}\n\
             contexts:\n- name: c\n  context: {{cluster: c, user: u}}\n\
             users:\n- name: u\n  user:\n{user}"
        );
        json!({ "kubeconfigs": [{ "name": "clusterUser", "value": BASE64.encode(config) }] })
    }

    #[test]
    fn certificates_and_tokens_are_read() {
        let (certificate, key) = (BASE64.encode("CERT"), BASE64.encode("KEY"));
        let user = format!(
            "    client-certificate-data: {certificate}\n    client-key-data: {key}\n    token: abc\n"
        );
        let access = parse(&answer(&user)).expect("a kubeconfig");
        assert_eq!(access.server, "https://c.hcp.eastus.azmk8s.io:443");
        assert_eq!(access.certificate_authority.as_deref(), Some("CA PEM"));
        assert_eq!(access.token.as_deref(), Some("abc"));
        assert_eq!(access.client_certificate, Some(("CERT".into(), "KEY".into())));
    }

    #[test]
    fn with_entra_id_there_is_nothing_in_the_file() {
        let user = "    exec:\n      apiVersion: client.authentication.k8s.io/v1beta1\n      command: kubelogin\n";
        let access = parse(&answer(user)).expect("a kubeconfig");
        assert_eq!((access.token, access.client_certificate), (None, None));
    }

    #[test]
    fn what_is_no_kubeconfig_is_told() {
        for value in ["%", &BASE64.encode("[1"), &BASE64.encode("clusters: []\nusers: []")] {
            let answer = json!({ "kubeconfigs": [{ "name": "x", "value": value }] });
            assert!(parse(&answer).is_err(), "{value}");
        }
        assert!(parse(&json!({})).is_err());
    }
}
