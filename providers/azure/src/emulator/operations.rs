//! Operations that take a while. Nothing is kept of them: an operation's id says when it is over, and a
//! checksum tells ids that we gave from others.

use azure_core::time::{OffsetDateTime, to_rfc3339};
use fleetform_sandbox::Table;
use http::StatusCode;
use serde_json::json;

use super::answer::{Answer, Refusal};
use super::{Call, no_such_type};

/// The header of an answer: where to look, and how soon.
pub fn announce(answer: &mut Answer, call: &Call, location: &str, settles_at: u64) {
    let id = id(call.subscription(), settles_at);
    let url = format!(
        "{}/subscriptions/{}/providers/Microsoft.ContainerService/locations/{location}/operations/{id}\
         ?api-version={}",
        call.base,
        call.name(1),
        call.version()
    );
    answer.header("azure-asyncoperation", url);
    answer.header("retry-after", "0");
}

/// The same for the operations of registries.
pub fn announce_registry(answer: &mut Answer, call: &Call, location: &str, settles_at: u64) {
    let id = id(call.subscription(), settles_at);
    let url = format!(
        "{}/subscriptions/{}/providers/Microsoft.ContainerRegistry/locations/{location}/operationStatuses/\
         {id}?api-version={}",
        call.base,
        call.name(1),
        call.version()
    );
    answer.header("azure-asyncoperation", url);
    answer.header("retry-after", "0");
}

/// `202 Accepted` with a place to ask whether it is over, for the removal of a group.
pub fn accept(call: &Call, settles_at: u64) -> Answer {
    let mut answer = Answer::empty(StatusCode::ACCEPTED);
    let url = format!(
        "{}/subscriptions/{}/operationresults/{}?api-version={}",
        call.base,
        call.name(1),
        id(call.subscription(), settles_at),
        call.version()
    );
    answer.header("location", url);
    answer.header("retry-after", "0");
    answer
}

/// How an operation is going.
pub fn status(table: &Table, call: &Call, id: &str) -> Result<Answer, Refusal> {
    let settles_at = parse(call, id)?;
    let over = settles_at <= table.tick();
    // The world's clock moves a second a tick.
    let ends = table.now_unix() + settles_at.saturating_sub(table.tick());
    let mut body = json!({
        "id": call.path,
        "name": id,
        "status": if over { "Succeeded" } else { "InProgress" },
        "startTime": time(ends.saturating_sub(1)),
    });
    if over {
        body["endTime"] = time(ends).into();
    }
    let mut answer = Answer::ok(body);
    if !over {
        answer.header("retry-after", "0");
    }
    Ok(answer)
}

/// `202` while it goes on, `200` when it is over.
pub fn result(table: &Table, call: &Call, id: &str) -> Result<Answer, Refusal> {
    let settles_at = parse(call, id)?;
    if settles_at <= table.tick() {
        return Ok(Answer::empty(StatusCode::OK));
    }
    Ok(accept(call, settles_at))
}

/// A request's id.
pub fn request_id(tick: u64) -> String {
    guid("request", tick)
}

/// A GUID that stands for a text and a number.
pub fn guid(text: &str, number: u64) -> String {
    let (high, low) = (hash(text, number), hash(text, !number) & 0xffff_ffff_ffff);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{low:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high >> 4 & 0xfff,
        low >> 36
    )
}

fn id(subscription: &str, settles_at: u64) -> String {
    let sum = hash(subscription, settles_at);
    format!(
        "{settles_at:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        sum & 0xffff,
        sum >> 16 & 0xfff,
        sum >> 28 & 0xfff,
        sum >> 16
    )
}

fn parse(call: &Call, text: &str) -> Result<u64, Refusal> {
    let settles_at = text.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    settles_at
        .filter(|&settles_at| id(call.subscription(), settles_at) == text)
        .ok_or_else(|| no_such_type(call))
}

fn hash(text: &str, number: u64) -> u64 {
    let bytes = text.bytes().chain(number.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn time(unix: u64) -> String {
    let seconds = i64::try_from(unix).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(|_| String::new(), |t| to_rfc3339(&t))
}
