//! What a table says of samples.

use crate::statistics::{median, quantile};

/// What a table says of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) p10: f64,
    pub(super) p90: f64,
    pub(super) max: f64,
}

impl Summary {
    /// `None` where nothing was measured.
    pub(super) fn of(samples: &[f64]) -> Option<Self> {
        Some(Self {
            median: median(samples)?,
            p10: quantile(samples, 0.1)?,
            p90: quantile(samples, 0.9)?,
            max: quantile(samples, 1.0)?,
        })
    }
}

/// `None` where there is nothing to divide by.
pub(super) fn ratio(ours: f64, theirs: f64) -> Option<f64> {
    let ratio = ours / theirs;
    (theirs != 0.0 && ratio.is_finite()).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let all = Summary::of(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(all, Summary { median: 3.0, p10: 1.4, p90: 4.6, max: 5.0 });
        let one = Summary::of(&[7.0]).unwrap();
        assert_eq!(one, Summary { median: 7.0, p10: 7.0, p90: 7.0, max: 7.0 });
    }

    #[test]
    fn nothing_measured_is_none() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(0.0, 0.0), None);
        assert_eq!(ratio(1.0, 4.0), Some(0.25));
    }
}
