//! Bodies in Kubernetes' protobuf, as `kubectl create namespace|secret|configmap|deployment|job` sends
//! them: kubectl's typed clients know no JSON.
//!
//! Only the fields that those commands set are known, by their numbers in the API's `generated.proto`. A
//! field that is not known is refused: dropping it would make another object than was asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

/// A field: its number, its name, its type.
type Field = (u64, &'static str, Type);

#[derive(Clone, Copy)]
enum Type {
    /// Left out where it is empty, as the API's JSON does.
    Text,
    /// Left out where it is zero or false.
    Number,
    Bit,
    /// Optional: there where it is sent.
    SentNumber,
    SentBit,
    Texts,
    TextMap,
    BytesMap,
    QuantityMap,
    Message(&'static [Field]),
    Messages(&'static [Field]),
    /// The system's own: nothing a client says.
    Ignored,
}

use Type::{
    Bit, BytesMap, Ignored, Message, Messages, Number, QuantityMap, SentBit, SentNumber, Text,
    TextMap, Texts,
};

const OWNER: &[Field] = &[
    (1, "kind", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "controller", SentBit),
    (7, "blockOwnerDeletion", SentBit),
];
const METADATA: &[Field] = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (4, "selfLink", Ignored),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (7, "generation", Ignored),
    (8, "creationTimestamp", Ignored),
    (11, "labels", TextMap),
    (12, "annotations", TextMap),
    (13, "ownerReferences", Messages(OWNER)),
    (14, "finalizers", Texts),
];
const NAMESPACE: &[Field] =
    &[(1, "metadata", Message(METADATA)), (2, "spec", Ignored), (3, "status", Ignored)];
const SECRET: &[Field] = &[
    (1, "metadata", Message(METADATA)),
    (2, "data", BytesMap),
    (3, "type", Text),
    (4, "stringData", TextMap),
    (5, "immutable", SentBit),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Message(METADATA)),
    (2, "data", TextMap),
    (3, "binaryData", BytesMap),
    (4, "immutable", SentBit),
];
const SERVICE_ACCOUNT: &[Field] = &[(1, "metadata", Message(METADATA))];
const SELECTOR: &[Field] = &[(1, "matchLabels", TextMap)];
const PORT: &[Field] = &[
    (1, "name", Text),
    (2, "hostPort", Number),
    (3, "containerPort", Number),
    (4, "protocol", Text),
    (5, "hostIP", Text),
];
const VARIABLE: &[Field] = &[(1, "name", Text), (2, "value", Text)];
const RESOURCES: &[Field] = &[(1, "limits", QuantityMap), (2, "requests", QuantityMap)];
const CONTAINER: &[Field] = &[
    (1, "name", Text),
    (2, "image", Text),
    (3, "command", Texts),
    (4, "args", Texts),
    (5, "workingDir", Text),
    (6, "ports", Messages(PORT)),
    (7, "env", Messages(VARIABLE)),
    (8, "resources", Message(RESOURCES)),
    (13, "terminationMessagePath", Text),
    (14, "imagePullPolicy", Text),
    (16, "stdin", Bit),
    (17, "stdinOnce", Bit),
    (18, "tty", Bit),
    (20, "terminationMessagePolicy", Text),
];
const POD_SPEC: &[Field] = &[
    (2, "containers", Messages(CONTAINER)),
    (3, "restartPolicy", Text),
    (4, "terminationGracePeriodSeconds", SentNumber),
    (6, "dnsPolicy", Text),
    (8, "serviceAccountName", Text),
    (9, "serviceAccount", Text),
    (10, "nodeName", Text),
    (11, "hostNetwork", Bit),
    (12, "hostPID", Bit),
    (13, "hostIPC", Bit),
    (14, "securityContext", Message(&[])),
    (16, "hostname", Text),
    (17, "subdomain", Text),
    (19, "schedulerName", Text),
    (24, "priorityClassName", Text),
];
const TEMPLATE: &[Field] = &[(1, "metadata", Message(METADATA)), (2, "spec", Message(POD_SPEC))];
const DEPLOYMENT_SPEC: &[Field] = &[
    (1, "replicas", SentNumber),
    (2, "selector", Message(SELECTOR)),
    (3, "template", Message(TEMPLATE)),
    (4, "strategy", Message(&[(1, "type", Text)])),
    (5, "minReadySeconds", Number),
    (6, "revisionHistoryLimit", SentNumber),
    (7, "paused", Bit),
    (9, "progressDeadlineSeconds", SentNumber),
];
const DEPLOYMENT: &[Field] = &[
    (1, "metadata", Message(METADATA)),
    (2, "spec", Message(DEPLOYMENT_SPEC)),
    (3, "status", Ignored),
];
const JOB_SPEC: &[Field] = &[
    (1, "parallelism", SentNumber),
    (2, "completions", SentNumber),
    (3, "activeDeadlineSeconds", SentNumber),
    (6, "template", Message(TEMPLATE)),
    (7, "backoffLimit", SentNumber),
    (8, "ttlSecondsAfterFinished", SentNumber),
    (9, "completionMode", Text),
    (10, "suspend", SentBit),
];
const JOB: &[Field] =
    &[(1, "metadata", Message(METADATA)), (2, "spec", Message(JOB_SPEC)), (3, "status", Ignored)];
const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", SentNumber),
    (2, "preconditions", Message(&[(1, "uid", Text), (2, "resourceVersion", Text)])),
    (3, "orphanDependents", SentBit),
    (4, "propagationPolicy", Text),
    (5, "dryRun", Texts),
];

