"""The ladder's comparison in Triton 3.6: bf16 C[M, N] = A[M, K] * B[N, K]^T, beside torch.matmul, which is cuBLAS.

    python kernels/gemm/triton_matmul.py              times every shape; a JSON line each; needs torch and a GPU of sm_90
    python kernels/gemm/triton_matmul.py --compile    what each configuration becomes; needs Triton alone

Two kernels, as one writes them in Triton today. `by_pointers` computes addresses: the compiler turns its loads into cp.async and its dots
into wgmma. `by_tma` is persistent, a program a multiprocessor, and loads and stores through tensor descriptors, which are made on the
host. Both take tiles of C in groups of GROUP rows of tiles. Each kernel and shape gets the fastest of a few configurations. All that is
timed is a CUDA graph of one launch, with an emptied L2, so that Python's time to launch is in no figure; torch and Triton take turns.
"""

import argparse
import itertools
import json
import random
import statistics
import sys

import triton
import triton.language as tl
from triton.runtime.errors import OutOfResources

SHAPES = [(4096, 4096, 4096), (8192, 8192, 8192), (16, 28672, 4096), (256, 28672, 4096)]
ODD = (333, 520, 392)  # checked and not timed: no tile divides it; TMA asks for rows of a multiple of 16 bytes

# BM, BN, BK, warps, stages; GROUP is 8.
POINTERS = [
    (128, 256, 64, 8, 3),
    (128, 256, 64, 8, 4),
    (256, 128, 64, 8, 3),
    (128, 128, 64, 4, 4),
    (128, 128, 64, 8, 4),
    (128, 64, 64, 4, 4),
    (64, 128, 64, 4, 4),
    (64, 64, 128, 4, 4),
    (16, 64, 128, 4, 5),
    (16, 128, 128, 4, 4),
    (16, 64, 256, 4, 4),
    (32, 64, 128, 4, 4),
]
# The same, and into how many parts C's tile is cut to be stored, which leaves shared memory to the stages.
TMA = [
    (128, 256, 64, 8, 3, 1),
    (128, 256, 64, 8, 3, 2),
    (128, 256, 64, 8, 4, 2),
    (256, 128, 64, 8, 3, 2),
    (256, 128, 64, 8, 4, 2),
    (128, 128, 64, 8, 4, 1),
    (128, 128, 64, 4, 4, 1),
    (128, 128, 128, 8, 3, 1),
    (64, 256, 64, 4, 4, 1),
    (64, 128, 128, 4, 4, 1),
    (64, 64, 128, 4, 6, 1),
    (16, 128, 128, 4, 5, 1),
]
GROUP = 8


@triton.jit
def place(tile, M, N, BM: tl.constexpr, BN: tl.constexpr, GROUP: tl.constexpr):
    """Row and column of a tile: down GROUP rows of tiles, then one to the right, so that what is read again is still in L2."""
    rows, columns = tl.cdiv(M, BM), tl.cdiv(N, BN)
    first = tile // (GROUP * columns) * GROUP
    height = min(rows - first, GROUP)
    inside = tile % (GROUP * columns)
    return first + inside % height, inside // height


