//! Where tensors live in the arena, so that it is as small as can be.
//!
//! Two tensors may share bytes when no operator needs both. In a chain each operator needs what it
//! reads and what it writes, so that the arena can't be smaller than the largest pair of
//! neighbours, and laying tensors alternately at its start and at its end attains that. For other
//! graphs, tensors are placed one by one at the lowest place that is free while they live, largest
//! first and in order of birth, and the better plan is taken.

use bitsback_runtime::Op;
use bitsback_runtime::format::{Source, Tensor};

/// A tensor's size and life: it is needed by operators `born..=dies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffer {
    /// Bytes.
    pub len: usize,
    /// Operator that writes it.
    pub born: usize,
    /// Last operator that needs it.
    pub dies: usize,
}

impl Buffer {
    fn meets(&self, other: &Self) -> bool {
        self.born <= other.dies && other.born <= self.dies
    }
}

/// Offsets of buffers and the arena that they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// First byte of each buffer.
    pub offsets: Vec<usize>,
    /// Bytes of the arena.
    pub arena_len: usize,
}

/// Places all buffers.
pub(super) fn plan(buffers: &[Buffer]) -> Plan {
    let mut plans = Vec::with_capacity(3);
    plans.extend(ping_pong(buffers));
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    plans.push(first_fit(buffers, &order));
    order.sort_by_key(|&b| (std::cmp::Reverse(buffers[b].len), buffers[b].born));
    plans.push(first_fit(buffers, &order));
    let best = plans.into_iter().min_by_key(|plan| plan.arena_len);
    best.unwrap_or(Plan { offsets: Vec::new(), arena_len: 0 })
}

/// Alternately at the start and at the end; `None` unless each buffer meets its neighbours only.
fn ping_pong(buffers: &[Buffer]) -> Option<Plan> {
    let far = |(i, a): (usize, &Buffer)| buffers.iter().skip(i + 2).any(|b| a.meets(b));
    if buffers.iter().enumerate().any(far) {
        return None;
    }
    let pairs = buffers.windows(2).filter(|pair| pair[0].meets(&pair[1]));
    let widest = pairs.map(|pair| pair[0].len + pair[1].len).max().unwrap_or(0);
    let arena_len = buffers.iter().map(|b| b.len).max().unwrap_or(0).max(widest);
    let place = |(i, b): (usize, &Buffer)| if i % 2 == 0 { 0 } else { arena_len - b.len };
    Some(Plan { offsets: buffers.iter().enumerate().map(place).collect(), arena_len })
}

/// Each buffer of `order` at the lowest place that no placed buffer of its life takes.
fn first_fit(buffers: &[Buffer], order: &[usize]) -> Plan {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut arena_len = 0;
    for &index in order {
        let buffer = &buffers[index];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| buffers[other].meets(buffer))
            .map(|&other| (offsets[other], offsets[other] + buffers[other].len))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if start >= at + buffer.len {
                break;
            }
            at = at.max(end);
        }
        offsets[index] = at;
        arena_len = arena_len.max(at + buffer.len);
        placed.push(index);
    }
    Plan { offsets, arena_len }
}

