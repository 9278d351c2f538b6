"""PyTorch's side, by transformers, in bf16 on the CPU; and the folder that both sides read.

    pip install torch transformers
    python torch_bf16.py make {llama-3.2-1b|qwen2.5-0.5b} FOLDER
    python torch_bf16.py run FOLDER SEQUENCES PROMPT GENERATE THREADS

The weights are random, for measuring speed. `run` prints tokens a second of prompts and of answers, all sequences together: one batch
in step, with the cache and the attention that transformers takes by default.
"""

import sys
import time

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

SHAPES = {
    "llama-3.2-1b": lambda: LlamaConfig(
        num_hidden_layers=16, hidden_size=2048, num_attention_heads=32, num_key_value_heads=8, head_dim=64, intermediate_size=8192,
        vocab_size=128256, max_position_embeddings=131072, rope_theta=500000.0, rms_norm_eps=1e-5, tie_word_embeddings=True,
    ),
    "qwen2.5-0.5b": lambda: Qwen2Config(
        num_hidden_layers=24, hidden_size=896, num_attention_heads=14, num_key_value_heads=2, intermediate_size=4864,
        vocab_size=151936, max_position_embeddings=32768, rope_theta=1000000.0, rms_norm_eps=1e-6, tie_word_embeddings=True,
    ),
}


def make(name, folder):
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    AutoModelForCausalLM.from_config(SHAPES[name]()).save_pretrained(folder)


@torch.inference_mode()
def run(folder, sequences, prompt, generate, threads):
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    torch.manual_seed(1)
    tokens = torch.randint(0, model.config.vocab_size, (sequences, prompt))

    def step(tokens, cache):
        out = model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values

    step(tokens[:, :32], None)  # Once over the weights: pages, threads.
    started = time.perf_counter()
    last, cache = step(tokens, None)
    prompts = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(generate):
        last, cache = step(last, cache)
    answers = time.perf_counter() - started
    print(sequences * prompt / prompts, sequences * generate / answers)


if __name__ == "__main__":
    command, place, *rest = sys.argv[1:]
    make(place, *rest) if command == "make" else run(place, *map(int, rest))
