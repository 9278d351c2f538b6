/// Every file under `kernels/` that a compiler reads, with its text. In the order of the ladders; a test holds it to the folders.
static FILES: &[(&str, &str)] = &[
    file!("gemm/k01_naive.cu"),
    file!("gemm/cdna_mfma.cu"),
    file!("gemm/cdna_fp8.cu"),
    file!("gemm/rdna_wmma.cu"),
    file!("include/gpu.h"),
    file!("include/hip.h"),
    file!("include/amd_tile.h"),
    file!("include/cdna.h"),
    file!("include/rdna.h"),
];
