"""Exported programs on several threads, from C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphc.exporting import export_graph
from graphc.runtime.artifact import load_program
from tests.export.c_programs import build, needs_cc, needs_valgrind, run
from tests.fusion.training_graphs import arguments, mlp

pytestmark = needs_cc

GRAPH = mlp("momentum", (70, 300, 150, 10), 130)

DRIVER = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "step.h"

static float x[130 * 70];
static int64_t labels[130];
static double rate;

static void *read_into(const char *path, void *data, size_t size) {
    FILE *file = fopen(path, "rb");
    if (!file || fread(data, 1, size, file) != size) exit(10);
    fclose(file);
    return data;
}

static void train(step *self, int steps) {
    float loss;
    for (int i = 0; i < steps; i++)
        if (step_step(self, x, labels, &rate, &loss)) exit(11);
}

static void *train_one(void *self) {
    train(self, 20);
    return NULL;
}

/* FOLDER THREADS MODE */
int main(int argc, char **argv) {
    if (argc != 4 || chdir(argv[1])) return 12;
    read_into("x", x, sizeof x);
    read_into("labels", labels, sizeof labels);
    read_into("rate", &rate, sizeof rate);
    step *self = step_init("step.safetensors"), *other = step_init("step.safetensors");
    if (!self || !other) return 13;
    if (step_threads(self, 0) != -1 || step_threads(self, 257) != -1) return 14;
    if (step_threads(self, atoi(argv[2])) || step_threads(other, atoi(argv[2]))) return 15;
    if (argv[3][0] == 't') { /* two instances from two threads */
        pthread_t thread;
        pthread_create(&thread, NULL, train_one, other);
        train(self, 20);
        pthread_join(thread, NULL);
        step_save(other, "other");
    } else if (argv[3][0] == 'f') { /* half of the steps in a fork, too */
        train(self, 10);
        pid_t child = fork();
        train(self, 10);
        if (!child) {
            step_save(self, "other");
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        if (status) return 16;
    } else { /* another number of threads halfway; the pool ends and starts again */
        train(self, 10);
        step_threads(self, 1);
        train(self, 5);
        step_save(self, "middle");
        step_free(self);
        step_free(other);
        self = step_init("middle");
        other = NULL;
        step_threads(self, atoi(argv[2]));
        train(self, 5);
    }
    step_save(self, "self");
    step_free(self);
    step_free(other);
    printf("done\n");
    return 0;
}
"""


def exported(folder: Path, target: str = "host") -> tuple[Path, bytes]:
    """The program, and what 20 steps on one thread leave behind, as Python runs it."""
    inputs, states = arguments(GRAPH)
    export_graph(GRAPH, states, folder / "step", target=target)
    by_name = dict(zip([v.name for v in GRAPH.inputs], inputs, strict=True))
    for name, file in (("x", "x"), ("labels", "labels"), ("lr", "rate")):
        np.asarray(by_name[name]).tofile(folder / file)
    program = load_program(folder / "step")
    for _ in range(20):
        program.run(inputs)
    program.save(folder / "expected")
    return build(folder, DRIVER, [folder / "step.so"]), (folder / "expected").read_bytes()


@pytest.mark.parametrize("mode", ["threads", "fork", "again"])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_same_bits_in_c(tmp_path: Path, threads: int, mode: str) -> None:
    program, expected = exported(tmp_path)
    assert run(program, tmp_path, str(threads), mode) == "done\n"
    assert (tmp_path / "self").read_bytes() == expected
    if mode != "again":
        assert (tmp_path / "other").read_bytes() == expected


@needs_valgrind
def test_memory_is_sound_on_threads(tmp_path: Path) -> None:
    """Everything is given back at the end, the threads' stacks included."""
    program, _ = exported(tmp_path, "x86-64-v3")
    assert run(program, tmp_path, "3", "again", valgrind=True) == "done\n"
