//! Weights in no order, computed when the program is compiled.

/// Xorshift, as many values as are asked for.
#[allow(long_running_const_eval)] // 400,000 values take a second
pub(crate) const fn weights<const N: usize>() -> [i8; N] {
    let mut values = [0; N];
    let mut state = 0x2545_F491_u32;
    let mut index = 0;
    while index < N {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        values[index] = state as i8;
        index += 1;
    }
    values
}
