"""Nsight Compute's CSV (`ncu --csv --page raw --print-units base`) as a Markdown table, a line a launch.

    python3 kernels/gemm/ncu_table.py profile/*.csv           # the table
    python3 kernels/gemm/ncu_table.py --json profile/*.csv    # a JSON line a launch, for the bench `outside` of stage 05

A cell of a metric that was not collected is a dash. `python3 -m doctest kernels/gemm/ncu_table.py` checks the reading:

>>> text = '''==PROF== Connected to process 7
... "ID","Kernel Name","gpu__time_duration.sum","dram__bytes_read.sum","launch__registers_per_thread","smsp__average_warps_issue_stalled_wait_per_issue_active.ratio","smsp__average_warps_issue_stalled_gmma_per_issue_active.ratio","smsp__average_warps_issue_stalled_selected_per_issue_active.ratio"
... "","","ns","byte","register/thread","inst","inst","inst"
... "0","gemm_stream_k(CUtensorMap)","98,304","2,000,000","168","0.5","2.25","1"
... '''
>>> [launch] = launches(text)
>>> launch["Kernel Name"], launch["gpu__time_duration.sum"]
('gemm_stream_k(CUtensorMap)', '98,304')
>>> print(table([launch]))
| kernel | time, us | tensor pipe, % | issue slots, % | DRAM, % | warps, % | DRAM read, MB | DRAM written, MB | L2 sectors, M | bank conflicts, M | registers | most stalled, warps an issue |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| gemm_stream_k | 98.3 | – | – | – | – | 2.00 | – | – | – | 168 | gmma 2.25, wait 0.50 |
>>> figures(launch)
{'time-us': 98.304, 'dram-read-mb': 2.0, 'registers': 168.0}
>>> launches("==ERROR== nothing")
[]
"""

import csv
import json
import os
import re
import sys

# Heading, metric, what its base unit is divided by, decimals.
COLUMNS = [
    ("time, us", "gpu__time_duration.sum", 1e3, 1),
    ("tensor pipe, %", "sm__pipe_tensor_op_hmma_cycles_active.avg.pct_of_peak_sustained_elapsed", 1, 1),
    ("issue slots, %", "sm__issue_active.avg.pct_of_peak_sustained_elapsed", 1, 1),
    ("DRAM, %", "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed", 1, 1),
    ("warps, %", "sm__warps_active.avg.pct_of_peak_sustained_active", 1, 1),
    ("DRAM read, MB", "dram__bytes_read.sum", 1e6, 2),
    ("DRAM written, MB", "dram__bytes_write.sum", 1e6, 2),
    ("L2 sectors, M", "lts__t_sectors.sum", 1e6, 2),
    ("bank conflicts, M", "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum", 1e6, 3),
    ("registers", "launch__registers_per_thread", 1, 0),
]
STALL = re.compile(r"smsp__average_warps_issue_stalled_(\w+)_per_issue_active\.ratio")


def launches(text):
    """The launches in a CSV, each a map from a column to its text. ncu's own remarks stand before the header, the units after it."""
    rows = list(csv.reader(line for line in text.splitlines() if line.startswith('"')))
    if not rows:
        return []
    header, _units, *rows = rows
    return [dict(zip(header, row)) for row in rows]


def number(text):
    """The number of a cell, or None: cells have separators of thousands, and are empty or `n/a` where nothing was measured."""
    try:
        return float(text.replace(",", ""))
    except (AttributeError, ValueError):
        return None


def stalls(launch):
    """The three reasons for which most warps waited. `selected` is no reason to wait: it is the warp that issues."""
    found = ((STALL.fullmatch(name), number(value)) for name, value in launch.items())
    found = [(value, match[1]) for match, value in found if match and value is not None and match[1] != "selected"]
    return ", ".join(f"{name} {value:.2f}" for value, name in sorted(found, reverse=True)[:3]) or "–"


def line(launch):
    cells = [launch["Kernel Name"].split("(")[0]]
    for _, metric, unit, decimals in COLUMNS:
        value = number(launch.get(metric))
        cells.append("–" if value is None else f"{value / unit:.{decimals}f}")
    return cells + [stalls(launch)]


def figures(launch):
    """The columns that were measured, by names that a series can have."""
    found = {}
    for heading, metric, unit, _ in COLUMNS:
        value = number(launch.get(metric))
        if value is not None:
            found[heading.lower().replace("%", "percent").replace(", ", "-").replace(" ", "-")] = value / unit
    return found


def table(found):
    headings = ["kernel", *(heading for heading, *_ in COLUMNS), "most stalled, warps an issue"]
    rule = ["---", *("---:" for _ in COLUMNS), "---"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *map(line, found)])


def main():
    found = []
    paths = [path for path in sys.argv[1:] if path != "--json"]
    for path in paths:
        with open(path, encoding="utf-8") as file:
            here = launches(file.read())
        if not here:
            sys.exit(f"{path} holds no launch")
        found += here
        if len(paths) < len(sys.argv) - 1:
            name = os.path.basename(path).removesuffix(".csv")
            print(*(json.dumps({"kernel": name} | figures(launch)) for launch in here), sep="\n")
    if not found:
        sys.exit(__doc__)
    if len(paths) == len(sys.argv) - 1:
        print(table(found))


if __name__ == "__main__":
    main()
