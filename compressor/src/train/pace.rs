//! Batches and epochs where a job doesn't state them.
//!
//! What a network learns depends on the number of steps. Counted in epochs, a default that suits
//! 60,000 examples ends on 300 before the learning rate has risen. So each stage has a least number
//! of steps, and batches become smaller on small data.

/// Steps that an epoch should have, as far as smaller batches give them.
const STEPS_AN_EPOCH: usize = 40;

/// Smallest batch that is chosen: below it, a step costs as much for a worse gradient.
const LEAST_BATCH: usize = 32;

/// Steps below which training is unlikely to come to anything: a job that states fewer is warned.
pub(crate) const TOO_FEW_STEPS: u64 = 300;

/// Examples a step, and passes over the training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Examples a step.
    pub batch: usize,
    /// Passes over the training set.
    pub epochs: u32,
}

impl Pace {
    /// Steps of an epoch on so many examples; at least one.
    pub(crate) fn steps_an_epoch(self, examples: usize) -> u64 {
        examples.div_ceil(self.batch.max(1)).max(1) as u64
    }

    /// All steps on so many examples.
    pub(crate) fn steps(self, examples: usize) -> u64 {
        self.steps_an_epoch(examples) * u64::from(self.epochs)
    }
}

/// What a stage takes unless the job says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    /// Examples a step, where there are many.
    pub batch: usize,
    /// Passes, where there are many examples.
    pub epochs: u32,
    /// The fewest steps.
    pub steps: u64,
}

impl Stage {
    /// `[pretrain]`.
    pub(crate) const PRETRAIN: Self = Self { batch: 128, epochs: 10, steps: 1_500 };
    /// `[variational]`.
    pub(crate) const VARIATIONAL: Self = Self { batch: 64, epochs: 5, steps: 1_500 };
    /// `[finetune]`.
    pub(crate) const FINETUNE: Self = Self { batch: 128, epochs: 10, steps: 1_000 };
    /// `[quantize]`, where it is on.
    pub(crate) const QUANTIZE: Self = Self { batch: 128, epochs: 10, steps: 1_500 };

    /// Batch and epochs on so many training examples, unless they are stated.
    pub(crate) fn pace(self, examples: usize, batch: Option<usize>, epochs: Option<u32>) -> Pace {
        let batch = batch.unwrap_or_else(|| {
            let mut batch = self.batch;
            while batch > LEAST_BATCH && examples < STEPS_AN_EPOCH * batch {
                batch = (batch / 2).max(LEAST_BATCH);
            }
            batch
        });
        let an_epoch = Pace { batch, epochs: 1 }.steps_an_epoch(examples);
        let epochs = epochs.unwrap_or_else(|| {
            let needed = u32::try_from(self.steps.div_ceil(an_epoch)).unwrap_or(u32::MAX);
            needed.max(self.epochs)
        });
        Pace { batch, epochs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_data_takes_the_stage_s_own_pace() {
        assert_eq!(Stage::PRETRAIN.pace(55_000, None, None), Pace { batch: 128, epochs: 10 });
        assert_eq!(Stage::VARIATIONAL.pace(55_000, None, None), Pace { batch: 64, epochs: 5 });
    }

    #[test]
    fn little_data_is_passed_more_often_in_smaller_batches() {
        for examples in [1, 20, 100, 259, 1_500, 5_000] {
            for stage in [Stage::PRETRAIN, Stage::VARIATIONAL, Stage::FINETUNE, Stage::QUANTIZE] {
                let pace = stage.pace(examples, None, None);
                let steps = pace.steps(examples);
                assert!(steps >= stage.steps && pace.batch >= LEAST_BATCH, "{examples} {pace:?}");
                assert!(steps < 2 * stage.steps, "{examples} {pace:?}");
            }
        }
        assert_eq!(Stage::PRETRAIN.pace(259, None, None), Pace { batch: 32, epochs: 167 });
    }

    #[test]
    fn what_is_stated_stays() {
        assert_eq!(Stage::PRETRAIN.pace(9, Some(4), Some(1)), Pace { batch: 4, epochs: 1 });
        let pace = Stage::FINETUNE.pace(300, Some(300), None);
        assert_eq!((pace.batch, pace.steps(300)), (300, 1_000));
    }
}
