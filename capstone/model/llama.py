"""The Llama architecture in plain PyTorch, and its export as a Hugging Face folder.

Invariant: parameter names and arithmetic are those of `transformers.LlamaForCausalLM`, so that the export is a
plain save of the weights in bf16.
"""

import json
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from settings import CONTEXT, VOCAB

THETA, EPSILON = 10000.0, 1e-5


def rotary(length, head_dim, device):
    """Cosines and sines of RoPE (Su et al., 2021). [length, head_dim] each"""
    frequency = THETA ** (-torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angle = torch.arange(length, device=device).float()[:, None] * frequency
    return torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()


def rotate(x, cos, sin):
    """Rotate pairs (i, i + head_dim / 2). x: [batch, heads, length, head_dim]"""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al., 2023), causal."""

    def __init__(self, hidden, heads, kv_heads, head_dim, **_):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q_proj = nn.Linear(hidden, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        split = lambda y, n: y.view(batch, length, n, self.head_dim).transpose(1, 2)
        q = rotate(split(self.q_proj(x), self.heads), cos, sin).to(x.dtype)
        k = rotate(split(self.k_proj(x), self.kv_heads), cos, sin).to(x.dtype)
        v = split(self.v_proj(x), self.kv_heads)
        share = self.heads // self.kv_heads
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, hidden, intermediate, **_):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.self_attn, self.mlp = Attention(**shape), Mlp(**shape)
        self.input_layernorm = nn.RMSNorm(shape["hidden"], EPSILON)
        self.post_attention_layernorm = nn.RMSNorm(shape["hidden"], EPSILON)
        self.dropout = nn.Dropout(shape["dropout"])

    def forward(self, x, cos, sin):
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), cos, sin))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Llama(nn.Module):
    """A decoder with tied embeddings. ids: [batch, length] -> hidden states [batch, length, hidden]"""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(VOCAB, shape["hidden"])
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape["layers"]))
        self.norm = nn.RMSNorm(shape["hidden"], EPSILON)
        self.dropout = nn.Dropout(shape["dropout"])
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / ((2 * shape["layers"]) ** 0.5 if deep else 1))

    def forward(self, ids):
        cos, sin = rotary(ids.shape[1], self.shape["head_dim"], ids.device)
        x = self.dropout(self.embed_tokens(ids))
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def logits(self, x):
        return F.linear(x, self.embed_tokens.weight)


def export(model, folder, build, end_ids):
    """Write a complete Hugging Face folder: configuration, bf16 weights, tokenizer."""
    folder, shape = Path(folder), model.shape
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"model." + name: w.detach().to("cpu", torch.bfloat16).contiguous() for name, w in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB,
        "hidden_size": shape["hidden"], "intermediate_size": shape["intermediate"],
        "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"], "head_dim": shape["head_dim"], "hidden_act": "silu",
        "max_position_embeddings": CONTEXT, "rope_theta": THETA, "rope_scaling": None, "rms_norm_eps": EPSILON,
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02,
        "tie_word_embeddings": True, "use_cache": True, "torch_dtype": "bfloat16",
        "bos_token_id": 0, "eos_token_id": end_ids[0], "pad_token_id": end_ids[0],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"bos_token_id": 0, "eos_token_id": end_ids, "pad_token_id": end_ids[0], "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(Path(build) / file, folder / file)
    return sum(w.numel() for w in weights.values())
