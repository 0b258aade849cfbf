//! Detectors that the sentinel is held against.

/// Something that is fed z-scores of lead, brightness and roughness, and says when it has had enough.
pub(crate) trait Detector {
    fn feed(&mut self, z: [f64; 3]) -> bool;
    fn reset(&mut self);
}

/// Page and Hinkley's test in both directions, of the lead alone or of all three statistics.
#[derive(Clone)]
pub(crate) struct PageHinkley {
    sums: [[f64; 2]; 3],
    statistics: usize,
    slack: f64,
    pub(crate) threshold: f64,
}

impl PageHinkley {
    /// A drift of less than `slack` standard deviations is let pass.
    pub(crate) fn new(statistics: usize, slack: f64, threshold: f64) -> Self {
        Self { sums: [[0.0; 2]; 3], statistics, slack, threshold }
    }
}

impl Detector for PageHinkley {
    fn feed(&mut self, z: [f64; 3]) -> bool {
        let mut alarm = false;
        for (sums, z) in self.sums.iter_mut().zip(z).take(self.statistics) {
            for (sum, z) in sums.iter_mut().zip([z, -z]) {
                *sum = (*sum + z - self.slack).max(0.0);
                alarm |= *sum >= self.threshold;
            }
        }
        alarm
    }

    fn reset(&mut self) {
        self.sums = [[0.0; 2]; 3];
    }
}

/// ADWIN of the lead (Bifet and Gavaldà, *Learning from time-changing data with adaptive windowing*, 2007, §4:
/// ADWIN2): a window that drops its older part once two parts of it differ by more than chance allows.
#[derive(Clone)]
pub(crate) struct Adwin {
    /// Buckets of 2^level values, the newest first: sums and sums of squared deviations.
    levels: Vec<Vec<(f64, f64)>>,
    count: f64,
    sum: f64,
    squares: f64,
    fed: u64,
    pub(crate) delta: f64,
}

/// Buckets of a level before two are merged.
const BUCKETS: usize = 5;
/// A cut is sought after so many values, and needs as many on either side.
const EVERY: u64 = 32;
const LEAST_SIDE: f64 = 5.0;

impl Adwin {
    pub(crate) fn new(delta: f64) -> Self {
        Self { levels: vec![Vec::new()], count: 0.0, sum: 0.0, squares: 0.0, fed: 0, delta }
    }

    fn add(&mut self, x: f64) {
        if self.count > 0.0 {
            let mean = self.sum / self.count;
            self.squares += (x - mean).powi(2) * self.count / (self.count + 1.0);
        }
        self.count += 1.0;
        self.sum += x;
        self.levels[0].insert(0, (x, 0.0));
        let mut level = 0;
        while self.levels[level].len() > BUCKETS {
            let size = (1u64 << level) as f64;
            let (b, a) = (self.levels[level].pop(), self.levels[level].pop());
            let ((s1, q1), (s2, q2)) = (a.unwrap_or_default(), b.unwrap_or_default());
            let apart = (s1 - s2) / size;
            if level + 1 == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level + 1].insert(0, (s1 + s2, q1 + q2 + 0.5 * size * apart * apart));
            level += 1;
        }
    }

    /// Whether some cut, from the oldest bucket on, tells two parts apart.
    fn differs(&self) -> bool {
        let (mut n0, mut s0) = (0.0, 0.0);
        let doubt = (2.0 * self.count.ln() / self.delta).ln();
        let variance = self.squares / self.count;
        for (level, buckets) in self.levels.iter().enumerate().rev() {
            for &(sum, _) in buckets.iter().rev() {
                n0 += (1u64 << level) as f64;
                s0 += sum;
                let n1 = self.count - n0;
                if n0 < LEAST_SIDE || n1 < LEAST_SIDE {
                    continue;
                }
                let harmonic = 1.0 / (1.0 / n0 + 1.0 / n1);
                let bound =
                    (2.0 / harmonic * variance * doubt).sqrt() + 2.0 / (3.0 * harmonic) * doubt;
                if (s0 / n0 - (self.sum - s0) / n1).abs() > bound {
                    return true;
                }
            }
        }
        false
    }

    /// Forgets the oldest bucket.
    fn drop_oldest(&mut self) {
        while self.levels.len() > 1 && self.levels.last().is_some_and(Vec::is_empty) {
            self.levels.pop();
        }
        let level = self.levels.len() - 1;
        if let Some((sum, square)) = self.levels[level].pop() {
            let size = (1u64 << level) as f64;
            let rest = self.count - size;
            if rest > 0.0 {
                let apart = sum / size - (self.sum - sum) / rest;
                self.squares -= square + size * rest / self.count * apart * apart;
                self.squares = self.squares.max(0.0);
            }
            self.count = rest;
            self.sum -= sum;
        }
    }
}

impl Detector for Adwin {
    fn feed(&mut self, [lead, ..]: [f64; 3]) -> bool {
        self.add(lead);
        self.fed += 1;
        if !self.fed.is_multiple_of(EVERY) || self.count < 2.0 * LEAST_SIDE || !self.differs() {
            return false;
        }
        while self.count > 2.0 * LEAST_SIDE && self.differs() {
            self.drop_oldest();
        }
        true
    }

    fn reset(&mut self) {
        *self = Self::new(self.delta);
    }
}
