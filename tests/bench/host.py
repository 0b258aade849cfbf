"""Times ONNX Runtime for `cargo xtask bench host`: models that take turns, seconds an example.

    host.py --batch 64 --threads 1 --seconds 0.5 float.onnx qdq.onnx

prints {"version": ..., "seconds": [of the first model, of the second]}: the mean over calls.
"""

import argparse
import json
import time

import numpy as np
import onnxruntime


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def seconds(session, batch, limit):
    (wanted,) = session.get_inputs()
    values = np.random.default_rng(1).random((batch, *wanted.shape[1:]), dtype=np.float32)
    run = lambda: session.run(None, {wanted.name: values})
    run()
    calls, start = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() < start + limit:
        run()
        calls += 1
    return (time.perf_counter() - start) / calls / batch


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    found = [seconds(session(path, args.threads), args.batch, args.seconds) for path in args.models]
    print(json.dumps({"version": onnxruntime.__version__, "seconds": found}))


main()
