//! Plots as SVG. The crate `svg` writes and escapes the elements; what it doesn't do is the layout,
//! which is here. (A plotting crate was no way: plotters draws in whole pixels and with fixed
//! colours, so that a plot can't follow the reader's light or dark scheme.)

mod bars;
mod lines;
mod ratios;
mod stack;

pub(super) use bars::{Bar, bars};
pub(super) use lines::lines;
pub(super) use ratios::{Row, ratios};
pub(super) use stack::{Stacked, stack};

use svg::Document;
use svg::node::Text;
use svg::node::element::{Element, Style};
use svg::node::{Node, Value};

/// All plots are as wide as GitHub's column of text.
const WIDTH: f64 = 830.0;
const MARGIN: f64 = 28.0;
/// Where the plot itself may begin, below title and subtitle.
const TOP: f64 = 84.0;

/// hoist stands out; the floor is what nobody can get below; peers are grey, or in plots of lines
/// Okabe and Ito's colours, which the colour-blind can tell apart. A background of its own keeps a
/// plot legible where the page's scheme isn't the browser's.
const STYLE: &str = "
text{font-family:system-ui,-apple-system,'Segoe UI','Helvetica Neue',Arial,sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:17px;font-weight:600}
.soft{fill:#59636e}
.small{font-size:12px}
.strong{font-weight:600}
.mine{fill:#0060a0;font-weight:600}
.halo{stroke:#ffffff;stroke-width:4px;paint-order:stroke}
.card{fill:#ffffff;stroke:#d1d9e0}
.grid{stroke:#e4e8ec}
.axis{stroke:#8b949e}
.limit{stroke:#59636e;stroke-dasharray:2 3;stroke-width:1.5}
.target{fill:#1f2328}
.hoist{fill:#0072b2}
.peer{fill:#b4bdc7}
.floor{fill:#8b949e;fill-opacity:.28;stroke:#59636e;stroke-dasharray:3 2}
.gap{stroke:#ffffff}
.dark{fill:#1f2328;font-size:12px}
.light{fill:#ffffff;font-size:12px}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line-hoist{stroke-width:3}
.line-floor{stroke-dasharray:5 4}
.of-hoist{stroke:#0072b2}.dot-hoist{fill:#0072b2}
.of-library{stroke:#009e73}.dot-library{fill:#009e73}
.of-crun{stroke:#d55e00}.dot-crun{fill:#d55e00}
.of-crun-static{stroke:#e69f00}.dot-crun-static{fill:#e69f00}
.of-runc{stroke:#b35c94}.dot-runc{fill:#b35c94}
.of-floor{stroke:#6e7781}.dot-floor{fill:#6e7781}
.of-other{stroke:#8a7a00}.dot-other{fill:#8a7a00}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}
.soft{fill:#9aa4af}
.mine{fill:#6cb8f5}
.halo{stroke:#0d1117}
.card{fill:#0d1117;stroke:#3d444d}
.grid{stroke:#262c34}
.axis{stroke:#6e7681}
.limit{stroke:#9aa4af}
.target{fill:#f0f6fc}
.hoist{fill:#2f8fd8}
.peer{fill:#59636e}
.floor{fill-opacity:.3;stroke:#9aa4af}
.gap{stroke:#0d1117}
.dark{fill:#1f2328}
.light{fill:#ffffff}
.of-hoist{stroke:#56b4e9}.dot-hoist{fill:#56b4e9}
.of-runc{stroke:#cc79a7}.dot-runc{fill:#cc79a7}
.of-floor{stroke:#9aa4af}.dot-floor{fill:#9aa4af}
}";

/// Where a text's x lies in it.
#[derive(Debug, Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// A card with a title, being drawn on.
struct Canvas {
    document: Document,
}

impl Canvas {
    fn new(height: f64, title: &str, subtitle: &str) -> Self {
        let mut canvas = Self {
            document: Document::new()
                .set("viewBox", (0, 0, WIDTH, height))
                .set("width", WIDTH)
                .set("height", height)
                .set("role", "img")
                .set("aria-label", format!("{title}. {subtitle}"))
                .add(Style::new(STYLE)),
        };
        let card = [("x", 0.5), ("y", 0.5), ("width", WIDTH - 1.0), ("height", height - 1.0)];
        canvas.element("rect", "card", card.into_iter().chain([("rx", 8.0)]));
        canvas.text(MARGIN, 38.0, "title", Anchor::Start, title);
        canvas.text(MARGIN, 59.0, "soft", Anchor::Start, subtitle);
        canvas
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let mut text = element("text", class, [("x", x), ("y", y)]);
        text.assign("text-anchor", anchor);
        text.append(Text::new(content));
        self.document.append(text);
    }

    /// A figure and what is said behind it: fonts differ in width, so it is one text.
    fn figure(&mut self, (x, y): (f64, f64), class: &str, figure: &str, remark: &str) {
        let mut text = element("text", "", [("x", x), ("y", y)]);
        let mut first = element("tspan", class, []);
        first.append(Text::new(figure));
        let mut second = element("tspan", "soft", [("dx", 8.0)]);
        second.append(Text::new(remark));
        text.append(first);
        text.append(second);
        self.document.append(text);
    }

    /// From `x` to the right; what has no length isn't drawn.
    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        if width > 0.0 {
            let sides = [("x", x), ("y", y), ("width", width), ("height", height), ("rx", 2.0)];
            self.element("rect", class, sides);
        }
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.element("line", class, [("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)]);
    }

    fn element(
        &mut self,
        name: &str,
        class: &str,
        numbers: impl IntoIterator<Item = (&'static str, f64)>,
    ) {
        self.document.append(element(name, class, numbers));
    }

    /// In a colour that is the same in both schemes.
    fn filled(
        &mut self,
        name: &str,
        class: &str,
        numbers: impl IntoIterator<Item = (&'static str, f64)>,
        colour: &str,
    ) {
        let mut element = element(name, class, numbers);
        element.assign("fill", colour);
        self.document.append(element);
    }

    fn finish(self) -> String {
        format!("{}\n", self.document)
    }
}

fn element(
    name: &str,
    class: &str,
    numbers: impl IntoIterator<Item = (&'static str, f64)>,
) -> Element {
    let mut element = Element::new(name);
    element.assign("class", class);
    for (name, number) in numbers {
        element.assign(name, pixels(number));
    }
    element
}

/// A tenth of a pixel is enough, and keeps the files small.
fn pixels(number: f64) -> Value {
    Value::from((number * 10.0).round() / 10.0)
}

/// About the width of a text: digits and small letters of the usual sans-serifs, at 13 px.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 7.2
}

/// From 0 to beyond `most`, in steps of 1, 2 or 5 times a power of ten, at most `count` of them.
fn ticks(most: f64, count: f64) -> Vec<f64> {
    if !(most.is_finite() && most > 0.0) {
        return vec![0.0, 1.0];
    }
    let rough = most / count;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough);
    let step = factor.unwrap_or(10.0) * power;
    let mut ticks = vec![0.0];
    let mut tick = 0.0;
    while tick < most {
        tick += step;
        ticks.push((tick / step).round() * step);
    }
    ticks
}

/// As short as it can be said: `0`, `0.5`, `1,000`.
fn plain(number: f64) -> String {
    let text = format!("{:.3}", number.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let rest = rest.trim_end_matches('0');
    let sign = if number < 0.0 { "−" } else { "" };
    match rest {
        "" => format!("{sign}{grouped}"),
        _ => format!("{sign}{grouped}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut canvas = Canvas::new(100.0, "a < b & \"c\"", "<script>");
        canvas.text(0.0, 0.0, "soft", Anchor::End, "</text>&");
        let svg = canvas.finish();
        assert!(svg.contains("a &lt; b &amp;"), "{svg}");
        assert!(svg.contains("&lt;/text&gt;&amp;"), "{svg}");
        assert!(svg.contains("&quot;c&quot;. &lt;script&gt;"), "{svg}");
        assert!(!svg.contains("<script>"), "{svg}");
    }

    #[test]
    fn ticks_are_round_and_reach_beyond() {
        assert_eq!(ticks(23.9, 6.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        assert_eq!(ticks(1.0, 5.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.0, 5.0), [0.0, 1.0]);
        assert_eq!(ticks(f64::NAN, 5.0), [0.0, 1.0]);
    }

    #[test]
    fn numbers_are_short() {
        let said: Vec<String> = [0.0, 0.5, 1000.0, 1234567.25].into_iter().map(plain).collect();
        assert_eq!(said, ["0", "0.5", "1,000", "1,234,567.25"]);
    }
}
