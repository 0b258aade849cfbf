//! Axes, ticks and line plots as inline SVG. Colours come from the page's style, so that a plot
//! follows light, dark and print.

use super::html::esc;
use super::number::significant;

/// Width of a plot in user units; the page scales it.
pub(super) const WIDTH: f64 = 460.0;
/// Height of a plot.
pub(super) const HEIGHT: f64 = 206.0;
/// Room for tick labels.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 34.0;
/// Most points drawn in a line: more than there are pixels, and the page stays small.
const MAX_POINTS: usize = 600;

/// How values become positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly.
    Linear,
    /// Evenly, with whole numbers for ticks.
    Count,
    /// By their logarithm; for positive values.
    Log,
}

/// One axis: a range of values on a range of positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// The axis at the bottom.
    pub(super) fn horizontal(low: f64, high: f64) -> Self {
        let (low, high) = widen(Scale::Linear, low, high);
        Self { scale: Scale::Linear, low, high, from: LEFT, to: WIDTH - RIGHT }
    }

    /// The axis at the left.
    pub(super) fn vertical(scale: Scale, low: f64, high: f64) -> Self {
        let (low, high) = widen(scale, low, high);
        Self { scale, low, high, from: HEIGHT - BOTTOM, to: TOP }
    }

    /// Where a value is drawn; values outside of the range at its ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let place = |x: f64| match self.scale {
            Scale::Linear | Scale::Count => x,
            Scale::Log => x.max(f64::MIN_POSITIVE).ln(),
        };
        let span = place(self.high) - place(self.low);
        let share = (place(value) - place(self.low)) / span;
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values inside the range.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => linear_ticks(self.low, self.high),
            Scale::Count => {
                let mut ticks = linear_ticks(self.low, self.high);
                ticks.retain(|tick| tick.fract() == 0.0);
                ticks
            }
            Scale::Log => log_ticks(self.low, self.high),
        }
    }
}

/// A range that isn't empty, isn't infinite, and for logarithms is positive.
fn widen(scale: Scale, low: f64, high: f64) -> (f64, f64) {
    // Sizes and ratios of values beyond these overflow or vanish; nothing real comes near.
    let plain = |x: f64| x == 0.0 || (1e-100..1e100).contains(&x.abs());
    let finite = plain(low) && plain(high) && low <= high;
    match scale {
        Scale::Linear | Scale::Count if !finite => (0.0, 1.0),
        Scale::Linear | Scale::Count if high - low < 1e-12 * high.abs().max(1e-12) => {
            (low - 0.5, high + 0.5)
        }
        Scale::Linear | Scale::Count => (low, high),
        Scale::Log if !finite || high <= 0.0 => (1.0, 10.0),
        Scale::Log => {
            let low = if low > 0.0 { low } else { high / 1e6 };
            if high / low < 1.01 { (low / 2.0, high * 2.0) } else { (low, high) }
        }
    }
}

/// About five multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|&step| step >= rough)
        .unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    // At most ten: `step` is at least a fifth of the range.
    (0..10).map(|i| (first + i) as f64 * step).take_while(|&x| x <= high + step * 1e-9).collect()
}

/// Powers of ten, and 2 and 5 times them where the range is short.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (high / low).log10();
    let multiples: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = (decades / 6.0).ceil().max(1.0) as i32;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let powers = (first..=last).filter(|p| p.rem_euclid(every) == 0);
    powers
        .flat_map(|p| multiples.iter().map(move |m| m * 10f64.powi(p)))
        .filter(|&x| x >= low * 0.999 && x <= high * 1.001)
        .collect()
}

/// A tick's label: `0.05`, `2.5`, `300`, `12k`, `3M`.
pub(super) fn label(value: f64) -> String {
    let trim = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    match value.abs() {
        x if x >= 1e9 => format!("{value:.0e}"),
        x if x >= 1e6 => trim(significant(value / 1e6)) + "M",
        x if (100.0..1e4).contains(&x) => format!("{value:.0}").replace('-', "−"),
        x if x >= 1e4 => trim(significant(value / 1e3)) + "k",
        x if x == 0.0 || x >= 0.01 => trim(format!("{value:.3}")).replace('-', "−"),
        _ => format!("{value:.0e}").replace('-', "−"),
    }
}

