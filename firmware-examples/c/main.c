/*
 * The first example, from C: a compressed model tells handwritten digits apart, and a damaged one
 * is refused; between them, every other function of bitsback.h. `cargo xtask c --run` builds and
 * runs it; docs/from-c.md says how to do it by hand.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bitsback.h"
#include "digits.h"

/* The file that `bitsback compress` wrote, in flash (see model.S). */
extern const uint8_t model[];
extern const uint8_t model_end[];

/* The same network with a margin: `bitsback margin` wrote how far an answer must lead. */
extern const uint8_t unsure[];
extern const uint8_t unsure_end[];

/* And with a sentinel: `bitsback sentinel` wrote what to expect of the field. */
extern const uint8_t watched[];
extern const uint8_t watched_end[];

/* As `bitsback inspect` says; bitsback_load refuses an arena that is too short. */
static int8_t arena[1024];
static Bitsback net;
static BitsbackWatch watch;

/* RAM for weights that are unpacked once; shorter ones hold some of them. */
static uint8_t weights[8192];

/* RAM that a model is received into, say, over the air: a word's alignment is enough. */
static uint32_t received[4096 / sizeof(uint32_t)];

static int failed(const char *what, BitsbackStatus status)
{
    printf("%s: %s (%" PRIu32 ")\n", what, bitsback_error_text(status), (uint32_t)status);
    return 1;
}

/* Runs the model on the input that is set, and finds the class. */
static BitsbackStatus run(size_t *class_index)
{
    BitsbackStatus status = bitsback_run(&net);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_class(&net, class_index);
    return status;
}

/* Tells the digits apart with the model that is loaded. */
static int classify(void)
{
    for (size_t i = 0; i < sizeof digits / sizeof digits[0]; i++) {
        size_t class_index = 0;
        BitsbackStatus status = bitsback_set_input_bytes(&net, digits[i], sizeof digits[i]);
        if (status == BITSBACK_STATUS_OK)
            status = run(&class_index);
        if (status != BITSBACK_STATUS_OK)
            return failed("digit", status);

        size_t scores = 0;
        const int8_t *output = bitsback_output(&net, &scores);
        printf("digit %u: %u, scores", (unsigned)i, (unsigned)class_index);
        for (size_t j = 0; j < scores; j++)
            printf(" %d", output[j]);
        printf("\n");
    }
    return 0;
}

/* The other ways to set an input: quantised values, given or written in place, and real ones. */
static int inputs(void)
{
    int8_t values[sizeof digits[0]];
    float features[sizeof digits[0]];
    size_t len = 0, given = 0, in_place = 0, real = 0;

    BitsbackStatus status = bitsback_set_input_bytes(&net, digits[0], sizeof digits[0]);
    int8_t *input = bitsback_input(&net, &len);
    if (status != BITSBACK_STATUS_OK || input == NULL || len != sizeof values)
        return failed("input", status);
    memcpy(values, input, len);
    for (size_t i = 0; i < len; i++)
        features[i] = (float)digits[0][i] / 255.0f;

    status = bitsback_set_input(&net, values, len);
    if (status == BITSBACK_STATUS_OK)
        status = run(&given);
    if (status != BITSBACK_STATUS_OK)
        return failed("values", status);
    memcpy(bitsback_input(&net, NULL), values, len);
    status = run(&in_place);
    if (status != BITSBACK_STATUS_OK)
        return failed("in place", status);
    status = bitsback_set_input_features(&net, features, len);
    if (status == BITSBACK_STATUS_OK)
        status = run(&real);
    if (status != BITSBACK_STATUS_OK)
        return failed("features", status);
    printf("digit 0 as values: %u, in place: %u, as real numbers: %u\n", (unsigned)given,
           (unsigned)in_place, (unsigned)real);
    return 0;
}

/* What the outputs stand for, and what classes are called. */
static int outputs(void)
{
    float scale = 0;
    int32_t zero_point = 0;
    BitsbackStatus status = bitsback_output_scale(&net, &scale, &zero_point);
    if (status != BITSBACK_STATUS_OK)
        return failed("scale", status);
    printf("a step of the output is %ld millionths, 0 is %ld\n", (long)(scale * 1e6f),
           (long)zero_point);

    const char *name = NULL;
    size_t len = 0;
    status = bitsback_class_name(&net, 7, &name, &len);
    if (status == BITSBACK_STATUS_OK)
        printf("class 7 is called %.*s\n", (int)len, name);
    else
        printf("class 7: %s\n", bitsback_error_text(status));
    return 0;
}

/* The same outputs, sooner: weights are unpacked once, into RAM that is to spare. */
static int unpacked(void)
{
    size_t class_index = 0;
    const size_t len = bitsback_weights_len(&net);
    BitsbackStatus status = bitsback_unpack(&net, weights, sizeof weights);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_set_input_bytes(&net, digits[0], sizeof digits[0]);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_run_unpacked(&net);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_class(&net, &class_index);
    if (status != BITSBACK_STATUS_OK)
        return failed("unpacked", status);
    printf("digit 0 with weights in %u bytes: %u\n", (unsigned)len, (unsigned)class_index);
    return 0;
}

