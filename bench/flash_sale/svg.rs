//! Plots as inline SVG: lines over time, bars; no script, nothing loaded from elsewhere.

use doorbuster_bench::number::{grouped, whole};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
/// Room for the name of the y axis, and for a number of eight digits.
const LEFT: f64 = 88.0;
/// Room for the numbers of the x axis, and for its name below them.
const BOTTOM: f64 = 36.0;
const TOP: f64 = 12.0;
/// Colours of series; the page's style says which, by day and by night.
const COLOURS: usize = 5;

/// One line of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// In the legend.
    pub(crate) name: String,
    /// `(x, y)`, x rising.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a plot's axes are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axes<'a> {
    /// Under the x axis.
    pub(crate) x: &'a str,
    /// Beside the y axis.
    pub(crate) y: &'a str,
    /// In the title.
    pub(crate) title: &'a str,
    /// By powers of ten upwards.
    pub(crate) y_log: bool,
    /// By powers of ten to the right.
    pub(crate) x_log: bool,
}

/// One axis: what is shown, from where to where on the picture.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, log: bool, (from, to): (f64, f64)) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && (!log || *value > 0.0)) {
            low = low.min(value);
            high = high.max(value);
        }
        if high < low {
            (low, high) = (1.0, 10.0);
        }
        if log {
            low = 10_f64.powf(low.log10().floor());
            high = 10_f64.powf(high.log10().ceil()).max(low * 10.0);
        } else {
            low = low.min(0.0);
            high = if high > low { high } else { low + 1.0 };
        }
        Self { low, high, log, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        (self.to - self.from).mul_add(part.clamp(0.0, 1.0), self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        if self.log {
            let mut at = self.low;
            while at <= self.high * 1.001 && ticks.len() < 20 {
                ticks.push(at);
                at *= 10.0;
            }
        } else {
            let rough = (self.high - self.low) / 5.0;
            let power = 10_f64.powf(rough.log10().floor());
            let step =
                [1.0, 2.0, 5.0, 10.0].map(|by| by * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
            let mut at = (self.low / step).ceil() * step;
            while at <= self.high * 1.000_001 && ticks.len() < 20 {
                ticks.push(at);
                at += step;
            }
        }
        ticks
    }
}

fn number(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.3} M", value / 1e6).replace(".000", "")
    } else if value >= 10.0 || value.fract().abs() < 1e-9 {
        grouped(whole(value))
    } else {
        format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Escapes what is text in HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn frame(axes: Axes<'_>, x: Scale, y: Scale) -> String {
    let mut out = format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(axes.title),
        escape(axes.title)
    );
    for tick in y.ticks() {
        let at = y.place(tick);
        let text = number(tick);
        let (right, label) = (WIDTH - 8.0, LEFT - 6.0);
        push(
            &mut out,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"grid\"/><text x=\"{label}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                at + 4.0
            ),
        );
    }
    for tick in x.ticks() {
        let at = x.place(tick);
        // A number at the right edge ends there: in the middle of its tick half of it would be cut off.
        let anchor = if at > WIDTH - 24.0 { "end" } else { "middle" };
        push(
            &mut out,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - BOTTOM + 14.0,
                number(tick)
            ),
        );
    }
    let (centre, middle) = (f64::midpoint(LEFT, WIDTH - 8.0), f64::midpoint(TOP, HEIGHT - BOTTOM));
    push(
        &mut out,
        format_args!(
            "<text x=\"{centre:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text x=\"14\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle:.1})\">{}</text>",
            HEIGHT - 5.0,
            escape(axes.x),
            escape(axes.y)
        ),
    );
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing into memory does not fail");
}

fn legend(out: &mut String, names: impl Iterator<Item = String>) {
    out.push_str("</svg><p class=\"legend\">");
    for (name, colour) in names.zip((0..COLOURS).cycle()) {
        push(out, format_args!("<span class=\"l{colour}\">■</span> {} ", escape(&name)));
    }
    out.push_str("</p></figure>");
}

