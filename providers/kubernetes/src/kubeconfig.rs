//! Credentials from a kubeconfig file, as kubectl finds them: data, files, tokens and exec plugins.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetform_contract::{Error, KubeAccess, Result};
use kube::config::{Cluster, Kubeconfig};
use serde_json::{Value as Json, json};

/// The credentials of a context (the current one where none is named) in a kubeconfig (kubectl's own
/// where none is named).
///
/// # Errors
/// `Rejected` where the file cannot be read or asks for what we do not support, `Denied` where it has
/// no usable credentials.
pub(crate) async fn access(path: Option<&str>, context: Option<&str>) -> Result<KubeAccess> {
    let config = match path {
        Some(path) => Kubeconfig::read_from(expanded(path)),
        None => Kubeconfig::read(),
    };
    let file = path.unwrap_or("the default kubeconfig");
    let config = config.map_err(|error| Error::rejected(format!("reading {file}: {error}")))?;
    let missing =
        |what: &str, name: &str| Error::rejected(format!("{file} has no {what} `{name}`"));

    let name = context.or(config.current_context.as_deref()).unwrap_or_default();
    let found = config.contexts.iter().find(|context| context.name == name);
    let context =
        found.and_then(|found| found.context.as_ref()).ok_or_else(|| missing("context", name))?;
    let found = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let cluster = found
        .and_then(|found| found.cluster.as_ref())
        .ok_or_else(|| missing("cluster", &context.cluster))?;
    let user = match context.user.as_deref() {
        None | Some("") => json!({}),
        Some(user) => {
            let found = config.auth_infos.iter().find(|info| info.name == user);
            let info = found.and_then(|found| found.auth_info.as_ref());
            let info = info.ok_or_else(|| missing("user", user))?;
            serde_json::to_value(info)
                .map_err(|error| Error::rejected(format!("user `{user}` of {file}: {error}")))?
        }
    };
    let server = server(cluster, file)?;
    let (token, client_certificate) = credentials(&user, file).await?;
    Ok(KubeAccess {
        server,
        certificate_authority: pem(
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
        )?,
        token,
        client_certificate,
    })
}

/// `~` and `~/…` in the user's home.
fn expanded(path: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home,
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(&rest[1..]),
        _ => PathBuf::from(path),
    }
}

fn server(cluster: &Cluster, file: &str) -> Result<String> {
    // Ignoring one of these would reach another server than the user means, or trust one they do not.
    for (set, what) in [
        (cluster.insecure_skip_tls_verify == Some(true), "insecure-skip-tls-verify"),
        (cluster.tls_server_name.is_some(), "tls-server-name"),
        (cluster.proxy_url.is_some(), "proxy-url"),
    ] {
        if set {
            return Err(Error::rejected(format!("{file} sets `{what}`, which is not supported")));
        }
    }
    cluster
        .server
        .clone()
        .ok_or_else(|| Error::rejected(format!("a cluster of {file} has no `server`")))
}

type Credentials = (Option<String>, Option<(String, String)>);

async fn credentials(user: &Json, file: &str) -> Result<Credentials> {
    let text = |name: &str| user[name].as_str().filter(|text| !text.is_empty());
    for unsupported in ["username", "auth-provider", "as"] {
        if !user[unsupported].is_null() {
            let message = format!("{file} uses `{unsupported}`, which is not supported");
            return Err(Error::Denied { message, permission: None });
        }
    }
    if !user["exec"].is_null() {
        return plugin(&user["exec"], file).await;
    }
    let token = match (text("token"), text("tokenFile")) {
        (Some(token), _) => Some(token.to_owned()),
        (None, Some(path)) => Some(read(path)?.trim().to_owned()),
        (None, None) => None,
    };
    let certificate = pem(text("client-certificate-data"), text("client-certificate"))?;
    let key = pem(text("client-key-data"), text("client-key"))?;
    Ok((token, certificate.zip(key)))
}

