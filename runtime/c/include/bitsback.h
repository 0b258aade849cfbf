/*
 * bitsback: integer inference for compressed neural networks, from C.
 *
 *   alignas(BITSBACK_MODEL_ALIGNMENT) static const uint8_t model[] = { ... };   the .bbk file
 *   static int8_t arena[960];                            bitsback inspect model.bbk says how long
 *   static Bitsback net;
 *
 *   if (bitsback_load(&net, model, sizeof model, arena, sizeof arena) != BITSBACK_STATUS_OK) ...
 *   bitsback_set_input_bytes(&net, pixels, sizeof pixels);
 *   bitsback_run(&net);
 *   size_t class_index;
 *   bitsback_class(&net, &class_index);
 *
 * No function allocates, recurses, locks, or keeps state of its own: everything is in the caller's
 * Bitsback and arena. Two networks may run in two threads; one network in one thread at a time.
 * Every function checks its arguments and returns a code; none aborts. What cannot be checked is
 * said in each function's comment: that pointers point to what they say.
 */


#ifndef BITSBACK_H
#define BITSBACK_H

/* Written by cargo xtask c --header from runtime/c. Don't edit. */

#include <stddef.h>
#include <stdint.h>

// A model must begin at a multiple of this many bytes, so that kernels can load its words.
#define BITSBACK_MODEL_ALIGNMENT 4

// The most steps of an inference that bitsback_load takes: more than ResNet-50's, and many minutes of
// a small core. For less, use bitsback_load_within.
#define BITSBACK_STEPS_MOST 8589934592

// Words of a Bitsback: more than it needs today, so that a later version can use some more
// without a change for its callers.
#define BITSBACK_WORDS 32

// Words of a BitsbackWatch, some of them for later versions.
#define BITSBACK_WATCH_WORDS 36

// Bytes of the record of a window.
#define BITSBACK_RECORD_LEN 58

// Done, or why not. The values never change their meaning; later versions may add some.
enum BitsbackStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  BITSBACK_STATUS_OK = 0,
  // An argument is a null pointer.
  BITSBACK_STATUS_NULL = 1,
  // The model doesn't begin at a multiple of BITSBACK_MODEL_ALIGNMENT, or another argument not
  // at a multiple of what its type asks for.
  BITSBACK_STATUS_MISALIGNED = 2,
  // Nothing is loaded: bitsback_load wasn't called, or failed.
  BITSBACK_STATUS_NOT_LOADED = 3,
  // Model, arena, network and data must not overlap.
  BITSBACK_STATUS_OVERLAP = 4,
  // The arena is shorter than bitsback_arena_len says.
  BITSBACK_STATUS_ARENA_TOO_SMALL = 5,
  // The data have another length than the network's input.
  BITSBACK_STATUS_INPUT_LENGTH = 6,
  // The model doesn't say how raw bytes become inputs: use bitsback_set_input.
  BITSBACK_STATUS_INPUT_NOT_BYTES = 7,
  // There is no such class, or the model has no names of classes.
  BITSBACK_STATUS_NO_SUCH_CLASS = 8,
  // The bytes are no .bbk file.
  BITSBACK_STATUS_NOT_A_MODEL = 9,
  // The model's format or arithmetic is of another version: update this library.
  BITSBACK_STATUS_MODEL_VERSION = 10,
  // The model is truncated, or followed by other bytes.
  BITSBACK_STATUS_MODEL_LENGTH = 11,
  // The model's checksum is wrong: it was damaged on its way.
  BITSBACK_STATUS_MODEL_DAMAGED = 12,
  // The checksum is right, but what it protects is no sound model.
  BITSBACK_STATUS_MODEL_INVALID = 13,
  // This library was built without an operator that the model uses.
  BITSBACK_STATUS_MODEL_OPERATORS = 14,
  // One inference would take more steps than the caller of bitsback_load_within allows, or than
  // BITSBACK_STEPS_MOST.
  BITSBACK_STATUS_MODEL_STEPS = 15,
  // The model isn't sure: no output is as far above all others as its file's margin says.
  BITSBACK_STATUS_UNSURE = 16,
  // The model's file has no sentinel.
  BITSBACK_STATUS_NO_SENTINEL = 17,
  // The model's sentinel is of no use: a bet in it isn't proved, or it is of another model.
  BITSBACK_STATUS_SENTINEL_INVALID = 18,
  // The sentinel is in alarm: the field doesn't look like the reference any more.
  BITSBACK_STATUS_ALARM = 19,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum BitsbackStatus BitsbackStatus;
