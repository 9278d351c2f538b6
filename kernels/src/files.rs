/// Every file under `kernels/` that a compiler reads, with its text. In the order of the ladders; a test holds it to the folders.
static FILES: &[(&str, &str)] = &[
    file!("gemm/k01_naive.cu"),
    file!("gemm/k02_coalesced.cu"),
    file!("gemm/k03_shared.cu"),
    file!("gemm/k04_register_tile.cu"),
    file!("gemm/k05_vectorised.cu"),
    file!("gemm/k18_gemv.cu"),
    file!("include/gpu.h"),
    file!("include/emulation.h"),
    file!("include/emulation_block.h"),
    file!("include/emulation_device.h"),
    file!("include/emulation_fiber.h"),
    file!("include/emulation_memory.h"),
    file!("include/emulation_report.h"),
];
