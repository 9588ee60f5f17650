//! Times, and what stands out in them.

use std::time::Duration;

/// Times of the same thing, done many times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    times: Vec<Duration>,
}

impl Sample {
    pub(crate) fn add(&mut self, time: Duration) {
        self.times.push(time);
    }

    pub(crate) fn median(&self) -> Duration {
        self.at(50)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.at(99)
    }

    /// The time that so many in a hundred do not exceed (nearest rank).
    fn at(&self, percent: usize) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let mut sample = Sample::default();
        assert_eq!(sample.median(), Duration::ZERO);
        for n in (1..=200).rev() {
            sample.add(Duration::from_micros(n));
        }
        assert_eq!(sample.median(), Duration::from_micros(100));
        assert_eq!(sample.p99(), Duration::from_micros(198));
    }
}