/// Grid, ticks and axis names over a `background`; what is plotted goes between this and [`close`].
pub(super) fn open(title: &str, x: &Axis, y: &Axis, x_name: &str, background: &str) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n{background}",
        esc(title)
    );
    let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in y.ticks() {
        let at = y.at(tick);
        svg += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            at + 3.5,
            label(tick)
        );
    }
    for tick in x.ticks() {
        svg += &format!(
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            x.at(tick),
            floor + 14.0,
            label(tick)
        );
    }
    svg += &format!(
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{floor}\" y2=\"{floor}\"/>\
         <text class=\"tick\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
        HEIGHT - 4.0,
        esc(x_name)
    );
    svg
}

/// Ends what [`open`] began, under its title.
pub(super) fn close(title: &str, note: &str, svg: String) -> String {
    format!(
        "<figure><figcaption><b>{}</b> <span>{}</span></figcaption>\n{svg}</svg></figure>\n",
        esc(title),
        esc(note)
    )
}

/// A vertical band from `from` to `to` with a name on top.
pub(super) fn band(x: &Axis, from: f64, to: f64, name: &str, shaded: bool) -> String {
    let (left, right) = (x.at(from), x.at(to));
    let class = if shaded { "band" } else { "band clear" };
    // A name that is wider than its band would lie over the next one's.
    let fits = right - left > 6.0 * name.chars().count() as f64;
    let text = match fits {
        true => format!(
            "<text class=\"stage\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left + 2.0,
            TOP - 6.0,
            esc(name)
        ),
        false => String::new(),
    };
    format!(
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\">\
         <title>{}</title></rect>{text}\n",
        (right - left).max(0.0),
        HEIGHT - BOTTOM - TOP,
        esc(name)
    )
}

/// A line through the points, thinned out evenly, the last point marked.
pub(super) fn line(x: &Axis, y: &Axis, points: &[(f64, f64)]) -> String {
    let stride = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.last();
    let drawn = points.iter().step_by(stride).chain(last);
    let path: Vec<String> =
        drawn.map(|&(px, py)| format!("{:.1},{:.1}", x.at(px), y.at(py))).collect();
    let mut svg = format!("<polyline class=\"line\" points=\"{}\"/>", path.join(" "));
    if let Some(&(px, py)) = last {
        svg += &format!(
            "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}</title></circle>\n",
            x.at(px),
            y.at(py),
            significant(py)
        );
    }
    svg
}

/// A box standing on the floor, with what it stands for as a tooltip. `from` and `to` in values
/// of `x`, `bottom` and `top` in values of `y`.
pub(super) fn column(
    (x, from, to): (&Axis, f64, f64),
    (y, bottom, top): (&Axis, f64, f64),
    class: &str,
    title: &str,
) -> String {
    let (left, right) = (x.at(from) + 0.5, x.at(to) - 0.5);
    let (low, high) = (y.at(bottom), y.at(top));
    format!(
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
         <title>{}</title></rect>\n",
        (right - left).max(1.0),
        (low - high).max(0.0),
        esc(title)
    )
}

/// A thin vertical line whose value shows on pointing at it.
pub(super) fn cut(x: &Axis, value: f64) -> String {
    let at = x.at(value);
    format!(
        "<line class=\"cut\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\">\
         <title>cut at {}</title></line>\n",
        HEIGHT - BOTTOM,
        label(value)
    )
}

/// A dashed vertical line with a name.
pub(super) fn marker(x: &Axis, value: f64, name: &str) -> String {
    let at = x.at(value);
    // The name goes to the side that has more room.
    let (anchor, text) = if at > WIDTH / 2.0 { ("end", at - 4.0) } else { ("start", at + 4.0) };
    format!(
        "<line class=\"marker\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
         <text class=\"stage\" x=\"{text:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
        HEIGHT - BOTTOM,
        TOP - 6.0,
        esc(name)
    )
}

/// A dashed horizontal line with a name.
pub(super) fn level(y: &Axis, value: f64, name: &str) -> String {
    let at = y.at(value);
    let right = WIDTH - RIGHT;
    format!(
        "<line class=\"marker\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
         <text class=\"stage\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
        at - 4.0,
        esc(name)
    )
}

/// A bar from `low` to `high` with feet.
pub(super) fn interval((x, at): (&Axis, f64), (y, low, high): (&Axis, f64, f64)) -> String {
    let (at, low, high) = (x.at(at), y.at(low), y.at(high));
    let (left, right) = (at - 3.0, at + 3.0);
    format!(
        "<path class=\"interval\" d=\"M{left:.1} {low:.1}H{right:.1}M{at:.1} {low:.1}V{high:.1}\
         M{left:.1} {high:.1}H{right:.1}\"/>\n"
    )
}