/* A model that says when it isn't sure. */
static int doubts(void)
{
    BitsbackStatus status =
        bitsback_load(&net, unsure, (size_t)(unsure_end - unsure), arena, sizeof arena);
    if (status != BITSBACK_STATUS_OK)
        return failed("load with a margin", status);
    for (size_t i = 0; i < sizeof digits / sizeof digits[0]; i++) {
        size_t class_index = 0;
        status = bitsback_set_input_bytes(&net, digits[i], sizeof digits[i]);
        if (status == BITSBACK_STATUS_OK)
            status = bitsback_run(&net);
        if (status == BITSBACK_STATUS_OK)
            status = bitsback_decision(&net, &class_index);
        if (status == BITSBACK_STATUS_OK)
            printf("digit %u with a margin: %u\n", (unsigned)i, (unsigned)class_index);
        else if (status == BITSBACK_STATUS_UNSURE)
            printf("digit %u with a margin: %s\n", (unsigned)i, bitsback_error_text(status));
        else
            return failed("decision", status);
    }
    return 0;
}

/* Runs the model on an input, and lets the sentinel know; BITSBACK_STATUS_ALARM is its answer. */
static BitsbackStatus watched_run(const uint8_t *pixels, size_t len)
{
    BitsbackStatus status = bitsback_watch_input_bytes(&watch, &net, pixels, len);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_run(&net);
    return status == BITSBACK_STATUS_OK ? bitsback_watch_feed(&watch, &net) : status;
}

/* Runs the model on inputs without light until the sentinel says that something has changed. */
static int darkness(const char *when)
{
    static const uint8_t dark[sizeof digits[0]];
    unsigned count = 0;
    BitsbackStatus status = BITSBACK_STATUS_OK;
    while (status == BITSBACK_STATUS_OK && count < 100) {
        status = watched_run(dark, sizeof dark);
        count++;
    }
    if (status != BITSBACK_STATUS_ALARM)
        return failed("an alarm", status);
    const char *name = NULL;
    size_t name_len = 0, class_index = 0;
    uint16_t evidence = 0;
    status = bitsback_watch_alarm(&watch, &name, &name_len, &class_index, &evidence);
    if (status != BITSBACK_STATUS_OK)
        return failed("the alarm's cause", status);
    printf("%s: %.*s after %u dark inputs, %u bits\n", when, (int)name_len, name, count,
           (unsigned)(evidence / 16));
    return 0;
}

/* A field that changes: the sentinel notices, sooner in a trial, and reports home. */
static int change(void)
{
    BitsbackStatus status =
        bitsback_load(&net, watched, (size_t)(watched_end - watched), arena, sizeof arena);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_watch_start(&watch, &net);
    for (size_t i = 0; i < sizeof digits / sizeof digits[0] && status == BITSBACK_STATUS_OK; i++)
        status = watched_run(digits[i], sizeof digits[i]);
    /* The same in two steps, for inputs that weren't bytes. */
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_set_input_bytes(&net, digits[0], sizeof digits[0]);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_watch_look(&watch, &net);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_run(&net);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_watch_feed(&watch, &net);
    if (status != BITSBACK_STATUS_OK)
        return failed("a sentinel", status);
    if (darkness("changed") != 0)
        return 1;
    uint8_t record[BITSBACK_RECORD_LEN];
    status = bitsback_watch_record(&watch, &net, 1, record);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_watch_reset(&watch);
    if (status != BITSBACK_STATUS_OK)
        return failed("a record", status);
    printf("a record of %u bytes, of %u inputs\n", (unsigned)sizeof record,
           record[7] + 256u * (record[8] & 15u));

    status = bitsback_watch_trial(&watch, &net, 10);
    if (status != BITSBACK_STATUS_OK)
        return failed("a trial", status);
    if (darkness("on trial") != 0)
        return 1;
    status = bitsback_watch_reset(&watch);
    if (status == BITSBACK_STATUS_OK)
        status = bitsback_watch_settle(&watch);
    return status == BITSBACK_STATUS_OK ? 0 : failed("the trial's end", status);
}

/* A device that can't wait: models that take more steps are refused. */
static int hurry(size_t model_len)
{
    BitsbackStatus status =
        bitsback_load_within(&net, model, model_len, arena, sizeof arena, 1000);
    if (status != BITSBACK_STATUS_MODEL_STEPS)
        return failed("a limit of 1000 steps", status);
    printf("within 1000 steps: %s\n", bitsback_error_text(status));
    status = bitsback_load_within(&net, model, model_len, arena, sizeof arena, 1000000);
    return status == BITSBACK_STATUS_OK ? 0 : failed("a limit of 1000000 steps", status);
}

/* One bit of the model is wrong: it is refused, and nothing is loaded afterwards. */
static int damage(size_t model_len)
{
    if (model_len > sizeof received)
        return failed("too long to be received", BITSBACK_STATUS_MODEL_LENGTH);
    memcpy(received, model, model_len);
    ((uint8_t *)received)[model_len / 2] ^= 1;
    BitsbackStatus status =
        bitsback_load(&net, (const uint8_t *)received, model_len, arena, sizeof arena);
    if (status != BITSBACK_STATUS_MODEL_DAMAGED)
        return failed("a damaged model", status);
    printf("damaged model: %s\n", bitsback_error_text(status));

    status = bitsback_run(&net);
    if (status != BITSBACK_STATUS_NOT_LOADED)
        return failed("a run without a model", status);
    printf("then a run: %s\n", bitsback_error_text(status));
    return 0;
}

int main(void)
{
    size_t model_len = (size_t)(model_end - model);
    printf("%u bytes of model, %u of arena\n", (unsigned)model_len,
           (unsigned)bitsback_arena_len(model, model_len));

    BitsbackStatus status = bitsback_load(&net, model, model_len, arena, sizeof arena);
    if (status != BITSBACK_STATUS_OK)
        return failed("load", status);
    if (classify() != 0 || inputs() != 0 || outputs() != 0 || unpacked() != 0)
        return 1;
    if (doubts() != 0 || change() != 0 || hurry(model_len) != 0)
        return 1;
    return damage(model_len);
}
