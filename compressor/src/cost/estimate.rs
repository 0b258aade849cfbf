//! Instructions of one inference where nothing was counted: what [`prediction`](super::prediction) says.

use std::collections::HashMap;

use bitsback_runtime::format::{CHANNEL_MULTIPLIER_LEN, Requantization};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::{Model, Op};

use super::prediction::turns::{How, Turn};
use super::{Core, prediction};
#[cfg(feature = "training")]
use super::{Instructions, Provenance, Unpacked};

/// Estimates an inference of a model on a core whose program gives so many bytes of RAM for weights; where
/// that is 0, the estimate with weights unpacked is for all that they take.
#[cfg(feature = "training")]
pub(crate) fn instructions(core: Core, weights_ram_bytes: u64, model: &Model<'_>) -> Instructions {
    Estimator::new(core).instructions(weights_ram_bytes, model)
}

/// Estimates models that differ in how their layers are stored: a coded layer is decoded once.
#[derive(Clone, Debug)]
pub(crate) struct Estimator {
    core: Core,
    coded: HashMap<Vec<u8>, u64>,
}

impl Estimator {
    /// For a core.
    pub(crate) fn new(core: Core) -> Self {
        Self { core, coded: HashMap::new() }
    }

    /// Estimates an inference both ways, as `instructions` does.
    #[cfg(feature = "training")]
    pub(crate) fn instructions(
        &mut self,
        weights_ram_bytes: u64,
        model: &Model<'_>,
    ) -> Instructions {
        let count = self.unpacked(0, model);
        let given = Unpacked::ram(weights_ram_bytes, model.weights_len() as u64);
        let unpacked = given.map(|weights_ram_bytes| Unpacked {
            count: self.unpacked(weights_ram_bytes, model),
            weights_ram_bytes,
        });
        let is_given = weights_ram_bytes > 0;
        Instructions { count, from: Provenance::Estimated, unpacked, is_given }
    }

    /// Estimates an inference the way that requirements are for.
    pub(crate) fn required(&mut self, weights_ram_bytes: u64, model: &Model<'_>) -> u64 {
        self.unpacked(weights_ram_bytes, model)
    }

    /// With weights unpacked into so many bytes, as many of them as fit; as they are stored without any.
    fn unpacked(&mut self, weights_ram_bytes: u64, model: &Model<'_>) -> u64 {
        let room = usize::try_from(weights_ram_bytes).unwrap_or(usize::MAX);
        let turns = Turn::all(model, room);
        let counts = turns.iter().map(|turn| self.turn(turn, model.section()));
        counts.fold(0, u64::saturating_add)
    }

    fn turn(&mut self, turn: &Turn, section: &[u8]) -> u64 {
        let predict = || prediction::turn(self.core, turn, section);
        let Some(key) = key(turn, section) else { return predict() };
        match self.coded.get(&key) {
            Some(&known) => known,
            None => {
                let count = predict();
                self.coded.insert(key, count);
                count
            }
        }
    }
}

/// All that the estimate of a coded layer depends on, wherever the layer and its operands lie.
fn key(Turn { step, how }: &Turn, section: &[u8]) -> Option<Vec<u8>> {
    let mut op = step.op.clone();
    let (CodedAffine { offset, len, requantization, .. }, rows) = match &mut op {
        Op::CodedDense(op) => (&mut op.affine, op.output.len()),
        Op::CodedConv2d(op) => (&mut op.affine, op.output.shape.channels()),
        Op::CodedDepthwiseConv2d(op) => (&mut op.affine, op.output.shape.channels()),
        _ => return None,
    };
    let part = |start: u32, len: usize| section.get(start as usize..)?.get(..len);
    let stream = part(std::mem::take(offset), *len as usize)?;
    let multipliers = match requantization {
        Requantization::PerTensor(_) => &[][..],
        Requantization::PerChannel { offset } => {
            part(std::mem::take(offset), rows.saturating_mul(CHANNEL_MULTIPLIER_LEN))?
        }
    };
    op.output_mut().offset = 0;
    let mut input = op.inputs().first()?.resolve(&step.previous).clone();
    input.offset = 0;
    *op.inputs_mut().first_mut()? = bitsback_runtime::Source::Previous;
    let (how, pool) = match how {
        How::Stored | How::Done => (0, None),
        How::InArena(pool) => (1, pool.as_ref()),
        How::Unpacked(pool, false) => (2, pool.as_ref()),
        How::Unpacked(pool, true) => (3, pool.as_ref()),
    };
    let pool = pool.map(|pool| (pool.window, &pool.output.shape));
    let mut key = postcard::to_allocvec(&(op, input, how, pool)).ok()?;
    key.extend_from_slice(stream);
    key.extend_from_slice(multipliers);
    Some(key)
}

/// The estimate in words.
#[cfg(feature = "training")]
pub(crate) fn basis() -> &'static str {
    "each layer by how often its kernels' loops turn, and what a turn took on layers drawn by chance, counted \
     under QEMU"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::prediction::tests::golden;

    #[test]
    fn every_core_has_an_estimate_and_the_fastest_the_least() {
        for name in ["digits", "operators", "coded", "depthwise", "pairs", "widths"] {
            let bytes = golden(name);
            let model = Model::parse(&bytes).unwrap();
            let of = |core| instructions(core, 0, &model).count;
            assert!(Core::ALL.into_iter().all(|core| of(core) > 1000), "{name}");
            assert!(of(Core::CortexM4) < of(Core::CortexM0), "{name}");
        }
    }

    #[test]
    fn both_ways_are_estimated() {
        let bytes = golden("coded-lenet");
        let model = Model::parse(&bytes).unwrap();
        let whole = model.weights_len() as u64;
        let all = instructions(Core::CortexM4, 0, &model);
        let unpacked = all.unpacked.unwrap();
        assert!(unpacked.weights_ram_bytes == whole && unpacked.count < all.count);
        // Nothing was given, so that requirements are for the model as it is stored.
        assert_eq!(all.required(), all.count);
        let some = instructions(Core::CortexM4, whole / 2, &model);
        let part = some.unpacked.unwrap();
        assert_eq!((some.count, some.required()), (all.count, part.count));
        assert!(part.count > unpacked.count && part.weights_ram_bytes == whole / 2);
        let more = instructions(Core::CortexM4, 10 * whole, &model);
        assert_eq!(more.unpacked, all.unpacked);
        let bytes = golden("pairs");
        let plain = instructions(Core::CortexM4, 4096, &Model::parse(&bytes).unwrap());
        assert_eq!((plain.unpacked, plain.required()), (None, plain.count));
    }

    #[test]
    fn a_layer_that_was_decoded_is_known_wherever_it_lies() {
        let (one, other) = (golden("coded"), golden("coded-lenet"));
        let mut estimator = Estimator::new(Core::CortexM4);
        for bytes in [&one, &other, &one] {
            let model = Model::parse(bytes).unwrap();
            let found = estimator.instructions(0, &model);
            assert_eq!(found, instructions(Core::CortexM4, 0, &model));
        }
        let coded = [&one, &other].map(|bytes| {
            let model = Model::parse(bytes).unwrap();
            let whole = model.weights_len();
            let keys = [0, whole].map(|room| {
                let turns = Turn::all(&model, room);
                turns.iter().filter(|turn| key(turn, model.section()).is_some()).count()
            });
            keys.iter().sum::<usize>()
        });
        assert_eq!(estimator.coded.len(), coded.iter().sum::<usize>());
    }

    #[cfg(feature = "training")]
    #[test]
    fn the_basis_is_named() {
        assert!(basis().contains("QEMU"));
    }
}
