"""Makes the GGUF fixtures, or converts a Hugging Face folder.

    pip install numpy gguf==0.19.0
    python make_gguf.py
    python make_gguf.py FOLDER OUT.gguf TYPE      (TYPE: F32, F16, BF16, Q8_0, Q4_0, ...)

The writer, the rounding and what is expected of it are the `gguf` package's, which llama.cpp's own converters use:

    types.gguf          a tensor of each type, of random numbers or, where the package cannot round to it, random bytes
    types.safetensors   the same, dequantised by the package
    NAME.gguf           the folder NAME of ../fixtures, to the bit: its expected.safetensors holds for both
    mixed.gguf          a model with a type of its own for every part, a vocabulary and a template
    mixed/              the same weights, dequantised, as a Hugging Face folder
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

OUT = pathlib.Path(__file__).parent
FIXTURES = OUT.parent / "fixtures"
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def read_safetensors(path):
    """Tensors of a file by name, as f32."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, data = json.loads(data[8:8 + length]), data[8 + length:]
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        raw = data[begin:end]
        if info["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[info["dtype"]]).astype(np.float32)
        tensors[name] = values.reshape(info["shape"])
    return tensors


def write_safetensors(path, tensors):
    """Writes f32 tensors."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values, "<f4").tobytes()
        header[name] = dict(dtype="F32", shape=list(values.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    header = json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def their_name(name):
    base, kind = name.rsplit(".", 1)
    if base in WHOLE:
        return f"{WHOLE[base]}.{kind}"
    _, _, layer, part = base.split(".", 3)
    return f"blk.{layer}.{LAYER[part]}.{kind}"


def for_pairs(values, heads):
    """Rows of a head from halves `(i, i + dim / 2)` to neighbours `(2 i, 2 i + 1)`."""
    split = values.reshape(heads, 2, -1, *values.shape[1:])
    return split.swapaxes(1, 2).reshape(values.shape)


def llama3_factors(config, rope):
    """Divisors of the frequencies by Llama 3.1's rule."""
    dim = config["head_dim"]
    wavelengths = 2 * np.pi * rope["rope_theta"] ** (np.arange(0, dim, 2) / dim)
    long = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    short = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    smooth = (rope["original_max_position_embeddings"] / wavelengths - rope["low_freq_factor"]) \
        / (rope["high_freq_factor"] - rope["low_freq_factor"])
    between = 1 / ((1 - smooth) / rope["factor"] + smooth)
    factors = np.where(wavelengths < short, 1, np.where(wavelengths > long, rope["factor"], between))
    return factors.astype(np.float32)


def write_model(path, config, tensors, type_of, vocabulary=None):
    """Writes a model; `type_of(name, values)` says how each tensor is stored. Returns what each tensor is then worth."""
    arch = config["model_type"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    dim = config.get("head_dim") or config["hidden_size"] // heads
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    writer.add_rope_dimension_count(dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    rope.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    writer.add_rope_freq_base(rope["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(dict(config, head_dim=dim), rope))
    elif kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
        if kind == "yarn":
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if vocabulary:
        vocabulary(writer)
    worth = {}
    for name, values in tensors.items():
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        stored = type_of(name, values) if values.ndim == 2 else Type.F32
        data = gguf.quants.quantize(values, stored)
        worth[name] = gguf.quants.dequantize(data, stored)
        if arch == "llama" and (".q_proj." in name or ".k_proj." in name):
            data = for_pairs(data, heads if ".q_proj." in name else kv_heads)
        writer.add_tensor(their_name(name), data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return worth


def read_folder(folder):
    config = json.loads((folder / "config.json").read_text())
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors.update(read_safetensors(path))
    prefixed = lambda name: name if name.startswith(("model.", "lm_head.")) else f"model.{name}"
    return config, {prefixed(name): values for name, values in tensors.items()}


def folder_vocabulary(folder, size):
    """The byte-level BPE of a tokenizer.json whose words are GPT-2's."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    template = folder / "tokenizer_config.json"
    template = json.loads(template.read_text()) if template.exists() else {}
    config = json.loads((folder / "config.json").read_text())

    def add(writer):
        tokens = [f"[PAD{i}]" for i in range(size)]
        kinds = [gguf.TokenType.UNUSED] * size
        for token, i in tokenizer["model"]["vocab"].items():
            tokens[i], kinds[i] = token, gguf.TokenType.NORMAL
        for token in tokenizer["added_tokens"]:
            special = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
            tokens[token["id"]], kinds[token["id"]] = token["content"], special
        merges = tokenizer["model"]["merges"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
        if config.get("bos_token_id") is not None:
            writer.add_bos_token_id(config["bos_token_id"])
            writer.add_add_bos_token(True)
        if config.get("eos_token_id") is not None:
            writer.add_eos_token_id(config["eos_token_id"])
        if template.get("chat_template"):
            writer.add_chat_template(template["chat_template"])
    return add


def convert(folder, out, kind):
    config, tensors = read_folder(folder)

    def type_of(_, values):
        block, _ = gguf.GGML_QUANT_SIZES[Type[kind]]
        return Type[kind] if values.shape[1] % block == 0 else Type.F16
    vocabulary = None
    if (folder / "tokenizer.json").exists():
        vocabulary = folder_vocabulary(folder, config["vocab_size"])
    write_model(out, config, tensors, type_of, vocabulary)


def random_blocks(rng, kind, rows, cols):
    """Random bytes, with scales that are neither infinite nor all alike."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows, cols // elements, size), dtype=np.uint8)
    scales = lambda: rng.uniform(-0.1, 0.1, blocks.shape[:2]).astype("<f2")[..., None].view(np.uint8)
    for at in {Type.Q6_K: [208]}.get(kind, [0, 2]):
        blocks[..., at:at + 2] = scales()
    return blocks.reshape(rows, -1)


def without_loss(_, values):
    is_bf16 = not (np.ascontiguousarray(values, np.float32).view(np.uint32) & 0xffff).any()
    return Type.BF16 if is_bf16 else Type.F32


def types(rng):
    writer, expected = gguf.GGUFWriter(OUT / "types.gguf", "llama"), {}
    for name in TYPES:
        kind = Type[name]
        if name.endswith("_K"):
            data = random_blocks(rng, kind, 3, 512)
        else:
            data = gguf.quants.quantize(rng.normal(size=(3, 512)).astype(np.float32), kind)
        writer.add_tensor(name, data, raw_dtype=kind)
        expected[name] = gguf.quants.dequantize(data, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_safetensors(OUT / "types.safetensors", expected)


def byte_names():
    """GPT-2's printable stand-ins for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(rest)) for b in range(256)]


def tiny_vocabulary(writer):
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "1 2", "12 3"]
    tokens = byte_names() + [m.replace(" ", "") for m in merges] + ["<|begin_of_text|>", "<|eot_id|>", "<tool>", "[PAD]"]
    kinds = [1] * (256 + len(merges)) + [3, 3, 4, 5]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(267)
    writer.add_eos_token_id(268)
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}")


def mixed(rng):
    config = dict(model_type="llama", vocab_size=271, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                  num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=128,
                  rms_norm_eps=1e-5, rope_theta=1000.0, hidden_act="silu", tie_word_embeddings=False)
    tensors = {"model.embed_tokens.weight": (271, 32)}
    for i in range(2):
        at = f"model.layers.{i}"
        tensors |= {f"{at}.input_layernorm.weight": (32,), f"{at}.self_attn.q_proj.weight": (32, 32),
                    f"{at}.self_attn.k_proj.weight": (16, 32), f"{at}.self_attn.v_proj.weight": (16, 32),
                    f"{at}.self_attn.o_proj.weight": (32, 32), f"{at}.post_attention_layernorm.weight": (32,),
                    f"{at}.mlp.gate_proj.weight": (64, 32), f"{at}.mlp.up_proj.weight": (64, 32),
                    f"{at}.mlp.down_proj.weight": (32, 64)}
    tensors |= {"model.norm.weight": (32,), "lm_head.weight": (271, 32)}
    tensors = {name: rng.normal(1.0 if len(shape) == 1 else 0.0, 0.3, shape).astype(np.float32)
               for name, shape in tensors.items()}
    kinds = {"embed": Type.Q8_0, "q_proj": Type.Q4_0, "k_proj": Type.Q8_0, "v_proj": Type.Q4_0, "o_proj": Type.Q4_1,
             "gate": Type.Q4_0, "up": Type.Q4_1, "down": Type.Q5_0, "lm_head": Type.F16}
    type_of = lambda name, _: next(kind for part, kind in kinds.items() if part in name)
    worth = write_model(OUT / "mixed.gguf", config, tensors, type_of, tiny_vocabulary)
    (OUT / "mixed").mkdir(exist_ok=True)
    write_safetensors(OUT / "mixed/model.safetensors", worth)
    (OUT / "mixed/config.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
    if len(sys.argv) == 4:
        return convert(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3])
    rng = np.random.default_rng(5)
    types(rng)
    for name in ["llama3", "llama-biases", "qwen2", "qwen3", "qwen3-yarn"]:
        config, tensors = read_folder(FIXTURES / name)
        write_model(OUT / f"{name}.gguf", config, tensors, without_loss)
    mixed(rng)


main()
