//! Asks a sandbox, of this process or another, for the host's own answers. A few lines of HTTP instead
//! of a client: the host is ours, on loopback, and its answers are short.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends JSON (or nothing) to `/_sandbox/PATH` of a base URL and gives the answer.
///
/// # Errors
/// Where nobody answers, or with anything but 200.
pub async fn ask(
    base_url: &str,
    path: &str,
    body: Option<&serde_json::Value>,
) -> io::Result<serde_json::Value> {
    let authority = base_url.strip_prefix("http://").unwrap_or(base_url).trim_end_matches('/');
    let (method, body) = match body {
        Some(body) => ("POST", body.to_string()),
        None => ("GET", String::new()),
    };
    let mut stream = TcpStream::connect(authority).await?;
    let head = format!(
        "{method} /_sandbox/{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;

    let strange = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{base_url}/_sandbox/{path}: {what}"))
    };
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| strange("no HTTP answer"))?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        let text = String::from_utf8_lossy(&answer[end + 4..]);
        return Err(strange(&format!("{status}: {}", text.trim())));
    }
    serde_json::from_slice(&answer[end + 4..]).map_err(|error| strange(&error.to_string()))
}
