//! Matrix products over weights packed in panels of [`LANES`] outputs.
//!
//! A panel holds, for each input, the weights of its outputs side by side, so that the inner loop
//! is a broadcast input times a contiguous row: the compiler turns the fixed-size arrays into
//! vector registers on any target. Four rows share each load of the weights.

/// Outputs of one panel: two 256-bit registers, or four of 128 bits.
const LANES: usize = 16;

/// Rows computed together: with [`LANES`] this fills, but does not overflow, 16 vector registers.
const ROWS: usize = 4;

/// Packed weights and bias: y = W·x + b for many x.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panels {
    inputs: usize,
    outputs: usize,
    /// ⌈outputs / LANES⌉ panels of inputs × LANES.
    weight: Vec<[f32; LANES]>,
    /// One per panel.
    bias: Vec<[f32; LANES]>,
}

impl Panels {
    /// Packs `weight` (outputs × inputs) and `bias` (outputs).
    pub(crate) fn pack(weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        let outputs = bias.len();
        let panels = outputs.div_ceil(LANES);
        let mut packed = Self {
            inputs,
            outputs,
            weight: vec![[0.0; LANES]; panels * inputs],
            bias: vec![[0.0; LANES]; panels],
        };
        for (output, (row, &b)) in weight.chunks_exact(inputs.max(1)).zip(bias).enumerate() {
            let (panel, lane) = (output / LANES, output % LANES);
            packed.bias[panel][lane] = b;
            for (to, &w) in packed.weight[panel * inputs..].iter_mut().zip(row) {
                to[lane] = w;
            }
        }
        packed
    }

    /// Rows × inputs in, rows × outputs out.
    pub(crate) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let inputs = self.inputs.max(1);
        let mut y = vec![0.0; x.len() / inputs * self.outputs];
        if self.outputs == 0 {
            return y;
        }
        let blocks = x.chunks(ROWS * inputs).zip(y.chunks_mut(ROWS * self.outputs));
        for (x, y) in blocks {
            for (panel, bias) in self.bias.iter().enumerate() {
                let weight = &self.weight[panel * inputs..][..inputs];
                let sums = block(x, weight, bias, inputs);
                for (row, sums) in y.chunks_exact_mut(self.outputs).zip(&sums) {
                    for (y, sum) in row[panel * LANES..].iter_mut().zip(sums) {
                        *y = *sum;
                    }
                }
            }
        }
        y
    }
}

/// Up to [`ROWS`] rows against one panel; rows that aren't there give nonsense nobody reads.
fn block(
    x: &[f32],
    weight: &[[f32; LANES]],
    bias: &[f32; LANES],
    inputs: usize,
) -> [[f32; LANES]; ROWS] {
    let mut sums = [*bias; ROWS];
    if x.len() == ROWS * inputs {
        let (a, rest) = x.split_at(inputs);
        let (b, rest) = rest.split_at(inputs);
        let (c, d) = rest.split_at(inputs);
        for ((((w, a), b), c), d) in weight.iter().zip(a).zip(b).zip(c).zip(d) {
            for lane in 0..LANES {
                sums[0][lane] += a * w[lane];
                sums[1][lane] += b * w[lane];
                sums[2][lane] += c * w[lane];
                sums[3][lane] += d * w[lane];
            }
        }
    } else {
        for (row, sums) in x.chunks_exact(inputs).zip(&mut sums) {
            for (w, x) in weight.iter().zip(row) {
                for lane in 0..LANES {
                    sums[lane] += x * w[lane];
                }
            }
        }
    }
    sums
}
