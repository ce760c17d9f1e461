//! Digests, of texts and of files.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetform_contract::Value;
use md5::Md5;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512};
use uuid::Uuid;

use super::arguments::Arguments;
use super::{Function, Result, files, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("base64sha256", &["str"], |arguments| base64::<Sha256>(&text(arguments)?)),
    function("base64sha512", &["str"], |arguments| base64::<Sha512>(&text(arguments)?)),
    function("filebase64sha256", &["path"], |arguments| base64::<Sha256>(&files::read(arguments)?)),
    function("filebase64sha512", &["path"], |arguments| base64::<Sha512>(&files::read(arguments)?)),
    function("filemd5", &["path"], |arguments| hex::<Md5>(&files::read(arguments)?)),
    function("filesha1", &["path"], |arguments| hex::<Sha1>(&files::read(arguments)?)),
    function("filesha256", &["path"], |arguments| hex::<Sha256>(&files::read(arguments)?)),
    function("filesha512", &["path"], |arguments| hex::<Sha512>(&files::read(arguments)?)),
    function("md5", &["str"], |arguments| hex::<Md5>(&text(arguments)?)),
    function("sha1", &["str"], |arguments| hex::<Sha1>(&text(arguments)?)),
    function("sha256", &["str"], |arguments| hex::<Sha256>(&text(arguments)?)),
    function("sha512", &["str"], |arguments| hex::<Sha512>(&text(arguments)?)),
    function("uuidv5", &["namespace", "name"], uuidv5),
];

fn text<'a>(arguments: &Arguments<'a>) -> Result<Cow<'a, [u8]>> {
    Ok(match arguments.text(0)? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

fn hex<D: Digest>(bytes: &[u8]) -> Result<Value> {
    let digest = D::digest(bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

fn base64<D: Digest>(bytes: &[u8]) -> Result<Value> {
    Ok(STANDARD.encode(D::digest(bytes)).into())
}

fn uuidv5(arguments: &Arguments) -> Result<Value> {
    let (namespace, name) = (arguments.text(0)?, arguments.text(1)?);
    let namespace = match &*namespace {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => Uuid::parse_str(other).map_err(|error| {
            arguments.wrong(0, format!("uuidv5() doesn't support namespace {other} ({error})"))
        })?,
    };
    Ok(Uuid::new_v5(&namespace, name.as_bytes()).to_string().into())
}