#else
typedef uint32_t BitsbackStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A loaded network, in the caller's memory: static, or on a stack that outlives it. Its inside is
// the library's business. Filled with zeros it is valid, and not loaded.
typedef struct {
  // The library's.
  uint64_t opaque[BITSBACK_WORDS];
} Bitsback;

// What the sentinel of a network keeps, in the caller's memory. Its inside is the library's business. Filled with
// zeros it is valid, and not started.
typedef struct {
  // The library's.
  uint64_t opaque[BITSBACK_WATCH_WORDS];
} BitsbackWatch;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Bytes of arena that a model needs; 0 when the bytes are no model. Only the header is read.
//
// The caller promises:
// model points to model_len bytes.
size_t bitsback_arena_len(const uint8_t *model, size_t model_len);

// Checks a model and loads it: every byte is checked here, and never again. On failure nothing is
// loaded; where the network itself overlaps model or arena, nothing is written either. A network may
// be loaded anew at any time. As bitsback_load_within with BITSBACK_STEPS_MOST.
//
// The caller promises:
// network points to memory for a Bitsback, model to model_len bytes, and arena to
// arena_len values. The model must stay where it is and unchanged, and the arena be used by
// nobody else, as long as the network is used. The model is not copied.
BitsbackStatus bitsback_load(Bitsback *network,
                             const uint8_t *model,
                             size_t model_len,
                             int8_t *arena,
                             size_t arena_len);

// As bitsback_load, of a model that takes at most so many elementary steps (multiply-accumulates,
// comparisons) an inference. A core takes one to some hundred cycles for a step, mostly less than
// ten: measure one model to know.
//
// The caller promises:
// As bitsback_load.
BitsbackStatus bitsback_load_within(Bitsback *network,
                                    const uint8_t *model,
                                    size_t model_len,
                                    int8_t *arena,
                                    size_t arena_len,
                                    uint64_t most_steps);

// The quantised input, to be written before each run, which may reuse its place; its length goes
// to len. Null when nothing is loaded.
//
// The caller promises:
// network points to a Bitsback that holds zeros or was given to bitsback_load; len to a
// size, or is null.
int8_t *bitsback_input(const Bitsback *network, size_t *len);

// Sets the input from quantised values.
//
// The caller promises:
// As bitsback_input; values points to len values.
BitsbackStatus bitsback_set_input(const Bitsback *network, const int8_t *values, size_t len);

// Sets the input from raw bytes such as pixels, by the model's own integer preprocessing.
//
// The caller promises:
// As bitsback_set_input.
BitsbackStatus bitsback_set_input_bytes(const Bitsback *network, const uint8_t *bytes, size_t len);

// Sets the input from real features, by the model's offsets and scales, or by the input's own
// quantisation where it has none. The only function, with bitsback_output_scale, that knows floats.
//
// The caller promises:
// As bitsback_set_input.
BitsbackStatus bitsback_set_input_features(const Bitsback *network,
                                           const float *features,
                                           size_t len);

// Computes the output from the input. Set the input before every run.
//
// The caller promises:
// As bitsback_input.
BitsbackStatus bitsback_run(const Bitsback *network);

// Bytes that the weights of a loaded model take unpacked, for bitsback_unpack; 0 where none are packed
// or coded, or when nothing is loaded.
//
// The caller promises:
// As bitsback_input.
size_t bitsback_weights_len(const Bitsback *network);

// Unpacks packed and coded weights once, for bitsback_run_unpacked; with fewer bytes than
// bitsback_weights_len says, those that cost most for the room they take.
//
// The caller promises:
// As bitsback_input; weights points to weights_len bytes, which stay where they are and are used by
// nobody else as long as the network is used, or until it is loaded anew.
BitsbackStatus bitsback_unpack(Bitsback *network,
                               uint8_t *weights,
                               size_t weights_len);

// As bitsback_run, with the weights that bitsback_unpack has unpacked: the same outputs in less time. A
// function of its own, so that programs which don't call it don't hold its code.
//
// The caller promises:
// As bitsback_input.
BitsbackStatus bitsback_run_unpacked(const Bitsback *network);

// The quantised output of the last run; its length goes to len. Null when nothing is loaded.
//
// The caller promises:
// As bitsback_input.
const int8_t *bitsback_output(const Bitsback *network, size_t *len);

