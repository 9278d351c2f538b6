#!/usr/bin/env bash
# What the hardware's counters say of steps of the ladder: profiles one launch of each named kernel with Nsight Compute, on a machine that
# has it and a GPU whose counters may be read.
#
#   OUT=profile bash kernels/gemm/ncu.sh gemm/k03_shared.cu gemm/k17_stream_k.cu -- cargo bench -p stage-05 --bench ladder
#   SHAPES=16,57344,8192 OUT=profile bash kernels/gemm/ncu.sh gemm/w4a16.cu -- cargo bench -p stage-05 --bench w4
#   SHAPES=4096,7168,16384 OUT=profile bash kernels/gemm/ncu.sh gemm/fp8_block.cu -- cargo bench -p stage-05 --bench fp8_block
#
# Behind `--` stands a program that launches them. Each kernel gets OUT/NAME.ncu-rep for Nsight Compute's window and OUT/NAME.csv;
# OUT/table.md has one line a kernel. SKIP (3) launches of a kernel go by first, since they warm up. SET=full collects every section, in
# some forty replays of the launch. Clocks are left alone, as in the benches; caches are emptied before each replay, ncu's own default.
set -euo pipefail
folder=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:?OUT names the folder to write to}

files=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    files+=("$1")
    shift
done
if [ ${#files[@]} -eq 0 ] || [ $# -lt 2 ]; then
    sed -n '2,/^set/{/^#/p}' "$0" >&2
    exit 2
fi
shift
command -v ncu >/dev/null || { echo "ncu is not on PATH: it comes with the CUDA toolkit, as Nsight Compute" >&2; exit 1; }

# Time, the tensor cores, what came from memory and through L2, what shared memory had to do twice; the sections add why warps waited,
# what a launch takes, and the shares of memory's rate and of the slots in which an instruction was issued.
metrics=$(paste -sd, <<'END'
gpu__time_duration.sum
sm__pipe_tensor_op_hmma_cycles_active.avg.pct_of_peak_sustained_elapsed
sm__warps_active.avg.pct_of_peak_sustained_active
dram__bytes_read.sum
dram__bytes_write.sum
lts__t_sectors.sum
l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum
END
)
options=(--section WarpStateStats --section LaunchStats --section SpeedOfLight --section ComputeWorkloadAnalysis --metrics "$metrics")
if [ -n "${SET:-}" ]; then options+=(--set "$SET"); fi

mkdir -p "$out"
tables=()
failed=0
for file in "${files[@]}"; do
    path=$folder/${file#kernels/}
    entry=$(sed -n 's|^//@ entry: *||p' "$path")
    name=$(basename "$file" .cu)
    rm -f "$out/$name.ncu-rep"
    ncu --target-processes all --clock-control none --kernel-name "$entry" --launch-skip "${SKIP:-3}" --launch-count 1 --kill yes \
        "${options[@]}" --force-overwrite --export "$out/$name" -- "$@" >"$out/$name.log" 2>&1 || true
    # The program is ended once its launch has been profiled, so that its exit status says nothing: the report does.
    if [ -f "$out/$name.ncu-rep" ]; then
        LC_ALL=C ncu --import "$out/$name.ncu-rep" --csv --page raw --print-units base >"$out/$name.csv"
        tables+=("$out/$name.csv")
    else
        echo "$file: no launch of $entry was profiled; the end of $out/$name.log:" >&2
        tail -n 5 "$out/$name.log" >&2
        failed=1
    fi
done
if [ ${#tables[@]} -gt 0 ]; then python3 "$folder/gemm/ncu_table.py" "${tables[@]}" | tee "$out/table.md"; fi
exit $failed
