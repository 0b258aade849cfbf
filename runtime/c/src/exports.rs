//! The functions of `include/bitsback.h`.
//!
//! Floats are passed through pointers only, so that the calling convention is the same with and
//! without a float unit.

use core::ffi::c_char;

use bitsback_runtime::{Decision, Limits};

use crate::pointers::{Bitsback, load, loaded, overlap, unpack, values, write};
use crate::status::BitsbackStatus as Status;

/// Bytes of arena that a model needs; 0 when the bytes are no model. Only the header is read.
///
/// # Safety
/// `model` points to `model_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_arena_len(model: *const u8, model_len: usize) -> usize {
    // SAFETY: the caller's promise; null is an error.
    unsafe { values(model, model_len) }.map_or(0, bitsback_runtime::arena_len)
}

/// Checks a model and loads it: every byte is checked here, and never again. On failure nothing is
/// loaded; where the network itself overlaps model or arena, nothing is written either. A network may
/// be loaded anew at any time. As bitsback_load_within with BITSBACK_STEPS_MOST.
///
/// # Safety
/// `network` points to memory for a `Bitsback`, `model` to `model_len` bytes, and `arena` to
/// `arena_len` values. The model must stay where it is and unchanged, and the arena be used by
/// nobody else, as long as the network is used. The model is not copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_load(
    network: *mut Bitsback,
    model: *const u8,
    model_len: usize,
    arena: *mut i8,
    arena_len: usize,
) -> Status {
    let limits = Limits::default();
    // SAFETY: what `load` asks for is what this function asks for.
    Status::of(unsafe { load(network, (model, model_len), (arena, arena_len), limits) })
}

/// As bitsback_load, of a model that takes at most so many elementary steps (multiply-accumulates,
/// comparisons) an inference. A core takes one to some hundred cycles for a step, mostly less than
/// ten: measure one model to know.
///
/// # Safety
/// As bitsback_load.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_load_within(
    network: *mut Bitsback,
    model: *const u8,
    model_len: usize,
    arena: *mut i8,
    arena_len: usize,
    most_steps: u64,
) -> Status {
    let limits = Limits::steps(most_steps);
    // SAFETY: what `load` asks for is what this function asks for.
    Status::of(unsafe { load(network, (model, model_len), (arena, arena_len), limits) })
}

/// The quantised input, to be written before each run, which may reuse its place; its length goes
/// to `len`. Null when nothing is loaded.
///
/// # Safety
/// `network` points to a `Bitsback` that holds zeros or was given to bitsback_load; `len` to a
/// size, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_input(network: *const Bitsback, len: *mut usize) -> *mut i8 {
    // SAFETY: the caller's promise.
    let Ok(loaded) = (unsafe { loaded(network) }) else { return core::ptr::null_mut() };
    let input = loaded.model().input();
    // SAFETY: the caller's promise; a null `len` is left alone.
    let _ = unsafe { write(len, input.len()) };
    loaded.place(input.offset)
}

/// Sets the input from quantised values.
///
/// # Safety
/// As bitsback_input; `values` points to `len` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_set_input(
    network: *const Bitsback,
    values: *const i8,
    len: usize,
) -> Status {
    // SAFETY: the caller's promise, which is `set`'s, too.
    Status::of(unsafe {
        set(network, values, len, |interpreter, values| {
            let input = interpreter.input_mut();
            if input.len() != values.len() {
                return Err(Status::InputLength);
            }
            input.iter_mut().zip(values).for_each(|(place, &value)| *place = value);
            Ok(())
        })
    })
}

/// Sets the input from raw bytes such as pixels, by the model's own integer preprocessing.
///
/// # Safety
/// As bitsback_set_input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_set_input_bytes(
    network: *const Bitsback,
    bytes: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the caller's promise, which is `set`'s, too.
    Status::of(unsafe {
        set(network, bytes, len, |interpreter, bytes| Ok(interpreter.set_input_bytes(bytes)?))
    })
}

/// Sets the input from real features, by the model's offsets and scales, or by the input's own
/// quantisation where it has none. The only function, with bitsback_output_scale, that knows floats.
///
/// # Safety
/// As bitsback_set_input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_set_input_features(
    network: *const Bitsback,
    features: *const f32,
    len: usize,
) -> Status {
    // SAFETY: the caller's promise, which is `set`'s, too.
    Status::of(unsafe {
        set(network, features, len, |interpreter, features| {
            Ok(interpreter.set_input_features(features)?)
        })
    })
}

/// Computes the output from the input. Set the input before every run.
///
/// # Safety
/// As bitsback_input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_run(network: *const Bitsback) -> Status {
    // SAFETY: the caller's promise, which is that of both.
    let run = || unsafe {
        loaded(network)?.interpreter()?.invoke();
        Ok(())
    };
    Status::of(run())
}

/// Bytes that the weights of a loaded model take unpacked, for bitsback_unpack; 0 where none are packed
/// or coded, or when nothing is loaded.
///
/// # Safety
/// As bitsback_input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_weights_len(network: *const Bitsback) -> usize {
    // SAFETY: the caller's promise.
    unsafe { loaded(network) }.map_or(0, |loaded| loaded.model().weights_len())
}

