"""A convolutional network of two layers and a linear one, with its derivative written out by hand.

    [n, 28, 28, 1] conv 3x3 -> 16, relu, max-pool 2 -> [n, 14, 14, 16] conv 3x3 -> 32, relu, max-pool 2 -> [n, 7, 7, 32] linear -> [n, 10]

Images are channels-last here, as in stage 01; the saved file has PyTorch's layouts (`conv.weight [out, in, 3, 3]`, and the linear layer
reads channels first), so that it can be loaded there as it is.
"""

import numpy as np

CHANNELS = (1, 16, 32)
SIDE, CLASSES = 28, 10
FLAT = CHANNELS[2] * (SIDE // 4) ** 2


def fresh(rng):
    """He-initialised parameters, f32. Filters as matrices `[9 * in, out]`."""
    he = lambda fan, out: (rng.standard_normal((fan, out)) * np.sqrt(2 / fan)).astype(np.float32)
    params = {}
    for layer in (1, 2):
        params[f"conv{layer}.weight"] = he(9 * CHANNELS[layer - 1], CHANNELS[layer])
        params[f"conv{layer}.bias"] = np.zeros(CHANNELS[layer], np.float32)
    params["fc.weight"] = he(FLAT, CLASSES)
    params["fc.bias"] = np.zeros(CLASSES, np.float32)
    return params


def columns(x):
    """im2col for a 3x3 filter with one pixel of padding: `[n, h, w, c]` to `[n * h * w, 9 * c]`, filter row, filter column, channel."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, dy : dy + h, dx : dx + w] for dy in range(3) for dx in range(3)]
    return np.stack(taps, 3).reshape(n * h * w, 9 * c)


def pool(x):
    """Max-pool 2x2: the maxima, and which of the four they were (the first, if there are several)."""
    n, h, w, c = x.shape
    four = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)
    which = four.argmax(-1)[..., None]
    return np.take_along_axis(four, which, -1)[..., 0], which


def unpool(gradient, which):
    """The derivative of `pool`: the gradient goes to the pixel that was the maximum."""
    n, h, w, c = gradient.shape
    four = np.zeros((n, h, w, c, 4), gradient.dtype)
    np.put_along_axis(four, which, gradient[..., None], -1)
    return four.reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * h, 2 * w, c)


def forward(params, images):
    """Logits `[n, 10]` of images `[n, 28, 28]` with ink at 1, and what `backward` needs. Computes in the parameters' type."""
    x, kept = images[..., None].astype(params["fc.weight"].dtype), []
    for layer in (1, 2):
        n, h, w, _ = x.shape
        patches = columns(x)
        z = patches @ params[f"conv{layer}.weight"] + params[f"conv{layer}.bias"]
        x, which = pool(np.maximum(z, 0).reshape(n, h, w, -1))
        kept.append((patches, z, which))
    flat = x.reshape(len(x), -1)
    return flat @ params["fc.weight"] + params["fc.bias"], (kept, flat)


def backward(params, gradient, saved):
    """Derivatives of the loss by all parameters, from that by the logits."""
    kept, flat = saved
    out = {"fc.weight": flat.T @ gradient, "fc.bias": gradient.sum(0)}
    side = SIDE // 4
    dx = (gradient @ params["fc.weight"].T).reshape(-1, side, side, CHANNELS[2])
    for layer in (2, 1):
        patches, z, which = kept[layer - 1]
        dz = unpool(dx, which).reshape(z.shape) * (z > 0)
        out[f"conv{layer}.weight"] = patches.T @ dz
        out[f"conv{layer}.bias"] = dz.sum(0)
        if layer == 2:
            # The derivative by the input is a convolution with the filters turned by half a turn.
            turned = params["conv2.weight"].reshape(9, CHANNELS[1], CHANNELS[2])[::-1].transpose(0, 2, 1).reshape(-1, CHANNELS[1])
            n = len(dx)
            dx = (columns(dz.reshape(n, 2 * side, 2 * side, -1)) @ turned).reshape(n, 2 * side, 2 * side, -1)
    return out


def loss(logits, labels):
    """Mean cross-entropy and its derivative by the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    value = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1
    return value, p / len(labels)


def to_file(params):
    """Parameters in the file's layout."""
    out = dict(params)
    for layer in (1, 2):
        filters = params[f"conv{layer}.weight"].reshape(3, 3, CHANNELS[layer - 1], CHANNELS[layer])
        out[f"conv{layer}.weight"] = np.ascontiguousarray(filters.transpose(3, 2, 0, 1))
    side = SIDE // 4
    linear = params["fc.weight"].reshape(side, side, CHANNELS[2], CLASSES)
    out["fc.weight"] = np.ascontiguousarray(linear.transpose(3, 2, 0, 1).reshape(CLASSES, FLAT))
    return out


def check_derivative():
    """Holds `backward` to differences of the loss, in f64: `python cnn.py`."""
    rng = np.random.default_rng(1)
    params = {name: value + 0.01 * rng.standard_normal(value.shape) for name, value in fresh(rng).items()}
    images, labels = rng.random((3, SIDE, SIDE)), np.array([1, 5, 9])
    logits, saved = forward(params, images)
    slopes = backward(params, loss(logits, labels)[1], saved)
    for name, values in params.items():
        for _ in range(5):
            at = tuple(rng.integers(size) for size in values.shape)
            value, step, either = values[at], 1e-5, []
            for moved in (value + step, value - step):
                values[at] = moved
                either.append(loss(forward(params, images)[0], labels)[0])
            values[at] = value
            np.testing.assert_allclose(slopes[name][at], (either[0] - either[1]) / (2 * step), rtol=1e-5, atol=1e-9)
    print("the derivative is right")


if __name__ == "__main__":
    check_derivative()
