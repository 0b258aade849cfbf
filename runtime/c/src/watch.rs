//! A sentinel beside a network: what `include/bitsback.h` declares of it.

use core::ffi::c_char;

use bitsback_runtime::sentinel::{Bet, Look, RECORD_LEN, Sentinel, Watch};

use crate::exports::set;
use crate::pointers::{Bitsback, loaded, overlap, write};
use crate::status::BitsbackStatus as Status;

/// Words of a [`BitsbackWatch`], some of them for later versions.
pub const BITSBACK_WATCH_WORDS: usize = 36;
/// Bytes of the record of a window.
pub const BITSBACK_RECORD_LEN: usize = 58;
const _: () = assert!(BITSBACK_RECORD_LEN == RECORD_LEN);

/// What the sentinel of a network keeps, in the caller's memory. Its inside is the library's business. Filled with
/// zeros it is valid, and not started.
#[repr(C)]
pub struct BitsbackWatch {
    /// The library's.
    opaque: [u64; BITSBACK_WATCH_WORDS],
}

/// In the first word of a watch that was started.
const STARTED: u32 = 0x5742_424C;

/// What a [`BitsbackWatch`] holds when it was started.
#[repr(C)]
struct Started {
    mark: u32,
    sentinel: Sentinel<'static>,
    look: Look,
    watch: Watch,
}

// The caller's memory is large enough and aligned enough for what is put there.
const _: () = assert!(size_of::<Started>() <= size_of::<BitsbackWatch>());
const _: () = assert!(align_of::<Started>() <= align_of::<BitsbackWatch>());

/// Starts the sentinel that is in a loaded network's file, without evidence. Every bet in it is proved again;
/// BITSBACK_STATUS_NO_SENTINEL if the file has none.
///
/// # Safety
/// `watch` points to memory for a `BitsbackWatch`, `network` to a `Bitsback` that holds zeros or was given to
/// bitsback_load. The model must stay where it is and unchanged as long as the watch is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_start(
    watch: *mut BitsbackWatch,
    network: *const Bitsback,
) -> Status {
    // SAFETY: the caller's promise.
    Status::of(unsafe { start(watch, network, |_| Watch::new()) })
}

/// As bitsback_watch_start, for the trial of a new model of 2^`log2_inferences` inferences: every bet starts
/// with that much evidence, so that a model which is wrong from the first answer on is found sooner.
/// bitsback_watch_settle ends the trial.
///
/// # Safety
/// As bitsback_watch_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_trial(
    watch: *mut BitsbackWatch,
    network: *const Bitsback,
    log2_inferences: u8,
) -> Status {
    // SAFETY: the caller's promise.
    Status::of(unsafe {
        start(watch, network, |sentinel| Watch::on_trial(sentinel, log2_inferences))
    })
}

/// Looks at the input of a network, which was just set: between bitsback_set_input (or one of its
/// kind) and bitsback_run.
///
/// # Safety
/// As bitsback_watch_start, of a watch that holds zeros or was started with this network.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_look(
    watch: *mut BitsbackWatch,
    network: *const Bitsback,
) -> Status {
    // SAFETY: the caller's promise, which is that of all.
    let look = || unsafe {
        let started = started(watch)?;
        started.look = Look::of(loaded(network)?.interpreter()?.input_mut());
        Ok(())
    };
    Status::of(look())
}

/// As bitsback_set_input_bytes and bitsback_watch_look, in one pass over the bytes.
///
/// # Safety
/// As bitsback_watch_look; `bytes` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_input_bytes(
    watch: *mut BitsbackWatch,
    network: *const Bitsback,
    bytes: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the caller's promise; `set` looks for overlaps with the arena.
    Status::of(unsafe {
        started(watch).and_then(|started| {
            set(network, bytes, len, |interpreter, bytes| {
                started.look = interpreter.set_input_bytes_looking(bytes)?;
                Ok(())
            })
        })
    })
}

/// Takes the last run in: to be called once after each bitsback_run. BITSBACK_STATUS_ALARM from the first alarm
/// on, until bitsback_watch_reset.
///
/// # Safety
/// As bitsback_watch_look.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_feed(
    watch: *mut BitsbackWatch,
    network: *const Bitsback,
) -> Status {
    // SAFETY: the caller's promise, which is that of all.
    let feed = || unsafe {
        let Started { sentinel, look, watch, .. } = started(watch)?;
        match watch.feed(sentinel, *look, loaded(network)?.interpreter()?.output()) {
            Some(_) => Err(Status::Alarm),
            None => Ok(()),
        }
    };
    Status::of(feed())
}

