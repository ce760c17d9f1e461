//! Azure's blob storage, as azurite answers for it.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use tempfile::tempdir;

use crate::servers::{Server, start, tool};

/// The well-known account of azurite.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

pub async fn make_container(port: u16, name: &str) {
    let (date, version) = ("Thu, 01 Jan 2026 00:00:00 GMT", "2023-11-03");
    let text = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n\
         /{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    );
    let key = BASE64.decode(KEY).expect("the key is base64");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("any length goes");
    mac.update(text.as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    let made = reqwest::Client::new()
        .put(format!("http://127.0.0.1:{port}/{ACCOUNT}/{name}?restype=container"))
        .header("x-ms-date", date)
        .header("x-ms-version", version)
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
        .header("content-length", 0)
        .send()
        .await
        .expect("azurite answers");
    let status = made.status();
    assert!(status.is_success(), "{status}: {:?}", made.text().await);
}

pub fn serve() -> Server {
    let program = tool("azurite/node_modules/azurite/dist/src/blob/main.js");
    start(tempdir().expect("a temporary directory"), move |port, directory| {
        let mut command = Command::new("node");
        command.arg(&program).args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.arg("--location").arg(directory);
        command
    })
}
