"""Makes the quantised checkpoints beside it, and what each of their layers is worth.

    pip install numpy
    python make_quantised.py

Integers, scales and zero points are drawn at random, packed as each format's own writer packs them, and multiplied out in
double precision. The writers read for it: `QuantLinear.pack` of AutoGPTQ 0.7.1, `WQLinear_GEMM.from_linear` of AutoAWQ 0.2.9,
`pack_to_int32` of compressed-tensors 0.20.0, and the fp8 of DeepSeek-V3's model card.

    NAME/config.json            the part of it that says how the layer is stored
    NAME/model.safetensors      the layer `m`, [24, 128] (and `plain`, which is not quantised)
    NAME/expected.safetensors   m.weight in f32
"""

import json
import pathlib

import numpy as np

OUT = pathlib.Path(__file__).parent
ROWS, COLS, GROUP = 24, 128, 32
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def bf16(values):
    """f32 rounded down to what bf16 holds, and its 16 bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16
    return (bits << 16).view(np.float32), bits.astype(np.uint16)


def write(path, tensors):
    """Tensors as `(type, array)`."""
    header, data = {}, b""
    for name, (kind, values) in tensors.items():
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = dict(dtype=kind, shape=list(values.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    header = json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def case(name, config, tensors, weight):
    folder = OUT / name
    folder.mkdir(exist_ok=True)
    tensors = {f"m.{part}": tensor for part, tensor in tensors.items()}
    tensors["plain.weight"] = ("F32", np.full((2, 2), 0.5, np.float32))
    (folder / "config.json").write_text(json.dumps(dict(quantization_config=config), indent=2) + "\n")
    write(folder / "model.safetensors", tensors)
    write(folder / "expected.safetensors", {"m.weight": ("F32", weight.astype(np.float32))})


def pack(values, bits, order=range(32)):
    """Unsigned integers along the last axis into words, the first in the low bits."""
    each = 32 // bits
    words = np.zeros((*values.shape[:-1], values.shape[-1] // each), np.uint32)
    for place, i in zip(range(each), order):
        words |= values[..., i::each].astype(np.uint32) << np.uint32(bits * place)
    return words.view(np.int32)


def gptq(rng, name, bits=4, version=1, symmetric=False, act_order=False):
    groups = COLS // GROUP
    quants = rng.integers(0, 1 << bits, (ROWS, COLS))
    zeros = np.full((ROWS, groups), 1 << (bits - 1)) if symmetric else rng.integers(1, 1 << bits, (ROWS, groups))
    if not symmetric and version == 2:
        zeros[0] = 0
    scales = rng.uniform(1e-3, 1e-2, (ROWS, groups)).astype(np.float16)
    g_idx = np.arange(COLS) // GROUP
    if act_order:
        g_idx = rng.permutation(g_idx)
    stored = zeros - 1 if version == 1 else zeros
    config = dict(quant_method="gptq", bits=bits, group_size=GROUP, desc_act=act_order, sym=symmetric)
    if version == 2:
        config["checkpoint_format"] = "gptq_v2"
    weight = scales.astype(np.float64)[:, g_idx] * (quants - zeros[:, g_idx])
    case(name, config, dict(qweight=("I32", pack(quants, bits).T), qzeros=("I32", pack(stored.T, bits)),
                            scales=("F16", scales.T), g_idx=("I32", g_idx.astype(np.int32)),
                            bias=("F16", np.zeros(ROWS, np.float16))), weight)


def awq(rng):
    groups = COLS // GROUP
    quants, zeros = rng.integers(0, 16, (ROWS, COLS)), rng.integers(0, 16, (ROWS, groups))
    scales = rng.uniform(1e-3, 1e-2, (ROWS, groups)).astype(np.float16)
    weight = np.repeat(scales.astype(np.float64), GROUP, 1) * (quants - np.repeat(zeros, GROUP, 1))
    config = dict(quant_method="awq", bits=4, group_size=GROUP, version="gemm", zero_point=True,
                  modules_to_not_convert=["plain"])
    case("awq", config, dict(qweight=("I32", pack(quants.T, 4, AWQ_ORDER)), qzeros=("I32", pack(zeros.T, 4, AWQ_ORDER)),
                             scales=("F16", scales.T)), weight)


def compressed_config(format, **weights):
    return dict(quant_method="compressed-tensors", format=format, ignore=["plain"],
                config_groups=dict(group_0=dict(targets=["Linear"], weights=weights, input_activations=None)))


def packed(rng, name, bits=4, symmetric=True, group=GROUP, old_zeros=False, act_order=False):
    half = 1 << (bits - 1)
    groups = COLS // group
    quants = rng.integers(-half if bits == 4 else 1 - half, half, (ROWS, COLS))
    zeros = np.zeros((ROWS, groups), int) if symmetric else rng.integers(-half, half, (ROWS, groups))
    scales, stored = bf16(rng.uniform(1e-3, 1e-2, (ROWS, groups)))
    g_idx = np.arange(COLS) // group
    if act_order:
        g_idx = rng.permutation(g_idx)
    weight = scales.astype(np.float64)[:, g_idx] * (quants - zeros[:, g_idx])
    tensors = dict(weight_packed=("I32", pack(quants + half, bits)), weight_scale=("BF16", stored),
                   weight_shape=("I64", np.array([ROWS, COLS])))
    if act_order:
        tensors["weight_g_idx"] = ("I32", g_idx.astype(np.int32))
    if not symmetric:
        tensors["weight_zero_point"] = ("I8", zeros.astype(np.int8)) if old_zeros \
            else ("I32", pack((zeros + half).T, bits).T)
    case(name, compressed_config("pack-quantized", num_bits=bits, type="int", symmetric=symmetric, strategy="group",
                                 group_size=group), tensors, weight)


def int8(rng):
    quants = rng.integers(-127, 128, (ROWS, COLS))
    scales, stored = bf16(rng.uniform(1e-3, 1e-2, (ROWS, 1)))
    case("ct-int8", compressed_config("int-quantized", num_bits=8, type="int", symmetric=True, strategy="channel"),
         dict(weight=("I8", quants.astype(np.int8)), weight_scale=("BF16", stored)), scales.astype(np.float64) * quants)


def e4m3(bits):
    """OCP's table of e4m3."""
    sign, exponent, mantissa = np.where(bits & 128, -1.0, 1.0), bits >> 3 & 15, bits & 7
    return sign * np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0**(exponent.astype(int) - 10))


