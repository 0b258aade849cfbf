/*
 * The example of main.c from C++: bitsback.h behind a class that owns network and arena. Both print
 * the same. C++11 is enough; no exception, no allocation, nothing of the standard library but C's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bitsback.h"
#include "digits.h"

/* The file that `bitsback compress` wrote, in flash (see model.S). */
extern "C" const uint8_t model[];
extern "C" const uint8_t model_end[];

/* The same network with a margin: `bitsback margin` wrote how far an answer must lead. */
extern "C" const uint8_t unsure[];
extern "C" const uint8_t unsure_end[];

/* And with a sentinel: `bitsback sentinel` wrote what to expect of the field. */
extern "C" const uint8_t watched[];
extern "C" const uint8_t watched_end[];

namespace {

/* A run of values. */
template <typename T> struct Span {
    T *data;
    size_t len;

    T *begin() const { return data; }
    T *end() const { return data + len; }
};

/* A network and the arena that it uses, neither of which may move while it is loaded. */
template <size_t ArenaLen> class Network {
public:
    Network() = default;
    Network(const Network &) = delete;
    Network &operator=(const Network &) = delete;

    BitsbackStatus load(Span<const uint8_t> bytes)
    {
        return bitsback_load(&net_, bytes.data, bytes.len, arena_, ArenaLen);
    }
    BitsbackStatus load_within(Span<const uint8_t> bytes, uint64_t steps)
    {
        return bitsback_load_within(&net_, bytes.data, bytes.len, arena_, ArenaLen, steps);
    }
    BitsbackStatus set(Span<const uint8_t> raw)
    {
        return bitsback_set_input_bytes(&net_, raw.data, raw.len);
    }
    BitsbackStatus set(Span<const int8_t> values)
    {
        return bitsback_set_input(&net_, values.data, values.len);
    }
    BitsbackStatus set(Span<const float> features)
    {
        return bitsback_set_input_features(&net_, features.data, features.len);
    }
    Span<int8_t> input() const
    {
        Span<int8_t> values = {nullptr, 0};
        values.data = bitsback_input(&net_, &values.len);
        return values;
    }
    Span<const int8_t> output() const
    {
        Span<const int8_t> values = {nullptr, 0};
        values.data = bitsback_output(&net_, &values.len);
        return values;
    }
    BitsbackStatus scale(float &step, int32_t &zero_point) const
    {
        return bitsback_output_scale(&net_, &step, &zero_point);
    }
    BitsbackStatus run(size_t &class_index)
    {
        const BitsbackStatus status = bitsback_run(&net_);
        return status == BITSBACK_STATUS_OK ? bitsback_class(&net_, &class_index) : status;
    }
    BitsbackStatus decide(size_t &class_index)
    {
        const BitsbackStatus status = bitsback_run(&net_);
        return status == BITSBACK_STATUS_OK ? bitsback_decision(&net_, &class_index) : status;
    }
    size_t weights_len() const
    {
        return bitsback_weights_len(&net_);
    }
    BitsbackStatus unpack(Span<uint8_t> weights)
    {
        return bitsback_unpack(&net_, weights.data, weights.len);
    }
    BitsbackStatus run_unpacked(size_t &class_index)
    {
        const BitsbackStatus status = bitsback_run_unpacked(&net_);
        return status == BITSBACK_STATUS_OK ? bitsback_class(&net_, &class_index) : status;
    }
    BitsbackStatus name(size_t class_index, Span<const char> &text) const
    {
        return bitsback_class_name(&net_, class_index, &text.data, &text.len);
    }

    BitsbackStatus watch()
    {
        return bitsback_watch_start(&watch_, &net_);
    }
    BitsbackStatus watch_trial(uint8_t log2_inferences)
    {
        return bitsback_watch_trial(&watch_, &net_, log2_inferences);
    }
    BitsbackStatus watched_run(Span<const uint8_t> raw)
    {
        const BitsbackStatus status =
            bitsback_watch_input_bytes(&watch_, &net_, raw.data, raw.len);
        return status == BITSBACK_STATUS_OK ? run_and_feed() : status;
    }
    /* On the input that is set. */
    BitsbackStatus watched_run()
    {
        const BitsbackStatus status = bitsback_watch_look(&watch_, &net_);
        return status == BITSBACK_STATUS_OK ? run_and_feed() : status;
    }
    BitsbackStatus alarm(Span<const char> &name, size_t &class_index, uint16_t &evidence)
    {
        return bitsback_watch_alarm(&watch_, &name.data, &name.len, &class_index, &evidence);
    }
    BitsbackStatus record(uint16_t window, uint8_t (&bytes)[BITSBACK_RECORD_LEN])
    {
        return bitsback_watch_record(&watch_, &net_, window, bytes);
    }
    BitsbackStatus forget_alarm()
    {
        return bitsback_watch_reset(&watch_);
    }
    BitsbackStatus settle()
    {
        return bitsback_watch_settle(&watch_);
    }

private:
    BitsbackStatus run_and_feed()
    {
        const BitsbackStatus status = bitsback_run(&net_);
        return status == BITSBACK_STATUS_OK ? bitsback_watch_feed(&watch_, &net_) : status;
    }

    Bitsback net_{};
    BitsbackWatch watch_{};
    int8_t arena_[ArenaLen]{};
};

Network<1024> net;
uint8_t weights[8192];
uint32_t received[1024];

int failed(const char *what, BitsbackStatus status)
{
    printf("%s: %s (%" PRIu32 ")\n", what, bitsback_error_text(status),
           static_cast<uint32_t>(status));
    return 1;
}

int classify()
{
    unsigned number = 0;
    for (const auto &digit : digits) {
        size_t found = 0;
        BitsbackStatus status = net.set(Span<const uint8_t>{digit, sizeof digit});
        if (status == BITSBACK_STATUS_OK)
            status = net.run(found);
        if (status != BITSBACK_STATUS_OK)
            return failed("digit", status);
        printf("digit %u: %u, scores", number++, static_cast<unsigned>(found));
        for (const int8_t score : net.output())
            printf(" %d", score);
        printf("\n");
    }
    return 0;
}

int inputs()
{
    int8_t values[sizeof digits[0]];
    float features[sizeof digits[0]];
    size_t found[3] = {};
    BitsbackStatus status = net.set(Span<const uint8_t>{digits[0], sizeof digits[0]});
    if (status != BITSBACK_STATUS_OK || net.input().len != sizeof values)
        return failed("input", status);
    memcpy(values, net.input().data, sizeof values);
    for (size_t i = 0; i < sizeof values; i++)
        features[i] = static_cast<float>(digits[0][i]) / 255.0f;

    status = net.set(Span<const int8_t>{values, sizeof values});
    if (status == BITSBACK_STATUS_OK)
        status = net.run(found[0]);
    if (status != BITSBACK_STATUS_OK)
        return failed("values", status);
    memcpy(net.input().data, values, sizeof values);
    status = net.run(found[1]);
    if (status != BITSBACK_STATUS_OK)
        return failed("in place", status);
    status = net.set(Span<const float>{features, sizeof values});
    if (status == BITSBACK_STATUS_OK)
        status = net.run(found[2]);
    if (status != BITSBACK_STATUS_OK)
        return failed("features", status);
    printf("digit 0 as values: %u, in place: %u, as real numbers: %u\n",
           static_cast<unsigned>(found[0]), static_cast<unsigned>(found[1]),
           static_cast<unsigned>(found[2]));
    return 0;
}

int outputs()
{
    float step = 0;
    int32_t zero_point = 0;
    BitsbackStatus status = net.scale(step, zero_point);
    if (status != BITSBACK_STATUS_OK)
        return failed("scale", status);
    printf("a step of the output is %ld millionths, 0 is %ld\n", static_cast<long>(step * 1e6f),
           static_cast<long>(zero_point));
    Span<const char> text = {nullptr, 0};
    status = net.name(7, text);
    if (status == BITSBACK_STATUS_OK)
        printf("class 7 is called %.*s\n", static_cast<int>(text.len), text.data);
    else
        printf("class 7: %s\n", bitsback_error_text(status));
    return 0;
}

int unpacked()
{
    size_t found = 0;
    BitsbackStatus status = net.unpack(Span<uint8_t>{weights, sizeof weights});
    if (status == BITSBACK_STATUS_OK)
        status = net.set(Span<const uint8_t>{digits[0], sizeof digits[0]});
    if (status == BITSBACK_STATUS_OK)
        status = net.run_unpacked(found);
    if (status != BITSBACK_STATUS_OK)
        return failed("unpacked", status);
    printf("digit 0 with weights in %u bytes: %u\n", static_cast<unsigned>(net.weights_len()),
           static_cast<unsigned>(found));
    return 0;
}

int doubts(Span<const uint8_t> bytes)
{
    BitsbackStatus status = net.load(bytes);
    if (status != BITSBACK_STATUS_OK)
        return failed("load with a margin", status);
    unsigned number = 0;
    for (const auto &digit : digits) {
        size_t found = 0;
        status = net.set(Span<const uint8_t>{digit, sizeof digit});
        if (status == BITSBACK_STATUS_OK)
            status = net.decide(found);
        if (status == BITSBACK_STATUS_OK)
            printf("digit %u with a margin: %u\n", number++, static_cast<unsigned>(found));
        else if (status == BITSBACK_STATUS_UNSURE)
            printf("digit %u with a margin: %s\n", number++, bitsback_error_text(status));
        else
            return failed("decision", status);
    }
    return 0;
}

int darkness(const char *when)
{
    static const uint8_t dark[sizeof digits[0]] = {};
    unsigned count = 0;
    BitsbackStatus status = BITSBACK_STATUS_OK;
    while (status == BITSBACK_STATUS_OK && count < 100) {
        status = net.watched_run(Span<const uint8_t>{dark, sizeof dark});
        count++;
    }
    if (status != BITSBACK_STATUS_ALARM)
        return failed("an alarm", status);
    Span<const char> name = {nullptr, 0};
    size_t class_index = 0;
    uint16_t evidence = 0;
    status = net.alarm(name, class_index, evidence);
    if (status != BITSBACK_STATUS_OK)
        return failed("the alarm's cause", status);
    printf("%s: %.*s after %u dark inputs, %u bits\n", when, static_cast<int>(name.len), name.data,
           count, static_cast<unsigned>(evidence / 16));
    return 0;
}

int change(Span<const uint8_t> bytes)
{
    BitsbackStatus status = net.load(bytes);
    if (status == BITSBACK_STATUS_OK)
        status = net.watch();
    for (const auto &digit : digits)
        if (status == BITSBACK_STATUS_OK)
            status = net.watched_run(Span<const uint8_t>{digit, sizeof digit});
    if (status == BITSBACK_STATUS_OK)
        status = net.set(Span<const uint8_t>{digits[0], sizeof digits[0]});
    if (status == BITSBACK_STATUS_OK)
        status = net.watched_run();
    if (status != BITSBACK_STATUS_OK)
        return failed("a sentinel", status);
    if (darkness("changed") != 0)
        return 1;
    uint8_t record[BITSBACK_RECORD_LEN];
    status = net.record(1, record);
    if (status == BITSBACK_STATUS_OK)
        status = net.forget_alarm();
    if (status != BITSBACK_STATUS_OK)
        return failed("a record", status);
    printf("a record of %u bytes, of %u inputs\n", static_cast<unsigned>(sizeof record),
           record[7] + 256u * (record[8] & 15u));

    status = net.watch_trial(10);
    if (status != BITSBACK_STATUS_OK)
        return failed("a trial", status);
    if (darkness("on trial") != 0)
        return 1;
    status = net.forget_alarm();
    if (status == BITSBACK_STATUS_OK)
        status = net.settle();
    return status == BITSBACK_STATUS_OK ? 0 : failed("the trial's end", status);
}

int hurry(Span<const uint8_t> bytes)
{
    BitsbackStatus status = net.load_within(bytes, 1000);
    if (status != BITSBACK_STATUS_MODEL_STEPS)
        return failed("a limit of 1000 steps", status);
    printf("within 1000 steps: %s\n", bitsback_error_text(status));
    status = net.load_within(bytes, 1000000);
    return status == BITSBACK_STATUS_OK ? 0 : failed("a limit of 1000000 steps", status);
}

int damage(Span<const uint8_t> bytes)
{
    if (bytes.len > sizeof received)
        return failed("too long to be received", BITSBACK_STATUS_MODEL_LENGTH);
    uint8_t *const copy = reinterpret_cast<uint8_t *>(received);
    memcpy(copy, bytes.data, bytes.len);
    copy[bytes.len / 2] ^= 1;
    BitsbackStatus status = net.load(Span<const uint8_t>{copy, bytes.len});
    if (status != BITSBACK_STATUS_MODEL_DAMAGED)
        return failed("a damaged model", status);
    printf("damaged model: %s\n", bitsback_error_text(status));
    size_t found = 0;
    status = net.run(found);
    if (status != BITSBACK_STATUS_NOT_LOADED)
        return failed("a run without a model", status);
    printf("then a run: %s\n", bitsback_error_text(status));
    return 0;
}

} // namespace

int main()
{
    const Span<const uint8_t> bytes = {model, static_cast<size_t>(model_end - model)};
    printf("%u bytes of model, %u of arena\n", static_cast<unsigned>(bytes.len),
           static_cast<unsigned>(bitsback_arena_len(bytes.data, bytes.len)));
    const BitsbackStatus status = net.load(bytes);
    if (status != BITSBACK_STATUS_OK)
        return failed("load", status);
    const Span<const uint8_t> margin = {unsure, static_cast<size_t>(unsure_end - unsure)};
    const Span<const uint8_t> sentinel = {watched, static_cast<size_t>(watched_end - watched)};
    const bool wrong = classify() != 0 || inputs() != 0 || outputs() != 0 || unpacked() != 0 ||
                       doubts(margin) != 0 || change(sentinel) != 0 || hurry(bytes) != 0;
    return wrong ? 1 : damage(bytes);
}