@triton.jit
def by_pointers(
    a, b, c, M, N, K,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    row, column = place(tl.program_id(0), M, N, BM, BN, GROUP)
    m, n, k = row * BM + tl.arange(0, BM), column * BN + tl.arange(0, BN), tl.arange(0, BK)
    # Rows past the end are read as the last row, and not written.
    x = a + tl.minimum(m, M - 1)[:, None] * K + k[None, :]
    y = b + tl.minimum(n, N - 1)[:, None] * K + k[None, :]
    sums = tl.zeros((BM, BN), tl.float32)
    for step in range(0, tl.cdiv(K, BK)):
        if EVEN:
            sums = tl.dot(tl.load(x), tl.load(y).T, sums)
        else:
            inside = (k < K - step * BK)[None, :]
            sums = tl.dot(tl.load(x, inside, 0.0), tl.load(y, inside, 0.0).T, sums)
        x += BK
        y += BK
    tl.store(c + m[:, None] * N + n[None, :], sums.to(tl.bfloat16), (m < M)[:, None] & (n < N)[None, :])


@triton.jit
def by_tma(
    a, b, c, M, N, K,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, WORKERS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(M, BM) * tl.cdiv(N, BN)
    # Flattened into one loop with the one over k, the next tile's first loads are under way while this one is stored.
    for tile in tl.range(tl.program_id(0), tiles, WORKERS, flatten=True):
        row, column = place(tile, M, N, BM, BN, GROUP)
        m, n = row * BM, column * BN
        sums = tl.zeros((BM, BN), tl.float32)
        for step in range(0, tl.cdiv(K, BK)):
            sums = tl.dot(a.load([m, step * BK]), b.load([n, step * BK]).T, sums)
        if PARTS == 1:
            c.store([m, n], sums.to(tl.bfloat16))
        else:
            left, right = sums.reshape((BM, 2, BN // 2)).permute((0, 2, 1)).split()
            c.store([m, n], left.to(tl.bfloat16))
            c.store([m, n + BN // 2], right.to(tl.bfloat16))


def launch_by_pointers(a, b, c, config):
    bm, bn, bk, warps, stages = config
    (m, k), n = a.shape, b.shape[0]
    grid = (triton.cdiv(m, bm) * triton.cdiv(n, bn),)
    by_pointers[grid](a, b, c, m, n, k, bm, bn, bk, GROUP, k % bk == 0, num_warps=warps, num_stages=stages)


def launch_by_tma(a, b, c, config):
    import torch
    from triton.tools.tensor_descriptor import TensorDescriptor

    bm, bn, bk, warps, stages, parts = config
    (m, k), n = a.shape, b.shape[0]
    workers = torch.cuda.get_device_properties(a.device).multi_processor_count
    maps = [
        TensorDescriptor.from_tensor(array, box)
        for array, box in [(a, [bm, bk]), (b, [bn, bk]), (c, [bm, bn // parts])]
    ]
    grid = (min(workers, triton.cdiv(m, bm) * triton.cdiv(n, bn)),)
    by_tma[grid](*maps, m, n, k, bm, bn, bk, GROUP, workers, parts, num_warps=warps, num_stages=stages)


KERNELS = {"pointers": (launch_by_pointers, POINTERS), "tma": (launch_by_tma, TMA)}


def compile_all():
    """Compiles every configuration for sm_90 and counts what the PTX holds."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    target = GPUTarget("cuda", 90, 32)
    # Pointers and sizes that 16 divides, as they are in every shape that is timed.
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(6)}
    sizes = dict.fromkeys("MNK", "i32")
    for name, config in itertools.chain((("pointers", c) for c in POINTERS), (("tma", c) for c in TMA)):
        bm, bn, bk, warps, stages, *parts = config
        constants = {"BM": bm, "BN": bn, "BK": bk, "GROUP": GROUP}
        if name == "pointers":
            function, attributes, constants = by_pointers, aligned, constants | {"EVEN": True}
            arrays = dict.fromkeys("abc", "*bf16")
        else:
            function, attributes = by_tma, {place: aligned[place] for place in [(3,), (4,), (5,)]}
            constants |= {"WORKERS": 132, "PARTS": parts[0]}
            boxes = {"a": (bm, bk), "b": (bn, bk), "c": (bm, bn // parts[0])}
            arrays = {array: f"tensordesc<bf16[{h}, {w}]>" for array, (h, w) in boxes.items()}
        signature = arrays | sizes | dict.fromkeys(constants, "constexpr")
        source = ASTSource(function, signature, constants, attributes)
        made = triton.compile(source, target=target, options={"num_warps": warps, "num_stages": stages})
        ptx = made.asm["ptx"]
        words = ["wgmma.mma_async", "mma.sync", "cp.async.cg", "cp.async.bulk.tensor"]
        counts = {word: ptx.count(word) for word in words}
        print(json.dumps({"kernel": name, "config": config, "shared": made.metadata.shared, **counts}), flush=True)


def inputs(shape, seed):
    import torch

    m, n, k = shape
    torch.manual_seed(seed)
    a, b = (torch.randn(rows, k, device="cuda").to(torch.bfloat16) for rows in (m, n))
    return a, b, torch.empty(m, n, device="cuda", dtype=torch.bfloat16)


def is_right(a, b, c):
    """All of C against double precision: bf16's rounding, and a sum's in f32, whose terms' sizes are |A| |B|^T."""
    import torch

    wide = b.double().T
    size = wide.abs()
    for first in range(0, a.shape[0], 1024):
        rows = a[first : first + 1024].double()
        expected = rows @ wide
        bound = expected.abs() / 256 + rows.abs() @ size / 2**18
        # NaN is no more than nothing: it fails.
        if not bool(((c[first : first + 1024].double() - expected).abs() <= bound).all()):
            return False
    return True


def graph_of(run):
    """A CUDA graph of one launch."""
    import torch

    run()  # compiles and loads outside the capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def microseconds(graph, span=100):
    """Median time of a launch, with L2 emptied before each, over `span` ms."""
    return triton.testing.do_bench(graph.replay, warmup=25, rep=span, return_mode="median") * 1000


def fastest(launch, configs, a, b, c):
    """The configuration with the least time whose C is right, and its graph; those that need more than the GPU has are passed over."""
    found, refused = [], {}
    for config in configs:
        try:
            c.fill_(float("nan"))
            graph = graph_of(lambda config=config: launch(a, b, c, config))
        except OutOfResources as error:
            refused[str(config)] = str(error)
            continue
        graph.replay()
        if not is_right(a, b, c):
            refused[str(config)] = "a wrong result"
            continue
        found.append((microseconds(graph, 40), config, graph))
    if not found:
        raise RuntimeError(f"no configuration ran: {refused}")
    _, config, graph = min(found, key=lambda entry: entry[0])
    return config, graph, refused


def compare(shape, seed):
    """Every kernel at one shape, in turns with torch."""
    import torch

    a, b, c = inputs(shape, seed)
    graphs = {"torch": graph_of(lambda: torch.matmul(a, b.T, out=c))}
    line = {"shape": shape, "seed": seed}
    for name, (launch, configs) in KERNELS.items():
        try:
            config, graphs[name], refused = fastest(launch, configs, a, b, c)
            line[name] = {"config": config, "refused": refused}
        except Exception as error:  # the other kernel's figure is still of use
            line[name] = {"error": f"{type(error).__name__}: {error}"}
    times = {name: [] for name in graphs}
    for _ in range(5):
        for name, graph in graphs.items():
            times[name].append(microseconds(graph))
    m, n, k = shape
    for name, samples in times.items():
        us = statistics.median(samples)
        ratio = statistics.median(peer / own for peer, own in zip(times["torch"], samples))
        # After the timing once more: what was timed must have computed the product.
        c.fill_(float("nan"))
        graphs[name].replay()
        figures = {"us": us, "tflops": 2 * m * n * k / us / 1e6, "ratio_to_torch": ratio, "right": is_right(a, b, c)}
        line[name] = line.get(name, {}) | figures | {"samples_us": samples}
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", action="store_true", help="compile every configuration, with no GPU")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    if options.compile:
        return compile_all()
    import torch

    about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
    failed = False
    for name, (launch, configs) in KERNELS.items():
        a, b, c = inputs(ODD, options.seed)
        for config in configs:
            c.fill_(float("nan"))
            try:
                launch(a, b, c, config)
            except OutOfResources:
                continue
            if not is_right(a, b, c):
                print(f"{name} {config} is wrong at {ODD}, seed {options.seed}", file=sys.stderr)
                failed = True
    for shape in SHAPES:
        line = about | compare(shape, options.seed)
        failed |= any(not line[name].get("right") for name in KERNELS)
        print(json.dumps(line), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