def fp8(rng, name, config, scale_name, shape, blocks):
    """`blocks`: rows and columns that share a scale."""
    bits = rng.integers(0, 256, (ROWS, COLS)).astype(np.uint8)
    bits[bits & 127 == 127] = 0
    scales = rng.uniform(1e-4, 1e-3, shape).astype(np.float32)
    whole = np.repeat(np.repeat(np.atleast_2d(scales), blocks[0], 0), blocks[1], 1)[:ROWS, :COLS]
    case(name, config, {"weight": ("F8_E4M3", bits), scale_name: ("F32", scales)}, e4m3(bits) * whole.astype(np.float64))


def main():
    rng = np.random.default_rng(7)
    gptq(rng, "gptq")
    gptq(rng, "gptq-symmetric", symmetric=True)
    gptq(rng, "gptq-v2", version=2)
    gptq(rng, "gptq-act-order", act_order=True)
    gptq(rng, "gptq-8", bits=8, symmetric=True)
    gptq(rng, "gptq-8-asymmetric", bits=8)
    awq(rng)
    packed(rng, "ct-int4")
    packed(rng, "ct-int4-asymmetric", symmetric=False)
    packed(rng, "ct-int4-old-zeros", symmetric=False, old_zeros=True)
    packed(rng, "ct-int4-channel", group=COLS)
    packed(rng, "ct-int4-narrow", group=16)
    packed(rng, "ct-int4-act-order", act_order=True)
    packed(rng, "ct-int8-packed", bits=8)
    int8(rng)
    floats = lambda **more: compressed_config("float-quantized", num_bits=8, type="float", symmetric=True, **more)
    fp8(rng, "ct-fp8-tensor", floats(strategy="tensor"), "weight_scale", (1,), (ROWS, COLS))
    fp8(rng, "ct-fp8-channel", floats(strategy="channel"), "weight_scale", (ROWS, 1), (1, COLS))
    fp8(rng, "ct-fp8-block", floats(strategy="block", block_structure=[16, 48]), "weight_scale", (2, 3), (16, 48))
    fp8(rng, "fp8-block", dict(quant_method="fp8", fmt="e4m3", weight_block_size=[16, 48]), "weight_scale_inv", (2, 3), (16, 48))


main()
