//! How a text may look where it should not be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// As it is, in JSON, in hexadecimal and in base64.
pub fn spellings(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).expect("texts serialize");
    let mut spellings = vec![text.to_owned(), json.trim_matches('"').to_owned()];
    spellings.push(text.bytes().map(|byte| format!("{byte:02x}")).collect());
    // In base64 a text looks in three ways, by what comes before it; the ends belong to the neighbours.
    for before in 0..3 {
        let encoded = BASE64.encode([&b"xx"[..before], text.as_bytes()].concat());
        spellings.push(encoded[4..encoded.len() - 4].to_owned());
    }
    spellings
}