/// A point with what it stands for as a tooltip; its name is left to [`Names`].
pub(super) fn point(
    (x, px): (&Axis, f64),
    (y, py): (&Axis, f64),
    class: &str,
    title: &str,
) -> String {
    let (px, py) = (x.at(px), y.at(py));
    format!(
        "<circle class=\"{class}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\"><title>{}</title></circle>\n",
        esc(title)
    )
}

/// Names of points, each where it lies over no other name and no point.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Left, top, right and bottom of what is taken.
    taken: Vec<[f64; 4]>,
}

/// Room of a letter.
const LETTER: [f64; 2] = [6.2, 11.0];

impl Names {
    /// With points in the way.
    pub(super) fn around(points: impl Iterator<Item = (f64, f64)>) -> Self {
        let box_of = |(x, y)| [x - 5.0, y - 5.0, x + 5.0, y + 5.0];
        Self { taken: points.map(box_of).collect() }
    }

    /// The name of the point drawn at (x, y): beside it if there is room, else above or below, as far
    /// as it takes, then with a line.
    pub(super) fn place(&mut self, (x, y): (f64, f64), name: &str) -> String {
        let (wide, high) = (LETTER[0] * name.chars().count() as f64, LETTER[1]);
        let beside =
            |left: f64, middle: f64| [left, middle - high / 2.0, left + wide, middle + high / 2.0];
        let rows = (0..).map(|row| f64::from(row) * high).take_while(|&rise| rise < HEIGHT);
        let places = rows.flat_map(|rise| {
            let right = x + 7.0;
            let left = x - 7.0 - wide;
            [(right, y - rise), (left, y - rise), (right, y + rise), (left, y + rise)]
        });
        let inside =
            |b: &[f64; 4]| b[0] >= LEFT && b[2] <= WIDTH && b[1] >= TOP && b[3] <= HEIGHT - BOTTOM;
        let apart = |a: &[f64; 4], b: &[f64; 4]| {
            a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]
        };
        let mut free = places
            .map(|(left, middle)| beside(left, middle))
            .filter(|b| inside(b) && self.taken.iter().all(|other| apart(b, other)));
        // Where all is full, over others is better than nowhere.
        let place = free.next().unwrap_or_else(|| beside(x + 7.0, y));
        let middle = f64::midpoint(place[1], place[3]);
        let line = match (middle - y).abs() > high {
            true => {
                let near = if place[0] > x { place[0] - 1.0 } else { place[2] + 1.0 };
                format!("<path class=\"interval\" d=\"M{x:.1} {y:.1}L{near:.1} {middle:.1}\"/>")
            }
            false => String::new(),
        };
        self.taken.push(place);
        format!(
            "{line}<text class=\"stage\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            place[0],
            middle + 3.5,
            esc(name)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(linear_ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(linear_ticks(-3.2, 1.1), [-3.0, -2.0, -1.0, 0.0, 1.0]);
        assert_eq!(Axis::vertical(Scale::Count, 0.0, 2.2).ticks(), [0.0, 1.0, 2.0]);
        assert_eq!(log_ticks(5_000.0, 266_200.0), [5e3, 1e4, 2e4, 5e4, 1e5, 2e5]);
        assert_eq!(log_ticks(1.0, 1e6), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
    }

    #[test]
    fn labels_are_short() {
        let all = [0.0, 0.05, 2.5, -3.0, 300.0, 20_000.0, 3e6, 1e-5].map(label);
        assert_eq!(label(1362.224), "1362");
        assert_eq!(all, ["0", "0.05", "2.5", "−3", "300", "20k", "3M", "1e−5"]);
    }

    proptest::proptest! {
        #[test]
        fn names_keep_apart(points in proptest::collection::vec((60.0f64..440.0, 30.0f64..160.0), 1..8)) {
            let mut names = Names::around(points.iter().copied());
            points.iter().for_each(|&at| { names.place(at, "12 (×2)"); });
            let placed = &names.taken[points.len()..];
            for (i, a) in placed.iter().enumerate() {
                for b in placed.iter().take(i) {
                    let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
                    proptest::prop_assert!(apart, "{a:?} {b:?}");
                }
            }
        }

        #[test]
        fn positions_are_finite_whatever_the_data(
            low in proptest::num::f64::ANY,
            high in proptest::num::f64::ANY,
            value in -1e9f64..1e9,
        ) {
            for axis in [
                Axis::horizontal(low, high),
                Axis::vertical(Scale::Linear, low, high),
                Axis::vertical(Scale::Log, low, high),
            ] {
                let at = axis.at(value);
                proptest::prop_assert!(at.is_finite() && (0.0..=WIDTH).contains(&at), "{at}");
                proptest::prop_assert!(axis.ticks().len() <= 40);
            }
        }
    }
}
