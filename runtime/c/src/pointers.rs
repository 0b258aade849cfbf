//! From C's pointers to Rust's slices and references, with every check that is possible.

use core::ptr;
use core::slice;

use bitsback_runtime::format::MAX_STEPS;
use bitsback_runtime::{Interpreter, Limits, Model, Unpacked};

use crate::kinds::KINDS;
use crate::status::BitsbackStatus as Status;

/// A model must begin at a multiple of this many bytes, so that kernels can load its words.
pub const BITSBACK_MODEL_ALIGNMENT: usize = 4;
/// The most steps of an inference that bitsback_load takes: more than ResNet-50's, and many minutes of
/// a small core. For less, use bitsback_load_within.
pub const BITSBACK_STEPS_MOST: u64 = 8_589_934_592;
const _: () = assert!(BITSBACK_STEPS_MOST == MAX_STEPS);
/// Words of a [`Bitsback`]: more than it needs today, so that a later version can use some more
/// without a change for its callers.
pub const BITSBACK_WORDS: usize = 32;

/// A loaded network, in the caller's memory: static, or on a stack that outlives it. Its inside is
/// the library's business. Filled with zeros it is valid, and not loaded.
#[repr(C)]
pub struct Bitsback {
    /// The library's.
    opaque: [u64; BITSBACK_WORDS],
}

/// In the first word of a network that is loaded.
const LOADED: u32 = 0x4B42_424C;

/// What a [`Bitsback`] holds while it is loaded.
#[repr(C)]
pub(crate) struct Loaded {
    mark: u32,
    /// The file's.
    bytes: &'static [u8],
    model: Model<'static, KINDS>,
    arena: *mut i8,
    arena_len: usize,
    unpacked: Unpacked<'static>,
}

// The caller's memory is large enough and aligned enough for what is put there.
const _: () = assert!(size_of::<Loaded>() <= size_of::<Bitsback>());
const _: () = assert!(align_of::<Loaded>() <= align_of::<Bitsback>());

/// `len` values from `data` on.
///
/// # Safety
/// `data`, unless it is null, points to `len` initialised values that nobody writes during `'a`.
pub(crate) unsafe fn values<'a, T>(data: *const T, len: usize) -> Result<&'a [T], Status> {
    if data.is_null() {
        return Err(Status::Null);
    }
    if !data.is_aligned() {
        return Err(Status::Misaligned);
    }
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Status::InputLength);
    }
    // SAFETY: neither null nor misaligned nor longer than an object can be (checked above); the
    // rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts(data, len) })
}

/// The place for a result.
///
/// # Safety
/// `place`, unless it is null, points to memory for a `T` that nobody else uses during `'a`.
pub(crate) unsafe fn write<T>(place: *mut T, value: T) -> Result<(), Status> {
    if place.is_null() {
        return Err(Status::Null);
    }
    if !place.is_aligned() {
        return Err(Status::Misaligned);
    }
    // SAFETY: neither null nor misaligned (checked above), and writable by the caller's promise.
    unsafe { ptr::write(place, value) };
    Ok(())
}

/// Whether two ranges of addresses share a byte.
pub(crate) fn overlap(a: usize, a_len: usize, b: usize, b_len: usize) -> bool {
    a < b.saturating_add(b_len) && b < a.saturating_add(a_len)
}

/// Loads `model` into `network`, with `arena` for its tensors. On failure nothing is loaded; where
/// `network` overlaps one of the others, nothing is written.
///
/// # Safety
/// `network`, `model` and `arena`, unless null, point to a [`Bitsback`] and to so many values;
/// model and arena stay there, the model unchanged, until the network is loaded anew or forgotten.
pub(crate) unsafe fn load(
    network: *mut Bitsback,
    (model, model_len): (*const u8, usize),
    (arena, arena_len): (*mut i8, usize),
    limits: Limits,
) -> Result<(), Status> {
    check(network)?;
    let (at, len) = (network as usize, size_of::<Bitsback>());
    let clash = |other: usize, other_len| other != 0 && overlap(at, len, other, other_len);
    if clash(model as usize, model_len) || clash(arena as usize, arena_len) {
        return Err(Status::Overlap);
    }
    // SAFETY: the first word of a `Bitsback`, which the caller lends; neither null nor misaligned
    // (checked above), and apart from what the others point to.
    unsafe { write(network.cast::<u32>(), 0) }?;
    if arena.is_null() {
        return Err(Status::Null);
    }
    if !(model as usize).is_multiple_of(BITSBACK_MODEL_ALIGNMENT) {
        return Err(Status::Misaligned);
    }
    if overlap(model as usize, model_len, arena as usize, arena_len) {
        return Err(Status::Overlap);
    }
    // SAFETY: the caller promises that the model stays and doesn't change while it is loaded, which
    // is all the time that this slice is used; it overlaps nothing that is written (checked above).
    let bytes = unsafe { values(model, model_len) }?;
    let model = Model::<KINDS>::parse_only_with(bytes, limits)?;
    if model.arena_len() > arena_len {
        return Err(Status::ArenaTooSmall);
    }
    let arena_len = model.arena_len();
    let loaded = Loaded { mark: LOADED, bytes, model, arena, arena_len, unpacked: Unpacked::NONE };
    // SAFETY: `network` is neither null nor misaligned (checked above), large and aligned enough
    // for `Loaded` (asserted above), and the caller's to write. `Loaded` needs no drop.
    unsafe { write(network.cast::<Loaded>(), loaded) }
}

