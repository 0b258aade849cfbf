//! Where the model comes from: the program itself, or with the feature `slot` the model slot.

#[cfg(all(feature = "slot", feature = "unpacked"))]
compile_error!("how long unpacked weights are is known of a model that the program holds");

#[cfg(feature = "unpacked")]
pub(crate) use embedded::WEIGHTS_LEN;
#[cfg(not(feature = "slot"))]
pub(crate) use embedded::{ARENA_LEN, KINDS, bytes};
#[cfg(feature = "slot")]
pub(crate) use slot::{ARENA_LEN, KINDS, bytes};

#[cfg(not(feature = "slot"))]
mod embedded {
    use core::hint::black_box;

    use bitsback_runtime::{arena_len, include_model, op_kinds};

    static MODEL: &[u8] = include_model!(env!("BITSBACK_MODEL"));
    pub(crate) const KINDS: u32 = op_kinds(MODEL);
    pub(crate) const ARENA_LEN: usize = arena_len(MODEL);
    /// What all weights take, or less where less is given.
    #[cfg(feature = "unpacked")]
    pub(crate) const WEIGHTS_LEN: usize = {
        let whole = bitsback_runtime::weights_len(MODEL);
        match option_env!("BITSBACK_WEIGHTS_RAM") {
            Some(text) => match usize::from_str_radix(text, 10) {
                Ok(given) if given < whole => given,
                _ => whole,
            },
            None => whole,
        }
    };

    /// The model. The compiler is not to know what is in it.
    pub(crate) fn bytes() -> Result<&'static [u8], board::ModelSlotError> {
        Ok(black_box(MODEL))
    }
}

#[cfg(feature = "slot")]
mod slot {
    use board::fs::File;

    pub(crate) const KINDS: u32 = bitsback_runtime::ALL_KINDS;
    pub(crate) const ARENA_LEN: usize = board::ARENA_BYTES;

    /// As many bytes of the slot as the host's file has.
    pub(crate) fn bytes() -> Result<&'static [u8], board::ModelSlotError> {
        let length = File::open(c"model.bbk").and_then(|file| file.metadata());
        board::model_slot(length.map_or(0, |about| about.len()))
    }
}
