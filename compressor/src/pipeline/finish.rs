//! temp
use super::*;
pub(super) struct Input<'a> {
    pub(super) job: &'a Job,
    pub(super) job_toml: &'a str,
    pub(super) prepared: &'a Prepared,
    pub(super) trained: &'a stages::Trained,
    pub(super) device: &'a Device,
    pub(super) options: &'a RunOptions,
    pub(super) seconds: f64,
    pub(super) out: &'a Path,
    pub(super) progress: &'a Progress,
}
pub(super) fn finish(i: &Input) -> Result<Summary, Error> {
    use crate::train::evaluate::score;
    let t = i.prepared.test();
    println!(
        "dense {:?} compressed {:?} seconds {} weights {}",
        score(&i.trained.dense, &t, i.device),
        score(&i.trained.network, &t, i.device),
        i.seconds,
        stages::weights(&i.trained.network)
    );
    println!("{}", crc32fast::hash(&postcard::to_stdvec(&i.trained.network).unwrap()));
    panic!()
}
