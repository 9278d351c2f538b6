#!/usr/bin/env bash
# The whole table of the CPU engine beside its peers, from nothing: builds llama.cpp (the sources in the Python package llama-cpp-python)
# and candle for this CPU, gets PyTorch, writes models of random weights, and measures all sides in turns.
#
#     bash capstone/benches/peers/table.sh            # prints the speeds
#     RECORD=1 bash capstone/benches/peers/table.sh   # writes benches/records/capstone-cpu.json as well
#
# PEERS chooses whom (default "llama.cpp candle pytorch"), RUNS how often (3), THREADS how many threads, and an argument which cases, by a
# part of their name. Everything lies in PEERS_FOLDER (default target/peers) and is found there by the next run. Takes a C++ compiler,
# python3 with venv, some 15 GB of disk, and an idle machine for the better part of an hour.
set -euo pipefail
cd "$(dirname "$0")/../../.."
peers=${PEERS:-llama.cpp candle pytorch}
mkdir -p "${PEERS_FOLDER:=target/peers}/models"
work=$(cd "$PEERS_FOLDER" && pwd)
models=("llama-3.2-1b" "qwen2.5-0.5b")
has() { [[ " $peers " == *" $1 "* ]]; }

[ -x "$work/python/bin/pip" ] || python3 -m venv "$work/python"
"$work/python/bin/pip" install -q cmake ninja gguf==0.19.0 numpy

if has llama.cpp; then
    export LLAMA_CPP=$work/llama.cpp/bin
    if [ ! -x "$LLAMA_CPP/llama-batched-bench" ]; then
        "$work/python/bin/pip" download -q --no-deps --no-binary llama-cpp-python -d "$work" llama-cpp-python==0.3.36
        tar -xzf "$work"/llama_cpp_python-*.tar.gz -C "$work"
        PATH=$work/python/bin:$PATH cmake -G Ninja -S "$work"/llama_cpp_python-*/vendor/llama.cpp -B "$work/llama.cpp" \
            -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF \
            -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
        "$work/python/bin/cmake" --build "$work/llama.cpp" --target llama-batched-bench
    fi
fi
if has candle; then
    # Its quantised products are chosen when it is compiled.
    RUSTFLAGS="-C target-cpu=native" CARGO_TARGET_DIR=$work/candle \
        cargo build --release --locked --manifest-path capstone/benches/peers/candle/Cargo.toml
    export CANDLE=$work/candle/release/peer-candle
fi
if has llama.cpp || has candle; then
    for model in "${models[@]}"; do
        for format in q8_0 q4_0; do
            file=$work/models/$model-$format.gguf
            [ -e "$file" ] || "$work/python/bin/python" capstone/benches/peers/make_model.py "$model" "$format" "$file"
        done
    done
fi
if has pytorch; then
    export PYTORCH=$work/python/bin/python
    "$work/python/bin/pip" install -q torch==2.15.0 transformers==5.24.0
    for model in "${models[@]}"; do
        folder=$work/models/$model-bf16
        [ -e "$folder" ] || "$PYTORCH" capstone/benches/peers/torch_bf16.py make "$model" "$folder"
    done
fi
MODELS=$work/models cargo bench --locked -p capstone --bench peers -- "$@"
