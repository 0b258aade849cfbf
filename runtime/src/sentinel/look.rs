//! What an input looks like, as two sums over its values.

/// Brightness and roughness of an input: Σ x and Σ |xᵢ₊₁ − xᵢ| over its quantised values, as they lie in
/// memory. Inputs of more than [`MAX_INPUTS`] values have sums that wrap, and no sentinel looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Σ x.
    pub brightness: i32,
    /// Σ |xᵢ₊₁ − xᵢ|.
    pub roughness: i32,
}

/// Most values of an input that is looked at: Σ |xᵢ₊₁ − xᵢ| stays within 32 bits.
pub const MAX_INPUTS: usize = 1 << 23;

impl Look {
    /// Looks at the quantised values of an input.
    #[inline(never)]
    pub fn of(input: &[i8]) -> Self {
        let [first, rest @ ..] = input else { return Self::default() };
        let mut looking = Looking::from(*first);
        for &x in rest {
            looking.at(x);
        }
        looking.look()
    }
}

/// A look that goes on.
pub(crate) struct Looking {
    brightness: i32,
    /// Σ max(xᵢ₊₁ − xᵢ, 0): of all steps the sum is known from the first value and the last.
    up: i32,
    first: i32,
    previous: i32,
}

impl Looking {
    /// At an input whose first value this is.
    pub(crate) fn from(first: i8) -> Self {
        let first = i32::from(first);
        Self { brightness: first, up: 0, first, previous: first }
    }

    /// At the next value.
    #[inline(always)]
    pub(crate) fn at(&mut self, x: i8) {
        let x = i32::from(x);
        self.brightness = self.brightness.wrapping_add(x);
        if x > self.previous {
            self.up = self.up.wrapping_add(x.wrapping_sub(self.previous));
        }
        self.previous = x;
    }

    /// What was seen.
    pub(crate) fn look(self) -> Look {
        let steps = self.previous.wrapping_sub(self.first);
        let roughness = self.up.wrapping_mul(2).wrapping_sub(steps);
        Look { brightness: self.brightness, roughness }
    }
}

/// The least shift by which the sums over so many values fit 16 bits, which is what edges have: for whoever
/// writes a section. Of an input of at most [`MAX_INPUTS`] values.
pub fn shift_for(inputs: usize) -> u8 {
    let most = (inputs as u64).saturating_mul(256);
    (0..32u8).find(|&shift| most >> shift <= i16::MAX as u64).unwrap_or(32)
}

/// The mean of outputs that are values, each plus 128, on a scale of its own: their sum, shifted right by the
/// least number of bits for which it is 0 to 255 whatever they are. One output is itself, plus 128. Of at
/// most [`MAX_OUTPUTS`] outputs.
pub(super) fn mean(outputs: &[i8]) -> u8 {
    let mut sum = outputs.iter().fold(0u32, |sum, &q| sum.wrapping_add(u32::from(q as u8 ^ 0x80)));
    let mut most = outputs.len().saturating_sub(1);
    while most > 0 {
        (sum, most) = (sum >> 1, most >> 1);
    }
    sum as u8
}

/// Most outputs whose mean is taken: their sum stays within 32 bits.
pub const MAX_OUTPUTS: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    proptest! {
        #[test]
        fn sums_are_those_of_the_values(input in prop::collection::vec(any::<i8>(), 0..60)) {
            let brightness = input.iter().map(|&x| i32::from(x)).sum();
            let pairs = input.windows(2);
            let roughness = pairs.map(|pair| i32::from(pair[0].abs_diff(pair[1]))).sum();
            prop_assert_eq!(Look::of(&input), Look { brightness, roughness });
        }

        #[test]
        fn means_keep_the_order_of_sums(outputs in prop::collection::vec(any::<i8>(), 1..70)) {
            let sum: usize = outputs.iter().map(|&q| (i32::from(q) + 128) as usize).sum();
            let scale = outputs.len().next_power_of_two();
            prop_assert_eq!(usize::from(mean(&outputs)), sum / scale);
        }
    }

    #[test]
    fn sums_of_any_input_fit_edges() {
        for (inputs, shift) in [(1, 0), (127, 0), (128, 1), (784, 3), (3072, 5), (MAX_INPUTS, 17)] {
            assert_eq!(shift_for(inputs), shift, "{inputs}");
        }
        for input in [vec![-128i8; 784], [-128, 127].repeat(392)] {
            let look = Look::of(&input);
            for sum in [look.brightness, look.roughness] {
                assert!(i16::try_from(sum >> shift_for(784)).is_ok(), "{sum}");
            }
        }
    }

    #[test]
    fn means_of_single_and_of_extreme_outputs() {
        for (output, expected) in [(-128, 0), (0, 128), (127, 255)] {
            assert_eq!(mean(&[output]), expected);
            assert_eq!(mean(&[output; 64]), expected);
        }
        assert_eq!((mean(&[]), mean(&[127; 3])), (0, 191));
    }
}
