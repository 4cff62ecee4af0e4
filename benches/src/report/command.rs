//! `hoist-bench report`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use super::merge::merge;
use crate::console;
use crate::failure::{Context, Failure, Result};
use crate::results::Results;

#[derive(Debug, PartialEq)]
struct Arguments {
    results: Vec<PathBuf>,
    /// What benches/shim printed.
    shim: Option<PathBuf>,
    docs: PathBuf,
}

/// Writes the report from what the files have together: `[FILE…] [--shim FILE] [--docs DIRECTORY]`.
pub(crate) fn command(words: &[OsString]) -> Result<()> {
    let arguments = parse(words)?;
    let all = arguments.results.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?;
    let shim = arguments.shim.map(|file| fs::read_to_string(&file).context(file.display()));
    let written = super::write(&merge(all)?, shim.transpose()?.as_deref(), &arguments.docs)?;
    for path in written {
        console::line(format_args!("{} written", path.display()));
    }
    Ok(())
}

fn parse(words: &[OsString]) -> Result<Arguments> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = package.parent().unwrap_or(package).join("docs");
    let mut arguments = Arguments { results: Vec::new(), shim: None, docs };
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("shim") => arguments.shim = Some(parser.value().map_err(usage)?.into()),
            Long("docs") => arguments.docs = parser.value().map_err(usage)?.into(),
            Value(file) => arguments.results.push(file.into()),
            other => return Err(usage(other.unexpected())),
        }
    }
    if arguments.results.is_empty() {
        // Where `run` writes them.
        arguments.results.push("bench.json".into());
    }
    Ok(arguments)
}

fn usage(error: lexopt::Error) -> Failure {
    Failure::new(format!("report [FILE…] [--shim FILE] [--docs DIRECTORY]: {error}"))
}

fn read(path: &Path) -> Result<Results> {
    let text = fs::read(path).context(path.display())?;
    serde_json::from_slice(&text).context(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn files_and_options() {
        let arguments = parsed(&["a", "--shim", "s", "b", "--docs=d"]).unwrap();
        let results = vec!["a".into(), "b".into()];
        let expected = Arguments { results, shim: Some("s".into()), docs: "d".into() };
        assert_eq!(arguments, expected);
        let none = parsed(&[]).unwrap();
        assert_eq!(none.results, [PathBuf::from("bench.json")]);
        assert!(none.docs.ends_with("docs"), "{none:?}");
        assert!(parsed(&["--shim"]).unwrap_err().message.contains("--shim FILE"));
        assert!(parsed(&["--tea"]).unwrap_err().message.contains("--tea"));
    }

    #[test]
    fn a_file_that_is_no_result_is_named() {
        let failure = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path());
        assert!(failure.unwrap_err().message.contains("Cargo.toml"));
        assert!(read(Path::new("/nonexistent/x")).unwrap_err().message.contains("/nonexistent/x"));
    }
}
