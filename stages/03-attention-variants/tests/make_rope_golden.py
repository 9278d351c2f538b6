"""Makes rope_golden.json beside it: inverse frequencies and attention factors as `transformers` 5.17 computes them.

    pip install torch transformers==5.17.0 && python make_rope_golden.py
"""

import json
import pathlib

from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

CASES = [
    (64, dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
    (128, dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=8192)),
    (48, dict(rope_type="llama3", rope_theta=1000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=2.0,
              original_max_position_embeddings=512)),
    (128, dict(rope_type="yarn", rope_theta=1000000.0, factor=4.0, original_max_position_embeddings=32768)),
    (64, dict(rope_type="yarn", rope_theta=10000.0, factor=40.0, beta_fast=32, beta_slow=1,
              original_max_position_embeddings=4096, attention_factor=1.25)),
    (26, dict(rope_type="yarn", rope_theta=700.0, factor=3.0, beta_fast=8, beta_slow=2, truncate=False,
              original_max_position_embeddings=64)),
]

cases = []
for dim, parameters in CASES:
    config = LlamaConfig(hidden_size=4 * dim, num_attention_heads=4, head_dim=dim, rope_parameters=dict(parameters),
                         max_position_embeddings=131072)
    frequencies, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu")
    cases.append(dict(dim=dim, parameters=parameters, frequencies=frequencies.tolist(), attention_factor=factor))
path = pathlib.Path(__file__).with_name("rope_golden.json")
path.write_text(json.dumps(cases) + "\n")
