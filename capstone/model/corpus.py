"""Turn the toolchain's `rust-docs` into the training corpus.

    python corpus.py "$(rustc --print sysroot)/share/doc/rust/html" build/

writes `items.jsonl` (one documented name a line), `prose.jsonl` (training text) and `heldout.jsonl` (two chapters
of the Book). Invariant: no page of a held-out chapter is ever part of `prose.jsonl`, and one path has one summary.
"""

import json
import re
import sys
from multiprocessing import Pool
from pathlib import Path

import lxml.html

from settings import HELD_OUT_CHAPTERS, MAX_SUMMARY_WORDS

PAGE = re.compile(r"^(struct|enum|union|trait|fn|macro|constant|static|primitive|keyword|type|attr|derive)\.(.+)\.html$")
MEMBER = re.compile(r"^(method|tymethod|variant|associatedconstant|associatedtype)\.(\w+)$")
MEMBER_KIND = {"method": "method", "tymethod": "method", "variant": "variant",
               "associatedconstant": "constant", "associatedtype": "type"}
# The integer types document the same methods: the prose of these two stands for all of them.
INTEGERS = re.compile(r"^primitive\.([iu](8|16|64|128|size)|f16|f32|f128)\.html$")
ABBREVIATION = re.compile(r"(\be\.g|\bi\.e|\betc|\bvs|\bcf|\bapprox|\ba\.k\.a)\.$")


def plain(node):
    """The text of an element on one line: exponents as `2^31`, footnote marks left out."""
    for mark in node.xpath(".//sup"):
        if mark.xpath(".//a"):
            mark.drop_tree()
        elif not (mark.text or "").startswith("^"):
            mark.text = "^" + (mark.text or "")
    return re.sub(r"\s+", " ", node.text_content()).strip()


def first_sentence(text):
    """The summary: the text up to the first full stop that ends a sentence."""
    for end in re.finditer(r"[.!?][)\"'’”]*(?=\s+[A-Z0-9`\"'(‘“])", text):
        head = text[: end.end()]
        if not ABBREVIATION.search(head) and head.count("(") == head.count(")"):
            return head
    return text


def summary(docblock):
    """The first sentence of a documentation block, or None where it does not open with a paragraph."""
    if docblock is None:
        return None
    paragraphs = [n for n in docblock if n.tag in ("p", "div", "pre", "ul", "ol", "table", "blockquote")]
    if paragraphs and paragraphs[0].tag != "p":
        return None
    text = first_sentence(plain(paragraphs[0]) if paragraphs else plain(docblock))
    return text or None


def blocks(docblock):
    """A documentation block as paragraphs: prose on one line, code as it is written."""
    out = []
    for node in docblock.iter("p", "li", "pre", "h1", "h2", "h3", "h4", "h5", "td"):
        if node.tag == "pre":
            out.append("```\n" + node.text_content().strip("\n") + "\n```")
        elif node.tag != "p" or node.getparent().tag not in ("li", "td"):
            text = plain(node).lstrip("§").strip()
            if text:
                out.append("- " + text if node.tag == "li" else text)
    return "\n\n".join(out)


def docblock_of(section):
    """The documentation that belongs to a member's `<section>`, or None."""
    node = section.getparent() if section.getparent().tag == "summary" else section
    for sibling in node.itersiblings():
        if sibling.tag == "section":
            return None
        if sibling.tag == "div" and "docblock" in (sibling.get("class") or ""):
            return sibling
    return None


def owner_path(relative):
    """`std/vec/struct.Vec.html` as (kind, `std::vec::Vec`); None for pages that are not items."""
    *modules, name = relative.parts
    if name == "index.html":
        return "module", "::".join(modules)
    page = PAGE.match(name)
    if not page:
        return None
    kind, item = page.groups()
    if kind in ("primitive", "keyword"):
        return kind, {"SelfTy": "Self"}.get(item, item)
    return kind, "::".join([*modules, item]) + ("!" if kind == "macro" else "")


