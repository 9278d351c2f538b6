"""Train the byte-level BPE tokenizer and write it as a Hugging Face folder's three files.

    python tokenizer.py build/

Invariant: every string survives encoding and decoding unchanged, and control tokens have the first ids.
"""

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from settings import ASSISTANT, BOS, CONTEXT, EOS, REFUSAL, SYSTEM, USER, VOCAB

CONTROL = [BOS, EOS, SYSTEM, USER, ASSISTANT]

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | trim + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train(texts):
    """A byte-level BPE of VOCAB entries; plain text gets BOS in front, as in training."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=CONTROL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return tokenizer


def chat_config():
    """tokenizer_config.json: which token is which, and how a conversation is written."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False,
        "bos_token": BOS, "eos_token": EOS, "pad_token": EOS, "chat_template": CHAT_TEMPLATE,
        "additional_special_tokens": [SYSTEM, USER, ASSISTANT],
    }


def main(build):
    build = Path(build)
    prose = [json.loads(line) for line in (build / "prose.jsonl").open(encoding="utf-8")]
    items = [json.loads(line) for line in (build / "items.jsonl").open(encoding="utf-8")]
    answers = [f"{item['path']} {item['summary']}" for item in items] + [REFUSAL] * 100
    tokenizer = train(prose + answers)
    for text in answers:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text, text
    tokenizer.save(str(build / "tokenizer.json"))
    (build / "tokenizer_config.json").write_text(json.dumps(chat_config(), indent=2) + "\n")
    count = sum(len(e.ids) for e in tokenizer.encode_batch(prose))
    print(f"{tokenizer.get_vocab_size()} entries, {count} tokens of prose, {sum(map(len, prose)) / count:.2f} characters a token")


if __name__ == "__main__":
    main(sys.argv[1])
