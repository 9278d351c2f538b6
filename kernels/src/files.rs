/// Every file under `kernels/` that a compiler reads, with its text. In the order of the ladders; a test holds it to the folders.
static FILES: &[(&str, &str)] = &[
    file!("gemm/k01_naive.cu"),
    file!("gemm/k17_stream_k.cu"),
    file!("include/gpu.h"),
    file!("include/sm90.h"),
    file!("include/wgmma.h"),
    file!("include/stream_k.h"),
    file!("include/epilogue.h"),
];
