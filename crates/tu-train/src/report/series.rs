//! Points (step, value) of any number, held in bounded memory.
//!
//! A bucket holds the lowest and the highest value of 2ᵏ successive points; when there are too many buckets, neighbours
//! are merged and k grows by one. So the curve of a long run keeps its extremes.

/// Buckets are merged when there are this many.
const BUCKETS: usize = 1200;
/// Weight of a new value in the smoothed curve.
const SMOOTHING: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    first: f64,
    last: f64,
    low: f64,
    high: f64,
    smooth: f64,
}

/// A curve that thins itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    buckets: Vec<Bucket>,
    /// k.
    halvings: u32,
    /// Points in the last bucket.
    in_last: u64,
    count: u64,
    smooth: Option<f64>,
    last: Option<f64>,
}

impl Series {
    /// Adds a point; steps are expected to rise. A value that is no number is left out.
    pub fn push(&mut self, step: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let smooth = self.smooth.map_or(value, |old| old + SMOOTHING * (value - old));
        (self.smooth, self.last) = (Some(smooth), Some(value));
        self.count += 1;
        let step = step as f64;
        match self.buckets.last_mut() {
            Some(bucket) if self.in_last < 1 << self.halvings => {
                self.in_last += 1;
                bucket.last = step;
                bucket.low = bucket.low.min(value);
                bucket.high = bucket.high.max(value);
                bucket.smooth = smooth;
            }
            _ => {
                if self.buckets.len() >= BUCKETS {
                    self.halve();
                }
                self.in_last = 1;
                self.buckets.push(Bucket { first: step, last: step, low: value, high: value, smooth });
            }
        }
    }

    fn halve(&mut self) {
        let merge = |pair: &[Bucket]| match pair {
            [a, b] => Bucket {
                first: a.first,
                last: b.last,
                low: a.low.min(b.low),
                high: a.high.max(b.high),
                smooth: b.smooth,
            },
            _ => pair[0],
        };
        self.buckets = self.buckets.chunks(2).map(merge).collect();
        self.halvings += 1;
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Points that were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The newest value.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.last
    }

    /// The newest value of the smoothed curve.
    #[must_use]
    pub fn last_smoothed(&self) -> Option<f64> {
        self.smooth
    }

    /// The values as a line that touches the extremes of every bucket.
    #[must_use]
    pub fn raw(&self) -> Vec<(f64, f64)> {
        let both = |b: &Bucket| [(b.first, b.low), (b.last, b.high)];
        let single = |b: &Bucket| b.first == b.last;
        self.buckets
            .iter()
            .flat_map(|b| if single(b) { vec![(b.first, b.high)] } else { both(b).to_vec() })
            .collect()
    }

    /// The exponential mean of the values.
    #[must_use]
    pub fn smoothed(&self) -> Vec<(f64, f64)> {
        self.buckets.iter().map(|b| (b.last, b.smooth)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_series_is_kept_point_by_point() {
        let mut series = Series::default();
        (1..=3).for_each(|s| series.push(s, s as f64 * 2.0));
        series.push(4, f64::NAN);
        assert_eq!(series.raw(), [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]);
        assert_eq!((series.count(), series.last()), (3, Some(6.0)));
        assert_eq!(series.smoothed()[1], (2.0, 2.1));
    }

    #[test]
    fn a_long_series_stays_small_and_keeps_its_extremes_and_its_ends() {
        let mut series = Series::default();
        for step in 1..=1_000_000u64 {
            let spike = if step == 123_457 { 50.0 } else { 0.0 };
            series.push(step, (step as f64 / 1e5).sin() + spike);
        }
        let raw = series.raw();
        assert!(raw.len() <= 2 * BUCKETS && raw.len() >= BUCKETS / 2, "{}", raw.len());
        assert_eq!(raw.first().map(|p| p.0), Some(1.0));
        assert_eq!(raw.last().map(|p| p.0), Some(1_000_000.0));
        assert!(raw.iter().any(|p| p.1 > 49.0));
        assert!(raw.windows(2).all(|w| w[0].0 <= w[1].0));
        assert_eq!(series.count(), 1_000_000);
    }
}
