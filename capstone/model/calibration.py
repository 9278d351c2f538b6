"""What quantisation is calibrated with and what it is measured on, beside the lists of `evaluate.py`.

    python calibration.py build/

writes `calibration.jsonl` (conversations and prose that training has seen) and `results/held_out.jsonl` (the chapters that it has not). A
line is a conversation as a list of messages, or a text. Invariant: no sampled item and no held-out text is calibrated with.
"""

import json
import random
import sys
from pathlib import Path

import settings as S
from questions import TRAINED

CONVERSATIONS, TEXTS, CHARACTERS = 192, 12, 1200


def read(path):
    return [json.loads(line) for line in Path(path).open(encoding="utf-8")]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main(build, here=Path(__file__).parent):
    rng = random.Random(S.SEED + 2)
    sampled = {item["path"] for item in read(here / "results/sampled_items.jsonl")}
    items = [item for item in read(Path(build) / "items.jsonl") if item["path"] not in sampled]
    prose = [text for text in read(Path(build) / "prose.jsonl") if len(text) > CHARACTERS]
    conversations = [
        [{"role": "user", "content": rng.choice(TRAINED[:30]).replace("{}", f"`{item['path']}`")},
         {"role": "assistant", "content": item["summary"]}]
        for item in rng.sample(items, CONVERSATIONS)
    ]
    texts = [text[: text.rindex(" ", 0, CHARACTERS)] for text in rng.sample(prose, TEXTS)]
    write(here / "calibration.jsonl", conversations + texts)
    write(here / "results/held_out.jsonl", read(Path(build) / "heldout.jsonl"))


if __name__ == "__main__":
    main(sys.argv[1])
