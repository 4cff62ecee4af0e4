//! Horizontal bars with their values: one measurement of all runtimes.

use super::{Anchor, Canvas, MARGIN, TOP, WIDTH};

/// One runtime.
#[derive(Debug)]
pub(in crate::report) struct Bar {
    /// As in the results.
    pub(in crate::report) runtime: String,
    pub(in crate::report) label: String,
    pub(in crate::report) value: f64,
    /// `2.84 ms`.
    pub(in crate::report) figure: String,
    /// What is said behind it.
    pub(in crate::report) remark: String,
}

const ROW: f64 = 42.0;
const BAR: f64 = 24.0;
const LEFT: f64 = 165.0;
/// For the figure and the remark of the longest bar.
const RIGHT: f64 = 160.0;

pub(in crate::report) fn bars(title: &str, subtitle: &str, bars: &[Bar]) -> String {
    let bottom = TOP + ROW * bars.len() as f64;
    let floor = bars.iter().find(|bar| bar.runtime == "floor");
    let height = if floor.is_some() { bottom + 42.0 } else { bottom + 22.0 };
    let mut canvas = Canvas::new(height, title, subtitle);
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let scale = if most > 0.0 { (WIDTH - LEFT - RIGHT - MARGIN) / most } else { 0.0 };
    if let Some(floor) = floor {
        let x = LEFT + floor.value * scale;
        canvas.line((x, TOP), (x, bottom + 6.0), "limit");
        let what = "what the kernel alone takes for the same container";
        canvas.text(x, bottom + 23.0, "soft small", Anchor::Start, what);
    }
    for (place, bar) in bars.iter().enumerate() {
        let middle = TOP + ROW * (place as f64 + 0.5);
        let (fill, ink) = match bar.runtime.as_str() {
            "hoist" => ("hoist", "mine"),
            "floor" => ("floor", "strong"),
            _ => ("peer", "strong"),
        };
        let end = LEFT + bar.value * scale;
        let name = if bar.runtime == "hoist" { "mine" } else { "" };
        canvas.text(LEFT - 12.0, middle + 4.5, name, Anchor::End, &bar.label);
        canvas.bar(LEFT, middle - BAR / 2.0, bar.value * scale, BAR, fill);
        canvas.figure((end + 9.0, middle + 4.5), ink, &bar.figure, &bar.remark);
    }
    canvas.finish()
}
