"""Train the main model, then distil the draft from it.

    python train.py build/ out/ [main-seconds draft-seconds]

writes `out/main/`, `out/draft/` (Hugging Face folders), `loss.csv` and `training.json`. Each step sees one batch of
conversations, each alone in its row from position 0 as in inference, and one batch of prose.
Invariant: held-out chapters, phrasings and names are never read here.
"""

import csv
import json
import os
import platform
import random
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import settings as S
from llama import Llama, export
from questions import Lists, conversation

IGNORE = -100


def load(build):
    """Items, names and prose of the corpus, and the tokenizer."""
    build = Path(build)
    read = lambda name: [json.loads(line) for line in (build / name).open(encoding="utf-8")]
    lists = Lists(read("items.jsonl"), json.loads((build / "known.json").read_text()))
    return lists, read("prose.jsonl"), Tokenizer.from_file(str(build / "tokenizer.json"))


def targets(ids, assistant, end):
    """The next token where it belongs to an answer, IGNORE elsewhere."""
    out, answering = [], False
    for here, following in zip(ids, ids[1:] + [IGNORE]):
        answering = here == assistant or (answering and here != end)
        out.append(following if answering else IGNORE)
    return out


class Conversations(IterableDataset):
    """Endless batches of tokenised conversations, grouped by length so that little is padding."""

    def __init__(self, lists, tokenizer, seed):
        self.lists, self.tokenizer, self.seed = lists, tokenizer, seed

    def __iter__(self):
        worker = get_worker_info()
        rng = random.Random(f"{self.seed} {worker.id if worker else 0}")
        assistant, end = (self.tokenizer.token_to_id(t) for t in (S.ASSISTANT, S.EOS))
        waiting = {length: [] for length in S.QA_LENGTHS}
        while True:
            texts = [conversation(rng, self.lists) for _ in range(256)]
            for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False):
                ids = encoding.ids
                length = next((n for n in S.QA_LENGTHS if n >= len(ids)), None)
                if length is None:
                    continue
                pad = length - len(ids)
                waiting[length].append((ids + [end] * pad, targets(ids, assistant, end) + [IGNORE] * pad))
            for length, rows in waiting.items():
                if len(rows) >= S.QA_TOKENS // length:
                    batch = rows[: S.QA_TOKENS // length]
                    waiting[length] = rows[len(batch):]
                    yield torch.tensor([r[0] for r in batch]), torch.tensor([r[1] for r in batch])


def prose_tokens(texts, tokenizer, device):
    """All prose as one row of tokens, each text opened by BOS. [tokens]"""
    end = tokenizer.token_to_id(S.EOS)
    ids = [i for encoding in tokenizer.encode_batch(texts) for i in encoding.ids + [end]]
    return torch.tensor(ids, device=device)


def prose_batch(tokens, generator):
    """Random windows of prose behind a BOS; half are the start of a text. ids, targets: [batch, length]"""
    n, length = S.PROSE_BATCH, S.PROSE_LENGTH
    starts = torch.randint(len(tokens) - length - 1, (n,), generator=generator, device=tokens.device)
    openings = (tokens[: -length - 1] == 0).nonzero()[:, 0]
    pick = torch.randint(len(openings), (n // 2,), generator=generator, device=tokens.device)
    starts[: n // 2] = openings[pick]
    window = tokens[starts[:, None] + torch.arange(length + 1, device=tokens.device)]
    window[:, 0] = 0
    return window[:, :-1], window[:, 1:]


def cross_entropy(model, ids, target):
    logits = model.logits(model(ids)).float()
    return F.cross_entropy(logits.view(-1, S.VOCAB), target.reshape(-1), ignore_index=IGNORE)


def distillation(student, teacher, ids, target):
    """Cross-entropy plus KL from the teacher's distribution (Hinton et al., 2015) where there is a target."""
    keep = (target != IGNORE).reshape(-1).float()
    logits = student.logits(student(ids)).float().view(-1, S.VOCAB)
    with torch.no_grad():
        expected = teacher.logits(teacher(ids)).float().view(-1, S.VOCAB).log_softmax(-1)
    kl = (expected.exp() * (expected - logits.log_softmax(-1))).sum(-1)
    ce = F.cross_entropy(logits, target.reshape(-1), ignore_index=IGNORE)
    return 0.2 * ce + 0.8 * (kl * keep).sum() / keep.sum()


def optimizer(model, rate):
    decayed = [p for p in model.parameters() if p.dim() == 2]
    plain = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": decayed, "weight_decay": S.WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=plain[0].is_cuda)


def fit(name, model, loss, rate, seconds, batches, prose, log):
    """Train until `seconds` have passed; the rate warms up, holds, and falls to zero over the last 60 %."""
    device = prose.device
    generator = torch.Generator(device).manual_seed(S.SEED)
    adam, step, began = optimizer(model, rate), 0, None
    while True:
        ids, target = (t.to(device, non_blocking=True) for t in next(batches))
        began = began or time.time() if step >= 5 else None  # compilation is not training time
        done = (time.time() - began) / seconds if began else 0.0
        if done >= 1:
            return step
        for group in adam.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / S.WARMUP_STEPS, (1 - done) / 0.6)
        with torch.autocast(device.type, torch.bfloat16):
            answers = loss(model.eval(), ids, target)
            text = loss(model.train(), *prose_batch(prose, generator))  # dropout on prose only
        (answers + S.PROSE_WEIGHT * text).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        if step % 50 == 0:
            row = [name, step, round(answers.item(), 5), round(text.item(), 4)]
            log.writerow(row)
            if step % 500 == 0:
                print(*row, f"{done:.1%}", flush=True)
        step += 1


def main(build, out, main_seconds=S.TRAIN_SECONDS, draft_seconds=S.DRAFT_SECONDS):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(S.SEED)
    torch.set_float32_matmul_precision("high")
    lists, texts, tokenizer = load(build)
    prose = prose_tokens(texts, tokenizer, device)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    batches = iter(DataLoader(Conversations(lists, tokenizer, S.SEED), batch_size=None, prefetch_factor=4,
                              num_workers=max(1, os.cpu_count() - 2), pin_memory=device.type == "cuda"))
    Path(out).mkdir(parents=True, exist_ok=True)
    ends = [tokenizer.token_to_id(S.EOS)]
    report = {"settings": {k: v for k, v in vars(S).items() if k.isupper()}, "torch": torch.__version__,
              "python": platform.python_version(),
              "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()}
    with open(Path(out) / "loss.csv", "w", newline="") as file:
        log = csv.writer(file, lineterminator="\n")
        log.writerow(["model", "step", "answer_loss", "prose_loss"])
        teacher, student = Llama(S.MAIN).to(device), Llama(S.DRAFT).to(device)
        loss = torch.compile(cross_entropy, dynamic=False)
        report["main_steps"] = fit("main", teacher, loss, S.LEARNING_RATE, float(main_seconds), batches, prose, log)
        report["main_parameters"] = export(teacher, Path(out) / "main", build, ends)
        teacher.eval().requires_grad_(False)
        loss = torch.compile(lambda model, ids, target: distillation(model, teacher, ids, target), dynamic=False)
        report["draft_steps"] = fit("draft", student, loss, S.DRAFT_LEARNING_RATE, float(draft_seconds), batches, prose, log)
        report["draft_parameters"] = export(student, Path(out) / "draft", build, ends)
    (Path(out) / "training.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "settings"}))
    os._exit(0)  # the workers are endless; do not wait for them


if __name__ == "__main__":
    main(*sys.argv[1:])
