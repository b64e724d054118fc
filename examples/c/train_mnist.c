/* Trains an MLP on MNIST through an exported step: no Python, no graphc, no BLAS in the process.

   usage: train_mnist MNIST_DIR ARTIFACT_DIR [EPOCHS [THREADS]]

   MNIST_DIR holds the four IDX files, gzipped or not; ARTIFACT_DIR what export.py wrote. Prints the loss, the test
   accuracy and the time of a step of every epoch, and leaves the trained weights in ARTIFACT_DIR/trained.safetensors:
   the same bits for any number of threads. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "evaluate.h"
#include "train_step.h"

enum { PIXELS = 28 * 28, TRAIN_BATCH = 64, TEST_BATCH = 100 };

typedef struct {
    size_t count;
    uint8_t *bytes; /* count records, one after another */
} records;

static void fail(const char *what, const char *detail) {
    fprintf(stderr, "train_mnist: %s: %s\n", what, detail);
    exit(1);
}

static void *allocate(size_t size) {
    void *memory = malloc(size);
    if (!memory) fail("out of memory", "malloc");
    return memory;
}

/* One IDX file (http://yann.lecun.com/exdb/mnist): 0 0 8 ndim, big-endian u32 per dimension, then bytes. */
static records read_idx(const char *folder, const char *name, size_t record_size) {
    char path[4096], command[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    int piped = file == NULL;
    if (piped) {
        if (strchr(path, '\'')) fail("cannot unpack a path with a quote in it", path);
        snprintf(command, sizeof command, "gzip -dc '%s.gz' 2>/dev/null", path);
        file = popen(command, "r");
    }
    uint8_t head[4], extent[4];
    if (!file || fread(head, 1, 4, file) != 4) fail("cannot read this file, nor it with .gz behind its name", path);
    if (head[0] || head[1] || head[2] != 8 || !head[3]) fail("not an IDX file of bytes", path);
    records found = {0, NULL};
    size_t per_record = 1;
    for (int i = 0; i < head[3]; i++) {
        if (fread(extent, 1, 4, file) != 4) fail("truncated header", path);
        size_t n = (size_t)extent[0] << 24 | (size_t)extent[1] << 16 | (size_t)extent[2] << 8 | extent[3];
        if (i == 0) found.count = n;
        else per_record *= n;
    }
    if (per_record != record_size) fail("records of an unexpected size", path);
    found.bytes = allocate(found.count * record_size);
    if (fread(found.bytes, record_size, found.count, file) != found.count) fail("truncated data", path);
    if (piped) pclose(file);
    else fclose(file);
    return found;
}

/* Copy records order[0..batch) into a batch of images in [0, 1] and labels. */
static void gather(const records *x, const records *y, const uint32_t *order, size_t batch, float *images,
                   int64_t *labels) {
    for (size_t i = 0; i < batch; i++) {
        const uint8_t *pixels = x->bytes + (size_t)order[i] * PIXELS;
        for (size_t j = 0; j < PIXELS; j++) images[i * PIXELS + j] = (float)pixels[j] / 255.0f;
        labels[i] = y->bytes[order[i]];
    }
}

static uint64_t random_state = 88172645463325252u;

/* xorshift64 (Marsaglia, "Xorshift RNGs", 2003) */
static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void shuffle(uint32_t *order, size_t count) {
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = next_random() % (i + 1);
        uint32_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

static uint32_t *identity(size_t count) {
    uint32_t *order = allocate(count * sizeof *order);
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    return order;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The two programs have states of their own: hand the trained weights over. */
#define COPY_STATE(from, to, NAME) \
    memcpy(evaluate_state(to, EVALUATE_STATE_##NAME), train_step_state(from, TRAIN_STEP_STATE_##NAME), \
           EVALUATE_BYTES_##NAME)

static void copy_weights(train_step *from, evaluate *to) {
    COPY_STATE(from, to, FC1_WEIGHT);
    COPY_STATE(from, to, FC1_BIAS);
    COPY_STATE(from, to, FC2_WEIGHT);
    COPY_STATE(from, to, FC2_BIAS);
}

int main(int argc, char **argv) {
    if (argc < 3) fail("usage", "train_mnist MNIST_DIR ARTIFACT_DIR [EPOCHS]");
    int epochs = argc > 3 ? atoi(argv[3]) : 3;
    records train_x = read_idx(argv[1], "train-images-idx3-ubyte", PIXELS);
    records train_y = read_idx(argv[1], "train-labels-idx1-ubyte", 1);
    records test_x = read_idx(argv[1], "t10k-images-idx3-ubyte", PIXELS);
    records test_y = read_idx(argv[1], "t10k-labels-idx1-ubyte", 1);
    if (train_x.count != train_y.count || test_x.count != test_y.count)
        fail("images and labels differ in number", argv[1]);
    size_t steps = train_x.count / TRAIN_BATCH, test_batches = test_x.count / TEST_BATCH;
    if (!steps || !test_batches) fail("fewer images than one batch", argv[1]);

    char path[4096];
    snprintf(path, sizeof path, "%s/train_step.safetensors", argv[2]);
    train_step *step = train_step_init(path);
    evaluate *test = evaluate_init(NULL);
    if (!step || !test) fail("cannot read the initial states", path);
    if (argc > 4 && train_step_threads(step, atoi(argv[4]))) fail("not a number of threads", argv[4]);
    double *rate = train_step_state(step, TRAIN_STEP_STATE_OPTIMIZER_LR);
    const double first_rate = *rate;

    static float images[TEST_BATCH * PIXELS];
    static int64_t labels[TEST_BATCH], predictions[TEST_BATCH];
    uint32_t *order = identity(train_x.count), *test_order = identity(test_x.count);
    for (int epoch = 0; epoch < epochs; epoch++) {
        *rate = first_rate * (1.0 - 0.9 * epoch / (epochs > 1 ? epochs - 1 : 1)); /* down to a tenth */
        shuffle(order, train_x.count);
        double total = 0, taken = 0;
        for (size_t i = 0; i < steps; i++) {
            float loss;
            gather(&train_x, &train_y, order + i * TRAIN_BATCH, TRAIN_BATCH, images, labels);
            const double start = now();
            int32_t status = train_step_step(step, images, labels, &loss);
            taken += now() - start;
            if (status) fail("the step failed", train_step_message(status));
            total += loss;
        }
        copy_weights(step, test);
        size_t right = 0;
        for (size_t i = 0; i < test_batches; i++) {
            gather(&test_x, &test_y, test_order + i * TEST_BATCH, TEST_BATCH, images, labels);
            int32_t status = evaluate_step(test, images, predictions);
            if (status) fail("the evaluation failed", evaluate_message(status));
            for (size_t j = 0; j < TEST_BATCH; j++) right += predictions[j] == labels[j];
        }
        printf("epoch %d: loss %.4f, test accuracy %.4f, %.1f us a step\n", epoch + 1, total / (double)steps,
               (double)right / (double)(test_batches * TEST_BATCH), 1e6 * taken / (double)steps);
        fflush(stdout);
    }
    snprintf(path, sizeof path, "%s/trained.safetensors", argv[2]);
    if (train_step_save(step, path)) fail("cannot write", path);
    train_step_free(step);
    evaluate_free(test);
    free(order);
    free(test_order);
    free(train_x.bytes);
    free(train_y.bytes);
    free(test_x.bytes);
    free(test_y.bytes);
    return 0;
}