/// Runs an exec plugin, once: its credentials are short-lived and used now.
async fn plugin(exec: &Json, file: &str) -> Result<Credentials> {
    let denied = |why: String| Error::Denied {
        message: format!("the exec plugin of {file}: {why}"),
        permission: None,
    };
    let version = exec["apiVersion"].as_str().unwrap_or("client.authentication.k8s.io/v1");
    let command = exec["command"].as_str().ok_or_else(|| denied("no command".to_owned()))?;
    let mut process = tokio::process::Command::new(command);
    process.args(exec["args"].as_array().into_iter().flatten().filter_map(Json::as_str));
    for pair in exec["env"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (pair["name"].as_str(), pair["value"].as_str()) {
            process.env(name, value);
        }
    }
    let info = json!({
        "apiVersion": version, "kind": "ExecCredential", "spec": { "interactive": false },
    });
    process.env("KUBERNETES_EXEC_INFO", info.to_string());
    process.stdin(Stdio::null()).kill_on_drop(true);
    let output = process.output().await.map_err(|error| denied(format!("{command}: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(denied(format!("{command} ended with {}: {}", output.status, said.trim())));
    }
    // The output is a credential: an error must not repeat it.
    let answer: Json = serde_json::from_slice(&output.stdout)
        .map_err(|_| denied(format!("{command} wrote no ExecCredential")))?;
    let text = |name: &str| answer["status"][name].as_str().map(str::to_owned);
    let certificate = text("clientCertificateData").zip(text("clientKeyData"));
    if text("token").is_none() && certificate.is_none() {
        return Err(denied(format!("{command} gave neither a token nor a certificate")));
    }
    Ok((text("token"), certificate))
}

/// PEM from base64 in the file, else from a file beside it.
fn pem(data: Option<&str>, path: Option<&str>) -> Result<Option<String>> {
    match (data, path) {
        (Some(data), _) => {
            let bytes = STANDARD.decode(data.trim()).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.map(Some).ok_or_else(|| Error::rejected("a certificate or key is no base64 PEM"))
        }
        (None, Some(path)) => read(path).map(Some),
        (None, None) => Ok(None),
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(Path::new(path))
        .map_err(|error| Error::rejected(format!("reading {path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(user: &str, cluster: &str) -> Result<KubeAccess> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("config");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
             contexts: [{{name: here, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://c:6443'{cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        );
        std::fs::write(&path, text).expect("the directory is ours");
        access(path.to_str(), None).await
    }

    #[tokio::test]
    async fn credentials_come_from_data_files_and_plugins() {
        let access =
            check("token: abc", ", certificate-authority-data: UEVN").await.expect("plain");
        assert_eq!(access.server, "https://c:6443");
        assert_eq!(access.token.as_deref(), Some("abc"));
        assert_eq!(access.certificate_authority.as_deref(), Some("PEM"));

        let access = check("client-certificate-data: Q0VSVA==, client-key-data: S0VZ", "").await;
        let pair = access.expect("a certificate").client_certificate;
        assert_eq!(pair, Some(("CERT".to_owned(), "KEY".to_owned())));

        let plugin = r#"exec: {command: sh, args: ['-c', 'echo "{\"status\":{\"token\":\"$X\"}}"'],
                        env: [{name: X, value: fresh}]}"#;
        assert_eq!(check(plugin, "").await.expect("a plugin").token.as_deref(), Some("fresh"));
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_refused() {
        for (user, cluster, class, part) in [
            (
                "token: x",
                ", insecure-skip-tls-verify: true",
                "rejected",
                "insecure-skip-tls-verify",
            ),
            ("token: x", ", certificate-authority-data: '%'", "rejected", "base64"),
            ("exec: {command: sh, args: ['-c', 'echo no >&2; exit 3']}", "", "denied", "no"),
            (
                "exec: {command: sh, args: ['-c', 'echo hunter2']}",
                "",
                "denied",
                "no ExecCredential",
            ),
            ("username: me, password: hunter2", "", "denied", "username"),
        ] {
            let error = check(user, cluster).await.expect_err(user);
            assert_eq!(error.class(), class, "{error}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let error = access(Some("/nowhere"), None).await.expect_err("no file");
        assert!(error.to_string().contains("/nowhere"), "{error}");
        assert!(expanded("~/x").is_absolute() || std::env::var_os("HOME").is_none());
    }
}