// Scale and zero point of the output: a value q stands for scale · (q − zero_point).
//
// The caller promises:
// As bitsback_input; scale and zero_point point to a float and an int32_t.
BitsbackStatus bitsback_output_scale(const Bitsback *network, float *scale, int32_t *zero_point);

// The class that the last run found: the model's own argmax, or the position of the largest
// output, the first of equals.
//
// The caller promises:
// As bitsback_input; class_index points to a size.
BitsbackStatus bitsback_class(const Bitsback *network, size_t *class_index);

// The class that the last run found, if the model is sure of it; else BITSBACK_STATUS_UNSURE, and
// class_index stays as it is. A model is sure when its largest output is as far above all others as
// its file's margin says, and one without a margin always is.
//
// The caller promises:
// As bitsback_class.
BitsbackStatus bitsback_decision(const Bitsback *network,
                                 size_t *class_index);

// The name of a class, in UTF-8 and not ended by a zero: print it with %.*s. It is a part of
// the model.
//
// The caller promises:
// As bitsback_input; name and len point to a pointer and a size.
BitsbackStatus bitsback_class_name(const Bitsback *network,
                                   size_t class_index,
                                   const char **name,
                                   size_t *len);

// What a status means and what to do about it, as a sentence that ends with a zero.
const char *bitsback_error_text(uint32_t status);

// Starts the sentinel that is in a loaded network's file, without evidence. Every bet in it is proved again;
// BITSBACK_STATUS_NO_SENTINEL if the file has none.
//
// The caller promises:
// watch points to memory for a BitsbackWatch, network to a Bitsback that holds zeros or was given to
// bitsback_load. The model must stay where it is and unchanged as long as the watch is used.
BitsbackStatus bitsback_watch_start(BitsbackWatch *watch,
                                    const Bitsback *network);

// As bitsback_watch_start, for the trial of a new model of 2^log2_inferences inferences: every bet starts
// with that much evidence, so that a model which is wrong from the first answer on is found sooner.
// bitsback_watch_settle ends the trial.
//
// The caller promises:
// As bitsback_watch_start.
BitsbackStatus bitsback_watch_trial(BitsbackWatch *watch,
                                    const Bitsback *network,
                                    uint8_t log2_inferences);

// Looks at the input of a network, which was just set: between bitsback_set_input (or one of its
// kind) and bitsback_run.
//
// The caller promises:
// As bitsback_watch_start, of a watch that holds zeros or was started with this network.
BitsbackStatus bitsback_watch_look(BitsbackWatch *watch, const Bitsback *network);

// As bitsback_set_input_bytes and bitsback_watch_look, in one pass over the bytes.
//
// The caller promises:
// As bitsback_watch_look; bytes points to len bytes.
BitsbackStatus bitsback_watch_input_bytes(BitsbackWatch *watch,
                                          const Bitsback *network,
                                          const uint8_t *bytes,
                                          size_t len);

// Takes the last run in: to be called once after each bitsback_run. BITSBACK_STATUS_ALARM from the first alarm
// on, until bitsback_watch_reset.
//
// The caller promises:
// As bitsback_watch_look.
BitsbackStatus bitsback_watch_feed(BitsbackWatch *watch,
                                   const Bitsback *network);

// Why there is an alarm: what the bet with most evidence is on, in UTF-8 and not ended by a zero; its class,
// if the name is class, else SIZE_MAX; and the evidence in sixteenths of a bit. Without an alarm the name
// is empty, and the evidence is the highest of all bets.
//
// The caller promises:
// watch as in bitsback_watch_look; the others point to what their types say.
BitsbackStatus bitsback_watch_alarm(BitsbackWatch *watch,
                                    const char **name,
                                    size_t *name_len,
                                    size_t *class_index,
                                    uint16_t *evidence);

// Forgets the alarm and all evidence, not what was counted.
//
// The caller promises:
// As bitsback_watch_look.
BitsbackStatus bitsback_watch_reset(BitsbackWatch *watch);

// Ends a trial that went well: forgets all evidence. An alarm stays.
//
// The caller promises:
// As bitsback_watch_look.
BitsbackStatus bitsback_watch_settle(BitsbackWatch *watch);

// Writes the record of what was counted, to be sent home, and starts counting anew. window is the device's
// number of it. A record counts at most 4,095 inferences.
//
// The caller promises:
// As bitsback_watch_look; record points to BITSBACK_RECORD_LEN bytes.
BitsbackStatus bitsback_watch_record(BitsbackWatch *watch,
                                     const Bitsback *network,
                                     uint16_t window,
                                     uint8_t *record);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BITSBACK_H */