/// Reads a body; the error says what is not understood.
pub(super) fn decode(body: &[u8]) -> Result<Json, String> {
    let envelope = body.strip_prefix(b"k8s\0").ok_or("no Kubernetes protobuf")?;
    let mut wire = Wire(envelope);
    let (mut type_meta, mut raw): (&[u8], &[u8]) = (&[], &[]);
    while let Some((number, value)) = wire.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => type_meta = bytes,
            (2, Value::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let fields: &[Field] = &[(1, "apiVersion", Text), (2, "kind", Text)];
    let Json::Object(mut object) = message(type_meta, fields)? else { return Err(truncated()) };
    let kind = object.get("kind").and_then(Json::as_str).unwrap_or_default();
    let fields = match kind {
        "Namespace" => NAMESPACE,
        "Secret" => SECRET,
        "ConfigMap" => CONFIG_MAP,
        "ServiceAccount" => SERVICE_ACCOUNT,
        "Deployment" => DEPLOYMENT,
        "Job" => JOB,
        "DeleteOptions" => DELETE_OPTIONS,
        other => {
            return Err(format!("{other} in protobuf is not supported here; send JSON or YAML"));
        }
    };
    if let Json::Object(content) = message(raw, fields)? {
        object.extend(content);
    }
    Ok(Json::Object(object))
}

fn message(bytes: &[u8], fields: &[Field]) -> Result<Json, String> {
    let mut map = Map::new();
    let mut wire = Wire(bytes);
    while let Some((number, value)) = wire.next()? {
        let field = fields.iter().find(|(known, _, _)| *known == number);
        let Some((_, name, kind)) = field else {
            return Err(format!(
                "field {number} in protobuf is not supported here; send JSON or YAML"
            ));
        };
        let item = match (kind, value) {
            (Ignored, _) => continue,
            (Text, Value::Bytes(bytes)) => {
                let text = text(bytes)?;
                if text.is_empty() {
                    continue;
                }
                text.into()
            }
            (Number | SentNumber, Value::Varint(number)) => {
                // Negative numbers are sign-extended to 64 bits.
                let number = number as i64;
                if number == 0 && matches!(kind, Number) {
                    continue;
                }
                number.into()
            }
            (Bit | SentBit, Value::Varint(bit)) => {
                if bit == 0 && matches!(kind, Bit) {
                    continue;
                }
                Json::Bool(bit != 0)
            }
            (Message(fields), Value::Bytes(bytes)) => message(bytes, fields)?,
            (Texts, Value::Bytes(bytes)) => {
                push(&mut map, name, text(bytes)?.into());
                continue;
            }
            (Messages(fields), Value::Bytes(bytes)) => {
                let item = message(bytes, fields)?;
                push(&mut map, name, item);
                continue;
            }
            (TextMap | BytesMap | QuantityMap, Value::Bytes(bytes)) => {
                let (key, value) = entry(bytes, *kind)?;
                let entries = map.entry((*name).to_owned()).or_insert_with(|| Map::new().into());
                if let Some(entries) = entries.as_object_mut() {
                    entries.insert(key, value);
                }
                continue;
            }
            _ => return Err(format!("field {number} ({name}) is of another type")),
        };
        map.insert((*name).to_owned(), item);
    }
    Ok(Json::Object(map))
}

fn push(map: &mut Map<String, Json>, name: &str, item: Json) {
    let list = map.entry(name.to_owned()).or_insert_with(|| Json::Array(Vec::new()));
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

fn entry(bytes: &[u8], kind: Type) -> Result<(String, Json), String> {
    let (mut key, mut value) = (String::new(), Json::from(""));
    let mut wire = Wire(bytes);
    while let Some((number, content)) = wire.next()? {
        match (number, content) {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(bytes)) => {
                value = match kind {
                    BytesMap => STANDARD.encode(bytes).into(),
                    QuantityMap => message(bytes, &[(1, "text", Text)])?["text"].take(),
                    _ => text(bytes)?.into(),
                };
            }
            _ => {}
        }
    }
    Ok((key, value))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "text that is no UTF-8".to_owned())
}

fn truncated() -> String {
    "protobuf that ends too early".to_owned()
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// What is left of a message.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    /// The next field; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| truncated())?)?)
            }
            5 => Value::Bytes(self.take(4)?),
            other => return Err(format!("wire type {other} is not protobuf")),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(truncated)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number that does not end".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A length-delimited field.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[number << 3 | 2, length][..], content].concat()
    }

    fn envelope(kind: &str, content: &[u8]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &meta), field(2, content)].concat()
    }

    #[test]
    fn a_secret_is_read_and_what_is_unknown_refused() {
        let metadata = [field(1, b"hf"), field(2, b""), field(8, b"")].concat();
        let entry = [field(1, b"token"), field(2, b"hunter2")].concat();
        let secret = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
        assert_eq!(
            decode(&envelope("Secret", &secret)),
            Ok(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "hf" },
                "data": { "token": "aHVudGVyMg==" }, "type": "Opaque",
            }))
        );
        for bad in [
            b"{}".to_vec(),
            envelope("Abacus", &secret),
            envelope("Secret", &field(9, b"x")),
            envelope("Secret", &[1 << 3, 1]),
            envelope("Secret", &secret[..secret.len() - 1]),
            envelope("Secret", &[0xff; 12]),
        ] {
            assert!(decode(&bad).is_err(), "{bad:?}");
        }
    }
}