/// Sets the offsets of all tensors. `reads` says for each operator which values it reads: 0 is the
/// input, `i + 1` the output of operator `i`; the offset of a source is that within its value.
/// Operators that can, work in place where the value isn't needed any more. A view whose last row
/// reaches beyond its value, as that of a crop may, has its bytes there to itself, though nothing reads
/// them.
pub(super) fn place(input: &mut Tensor, ops: &mut [Op], reads: &[Vec<usize>]) {
    let mut last = vec![0; ops.len() + 1];
    for (step, read) in reads.iter().enumerate() {
        read.iter().filter(|&&value| value <= step).for_each(|&value| last[value] = step);
    }
    let mut buffers = vec![Buffer { len: input.len(), born: 0, dies: last[0] }];
    let (mut buffer_of, mut lens) = (vec![0], vec![input.len()]);
    for (step, op) in ops.iter().enumerate() {
        let len = op.output().len();
        let reused =
            reads.get(step).into_iter().flatten().copied().find(|&value| {
                op.in_place() && last[value] == step && lens.get(value) == Some(&len)
            });
        for (source, &value) in op.inputs().iter().zip(reads.get(step).into_iter().flatten()) {
            let (Source::At(view), Some(&buffer)) = (source, buffer_of.get(value)) else {
                continue;
            };
            let buffer: &mut Buffer = &mut buffers[buffer];
            buffer.len = buffer.len.max(view.end());
        }
        let dies = last[step + 1].max(step);
        let buffer = match reused {
            Some(value) => buffer_of[value],
            None => {
                buffers.push(Buffer { len, born: step, dies });
                buffers.len() - 1
            }
        };
        buffers[buffer].dies = dies;
        buffer_of.push(buffer);
        lens.push(len);
    }
    let plan = plan(&buffers);
    let offset = |value: usize| plan.offsets[buffer_of[value]] as u32;
    input.offset = offset(0);
    for (step, op) in ops.iter_mut().enumerate() {
        op.output_mut().offset = offset(step + 1);
        for (source, &value) in
            op.inputs_mut().iter_mut().zip(reads.get(step).into_iter().flatten())
        {
            if let Source::At(tensor) = source {
                tensor.offset += offset(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// No plan can be smaller: the most bytes that one operator needs.
    fn lower_bound(buffers: &[Buffer]) -> usize {
        let live = |op: usize| buffers.iter().filter(move |b| (b.born..=b.dies).contains(&op));
        let deaths = buffers.iter().map(|b| b.dies);
        deaths.map(|op| live(op).map(|b| b.len).sum()).max().unwrap_or(0)
    }

    fn assert_sound(buffers: &[Buffer], plan: &Plan) {
        for (i, a) in buffers.iter().enumerate() {
            assert!(plan.offsets[i] + a.len <= plan.arena_len);
            for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                let (start, other) = (plan.offsets[i], plan.offsets[j]);
                let apart = start + a.len <= other || other + b.len <= start;
                assert!(apart || !a.meets(b), "{i} and {j} share bytes: {plan:?}");
            }
        }
    }

    /// The smallest arena, over all orders of placing.
    fn best_of_all_orders(buffers: &[Buffer]) -> usize {
        fn go(buffers: &[Buffer], order: &mut Vec<usize>, best: &mut usize) {
            if order.len() == buffers.len() {
                *best = (*best).min(first_fit(buffers, order).arena_len);
                return;
            }
            for next in 0..buffers.len() {
                if !order.contains(&next) {
                    order.push(next);
                    go(buffers, order, best);
                    order.pop();
                }
            }
        }
        let mut best = usize::MAX;
        go(buffers, &mut Vec::new(), &mut best);
        best
    }

    proptest! {
        #[test]
        fn chains_attain_the_bound(lens in proptest::collection::vec(1usize..500, 1..12)) {
            let buffers: Vec<Buffer> = lens
                .iter()
                .enumerate()
                .map(|(i, &len)| Buffer { len, born: i, dies: i + 1 })
                .collect();
            let plan = plan(&buffers);
            assert_sound(&buffers, &plan);
            prop_assert_eq!(plan.arena_len, lower_bound(&buffers));
        }

        #[test]
        fn other_graphs_are_sound_and_near_the_best(
            raw in proptest::collection::vec((1usize..100, 0usize..6, 0usize..4), 1..=6),
        ) {
            let buffers: Vec<Buffer> = raw
                .into_iter()
                .map(|(len, born, life)| Buffer { len, born, dies: born + life })
                .collect();
            let plan = plan(&buffers);
            assert_sound(&buffers, &plan);
            prop_assert!(plan.arena_len >= lower_bound(&buffers));
            let best = best_of_all_orders(&buffers);
            prop_assert!(plan.arena_len <= best + best / 2, "{} against {best}", plan.arena_len);
        }
    }

    #[test]
    fn a_residual_block_keeps_its_shortcut() {
        // Input read by operators 0 and 2; two tensors between.
        let shortcut = Buffer { len: 10, born: 0, dies: 2 };
        let inner = Buffer { len: 20, born: 0, dies: 1 };
        let second = Buffer { len: 10, born: 1, dies: 2 };
        let sum = Buffer { len: 10, born: 2, dies: 3 };
        let buffers = [shortcut, inner, second, sum];
        let plan = plan(&buffers);
        assert_sound(&buffers, &plan);
        assert_eq!(plan.arena_len, lower_bound(&buffers));
    }
}
