//! How often `unsafe` stands in what is shipped, and that it stands in `sys` modules only. Each block says
//! why it is right (clippy's `undocumented_unsafe_blocks`); one more is one more to be believed.

use std::fs;
use std::path::Path;

use super::Count;
use crate::failure::{Context, Failure, Result};

const PACKAGES: [(&str, &str); 4] = [
    ("hoist", "runtime-core/src"),
    ("hoist-init", "runtime-core/init/src"),
    ("hoist-cli", "runtime-cli/src"),
    ("hoist-shim", "shim/src"),
];

pub(super) fn count() -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    for (package, sources) in PACKAGES {
        let shown_by = format!("git grep -nw unsafe {sources}");
        let number = in_directory(Path::new(sources))?;
        counts.push(Count::new("unsafe", package, number, shown_by));
    }
    Ok(counts)
}

fn in_directory(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory).context(directory.display())? {
        let path = entry.context(directory.display())?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            sum += in_directory(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let number = in_text(&fs::read_to_string(&path).context(path.display())?);
            if number > 0 && !is_sys(&path) {
                let why = format!("{}: unsafe outside of a sys module", path.display());
                return Err(Failure::new(why).with_status(1));
            }
            sum += number;
        }
    }
    Ok(sum)
}

fn is_sys(path: &Path) -> bool {
    let mut parts = path.iter().rev();
    parts.next().is_some_and(|file| file == "sys.rs") || parts.any(|directory| directory == "sys")
}

/// The keyword, wherever it stands in code: blocks, functions, implementations, attributes.
fn in_text(text: &str) -> u64 {
    let code = without_words(text);
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let keywords = code.split(|letter| !word(letter)).filter(|word| *word == "unsafe");
    keywords.map(|_| 1).sum()
}

/// The source without its comments and literals.
fn without_words(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if next == '"' {
            1 + quoted(rest.get(1..).unwrap_or_default(), '"')
        } else if let Some(length) = character(rest) {
            length
        } else {
            code.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
            continue;
        };
        code.push(' ');
        rest = rest.get(skip..).unwrap_or_default();
    }
    code
}

/// The length of `r"…"` or `r#"…"#`.
fn raw_string(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let inner = inner.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(2 + hashes + inner.find(&end)? + end.len())
}

/// The length up to and with the closing quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        if letter == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    text.len()
}

/// The length of a character's literal; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let mut letters = inner.chars();
    match letters.next()? {
        '\\' => Some(1 + quoted(inner, '\'')),
        first if letters.next() == Some('\'') => Some(2 + first.len_utf8()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{PACKAGES, in_directory, in_text, is_sys};
    use crate::guard::Count;
    use crate::guard::budgets::{Budgets, Verdict};

    #[test]
    fn keywords_count_and_words_do_not() {
        let text = r##"
            // unsafe { comment }
            /* unsafe
               comment */
            #![deny(unsafe_code)] #[unsafe(no_mangle)]
            unsafe fn f<'a>(text: &'a str) { let not = "unsafe \" unsafe"; }
            let quote = '"'; unsafe { call('\'') }; let raw = r#"unsafe " unsafe"#;
            let newline = '\n'; unsafe impl Send for T {}
        "##;
        assert_eq!(in_text(text), 4);
        assert_eq!(in_text(""), 0);
        assert!(is_sys(Path::new("shim/src/io/sys.rs")) && is_sys(Path::new("src/sys/bpf.rs")));
        assert!(!is_sys(Path::new("shim/src/io/mod.rs")));
    }

    /// Where no release is built to be counted, too.
    #[test]
    fn there_is_no_more_of_it_than_the_budgets_allow() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let budgets = std::fs::read_to_string(repository.join("benches/budgets.toml")).unwrap();
        let budgets = Budgets::parse(&budgets).unwrap();
        for (package, sources) in PACKAGES {
            let number = in_directory(&repository.join(sources)).unwrap();
            let verdict = budgets.judge(&Count::new("unsafe", package, number, String::new()));
            let allowed = matches!(verdict, Verdict::Within | Verdict::FarBelow);
            assert!(allowed, "{package}: {number}, {verdict:?}");
        }
    }
}