/// Unpacks weights of what is loaded in `network`.
///
/// # Safety
/// `network`, unless it is null, points to a [`Bitsback`] whose bytes are initialised and which nobody
/// else uses now; `weights`, unless null, to so many bytes, which stay there and are used by nobody else
/// until the network is loaded anew or forgotten.
pub(crate) unsafe fn unpack(
    network: *mut Bitsback,
    weights: *mut u8,
    weights_len: usize,
) -> Result<(), Status> {
    // SAFETY: the caller's promise.
    let loaded = unsafe { loaded(network) }?;
    let others = [
        (network as usize, size_of::<Bitsback>()),
        loaded.arena(),
        (loaded.bytes.as_ptr() as usize, loaded.bytes.len()),
    ];
    if others.iter().any(|&(at, len)| overlap(weights as usize, weights_len, at, len)) {
        return Err(Status::Overlap);
    }
    // SAFETY: the caller's promise, null and too long excepted, which are errors.
    unsafe { values(weights, weights_len) }?;
    // SAFETY: neither null nor longer than an object can be (checked above), apart from all else that is
    // used, and the caller's alone to use; any bits are a u8.
    let weights = unsafe { slice::from_raw_parts_mut(weights, weights_len) };
    let unpacked = Unpacked::new(&loaded.model, weights);
    // SAFETY: `network` holds a `Loaded` (checked by `loaded`), which nobody refers to any more.
    unsafe { (&raw mut (*network.cast::<Loaded>()).unpacked).write(unpacked) };
    Ok(())
}

/// Whether a pointer may be one to a network.
fn check(network: *const Bitsback) -> Result<(), Status> {
    if network.is_null() {
        return Err(Status::Null);
    }
    if network.is_aligned() { Ok(()) } else { Err(Status::Misaligned) }
}

/// What is loaded in `network`.
///
/// # Safety
/// `network`, unless it is null, points to a [`Bitsback`] whose bytes are initialised and which
/// nobody writes during `'a`.
pub(crate) unsafe fn loaded<'a>(network: *const Bitsback) -> Result<&'a Loaded, Status> {
    check(network)?;
    // SAFETY: the first word of a `Bitsback` (neither null nor misaligned), initialised by the
    // caller's promise; any bits are a u32.
    if unsafe { ptr::read(network.cast::<u32>()) } != LOADED {
        return Err(Status::NotLoaded);
    }
    // SAFETY: `mark` says LOADED, which `load` alone writes, together with all of a `Loaded`.
    Ok(unsafe { &*network.cast::<Loaded>() })
}

impl Loaded {
    /// The model.
    pub(crate) fn model(&self) -> &Model<'static, KINDS> {
        &self.model
    }

    /// Address and length of the arena that is used.
    pub(crate) fn arena(&self) -> (usize, usize) {
        (self.arena as usize, self.arena_len)
    }

    /// The place of a tensor in the arena, for C; in bounds by the check of the model.
    pub(crate) fn place(&self, offset: u32) -> *mut i8 {
        self.arena.wrapping_add(offset as usize)
    }

    /// An interpreter on the caller's arena.
    ///
    /// # Safety
    /// The arena given to [`load`] is still there, and nobody else uses it while the interpreter
    /// lives.
    pub(crate) unsafe fn interpreter(&self) -> Result<Interpreter<'_, 'static, KINDS>, Status> {
        // SAFETY: `load` checked that the arena isn't null and took its length from the caller, who
        // promises that nobody else uses it now; any bits are an i8, and an arena that was never
        // written holds bits as well, from C's point of view and after `load` from ours.
        let arena = unsafe { slice::from_raw_parts_mut(self.arena, self.arena_len) };
        Ok(Interpreter::new(&self.model, arena)?)
    }

    /// As [`Self::interpreter`], with the weights that [`unpack`] has unpacked.
    ///
    /// # Safety
    /// As [`Self::interpreter`]; what was given to [`unpack`] is still there and unchanged.
    pub(crate) unsafe fn unpacked(
        &self,
    ) -> Result<Interpreter<'_, 'static, KINDS, Unpacked<'_>>, Status> {
        // SAFETY: as in `interpreter`.
        let arena = unsafe { slice::from_raw_parts_mut(self.arena, self.arena_len) };
        Ok(Interpreter::with_unpacked(&self.model, arena, self.unpacked)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_later_versions() {
        assert!(size_of::<Loaded>() + 32 <= size_of::<Bitsback>(), "{}", size_of::<Loaded>());
    }

    #[test]
    fn ranges_overlap_or_touch() {
        assert!(overlap(10, 5, 14, 1) && overlap(14, 1, 10, 5) && overlap(10, 9, 12, 1));
        assert!(!overlap(10, 5, 15, 5) && !overlap(15, 5, 10, 5) && !overlap(10, 0, 10, 5));
        assert!(overlap(usize::MAX - 2, 9, usize::MAX - 1, 1));
    }
}
