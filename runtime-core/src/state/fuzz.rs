//! What is fuzzed of this room: `state.json`, which may be damaged.

use super::Record;
use crate::error::ErrorKind;

/// The id that the seeds have.
const ID: &str = "web-1";

/// `state.json`.
pub fn state(data: &[u8]) {
    match Record::parse(data, ID) {
        Ok(mut record) => {
            assert_eq!(record.id, ID);
            // The cgroup's part is another room's, kept as the text it is.
            if let Some(text) = record.cgroup.take() {
                crate::cgroup::fuzz::recorded(&text);
            }
            let again = record.to_json().and_then(|json| Record::parse(&json, ID));
            assert_eq!(again.as_ref().ok(), Some(&record), "{:?}", again.as_ref().err());
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::State, "{error:?}");
            assert!(error.pointer().is_none() && !error.to_string().is_empty());
        }
    }
}
