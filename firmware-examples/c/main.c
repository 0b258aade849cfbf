/*
 * The first example, from C: a compressed model tells handwritten digits apart, and a damaged one
 * is refused. `cargo xtask c --run` builds and runs it; docs/from-c.md says how to do it by hand.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bitsback.h"
#include "digits.h"

/* The file that `bitsback compress` wrote, in flash (see model.S). */
extern const uint8_t model[];
extern const uint8_t model_end[];

/* As `bitsback inspect` says; bitsback_load refuses an arena that is too short. */
static int8_t arena[1024];
static Bitsback net;

/* RAM that a model is received into, say, over the air: a word's alignment is enough. */
static uint32_t received[4096 / sizeof(uint32_t)];

static int failed(const char *what, BitsbackStatus status)
{
    printf("%s: %s (%" PRIu32 ")\n", what, bitsback_error_text(status), (uint32_t)status);
    return 1;
}

/* Tells the digits apart with the model that is loaded. */
static int classify(void)
{
    for (size_t i = 0; i < sizeof digits / sizeof digits[0]; i++) {
        BitsbackStatus status = bitsback_set_input_bytes(&net, digits[i], sizeof digits[i]);
        if (status == BITSBACK_STATUS_OK)
            status = bitsback_run(&net);
        size_t class_index = 0;
        if (status == BITSBACK_STATUS_OK)
            status = bitsback_class(&net, &class_index);
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
    if (classify() != 0)
        return 1;
    return damage(model_len);
}
