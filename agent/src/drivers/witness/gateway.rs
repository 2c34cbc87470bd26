//! etcd's JSON gateway: the requests that the register needs, and what their answers mean. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::register::Record;
use serde::Deserialize;
use serde_json::{Value, json};

/// Path of reading a key.
pub const RANGE: &str = "/v3/kv/range";
/// Path of comparing and setting.
pub const TXN: &str = "/v3/kv/txn";

/// A key as etcd holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Revision of its last change; 0: it does not exist.
    pub revision: i64,
    /// The record in it.
    pub record: Option<Record>,
}

/// Outcome of comparing and setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The record is there, on a majority's disks.
    Set,
    /// Somebody was faster; nothing was changed, and this is there now.
    Changed(Held),
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    mod_revision: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Txn {
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<TxnResponse>,
}

#[derive(Deserialize)]
struct TxnResponse {
    response_range: Option<Range>,
}

/// The key of a module's record. The cluster stands in it by its secret, told by nobody from a hash: its name may be
/// changed while a node is away, and two nodes must never ask under two keys. The module's number is in it, since a
/// module made again under its old name begins anew.
pub fn key(secret: &[u8], module: &str, id: u16) -> String {
    let cluster = blake3::derive_key("holdfast 2026 register in etcd: cluster", secret);
    let cluster: String = cluster[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("holdfast/{cluster}/{module}/{id}")
}

/// Reads a key: linearizable, so that an old answer of a member that was cut off is impossible.
pub fn range(key: &str) -> Value {
    json!({ "key": STANDARD.encode(key), "serializable": false })
}

/// Sets the key to `record` if it is still as `held`, and reads it otherwise.
pub fn compare_and_set(key: &str, held: &Held, record: &Record) -> serde_json::Result<Value> {
    let value = STANDARD.encode(serde_json::to_vec(record)?);
    let encoded = STANDARD.encode(key);
    Ok(json!({
        "compare": [{
            "key": encoded, "target": "MOD", "result": "EQUAL", "mod_revision": held.revision.to_string(),
        }],
        "success": [{ "request_put": { "key": encoded, "value": value } }],
        "failure": [{ "request_range": range(key) }],
    }))
}

/// The answer to [`range`].
///
/// # Errors
/// It is not etcd's, or the key holds no record.
pub fn read_range(body: &[u8]) -> Result<Held, String> {
    held(serde_json::from_slice(body).map_err(|error| format!("the answer is not etcd's: {error}"))?)
}

/// The answer to [`compare_and_set`].
///
/// # Errors
/// As [`read_range`].
pub fn read_swap(body: &[u8]) -> Result<Swap, String> {
    let txn: Txn = serde_json::from_slice(body).map_err(|error| format!("the answer is not etcd's: {error}"))?;
    if txn.succeeded {
        return Ok(Swap::Set);
    }
    let range = txn.responses.into_iter().find_map(|response| response.response_range);
    Ok(Swap::Changed(held(range.ok_or("the answer to the comparison lacks the key")?)?))
}

/// What etcd says is wrong, in an answer that is no success.
pub fn read_error(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        #[serde(default)]
        message: String,
        #[serde(default)]
        error: String,
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(Problem { message, .. }) if !message.is_empty() => message,
        Ok(Problem { error, .. }) if !error.is_empty() => error,
        _ => String::from_utf8_lossy(body).chars().take(200).collect(),
    }
}

fn held(range: Range) -> Result<Held, String> {
    let Some(found) = range.kvs.into_iter().next() else {
        return Ok(Held::default());
    };
    let revision = found.mod_revision.parse().map_err(|_| "the answer has no revision")?;
    let record = STANDARD.decode(&found.value).ok().and_then(|value| serde_json::from_slice(&value).ok());
    let record = record.ok_or("the key holds something that is no record of a register: remove it by hand")?;
    Ok(Held { revision, record: Some(record) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::ids::NodeId;
    use proptest::prelude::*;

    const RECORD: Record = Record { number: 7, owner: NodeId(2), nonce: u64::MAX };

    #[test]
    fn the_comparison_is_on_the_revision_that_was_read() {
        let held = Held { revision: 12, record: None };
        let body = compare_and_set("holdfast/demo/mirror/1", &held, &RECORD).unwrap();
        let key = STANDARD.encode("holdfast/demo/mirror/1");
        assert_eq!(body["compare"], json!([{"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": "12"}]));
        let put = &body["success"][0]["request_put"];
        assert_eq!(put["key"], key.as_str());
        let value = STANDARD.decode(put["value"].as_str().unwrap()).unwrap();
        assert_eq!(String::from_utf8(value).unwrap(), r#"{"number":7,"owner":2,"nonce":18446744073709551615}"#);
        assert_eq!(body["failure"][0]["request_range"], range("holdfast/demo/mirror/1"));
    }

    #[test]
    fn clusters_and_modules_have_keys_of_their_own() {
        let ours = key(b"secret", "mirror", 1);
        assert!(ours.starts_with("holdfast/") && ours.ends_with("/mirror/1") && !ours.contains("secret"), "{ours}");
        for other in [key(b"other", "mirror", 1), key(b"secret", "mirror", 2), key(b"secret", "mirror2", 1)] {
            assert_ne!(ours, other);
        }
    }

    #[test]
    fn a_key_that_does_not_exist_is_compared_with_revision_0() {
        let held = read_range(br#"{"header":{"revision":"3"}}"#).unwrap();
        assert_eq!(held, Held::default());
        let body = compare_and_set("k", &held, &RECORD).unwrap();
        assert_eq!(body["compare"][0]["mod_revision"], "0");
    }

    fn kv(value: &[u8]) -> String {
        let value = STANDARD.encode(value);
        format!(r#"{{"key":"aw==","create_revision":"2","mod_revision":"9","version":"4","value":"{value}"}}"#)
    }

    #[test]
    fn answers_are_read() {
        let record = serde_json::to_vec(&RECORD).unwrap();
        let held = Held { revision: 9, record: Some(RECORD) };
        let range = format!(r#"{{"header":{{}},"kvs":[{}],"count":"1"}}"#, kv(&record));
        assert_eq!(read_range(range.as_bytes()), Ok(held));
        let set = br#"{"header":{},"succeeded":true,"responses":[{"response_put":{"header":{}}}]}"#;
        assert_eq!(read_swap(set), Ok(Swap::Set));
        let changed = format!(r#"{{"header":{{}},"responses":[{{"response_range":{range}}}]}}"#);
        assert_eq!(read_swap(changed.as_bytes()), Ok(Swap::Changed(held)));
        assert!(read_range(format!(r#"{{"kvs":[{}]}}"#, kv(b"{}")).as_bytes()).unwrap_err().contains("by hand"));
        assert!(read_swap(b"{}").is_err());
        assert!(read_range(b"<html>").is_err());
        assert_eq!(
            read_error(br#"{"error":"x","code":14,"message":"etcdserver: no leader"}"#),
            "etcdserver: no leader"
        );
        assert_eq!(read_error(b"404 page not found"), "404 page not found");
    }

    proptest! {
        #[test]
        fn no_answer_can_panic(body in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-z0-9_]{0,80}") {
            let _ = (read_range(&body), read_swap(&body), read_error(&body));
            let _ = (read_range(text.as_bytes()), read_swap(text.as_bytes()));
        }
    }
}