def members(page, kind, owner):
    """Methods, variants and associated items of a page, as (kind, path, docblock, origin)."""
    for section in page.xpath("//section[@id]"):
        found = MEMBER.match(re.sub(r"-\d+$", "", section.get("id")))
        if not found:
            continue
        origin = "own"
        if "trait-impl" in section.get("class", ""):
            origin = "trait-impl"
        elif any((a.get("id") or "").startswith("deref-methods") for a in section.iterancestors()):
            origin = "deref"
        elif kind == "trait" and any((a.get("id") or "").endswith("implementors-list") for a in section.iterancestors()):
            origin = "trait-impl"
        yield MEMBER_KIND[found[1]], f"{owner}::{found[2]}", docblock_of(section), origin


def read_item_page(args):
    """One rustdoc page: (items, prose), items as (path, kind, summary, origin)."""
    root, relative = args
    named = owner_path(relative)
    text = (root / relative).read_text(encoding="utf-8")
    if not named or "main-content" not in text:
        return [], []
    page = lxml.html.fromstring(text)
    for noise in page.xpath("//a[contains(@class,'doc-anchor') or contains(@class,'test-arrow')] | //rustdoc-toolbar"):
        noise.drop_tree()
    kind, path = named
    top = page.xpath("//details[contains(@class,'top-doc')]/div[contains(@class,'docblock')]")
    items, prose = [], []
    if top:
        items.append((path, kind, summary(top[0]), "own"))
        prose.append(f"# {path}\n\n{blocks(top[0])}")
    for member_kind, member, doc, origin in members(page, kind, path):
        items.append((member, member_kind, summary(doc), origin))
        if doc is not None and origin == "own" and not INTEGERS.match(relative.name):
            prose.append(f"# {member}\n\n{blocks(doc)}")
    return items, prose


def item_pages(root):
    """Every page of std, core and alloc but the vendors' intrinsics."""
    for crate in ("std", "core", "alloc"):
        for page in sorted((root / crate).rglob("*.html")):
            relative = page.relative_to(root)
            if "arch" not in relative.parts and "core_arch" not in relative.parts:
                yield root, relative


def merge_items(rows):
    """One entry a path: the first own summary wins; `core` and `alloc` paths of std's items become aliases."""
    own = {}
    for path, kind, text, origin in rows:
        if origin != "trait-impl" and text and path not in own:
            own[path] = {"path": path, "kind": kind, "summary": text, "origin": origin, "aliases": []}
    for path in [p for p in own if p.startswith(("core::", "alloc::"))]:
        twin = own.get("std::" + path.split("::", 1)[1])
        if twin and twin["summary"] == own[path]["summary"]:
            twin["aliases"].append(path)
            del own[path]
    too_long = [p for p, item in own.items() if len(item["summary"].split()) > MAX_SUMMARY_WORDS]
    for path in too_long:
        del own[path]
    print(f"dropped {len(too_long)} items whose summary is longer than {MAX_SUMMARY_WORDS} words")
    known = sorted({row[0] for row in rows})  # every name that exists, documented or not: never to be refused
    return list(own.values()), known


def read_book(root, book):
    """The chapters of an mdBook as (page name, text)."""
    for file in sorted((root / book).rglob("*.html")):
        if file.name in ("print.html", "toc.html", "404.html") or "edition" in str(file.parent.relative_to(root)):
            continue
        main = lxml.html.fromstring(file.read_text(encoding="utf-8")).xpath("//main")
        text = blocks(main[0]) if main else ""
        if len(text) > 400:
            yield file.name, text


def main(root, out):
    root, out = Path(root), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows, prose, held_out = [], [], []
    with Pool() as pool:
        for items, texts in pool.imap(read_item_page, item_pages(root), chunksize=32):
            rows += items
            prose += texts
    for book in ("book", "reference", "rust-by-example"):
        for name, text in read_book(root, book):
            is_held_out = book == "book" and name.startswith(HELD_OUT_CHAPTERS)
            (held_out if is_held_out else prose).append(text)
    bodies = {text.split("\n", 1)[-1]: text for text in reversed(prose)}  # the same text under two paths counts once
    items, known = merge_items(rows)
    write(out / "items.jsonl", items)
    write(out / "prose.jsonl", sorted(bodies.values()))
    write(out / "heldout.jsonl", held_out)
    (out / "known.json").write_text(json.dumps(known))
    print(f"{len(items)} items, {len(bodies)} texts, {sum(map(len, bodies.values()))} characters of prose, "
          f"{len(held_out)} held-out pages, {len(known)} names")


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
