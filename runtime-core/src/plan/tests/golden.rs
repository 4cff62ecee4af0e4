//! The whole text of the two plans that matter most.

use serde_json::json;

use super::super::context::Options;
use super::{compile_with, default_config, exec, facts};

fn check(name: &str, text: &str, golden: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = format!("{}/src/plan/tests/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, text).unwrap();
        return;
    }
    assert!(text == golden, "{name} differs; UPDATE_GOLDEN=1 writes it anew:\n{text}");
}

#[test]
fn the_default_configuration() {
    let options = Options { listener: true, ..Options::default() };
    let plan = compile_with(&default_config(), &facts(), &options, None).unwrap();
    check("create.golden", &plan.to_string(), include_str!("create.golden"));
}

#[test]
fn a_shell_in_it() {
    let mut process = default_config()["process"].clone();
    process["args"] = json!(["sh", "-c", "echo hello"]);
    process["rlimits"] = json!([]);
    let plan = exec(&process, &default_config(), 0x6e02_0000, &facts());
    check("exec.golden", &plan.to_string(), include_str!("exec.golden"));
}
