//! A process on its own, without a bundle: what exec starts.

use oci_spec::runtime::Process;
use serde_json::json;

use super::{json, lenient, validate};
use crate::error::Result;

/// Parses the text of a `process.json`: the `process` object of a `config.json` alone, as
/// `hoist exec --process` takes it. The strings are warnings, such as unknown capabilities, which
/// are left out.
///
/// The rules are checked when the process is started, by [`Container::exec`](crate::Container::exec).
///
/// # Errors
///
/// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) with a
/// [pointer](crate::Error::pointer) as in a `config.json`: `/process/args`.
pub fn parse_process(text: impl AsRef<[u8]>) -> Result<(Process, Vec<String>)> {
    let mut config = json!({ "process": lenient::value(text.as_ref(), "the process is")? });
    let warnings = lenient::repair(&mut config)?;
    // The same types, errors and pointers as for the whole.
    let spec = json::typed(config, None)?;
    let process = spec.process().clone();
    process.map(|process| (process, warnings)).ok_or_else(json::no_object)
}

/// Validates a process that joins a container, as [`Bundle`](super::Bundle) does with a bundle's;
/// returns it with what can't be granted left out, and warnings about that.
pub(crate) fn validate_process(process: &Process) -> Result<(Process, Vec<String>)> {
    json::reject_nul(process, "/process")?;
    let mut process = process.clone();
    let mut warnings = Vec::new();
    validate::process(Some(&mut process), &mut warnings)?;
    Ok((process, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_json() {
        let (process, warnings) = parse_process(
            r#"{"cwd": "/", "args": ["a"], "capabilities": {"bounding": ["CAP_X", "CAP_KILL"]}}"#,
        )
        .unwrap();
        assert_eq!(warnings.len(), 1);
        assert_eq!(process.user().uid(), 0);
        assert!(validate_process(&process).unwrap().1.is_empty());
        for (text, pointer) in [
            (r#"{"args": ["a"]}"#, Some("/process/cwd")),
            (r#"{"cwd": "/", "args": [1]}"#, Some("/process/args/0")),
            ("[]", Some("/process")),
            ("null", None),
            ("{", None),
        ] {
            let error = parse_process(text).unwrap_err();
            assert_eq!(error.pointer(), pointer, "{error}");
        }
    }

    #[test]
    fn rules_apply_to_a_process_that_joins() {
        let check = |text: &str| {
            let (process, _) = parse_process(text).unwrap();
            validate_process(&process).unwrap_err().pointer().map(ToOwned::to_owned)
        };
        assert_eq!(check(r#"{"cwd": "/", "args": []}"#).as_deref(), Some("/process/args"));
        assert_eq!(
            check(r#"{"cwd": "/", "args": ["\u0000"]}"#).as_deref(),
            Some("/process/args/0")
        );
    }
}
