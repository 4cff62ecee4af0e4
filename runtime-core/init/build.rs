//! Compiles `src/entry.rs` into the freestanding program that `hoist-init` exports as `IMAGE`.
//!
//! It is one call of rustc, with flags of its own: RUSTFLAGS and the profile of whoever builds
//! this crate (coverage, sanitizers, `-C target-cpu`) must not reach a program without a libc.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=src");
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
    let wanted = variable("TARGET")?;
    let out = PathBuf::from(variable("OUT_DIR")?).join("hoist-init");
    if !wanted.starts_with("x86_64-") && !wanted.starts_with("aarch64-") {
        return Err(format!("hoist-init knows x86_64 and aarch64, not {wanted}"));
    }
    // The program has no libc, so the host's target does as well, and a core library for that one
    // is certainly there, which `-Z build-std` doesn't make for another program.
    let host = variable("HOST")?;
    let same = wanted.split('-').next() == host.split('-').next() && host.contains("-linux-");
    let target = if same { &host } else { &wanted };
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc
        .args(["--edition=2024", "--crate-type=bin", "--crate-name=hoist_init_program"])
        .arg("--target")
        .arg(target)
        .args(["-C", "panic=abort", "-C", "opt-level=s", "-C", "strip=symbols"])
        // LTO drops what core brings for unwinding.
        .args(["-C", "lto=fat", "-C", "codegen-units=1", "-C", "relocation-model=static"])
        .args(["-C", "overflow-checks=off", "-C", "debug-assertions=off", "--cap-lints=warn"])
        .args(["-C", "link-arg=-nostartfiles", "-C", "link-arg=-nostdlib"])
        .args(["-C", "link-arg=-static", "-C", "link-arg=-Wl,--build-id=none"])
        // One segment and no notes: fewer mappings and page faults at each start.
        .args(["-C", "link-arg=-Wl,-T,src/init.ld", "-C", "link-arg=-Wl,--no-eh-frame-hdr"])
        .args(["-C", "link-arg=-Wl,--gc-sections"])
        .arg("-o")
        .arg(&out)
        .arg("src/entry.rs");
    if target.ends_with("-musl") {
        // rustc would bring the C library's start files along.
        rustc.args(["-C", "link-self-contained=no"]);
    }
    // Where the wanted target's core library is, if that was said: a toolchain may have it elsewhere.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").ok().filter(|_| *target == wanted);
    let flags = flags.unwrap_or_default();
    let mut flags = flags.split('\x1f');
    while let Some(flag) = flags.next() {
        match flag.strip_prefix("--sysroot") {
            Some("") => rustc.arg("--sysroot").args(flags.next()),
            Some(path) => rustc.arg("--sysroot").arg(path.trim_start_matches('=')),
            None => continue,
        };
    }
    // Cross-compiling needs the target's linker, which cargo knows by its own variable.
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let output = rustc.output().map_err(|error| format!("can't start rustc: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    for line in text.lines() {
        println!("cargo::warning={line}");
    }
    Err(format!("rustc could not build hoist-init for {wanted}"))
}