/// Lines; `marks` are vertical lines with a word.
pub(crate) fn lines(axes: Axes<'_>, series: &[Series], marks: &[(f64, &str)]) -> String {
    let all = || series.iter().flat_map(|one| one.points.iter().copied());
    let x = Scale::new(all().map(|point| point.0), axes.x_log, (LEFT, WIDTH - 8.0));
    let y = Scale::new(all().map(|point| point.1), axes.y_log, (HEIGHT - BOTTOM, TOP));
    let mut out = frame(axes, x, y);
    for (at, word) in marks {
        let at = x.place(*at);
        push(
            &mut out,
            format_args!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" class=\"mark\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"mark\">{}</text>",
                HEIGHT - BOTTOM,
                at + 3.0,
                TOP + 10.0,
                escape(word)
            ),
        );
    }
    for (one, colour) in series.iter().zip((0..COLOURS).cycle()) {
        let points: Vec<String> =
            one.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x.place(*a), y.place(*b))).collect();
        push(
            &mut out,
            format_args!(
                "<polyline fill=\"none\" class=\"c{colour}\" stroke-width=\"1.6\" points=\"{}\"/>",
                points.join(" ")
            ),
        );
    }
    legend(&mut out, series.iter().map(|one| one.name.clone()));
    out
}

/// Bars from a lower to an upper bound, as high as they count.
pub(crate) fn bars(axes: Axes<'_>, bars: &[(f64, f64, f64)]) -> String {
    let finite: Vec<(f64, f64, f64)> =
        bars.iter().map(|(low, high, n)| (*low, if high.is_finite() { *high } else { low * 2.0 }, *n)).collect();
    let x = Scale::new(finite.iter().flat_map(|bar| [bar.0, bar.1]), axes.x_log, (LEFT, WIDTH - 8.0));
    let y = Scale::new(finite.iter().map(|bar| bar.2).chain([0.0]), false, (HEIGHT - BOTTOM, TOP));
    let mut out = frame(Axes { y_log: false, ..axes }, x, y);
    for (low, high, n) in finite {
        let (from, to, top) = (x.place(low), x.place(high), y.place(n));
        push(
            &mut out,
            format_args!(
                "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"c0\"/>",
                (to - from - 0.5).max(0.5),
                (HEIGHT - BOTTOM - top).max(0.0)
            ),
        );
    }
    legend(&mut out, std::iter::empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes<'_> = Axes { x: "seconds", y: "pairs < all", title: "a < b", y_log: true, x_log: false };

    #[test]
    fn a_plot_of_nothing_is_still_a_picture() {
        assert!(lines(AXES, &[], &[]).ends_with("</figure>"));
        assert!(bars(AXES, &[]).contains("<svg"));
    }

    #[test]
    fn no_point_lies_outside_and_no_text_breaks_out() {
        let series = Series { name: "<script>".into(), points: vec![(0.0, 1.0), (1.0, 1000.0), (2.0, 0.0)] };
        let plot = lines(AXES, &[series], &[(1.0, "killed")]);
        assert!(!plot.contains("<script>") && !plot.contains("NaN") && !plot.contains("inf"));
        assert!(plot.contains("a &lt; b"));
    }

    #[test]
    fn both_axes_are_named_and_their_numbers_are_whole() {
        let series = Series { name: "all".into(), points: vec![(0.0, 1.0), (7.0, 12_000.0)] };
        let plot = lines(Axes { y_log: false, ..AXES }, &[series], &[]);
        assert!(plot.contains(">seconds</text>") && plot.contains(">pairs &lt; all</text>"), "{plot}");
        assert!(
            plot.contains(">10,000</text>") && plot.contains("text-anchor=\"end\">7<") || plot.contains(">6</text>"),
            "{plot}"
        );
    }

    #[test]
    fn an_endless_last_bucket_gets_an_end() {
        assert!(!bars(AXES, &[(1.0, f64::INFINITY, 3.0)]).contains("inf"));
    }
}
