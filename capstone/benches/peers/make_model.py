"""Writes a GGUF file of a published model's shape with random weights, for measuring speed.

    pip install gguf==0.19.0 numpy
    python make_model.py {llama-3.2-1b|qwen2.5-0.5b} {q8_0|q4_0} OUT.gguf

All matrices are of the given type, but for the embedding, which is the output matrix too: in 8 bits in both, near what published
files do (Q6_K there). There is no vocabulary: engines are fed token ids.
"""

import sys

import gguf
import numpy

SHAPES = {
    "llama-3.2-1b": dict(
        arch="llama", layers=16, width=2048, heads=32, kv_heads=8, head=64, mlp=8192, vocab=128256, context=131072,
        theta=500000.0, eps=1e-5, bias=False,
    ),
    "qwen2.5-0.5b": dict(
        arch="qwen2", layers=24, width=896, heads=14, kv_heads=2, head=64, mlp=4864, vocab=151936, context=32768,
        theta=1000000.0, eps=1e-6, bias=True,
    ),
}
TYPES = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
# Standard deviation of the weights: that of a trained model, so that activations stay in its range.
DEVIATION = 0.02


def blocks(random, rows, cols, kind):
    """Random blocks of 32, as the bytes of rows."""
    count = rows * cols // 32
    steps, spread = (32, 73.6) if kind == "q8_0" else (16, 4.61)
    scales = numpy.full((count, 1), DEVIATION / spread, dtype=numpy.float16)
    quants = random.integers(0, 256, (count, steps), dtype=numpy.uint8)
    if kind == "q8_0":
        quants[quants == 128] = 0  # -128 is no value of the format
    return numpy.concatenate([scales.view(numpy.uint8), quants], axis=1).reshape(rows, -1)


def main(name, kind, path):
    shape = SHAPES[name]
    random = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, shape["arch"])
    writer.add_context_length(shape["context"])
    writer.add_block_count(shape["layers"])
    writer.add_embedding_length(shape["width"])
    writer.add_feed_forward_length(shape["mlp"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_rope_dimension_count(shape["head"])
    writer.add_rope_freq_base(shape["theta"])
    writer.add_layer_norm_rms_eps(shape["eps"])
    writer.add_vocab_size(shape["vocab"])
    writer.add_tokenizer_model("none")

    def matrix(name, rows, cols, kind=kind):
        writer.add_tensor(name, blocks(random, rows, cols, kind), raw_dtype=TYPES[kind])

    def vector(name, values):
        writer.add_tensor(name, numpy.asarray(values, dtype=numpy.float32))

    width, head, mlp = shape["width"], shape["head"], shape["mlp"]
    q, kv = shape["heads"] * head, shape["kv_heads"] * head
    matrix("token_embd.weight", shape["vocab"], width, "q8_0")
    vector("output_norm.weight", numpy.ones(width))
    for layer in range(shape["layers"]):
        at = f"blk.{layer}"
        vector(f"{at}.attn_norm.weight", numpy.ones(width))
        vector(f"{at}.ffn_norm.weight", numpy.ones(width))
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            matrix(f"{at}.attn_{part}.weight", rows, width)
            if shape["bias"]:
                vector(f"{at}.attn_{part}.bias", random.normal(0, DEVIATION, rows))
        matrix(f"{at}.attn_output.weight", width, q)
        matrix(f"{at}.ffn_gate.weight", mlp, width)
        matrix(f"{at}.ffn_up.weight", mlp, width)
        matrix(f"{at}.ffn_down.weight", width, mlp)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