/// Why there is an alarm: what the bet with most evidence is on, in UTF-8 and **not** ended by a zero; its class,
/// if the name is `class`, else SIZE_MAX; and the evidence in sixteenths of a bit. Without an alarm the name
/// is empty, and the evidence is the highest of all bets.
///
/// # Safety
/// `watch` as in bitsback_watch_look; the others point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_alarm(
    watch: *mut BitsbackWatch,
    name: *mut *const c_char,
    name_len: *mut usize,
    class_index: *mut usize,
    evidence: *mut u16,
) -> Status {
    // SAFETY: the caller's promise, which is that of all.
    let copy = || unsafe {
        let Started { sentinel, watch, .. } = started(watch)?;
        let bet = watch.alarm(sentinel).map(|alarm| alarm.bet);
        let text = bet.map_or("", Bet::name);
        write(name, text.as_ptr().cast())?;
        write(name_len, text.len())?;
        let class = match bet {
            Some(Bet::Class(class)) => class.into(),
            _ => usize::MAX,
        };
        write(class_index, class)?;
        write(evidence, watch.evidence())
    };
    Status::of(copy())
}

/// Forgets the alarm and all evidence, not what was counted.
///
/// # Safety
/// As bitsback_watch_look.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_reset(watch: *mut BitsbackWatch) -> Status {
    // SAFETY: the caller's promise.
    Status::of(unsafe { started(watch) }.map(|started| started.watch.reset()))
}

/// Ends a trial that went well: forgets all evidence. An alarm stays.
///
/// # Safety
/// As bitsback_watch_look.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_settle(watch: *mut BitsbackWatch) -> Status {
    // SAFETY: the caller's promise.
    Status::of(unsafe { started(watch) }.map(|started| started.watch.settle()))
}

/// Writes the record of what was counted, to be sent home, and starts counting anew. `window` is the device's
/// number of it. A record counts at most 4,095 inferences.
///
/// # Safety
/// As bitsback_watch_look; `record` points to BITSBACK_RECORD_LEN bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitsback_watch_record(
    watch: *mut BitsbackWatch,
    network: *const Bitsback,
    window: u16,
    record: *mut u8,
) -> Status {
    // SAFETY: the caller's promise, which is that of all.
    let copy = || unsafe {
        let Started { sentinel, watch, .. } = started(watch)?;
        let model = loaded(network)?.model().header().crc;
        let mut bytes = [0; RECORD_LEN];
        watch.record(sentinel, model, window, &mut bytes);
        write(record.cast(), bytes)?;
        watch.start_window();
        Ok(())
    };
    Status::of(copy())
}

/// Reads the sentinel of what is loaded in `network`, and puts it into `place` with a watch.
///
/// # Safety
/// As bitsback_watch_start.
unsafe fn start(
    watch: *mut BitsbackWatch,
    network: *const Bitsback,
    make: impl FnOnce(&Sentinel<'static>) -> Watch,
) -> Result<(), Status> {
    // SAFETY: the caller's promise.
    let loaded = unsafe { loaded(network) }?;
    let (arena, arena_len) = loaded.arena();
    let (at, len) = (watch as usize, size_of::<BitsbackWatch>());
    let clashes = overlap(at, len, network as usize, size_of::<Bitsback>())
        || overlap(at, len, arena, arena_len);
    if clashes {
        return Err(Status::Overlap);
    }
    // SAFETY: the first word of a `BitsbackWatch`, which the caller lends; null and misaligned are errors of
    // `write`, with the alignment of the whole.
    unsafe { write(watch, BitsbackWatch { opaque: [0; BITSBACK_WATCH_WORDS] }) }?;
    let sentinel = Sentinel::new(loaded.model())?.ok_or(Status::NoSentinel)?;
    let started =
        Started { mark: STARTED, watch: make(&sentinel), sentinel, look: Look::default() };
    // SAFETY: as above; large and aligned enough for a `Started` (asserted above), which needs no drop.
    unsafe { write(watch.cast::<Started>(), started) }
}

/// What `watch` holds.
///
/// # Safety
/// `watch`, unless it is null, points to a [`BitsbackWatch`] whose bytes are initialised and which nobody else
/// uses during `'a`.
unsafe fn started<'a>(watch: *mut BitsbackWatch) -> Result<&'a mut Started, Status> {
    if watch.is_null() {
        return Err(Status::Null);
    }
    if !watch.is_aligned() {
        return Err(Status::Misaligned);
    }
    // SAFETY: the first word of a `BitsbackWatch` (neither null nor misaligned), initialised by the caller's
    // promise; any bits are a u32.
    if unsafe { watch.cast::<u32>().read() } != STARTED {
        return Err(Status::NotLoaded);
    }
    // SAFETY: the mark says STARTED, which `start` alone writes, together with all of a `Started`.
    Ok(unsafe { &mut *watch.cast::<Started>() })
}

#[cfg(test)]
mod tests;
