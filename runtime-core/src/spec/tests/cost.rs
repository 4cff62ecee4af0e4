//! What loading costs. Not a test of anything: run it to see the figures.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Bundle, full};
use crate::DefaultSpec;

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..300)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// `HOIST_CONFIGS=a/config.json:b/config.json cargo test --release -- --ignored --nocapture cost`
#[test]
#[ignore = "prints figures"]
fn cost_of_loading() {
    let mut texts = vec![
        ("default".to_owned(), DefaultSpec::default().json()),
        ("every field (slow way)".to_owned(), full().to_string()),
    ];
    for path in std::env::var("HOIST_CONFIGS").unwrap_or_default().split(':') {
        if let Ok(text) = std::fs::read_to_string(path) {
            texts.push((path.to_owned(), text));
        }
    }
    for (name, text) in texts {
        let bytes = text.as_bytes();
        let typed = median(|| {
            let _ = black_box(serde_json::from_slice::<oci_spec::runtime::Spec>(bytes));
        });
        let parsed = median(|| {
            let _ = black_box(crate::spec::json::parse(bytes));
        });
        let all = median(|| {
            let _ = black_box(Bundle::from_json("/", bytes));
        });
        println!("{name}, {} bytes: serde {typed:?}, parse {parsed:?}, all {all:?}", text.len());
        let bundle = Bundle::from_json("/", bytes).unwrap();
        println!("    warnings: {:?}", bundle.warnings());
    }
}
