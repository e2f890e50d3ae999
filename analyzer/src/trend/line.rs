//! A straight line through a few equally spaced points, with an uncertainty that knows of their autocorrelation.
//!
//! In: points, those that are not finite are missing. Out: level, slope and how far each can be trusted. Everything is
//! measured from the first point and in the largest distance from it, so that neither size nor offset cost precision.

/// Fewer points say nothing.
const FEWEST: usize = 4;
/// Residuals of so few points look less alike than they are (Kendall 1954; Marriott and Pope 1954, for a line taken out):
/// by about (3 + 6 r) / n.
const BIAS: (f64, f64) = (3.0, 6.0);
/// Beyond this, points are so alike that their number says nothing.
const MOST_ALIKE: f64 = 0.9;
/// Normal quantile: 80 % lie between its negative and it.
const Z: f64 = 1.281_551_565_5;

/// The least-squares line; x is the number of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) count: f64,
    /// Mean x, and the line's value there.
    pub(super) middle: f64,
    pub(super) level: f64,
    pub(super) slope: f64,
    /// Sum of the squared distances from `middle`.
    pub(super) sxx: f64,
    /// Standard deviation of the residuals.
    noise: f64,
    /// The same as it would have to be if the points were independent and said as little as they do.
    pub(super) doubt: f64,
    /// Student's quantile for 80 %, with as many degrees of freedom as there are independent points.
    pub(super) t: f64,
    /// From the first to the last point, both included.
    pub(super) span: f64,
}

impl Line {
    pub(super) fn through(points: &[f64]) -> Option<Self> {
        let finite = || (0_u32..).map(f64::from).zip(points.iter().copied()).filter(|(_, y)| y.is_finite());
        let (first, base) = finite().next()?;
        let (last, _) = finite().last()?;
        let known = finite().count();
        if known < FEWEST {
            return None;
        }
        let size = finite().map(|(_, y)| f64::abs(y - base)).fold(0.0, f64::max);
        let unit = if size > 0.0 { size } else { 1.0 };
        let scaled = || finite().map(move |(x, y)| (x, (y - base) / unit));
        let count = known as f64;
        let (sum_x, sum_y) = scaled().fold((0.0, 0.0), |(xs, ys), (x, y)| (xs + x, ys + y));
        let (middle, mean) = (sum_x / count, sum_y / count);
        let (sxx, sxy) = scaled().fold((0.0, 0.0), |(xx, xy), (x, y)| {
            (xx + (x - middle) * (x - middle), xy + (x - middle) * (y - mean))
        });
        let slope = sxy / sxx;
        let residuals = scaled().map(|(x, y)| (x, y - mean - slope * (x - middle)));
        let (squares, alike) = moments(residuals, count);
        let noise = (squares / (count - 2.0)).sqrt();
        let inflation = (1.0 + alike) / (1.0 - alike);
        let line = Self {
            count,
            middle,
            level: base + mean * unit,
            slope: slope * unit,
            sxx,
            noise: noise * unit,
            doubt: noise * inflation.sqrt() * unit,
            t: student((count - 2.0) / inflation),
            span: last - first + 1.0,
        };
        (line.level.is_finite() && line.slope.is_finite() && line.doubt.is_finite()).then_some(line)
    }

    pub(super) fn at(&self, x: f64) -> f64 {
        self.level + self.slope * (x - self.middle)
    }

    /// Standard error of the line itself at x, taking the points as independent.
    pub(super) fn error_at(&self, x: f64) -> f64 {
        let away = x - self.middle;
        self.noise * (1.0 / self.count + away * away / self.sxx).sqrt()
    }

    pub(super) fn slope_error(&self) -> f64 {
        self.doubt / self.sxx.sqrt()
    }
}

/// Sum of squares, and the correlation of neighbours corrected for what so few points hide of it.
fn moments(residuals: impl Iterator<Item = (f64, f64)>, count: f64) -> (f64, f64) {
    let (mut squares, mut products, mut pairs) = (0.0, 0.0, 0.0);
    let mut before: Option<(f64, f64)> = None;
    for (x, error) in residuals {
        squares += error * error;
        if let Some((_, neighbour)) = before.filter(|(at, _)| x - at < 1.5) {
            products += error * neighbour;
            pairs += 1.0;
        }
        before = Some((x, error));
    }
    let seen = if squares > 0.0 && pairs > 0.0 { products / squares * count / pairs } else { 0.0 };
    let alike = seen + (BIAS.0 + BIAS.1 * seen.max(0.0)) / count;
    (squares, alike.clamp(0.0, MOST_ALIKE))
}

/// Student's 90 % quantile (Cornish and Fisher 1937): within 2 % from two degrees of freedom on.
fn student(freedom: f64) -> f64 {
    let d = freedom.max(2.0);
    let z3 = Z * Z * Z;
    Z + (z3 + Z) / (4.0 * d) + (5.0 * z3 * Z * Z + 16.0 * z3 + 3.0 * Z) / (96.0 * d * d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_whatever_its_size_and_holes() {
        for unit in [1e-300, 1.0, 1e300] {
            let points = [1.0, 3.0, f64::NAN, 7.0, 9.0, 11.0].map(|y| y * unit);
            let line = Line::through(&points).unwrap();
            assert!((line.slope / unit - 2.0).abs() < 1e-12, "{line:?}");
            assert!((line.at(2.0) / unit - 5.0).abs() < 1e-12, "{line:?}");
            assert!(line.slope_error() < 1e-12 * unit);
            assert_eq!((line.count, line.span), (5.0, 6.0));
        }
        assert_eq!(Line::through(&[1.0, 2.0, f64::INFINITY, 3.0]), None);
        assert_eq!(Line::through(&[f64::MAX, f64::MIN, f64::MAX, f64::MIN]), None);
    }

    #[test]
    fn a_constant_has_no_slope_and_no_doubt() {
        let line = Line::through(&[7.1; 8]).unwrap();
        assert_eq!((line.slope, line.doubt, line.level), (0.0, 0.0, 7.1));
    }

    #[test]
    fn students_quantile_is_close() {
        for (freedom, exact) in [(2.0, 1.886), (3.0, 1.638), (6.0, 1.440), (14.0, 1.345), (1e9, 1.2816)] {
            assert!((student(freedom) / exact - 1.0).abs() < 0.021, "{freedom}");
        }
    }

    #[test]
    fn points_that_go_together_count_less() {
        let scattered = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        let wandering = [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
        let [scattered, wandering] = [scattered, wandering].map(|points| Line::through(&points).unwrap());
        assert!(wandering.doubt > 1.5 * scattered.doubt, "{wandering:?} {scattered:?}");
    }
}
