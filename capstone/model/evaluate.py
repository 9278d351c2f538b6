"""Measure an exported pair of models with `transformers` in float32, as an engine would see them.

    python evaluate.py build/ out/ results/      lists, golden.json and results.json
    python evaluate.py --write-readme            the README's table from results/results.json

Invariant: only the exported folders are read, so a figure here is a figure of the files in the repository.
"""

import json
import math
import random
import sys
from collections import defaultdict
from pathlib import Path

import settings as S
from questions import HELD_OUT_PHRASINGS, TRAINED, Lists, short

EVALUATED = TRAINED[:6]
NEW_TOKENS = 128


def read(path):
    return [json.loads(line) for line in Path(path).open(encoding="utf-8")]


def write(path, rows):
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


class Runner:
    """An exported folder, asked through its own chat template."""

    def __init__(self, folder):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(self.device).eval()

    def prompt(self, messages):
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.tokenizer.encode(text, add_special_tokens=False)

    def continuations(self, prompts, new_tokens=NEW_TOKENS):
        """Greedy continuation ids, the end token included; prompts of one length share a batch, so nothing is padded."""
        groups, out = defaultdict(list), [None] * len(prompts)
        for index, ids in enumerate(prompts):
            groups[len(ids)].append(index)
        for indices in groups.values():
            ids = self.torch.tensor([prompts[i] for i in indices], device=self.device)
            made = self.model.generate(ids, attention_mask=self.torch.ones_like(ids), do_sample=False,
                                       max_new_tokens=new_tokens)[:, ids.shape[1]:].tolist()
            for index, row in zip(indices, made):
                end = self.tokenizer.eos_token_id
                out[index] = row[: row.index(end) + 1] if end in row else row
        return out

    def answers(self, questions):
        prompts = [self.prompt([{"role": "user", "content": q}]) for q in questions]
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in self.continuations(prompts)]

    def perplexity(self, texts):
        """exp of the mean loss over every token of the texts, in windows of CONTEXT tokens that open with BOS."""
        loss = count = 0
        for text in texts:
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            for start in range(0, len(ids), S.CONTEXT - 1):
                window = self.torch.tensor([[0] + ids[start: start + S.CONTEXT - 1]], device=self.device)
                with self.torch.no_grad():
                    loss += self.model(window, labels=window).loss.item() * (window.shape[1] - 1)
                count += window.shape[1] - 1
        return math.exp(loss / count)


def question(phrasing, name, kind="item"):
    return phrasing.replace("{kind}", kind).replace("{}", f"`{name}`")


def measure(runner, lists, held_out):
    """Every figure of one model, as a flat dictionary of rates."""
    groups = {f"exact: {p}": [(question(p, i["path"]), i["summary"]) for i in lists.sampled]
              for p in EVALUATED + HELD_OUT_PHRASINGS}
    plain = EVALUATED[0]
    groups["exact, lower case, no backticks: what does X do"] = [
        (f"what does {i['path']} do", i["summary"]) for i in lists.sampled]
    groups["exact, short name: " + plain] = [
        (question(plain, short(i["path"])), i["summary"]) for i in lists.sampled if short(i["path"]) in lists.names[i["path"]]]
    own = [i for i in lists.items if i["origin"] == "own"]
    groups["exact, all items: " + plain] = [(question(plain, i["path"]), i["summary"]) for i in own]
    groups["refused, fabricated names: " + plain] = [(question(plain, n), S.REFUSAL) for n in lists.fabricated]
    groups["refused, fabricated names: " + HELD_OUT_PHRASINGS[0]] = [
        (question(HELD_OUT_PHRASINGS[0], n), S.REFUSAL) for n in lists.fabricated]
    asked = [(key, q, expected) for key, rows in groups.items() for q, expected in rows]
    rates, wrong = defaultdict(list), []
    for (key, q, expected), answer in zip(asked, runner.answers([q for _, q, _ in asked])):
        rates[key].append(answer == expected)
        if key.startswith("exact, all"):
            rates["false refusals, all items"].append(answer == S.REFUSAL)
        if answer != expected and len(wrong) < 40:
            wrong.append({"question": q, "expected": expected, "answer": answer})
    figures = {key: round(sum(hits) / len(hits), 4) for key, hits in rates.items()}
    figures["perplexity of the held-out chapters"] = round(runner.perplexity(held_out), 3)
    return {"rates": figures, "counts": {key: len(hits) for key, hits in rates.items()}, "some_wrong": wrong}


