//! What is pure, timed by criterion: `make microbench`.

#![allow(clippy::expect_used, reason = "there is nobody to return an error to")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hoist::{Bundle, CreateOptions, Runtime, bench};

#[allow(dead_code, reason = "the guard's part")]
#[path = "../src/guard/configs.rs"]
mod configs;
#[allow(dead_code, reason = "the guard's part")]
#[path = "../../conformance/src/failure.rs"]
mod failure;

/// No larger than it has to be.
const MINIMAL: &str = r#"{
    "ociVersion": "1.2.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["/bin/true"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}
}"#;

fn configs() -> [(&'static str, String); 3] {
    [
        ("minimal", MINIMAL.to_owned()),
        ("default", configs::default().expect("a configuration")),
        ("docker", configs::docker().expect("a configuration")),
    ]
}

fn bundle(text: &str) -> Bundle {
    Bundle::from_json("/", text).expect("a valid configuration")
}

/// The text of config.json to a validated bundle.
fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load config.json");
    for (name, text) in configs() {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| Bundle::from_json("/", black_box(text.as_str())));
        });
    }
    group.finish();
}

/// A bundle to its plan, with the look at /proc for what the caller may do. Docker's profile is compiled
/// before: the runtime keeps its filter.
fn compile(criterion: &mut Criterion) {
    let runtime = Runtime::builder().build().expect("a runtime");
    let mut group = criterion.benchmark_group("compile the plan");
    for (name, text) in configs() {
        let bundle = bundle(&text);
        let options = CreateOptions::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.plan("bench", black_box(&bundle), &options));
        });
    }
    group.finish();
}

/// Docker's seccomp profile to its program.
fn seccomp(criterion: &mut Criterion) {
    let [.., (_, text)] = configs();
    let bundle = bundle(&text);
    let linux = bundle.spec().linux().as_ref();
    let profile = linux.and_then(|linux| linux.seccomp().as_ref()).expect("Docker's profile");
    criterion.bench_function("compile Docker's seccomp profile", |bencher| {
        bencher.iter(|| bench::seccomp_program(black_box(profile)));
    });
}

/// The device rules to the program that cgroup2 runs.
fn devices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode the device program");
    for (name, text) in configs() {
        let bundle = bundle(&text);
        let linux = bundle.spec().linux().as_ref();
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let rules = resources.and_then(|resources| resources.devices().clone()).unwrap_or_default();
        let nodes = linux.and_then(|linux| linux.devices().clone()).unwrap_or_default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| bench::device_program(black_box(&rules), black_box(&nodes)));
        });
    }
    group.finish();
}

criterion_group!(pure, load, compile, seccomp, devices);
criterion_main!(pure);
