//! Compiles the auditor (`src/entry.rs`), a program without a libc, in the way in which hoist-init is
//! compiled: one call of rustc with flags of its own. No test needs a compiler when it runs.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const FLAGS: &str = "--edition=2024 --crate-type=bin --crate-name=auditor
    -C panic=abort -C opt-level=s -C strip=symbols -C lto=fat -C codegen-units=1
    -C relocation-model=static -C overflow-checks=off -C debug-assertions=off
    -C link-arg=-nostartfiles -C link-arg=-nostdlib -C link-arg=-static
    -C link-arg=-Wl,--build-id=none -C link-arg=-Wl,-z,noseparate-code
    -C link-arg=-Wl,--gc-sections";

fn main() -> ExitCode {
    for path in ["build.rs", "src", "../../../init/src/sys"] {
        println!("cargo::rerun-if-changed={path}");
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let target = variable("TARGET")?;
    let program = PathBuf::from(variable("OUT_DIR")?).join("auditor");
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc.args(FLAGS.split_whitespace()).args(["--target", &target]);
    rustc.arg("-o").arg(&program).arg("src/entry.rs");
    if target.ends_with("-musl") {
        // rustc would bring the C library's start files along.
        rustc.args(["-C", "link-self-contained=no"]);
    }
    let output = rustc.output().map_err(|error| format!("can't start rustc: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        println!("cargo::warning={line}");
    }
    Err(format!("rustc could not build the auditor for {target}"))
}
