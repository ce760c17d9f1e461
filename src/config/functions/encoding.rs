//! Texts as bytes, and values as texts.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::Encoding;
use flate2::{Compression, GzBuilder};
use fleetform_contract::Value;

use super::arguments::Arguments;
use super::types::text;
use super::{Function, FunctionError, Result, csv, function, json, yaml, yaml_reader};

pub(super) const FUNCTIONS: &[Function] = &[
    function("base64decode", &["str"], base64decode),
    function("base64encode", &["str"], |arguments| {
        Ok(STANDARD.encode(arguments.text(0)?.as_bytes()).into())
    }),
    function("base64gzip", &["str"], base64gzip),
    function("csvdecode", &["str"], |arguments| {
        csv::decode(&arguments.text(0)?).map_err(|why| arguments.wrong(0, why))
    }),
    function("jsondecode", &["str"], |arguments| {
        json::decode(&arguments.text(0)?).map_err(|why| arguments.wrong(0, why))
    }),
    function("jsonencode", &["val"], |arguments| Ok(json::encode(arguments.nullable(0)).into())),
    function("textdecodebase64", &["source", "encoding"], textdecodebase64),
    function("textencodebase64", &["string", "encoding"], textencodebase64),
    function("urldecode", &["str"], urldecode),
    function("urlencode", &["str"], urlencode),
    function("yamldecode", &["src"], |arguments| {
        yaml_reader::decode(&arguments.text(0)?).map_err(|why| arguments.wrong(0, why))
    }),
    function("yamlencode", &["value"], |arguments| {
        let value = arguments.nullable(0);
        arguments.check_text(yaml::indentation(value, 0))?;
        Ok(yaml::encode(value).into())
    }),
];

/// The bytes of a base64 text; line breaks in it mean nothing.
fn bytes(arguments: &Arguments) -> Result<Vec<u8>> {
    let encoded = arguments.text(0)?;
    let joined: String = encoded.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    STANDARD
        .decode(joined)
        .map_err(|error| arguments.wrong(0, format!("failed to decode base64 data: {error}")))
}

fn base64decode(arguments: &Arguments) -> Result<Value> {
    let decoded = String::from_utf8(bytes(arguments)?).map_err(|_| {
        arguments.wrong(0, "the result of decoding the provided string is not valid UTF-8")
    })?;
    Ok(text(decoded))
}

fn base64gzip(arguments: &Arguments) -> Result<Value> {
    let whole = arguments.text(0)?;
    // No time and no system in the header: the same text gives the same bytes everywhere.
    let header = GzBuilder::new().mtime(0).operating_system(255);
    let mut gzip = header.write(Vec::new(), Compression::default());
    let compressed = gzip.write_all(whole.as_bytes()).and_then(|()| gzip.finish());
    let compressed = compressed
        .map_err(|error| FunctionError::new(format!("failed to compress the text: {error}")))?;
    Ok(STANDARD.encode(compressed).into())
}

/// The character sets that the web's encodings leave out or mean otherwise.
enum Charset {
    /// Big-endian with a mark at its beginning.
    Utf16,
    Utf16Be,
    Utf16Le,
    /// The first so many code points, a byte each.
    Bytes(u32),
    Web(&'static Encoding),
}

fn charset(arguments: &Arguments) -> Result<Charset> {
    let name = arguments.text(1)?;
    Ok(match name.to_ascii_lowercase().as_str() {
        "utf-16" => Charset::Utf16,
        "utf-16be" => Charset::Utf16Be,
        "utf-16le" => Charset::Utf16Le,
        "us-ascii" | "ascii" => Charset::Bytes(0x80),
        "iso-8859-1" | "iso_8859-1" | "latin1" | "l1" => Charset::Bytes(0x100),
        _ => {
            Charset::Web(Encoding::for_label_no_replacement(name.as_bytes()).ok_or_else(|| {
                arguments.wrong(1, format!("\"{name}\" is not a supported encoding name"))
            })?)
        }
    })
}

fn textencodebase64(arguments: &Arguments) -> Result<Value> {
    let (whole, charset) = (arguments.text(0)?, charset(arguments)?);
    let unfit = || {
        arguments.wrong(
            0,
            "the given string contains characters that cannot be represented in the encoding",
        )
    };
    let encoded: Vec<u8> = match charset {
        Charset::Utf16 => {
            let mark = [0xfe, 0xff];
            mark.into_iter().chain(whole.encode_utf16().flat_map(u16::to_be_bytes)).collect()
        }
        Charset::Utf16Be => whole.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        Charset::Utf16Le => whole.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Charset::Bytes(end) => {
            let byte = |c: char| u8::try_from(c).ok().filter(|byte| u32::from(*byte) < end);
            whole.chars().map(byte).collect::<Option<_>>().ok_or_else(unfit)?
        }
        Charset::Web(encoding) => match encoding.encode(&whole) {
            (_, _, true) => return Err(unfit()),
            (encoded, ..) => encoded.into_owned(),
        },
    };
    Ok(STANDARD.encode(encoded).into())
}

fn textdecodebase64(arguments: &Arguments) -> Result<Value> {
    let charset = charset(arguments)?;
    let bytes = bytes(arguments)?;
    let unfit = || arguments.wrong(0, "the bytes are not a text of the encoding");
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units = pairs.iter().copied().map(unit);
        String::from_utf16(&units.collect::<Vec<u16>>()).ok().filter(|_| rest.is_empty())
    };
    let decoded = match charset {
        Charset::Utf16 => match bytes.split_at_checked(2) {
            Some(([0xff, 0xfe], rest)) => wide(rest, u16::from_le_bytes),
            Some(([0xfe, 0xff], rest)) => wide(rest, u16::from_be_bytes),
            _ => None,
        },
        Charset::Utf16Be => wide(&bytes, u16::from_be_bytes),
        Charset::Utf16Le => wide(&bytes, u16::from_le_bytes),
        Charset::Bytes(end) => {
            let letter = |byte: &u8| Some(*byte).filter(|byte| u32::from(*byte) < end);
            bytes.iter().map(|byte| letter(byte).map(char::from)).collect()
        }
        Charset::Web(encoding) => encoding
            .decode_without_bom_handling_and_without_replacement(&bytes)
            .map(|decoded| decoded.into_owned()),
    };
    decoded.map(text).ok_or_else(unfit)
}

/// As in the query of a URL: a space is `+`.
fn urlencode(arguments: &Arguments) -> Result<Value> {
    let mut out = String::new();
    for byte in arguments.text(0)?.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(out.into())
}

fn urldecode(arguments: &Arguments) -> Result<Value> {
    let whole = arguments.text(0)?;
    let mut bytes = Vec::with_capacity(whole.len());
    let mut rest = whole.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let code = digit().zip(digit()).map(|(high, low)| (high * 16 + low) as u8);
                code.ok_or_else(|| {
                    arguments.wrong(0, "a % must be followed by two hexadecimal digits")
                })?
            }
            byte => byte,
        });
    }
    let decoded = String::from_utf8(bytes)
        .map_err(|_| arguments.wrong(0, "the decoded bytes are not valid UTF-8"))?;
    Ok(text(decoded))
}
