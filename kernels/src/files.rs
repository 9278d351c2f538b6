/// Every file under `kernels/` that a compiler reads, with its text. In the order of the ladders; a test holds it to the folders.
static FILES: &[(&str, &str)] = &[
    file!("gemm/k01_naive.cu"),
    file!("include/gpu.h"),
];
