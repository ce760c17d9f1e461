//! Tokens: who we are to Azure, through its own identity library.
//!
//! The first of these that the environment is set up for, in the order of Azure's other tools: a service
//! principal's secret, a federated token (workload identity, as in CI), a managed identity's endpoint,
//! then the login of the Azure CLI or azd, and at last the metadata service of a virtual machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_core::time::{Duration, OffsetDateTime};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use fleetform_contract::{Error, Result};
use tokio::sync::Mutex;

use super::errors::chain;

/// A token is renewed this long before it ends, so that none ends on its way.
const MARGIN: Duration = Duration::minutes(5);

/// Tokens by scope, each asked for once and kept until shortly before it ends.
pub struct Tokens {
    sources: Vec<Arc<dyn TokenCredential>>,
    kept: Mutex<BTreeMap<String, AccessToken>>,
}

impl Tokens {
    pub fn new(sandbox: bool, authority: Option<&str>, client: reqwest::Client) -> Result<Tokens> {
        let sources: Vec<Arc<dyn TokenCredential>> = if sandbox {
            vec![Arc::new(Sandbox)]
        } else {
            sources(authority, client).map_err(denied)?
        };
        Ok(Tokens { sources, kept: Mutex::default() })
    }

    /// A token for the scope. Held while it is asked for, so that many calls ask once.
    pub async fn get(&self, scope: &str) -> Result<String> {
        let mut kept = self.kept.lock().await;
        if let Some(token) = kept.get(scope)
            && token.expires_on > OffsetDateTime::now_utc() + MARGIN
        {
            return Ok(token.token.secret().to_owned());
        }
        let mut failures = Vec::new();
        for source in &self.sources {
            match source.get_token(&[scope], None).await {
                Ok(token) => {
                    let text = token.token.secret().to_owned();
                    kept.insert(scope.to_owned(), token);
                    return Ok(text);
                }
                Err(error) => failures.push(error),
            }
        }
        let message = format!("no token from Azure: {}", in_one_line(&failures));
        let unanswered = |error: &azure_core::Error| {
            matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection)
        };
        // One source that asked over the network and heard nothing: it may hear something later. Of a
        // chain the last ones are guesses, whose silence means nothing.
        match failures.as_slice() {
            [only] if unanswered(only) => Err(Error::Lost { message }),
            [_] => Err(Error::Denied { message, permission: None }),
            _ => Err(Error::Denied {
                message: format!(
                    "nobody is logged in to Azure: set AZURE_TENANT_ID, AZURE_CLIENT_ID and \
                     AZURE_CLIENT_SECRET, or run `az login` ({message})"
                ),
                permission: None,
            }),
        }
    }
}

/// What each source says, without what Azure's library adds to say it at length.
fn in_one_line(failures: &[azure_core::Error]) -> String {
    let texts: Vec<String> = failures.iter().map(|error| chain(error)).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    let lines = lines.filter(|line| {
        !line.is_empty()
            && !line.starts_with("To troubleshoot")
            && !line.starts_with("Multiple errors")
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// A variable of the environment, where it is set to something.
pub fn variable(name: &&str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn sources(
    authority: Option<&str>,
    client: reqwest::Client,
) -> azure_core::Result<Vec<Arc<dyn TokenCredential>>> {
    let client_options = || {
        let cloud = authority.map(|authority| {
            let mut custom = CustomConfiguration::default();
            custom.authority_host = authority.to_owned();
            Arc::new(custom.into())
        });
        ClientOptions {
            transport: Some(Transport::new(Arc::new(client.clone()))),
            retry: RetryOptions::none(),
            cloud,
            ..ClientOptions::default()
        }
    };
    // Terraform's names, so that pipelines carry over.
    let either = |azure: &str, terraform: &str| variable(&azure).or_else(|| variable(&terraform));
    let tenant_id = either("AZURE_TENANT_ID", "ARM_TENANT_ID");
    let client_id = either("AZURE_CLIENT_ID", "ARM_CLIENT_ID");
    let secret = either("AZURE_CLIENT_SECRET", "ARM_CLIENT_SECRET");
    let token_file = either("AZURE_FEDERATED_TOKEN_FILE", "ARM_OIDC_TOKEN_FILE_PATH");

    if let (Some(tenant_id), Some(client_id), Some(secret)) = (&tenant_id, &client_id, secret) {
        let options = ClientSecretCredentialOptions { client_options: client_options() };
        let secret = Secret::from(secret);
        return Ok(vec![ClientSecretCredential::new(
            tenant_id,
            client_id.clone(),
            secret,
            Some(options),
        )?]);
    }
    if let Some(path) = token_file {
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions {
                client_options: client_options(),
            },
            client_id,
            tenant_id,
            token_file_path: Some(path.into()),
        };
        return Ok(vec![WorkloadIdentityCredential::new(Some(options))?]);
    }
    let managed = || {
        ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
            user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
            client_options: client_options(),
        }))
    };
    if variable(&"IDENTITY_ENDPOINT").is_some() {
        return Ok(vec![managed()?]);
    }
    Ok(vec![DeveloperToolsCredential::new(None)?, managed()?])
}

fn denied(error: azure_core::Error) -> Error {
    Error::Denied {
        message: format!("Azure credentials cannot be set up: {}", chain(&error)),
        permission: None,
    }
}

/// What the emulator takes for a token. Azure's own credentials refuse to speak plain HTTP.
#[derive(Debug)]
struct Sandbox;

#[async_trait]
impl TokenCredential for Sandbox {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new("sandbox", OffsetDateTime::now_utc() + Duration::hours(1)))
    }
}