/// Unpacks packed and coded weights once, for bitsback_run_unpacked; with fewer bytes than
/// bitsback_weights_len says, those that cost most for the room they take.
///
/// # Safety
/// As bitsback_input; `weights` points to `weights_len` bytes, which stay where they are and are used by
/// nobody else as long as the network is used, or until it is loaded anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_unpack(
    network: *mut Bitsback,
    weights: *mut u8,
    weights_len: usize,
) -> Status {
    // SAFETY: the caller's promise.
    Status::of(unsafe { unpack(network, weights, weights_len) })
}

/// As bitsback_run, with the weights that bitsback_unpack has unpacked: the same outputs in less time. A
/// function of its own, so that programs which don't call it don't hold its code.
///
/// # Safety
/// As bitsback_input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_run_unpacked(network: *const Bitsback) -> Status {
    // SAFETY: the caller's promise, which is that of both.
    let run = || unsafe {
        loaded(network)?.unpacked()?.invoke();
        Ok(())
    };
    Status::of(run())
}

/// The quantised output of the last run; its length goes to `len`. Null when nothing is loaded.
///
/// # Safety
/// As bitsback_input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_output(network: *const Bitsback, len: *mut usize) -> *const i8 {
    // SAFETY: the caller's promise.
    let Ok(loaded) = (unsafe { loaded(network) }) else { return core::ptr::null() };
    let output = loaded.model().output();
    // SAFETY: the caller's promise; a null `len` is left alone.
    let _ = unsafe { write(len, output.len()) };
    loaded.place(output.offset)
}

/// Scale and zero point of the output: a value q stands for scale · (q − zero_point).
///
/// # Safety
/// As bitsback_input; `scale` and `zero_point` point to a float and an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_output_scale(
    network: *const Bitsback,
    scale: *mut f32,
    zero_point: *mut i32,
) -> Status {
    // SAFETY: the caller's promise.
    let copy = || unsafe {
        let model = loaded(network)?.model();
        write(scale, model.meta().output_scale)?;
        write(zero_point, i32::from(model.output().zero_point))
    };
    Status::of(copy())
}

/// The class that the last run found: the model's own argmax, or the position of the largest
/// output, the first of equals.
///
/// # Safety
/// As bitsback_input; `class_index` points to a size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_class(
    network: *const Bitsback,
    class_index: *mut usize,
) -> Status {
    // SAFETY: the caller's promise, which is that of all three.
    let copy = || unsafe { write(class_index, loaded(network)?.interpreter()?.class()) };
    Status::of(copy())
}

/// The class that the last run found, if the model is sure of it; else BITSBACK_STATUS_UNSURE, and
/// `class_index` stays as it is. A model is sure when its largest output is as far above all others as
/// its file's margin says, and one without a margin always is.
///
/// # Safety
/// As bitsback_class.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_decision(
    network: *const Bitsback,
    class_index: *mut usize,
) -> Status {
    // SAFETY: the caller's promise, which is that of all three.
    let copy = || unsafe {
        match loaded(network)?.interpreter()?.decision() {
            Decision::Class(class) => write(class_index, class),
            Decision::Unsure => Err(Status::Unsure),
        }
    };
    Status::of(copy())
}

/// The name of a class, in UTF-8 and **not** ended by a zero: print it with `%.*s`. It is a part of
/// the model.
///
/// # Safety
/// As bitsback_input; `name` and `len` point to a pointer and a size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_class_name(
    network: *const Bitsback,
    class_index: usize,
    name: *mut *const c_char,
    len: *mut usize,
) -> Status {
    // SAFETY: the caller's promise, which is that of all.
    let copy = || unsafe {
        let text = loaded(network)?.model().class_name(class_index).ok_or(Status::NoSuchClass)?;
        write(name, text.as_ptr().cast())?;
        write(len, text.len())
    };
    Status::of(copy())
}

/// What a status means and what to do about it, as a sentence that ends with a zero.
#[unsafe(no_mangle)]
pub extern "C" fn bitsback_error_text(status: u32) -> *const c_char {
    Status::from_code(status).map_or(c"no status of this library", Status::text).as_ptr()
}

type Interpreter<'r> = bitsback_runtime::Interpreter<'r, 'static, { crate::kinds::KINDS }>;

/// Hands data and an interpreter to `put`.
///
/// # Safety
/// As bitsback_set_input.
pub(crate) unsafe fn set<T>(
    network: *const Bitsback,
    data: *const T,
    len: usize,
    put: impl FnOnce(&mut Interpreter<'_>, &[T]) -> Result<(), Status>,
) -> Result<(), Status> {
    // SAFETY: the caller's promise.
    let loaded = unsafe { loaded(network) }?;
    // SAFETY: the caller's promise; nothing is written before it is known that they lie elsewhere.
    let data = unsafe { values(data, len) }?;
    let (arena, arena_len) = loaded.arena();
    if overlap(data.as_ptr() as usize, size_of_val(data), arena, arena_len) {
        return Err(Status::Overlap);
    }
    // SAFETY: the caller's promise.
    put(&mut unsafe { loaded.interpreter() }?, data)
}

#[cfg(test)]
mod tests;