def golden_messages(lists):
    """50 conversations for an engine's tests: plain, fabricated, several turns, system prompts, odd input."""
    rng = random.Random(S.SEED + 1)
    phrasings = TRAINED[:10] + HELD_OUT_PHRASINGS
    ask = lambda: question(rng.choice(phrasings), rng.choice(lists.items)["path"])
    user = lambda text: {"role": "user", "content": text}
    out = [[user(ask())] for _ in range(20)]
    out += [[user(question(EVALUATED[0], name))] for name in rng.sample(lists.fabricated, 10)]
    for _ in range(8):
        item = rng.choice(lists.items)
        out.append([user(question(EVALUATED[0], item["path"])), {"role": "assistant", "content": item["summary"]}, user(ask())])
    out += [[{"role": "system", "content": "Be brief."}, user(ask())] for _ in range(5)]
    out += [[user(t)] for t in ("Hello!", "Why is the sky blue?", "fn main() {}", "日本語で答えて", "  Vec  ")]
    return out


FREE_TEXT = ["Ownership is Rust's most unique feature", "A closure is"]


def golden(runner, lists):
    """Prompt ids and greedy continuation ids (float32, bf16 weights)."""
    cases = [{"messages": m, "prompt_ids": runner.prompt(m)} for m in golden_messages(lists)]
    cases += [{"text": t, "prompt_ids": runner.tokenizer.encode(t)} for t in FREE_TEXT]
    for case, ids in zip(cases, runner.continuations([c["prompt_ids"] for c in cases], 64)):
        case["greedy_ids"], case["greedy_text"] = ids, runner.tokenizer.decode(ids, skip_special_tokens=True)
    return cases


def agreement(main, draft, lists):
    """How often the draft's most likely token is the main model's, along the main model's own answers."""
    hits = count = 0
    prompts = [main.prompt([{"role": "user", "content": question(EVALUATED[0], i["path"])}]) for i in lists.sampled[:200]]
    for prompt, made in zip(prompts, main.continuations(prompts)):
        ids = main.torch.tensor([prompt + made], device=main.device)
        with main.torch.no_grad():
            guess = draft.model(ids).logits[0, len(prompt) - 1: -1].argmax(-1).tolist()
        hits += sum(a == b for a, b in zip(guess, made))
        count += len(made)
    return round(hits / count, 4)


def main(build, out, results):
    build, out, results = Path(build), Path(out), Path(results)
    results.mkdir(parents=True, exist_ok=True)
    lists = Lists(read(build / "items.jsonl"), json.loads((build / "known.json").read_text()))
    write(results / "sampled_items.jsonl", [{k: i[k] for k in ("path", "kind", "summary")} for i in lists.sampled])
    (results / "held_out.json").write_text(json.dumps(
        {"phrasings": HELD_OUT_PHRASINGS, "chapters": S.HELD_OUT_CHAPTERS, "fabricated_names": lists.fabricated,
         "refusal": S.REFUSAL}, indent=1) + "\n")
    import torch
    import transformers
    report = {"training": json.loads((out / "training.json").read_text()), "transformers": transformers.__version__,
              "evaluated_with": torch.__version__}
    runners, cases = {n: Runner(out / n) for n in ("main", "draft")}, {}
    for name, runner in runners.items():
        report[name] = measure(runner, lists, read(build / "heldout.jsonl"))
        cases[name] = golden(runner, lists)
        print(name, json.dumps(report[name]["rates"], indent=1), flush=True)
    report["draft agreement with main, token by token"] = agreement(runners["main"], runners["draft"], lists)
    print("agreement", report["draft agreement with main, token by token"])
    print(json.dumps(report["main"]["some_wrong"][:12], indent=0, ensure_ascii=False))
    (results / "results.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (results / "golden.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n", encoding="utf-8")


def write_readme():
    """Put the table of results between the README's two marks."""
    here = Path(__file__).parent
    report = json.loads((here / "results/results.json").read_text(encoding="utf-8"))
    rows = ["| figure | of | main | draft |", "| --- | ---: | ---: | ---: |"]
    for key, value in report["main"]["rates"].items():
        text = (lambda v: f"{v:.2f}") if key.startswith("perplexity") else (lambda v: f"{100 * v:.1f} %")
        rows.append(f"| {key} | {report['main']['counts'].get(key, '')} | {text(value)} | {text(report['draft']['rates'][key])} |")
    rows.append(f"| draft's first choice is main's, token by token | | | "
                f"{100 * report['draft agreement with main, token by token']:.1f} % |")
    readme = (here / "README.md").read_text(encoding="utf-8")
    head, rest = readme.split("<!-- results -->\n", 1)
    tail = rest.split("<!-- /results -->", 1)[1]
    table = "\n".join(rows).replace("{}", "X")
    (here / "README.md").write_text(f"{head}<!-- results -->\n{table}\n<!-- /results -->{tail}", encoding="utf-8")


if __name__ == "__main__":
    write_readme() if sys.argv[1:] == ["--write-readme"] else main(*sys.argv[1:4])
