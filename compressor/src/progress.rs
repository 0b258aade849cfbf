//! Progress for people and machines: bars in a terminal, plain lines elsewhere, JSON on request.

/// Where progress goes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Progress {}

impl Progress {
    /// Starts a stage of `steps` steps; it is shown until [`Stage::finish`].
    pub fn stage(&self, _name: &str, _steps: u64) -> Stage {
        Stage {}
    }

    /// One line of log.
    pub fn note(&self, _text: &str) {}
}

/// One running stage.
#[derive(Debug)]
pub struct Stage {}

impl Stage {
    /// `done` of the steps are done; `detail` is a short remark such as `loss 0.031, 5,480 weights`.
    pub fn set(&self, _done: u64, _detail: &str) {}

    /// The stage is over.
    pub fn finish(self, _summary: &str) {}
}
