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
    pub fn of(input: &[i8]) -> Self {
        let mut looking = Looking::from(input.first().copied().unwrap_or_default());
        for &x in input {
            looking.at(x);
        }
        looking.look
    }
}

/// A look that goes on.
pub(crate) struct Looking {
    /// At what was seen so far.
    pub(crate) look: Look,
    previous: i32,
}

impl Looking {
    /// Before an input whose first value this is.
    pub(crate) fn from(first: i8) -> Self {
        Self { look: Look::default(), previous: first.into() }
    }

    /// At the next value.
    #[inline(always)]
    pub(crate) fn at(&mut self, x: i8) {
        let x = i32::from(x);
        self.look.brightness = self.look.brightness.wrapping_add(x);
        let step = x.wrapping_sub(self.previous).wrapping_abs();
        self.look.roughness = self.look.roughness.wrapping_add(step);
        self.previous = x;
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
pub fn mean(outputs: &[i8]) -> u8 {
    let sum = outputs.iter().fold(0u32, |sum, &q| sum.wrapping_add(u32::from(q as u8 ^ 0x80)));
    let most = outputs.len().saturating_sub(1);
    let shift = usize::BITS.wrapping_sub(most.leading_zeros());
    sum.wrapping_shr(shift) as u8
}

/// Most outputs whose mean is taken: their sum stays within 32 bits.
pub const MAX_OUTPUTS: usize = 1 << 24;
