//! The way into the object stores of three clouds: addresses, credentials, endpoints.
//!
//! Credentials come from where each cloud's own tools take them: the environment first, then their
//! files, then the machine's identity.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, RetryConfig};

use super::object::{Advice, ObjectStore};
use super::settings::{Arguments, Refusal, check_url};

pub(crate) fn s3(arguments: &Arguments) -> Result<ObjectStore, Refusal> {
    let bucket = required(arguments, "bucket")?;
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
    for (key, value) in environment(arguments, "AWS_") {
        if let Ok(key) = key.parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let named = arguments.text("profile");
    let has_keys = arguments.variable("AWS_ACCESS_KEY_ID").is_some();
    if named.is_some() || !has_keys {
        let name = named.or_else(|| arguments.variable("AWS_PROFILE"));
        let profile = profile(arguments, name.unwrap_or("default"));
        if named.is_some() && profile.is_empty() {
            return Err(Refusal {
                argument: Some("profile"),
                summary: "Unknown profile",
                detail: format!(
                    "The shared credentials files have no profile {:?}.",
                    name.unwrap_or_default()
                ),
                hint: "the files are ~/.aws/credentials and ~/.aws/config".into(),
            });
        }
        for (key, value) in profile {
            // The environment's region is nearer than the profile's.
            let is_said = key == "region"
                && (arguments.variable("AWS_REGION").is_some()
                    || arguments.variable("AWS_DEFAULT_REGION").is_some());
            if let Ok(key) =
                format!("aws_{}", key.trim_start_matches("aws_")).parse::<AmazonS3ConfigKey>()
                && !is_said
            {
                builder = builder.with_config(key, value);
            }
        }
    }
    if let Some(region) = arguments.text("region") {
        builder = builder.with_region(region);
    }
    let endpoint = arguments.text_or("endpoint", &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
    if let Some(endpoint) = endpoint {
        check_url("endpoint", endpoint)?;
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    builder = builder.with_client_options(client(endpoint)).with_retry(retry());
    let objects = builder.build().map_err(|error| unusable("s3", &error, S3_CREDENTIALS))?;
    let prefix = arguments.prefix();
    let name = format!("s3://{bucket}/{prefix}");
    let advice = Advice { container: format!("bucket {bucket:?}"), credentials: S3_CREDENTIALS };
    Ok(ObjectStore::new(Arc::new(objects), &prefix, name, advice))
}

pub(crate) fn gcs(arguments: &Arguments) -> Result<ObjectStore, Refusal> {
    let bucket = required(arguments, "bucket")?;
    let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket);
    for (key, value) in environment(arguments, "GOOGLE_") {
        if let Ok(key) = key.parse::<GoogleConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let credentials =
        arguments.text_or("credentials", &["GOOGLE_BACKEND_CREDENTIALS", "GOOGLE_CREDENTIALS"]);
    match credentials {
        // As in Terraform: the key itself, or the path of its file.
        Some(key) if key.trim_start().starts_with('{') => {
            builder = builder.with_service_account_key(key);
        }
        Some(path) => {
            let path = arguments.around.directory.join(path);
            builder = builder.with_application_credentials(path.display().to_string());
        }
        None => {}
    }
    let emulator = arguments.variable("STORAGE_EMULATOR_HOST");
    if let Some(token) = arguments.variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
        builder = builder.with_bearer_token(token);
    } else if emulator.is_some() && credentials.is_none() {
        // Emulators ask for nothing.
        builder = builder.with_bearer_token("emulator");
    }
    let emulator = emulator.map(|host| match host.contains("://") {
        true => host.to_owned(),
        false => format!("http://{host}"),
    });
    let endpoint = arguments.text("endpoint").map(str::to_owned).or(emulator);
    if let Some(endpoint) = &endpoint {
        check_url("endpoint", endpoint)?;
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    builder = builder.with_client_options(client(endpoint.as_deref())).with_retry(retry());
    let objects = builder.build().map_err(|error| unusable("gcs", &error, GCS_CREDENTIALS))?;
    let prefix = arguments.prefix();
    let advice = Advice { container: format!("bucket {bucket:?}"), credentials: GCS_CREDENTIALS };
    Ok(ObjectStore::new(Arc::new(objects), &prefix, format!("gs://{bucket}/{prefix}"), advice))
}

pub(crate) fn azblob(arguments: &Arguments) -> Result<ObjectStore, Refusal> {
    let container = required(arguments, "container")?;
    let mut builder = MicrosoftAzureBuilder::new().with_container_name(container);
    for (key, value) in environment(arguments, "AZURE_") {
        if let Ok(key) = key.parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    // The names that Terraform takes.
    for (name, key) in [
        ("ARM_ACCESS_KEY", AzureConfigKey::AccessKey),
        ("ARM_SAS_TOKEN", AzureConfigKey::SasKey),
        ("ARM_CLIENT_ID", AzureConfigKey::ClientId),
        ("ARM_CLIENT_SECRET", AzureConfigKey::ClientSecret),
        ("ARM_TENANT_ID", AzureConfigKey::AuthorityId),
    ] {
        if let Some(value) = arguments.variable(name) {
            builder = builder.with_config(key, value);
        }
    }
    let connection = arguments.variable("AZURE_STORAGE_CONNECTION_STRING").unwrap_or_default();
    let connection: BTreeMap<&str, &str> =
        connection.split(';').filter_map(|part| part.split_once('=')).collect();
    for (name, key) in [
        ("AccountName", AzureConfigKey::AccountName),
        ("AccountKey", AzureConfigKey::AccessKey),
        ("SharedAccessSignature", AzureConfigKey::SasKey),
    ] {
        if let Some(value) = connection.get(name) {
            builder = builder.with_config(key, *value);
        }
    }
    if let Some(account) = arguments.text("account") {
        builder = builder.with_account(account);
    }
    if builder.get_config_value(&AzureConfigKey::AccountName).is_none() {
        return Err(Refusal {
            argument: Some("account"),
            summary: "Missing required argument",
            detail: "Neither the block nor the environment names the storage account.".into(),
            hint: "write `account = \"…\"`, or set AZURE_STORAGE_ACCOUNT_NAME".into(),
        });
    }
    let endpoint = arguments
        .text_or("endpoint", &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"])
        .or_else(|| connection.get("BlobEndpoint").copied());
    if let Some(endpoint) = endpoint {
        check_url("endpoint", endpoint)?;
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    builder = builder.with_client_options(client(endpoint)).with_retry(retry());
    let objects =
        builder.build().map_err(|error| unusable("azblob", &error, AZBLOB_CREDENTIALS))?;
    let prefix = arguments.prefix();
    let advice =
        Advice { container: format!("container {container:?}"), credentials: AZBLOB_CREDENTIALS };
    Ok(ObjectStore::new(Arc::new(objects), &prefix, format!("az://{container}/{prefix}"), advice))
}

const S3_CREDENTIALS: &str = "They are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile \
    of ~/.aws (`profile`, AWS_PROFILE), a web identity (AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE), or \
    the container's or machine's role.";
const GCS_CREDENTIALS: &str = "They are taken from GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_CREDENTIALS, \
    GOOGLE_OAUTH_ACCESS_TOKEN, `gcloud auth application-default login`, or the machine's service account.";
const AZBLOB_CREDENTIALS: &str = "They are taken from AZURE_STORAGE_ACCOUNT_KEY, \
    AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_CONNECTION_STRING, AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or \
    AZURE_FEDERATED_TOKEN_FILE and AZURE_TENANT_ID, the Azure CLI (AZURE_USE_AZURE_CLI=true), or the \
    machine's identity.";

fn required<'a>(arguments: &Arguments<'a>, name: &'static str) -> Result<&'a str, Refusal> {
    arguments.text(name).filter(|text| !text.contains('/')).ok_or_else(|| Refusal {
        argument: Some(name),
        summary: "Missing required argument",
        detail: format!("The argument {name:?} names the {name} alone, and is required."),
        hint: format!("write `{name} = \"acme-state\"`, and what follows it in `prefix`"),
    })
}

/// The variables with a prefix, as the builders call them.
fn environment<'a>(
    arguments: &Arguments<'a>,
    prefix: &'static str,
) -> impl Iterator<Item = (String, &'a str)> {
    let variables = arguments.around.variables.iter();
    variables
        .filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
}

fn client(endpoint: Option<&str>) -> ClientOptions {
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_allow_http(is_plain)
}

/// A few seconds: whoever waits at a terminal wants to know.
fn retry() -> RetryConfig {
    RetryConfig { max_retries: 5, retry_timeout: Duration::from_secs(60), ..RetryConfig::default() }
}

fn unusable(kind: &str, error: &object_store::Error, credentials: &str) -> Refusal {
    Refusal {
        argument: None,
        summary: "The state's store cannot be used",
        detail: format!("Opening the {kind} store: {}.", super::failure::chain(error)),
        hint: format!("check the settings and the credentials. {credentials}"),
    }
}

/// The settings of a profile in the shared files: keys, a session token, a region.
fn profile(arguments: &Arguments, name: &str) -> BTreeMap<String, String> {
    let home = arguments.variable("HOME").or_else(|| arguments.variable("USERPROFILE"));
    let file = |variable: &str, default: &str| {
        let said = arguments.variable(variable).map(PathBuf::from);
        said.or_else(|| home.map(|home| PathBuf::from(home).join(".aws").join(default)))
    };
    let mut settings = BTreeMap::new();
    for (path, header) in [
        (file("AWS_CONFIG_FILE", "config"), format!("profile {name}")),
        (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name.to_owned()),
    ] {
        let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        settings.extend(section(&text, &header));
        if name == "default" {
            settings.extend(section(&text, name));
        }
    }
    settings.retain(|key, _| {
        ["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region"]
            .contains(&key.as_str())
    });
    settings
}

/// A section of an INI file.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mut is_inside = false;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = header.split_whitespace().eq(name.split_whitespace());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_inside)
            && !line.starts_with(['#', ';'])
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn a_profile_is_a_section() {
        let text = "[default]\nregion=eu-west-1\n# aws_access_key_id = no\n[profile  prod]\n\
                    aws_access_key_id = AK\nregion = us-east-1\n[other]\nregion = x\n";
        assert_eq!(section(text, "default")["region"], "eu-west-1");
        assert_eq!(section(text, "default").len(), 1);
        assert_eq!(section(text, "profile prod")["aws_access_key_id"], "AK");
        assert!(section(text, "prod").is_empty());
    }
}
