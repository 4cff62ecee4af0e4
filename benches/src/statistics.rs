//! What is told of a series of samples.

/// The value below which `share` of the samples are, interpolated between neighbours; none of none.
pub(crate) fn quantile(samples: &[f64], share: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "there are never 2^52 samples")]
    let place = share.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to `last`")]
    let below = place.floor() as usize;
    let low = *sorted.get(below)?;
    let high = *sorted.get(below + 1).unwrap_or(&low);
    Some(low + (high - low) * (place - place.floor()))
}

pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

pub(crate) fn mean(samples: &[f64]) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "there are never 2^52 samples")]
    let count = samples.len() as f64;
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / count)
}

/// The least of `from..=to` for which `works` holds, if it holds for all above it as well; none if it
/// doesn't hold for `to`.
pub(crate) fn least<E>(
    from: u64,
    to: u64,
    mut works: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    if !works(to)? {
        return Ok(None);
    }
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if works(middle)? { high = middle } else { low = middle + 1 }
    }
    Ok(Some(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert_eq!(median(&[]), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, 4.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let hundred: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.9), Some(90.0));
        assert_eq!(quantile(&hundred, 1.0), Some(100.0));
        assert_eq!(quantile(&hundred, 2.0), Some(100.0));
    }

    #[test]
    fn bisection() {
        for edge in 1..=64 {
            let found = least(1, 64, |value| Ok::<_, ()>(value >= edge));
            assert_eq!(found, Ok(Some(edge)));
        }
        assert_eq!(least(1, 64, |_| Ok::<_, ()>(false)), Ok(None));
        assert_eq!(
            least(1, 64, |value| if value > 9 { Ok(true) } else { Err(value) }),
            Err(1 + 63 / 2 / 4)
        );
    }
}
