//! The peer: cuBLASLt, the same product on the same buffers, with the best of the algorithms that its heuristic names.

use cudarc::cublaslt::{result, sys};
use gemm::{Element, Problem};
use kernels::{Buffer, Device};
use std::ffi::c_void;

/// cuBLASLt on the device's stream, with a workspace of 64 MB.
pub struct CublasLt {
    handle: sys::cublasLtHandle_t,
    device: Device,
    workspace: Buffer,
    one: Buffer,
}

/// One product, ready to run with any of its algorithms.
pub struct Product<'a> {
    library: &'a CublasLt,
    descriptor: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    integer: bool,
    /// Algorithms, the heuristic's favourite first.
    pub algorithms: Vec<sys::cublasLtMatmulAlgo_t>,
}

const WORKSPACE: usize = 64 << 20;

impl CublasLt {
    pub fn new(device: &Device) -> Self {
        Self {
            handle: result::create_handle().expect("cuBLASLt"),
            device: device.clone(),
            workspace: device.allocate(WORKSPACE).expect("64 MB"),
            one: device.upload(&[1.0_f32]).expect("4 bytes"),
        }
    }

    /// `C = A Bᵀ` is, read by columns as cuBLAS reads, `Cᵀ = B Aᵀ`: its first operand is B transposed, its second A.
    /// C is bf16, and s32 for int8, where cuBLASLt offers no bf16.
    pub fn product(&self, problem: &Problem) -> Product<'_> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        use sys::cudaDataType as Type;
        let (input, output, compute, scale) = match problem.element {
            Element::Bf16 => (
                Type::CUDA_R_16BF,
                Type::CUDA_R_16BF,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                Type::CUDA_R_32F,
            ),
            Element::F16 => (
                Type::CUDA_R_16F,
                Type::CUDA_R_16F,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                Type::CUDA_R_32F,
            ),
            Element::E4m3 => (
                Type::CUDA_R_8F_E4M3,
                Type::CUDA_R_16BF,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                Type::CUDA_R_32F,
            ),
            Element::Int8 => (
                Type::CUDA_R_8I,
                Type::CUDA_R_32I,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32I,
                Type::CUDA_R_32I,
            ),
        };
        let descriptor = result::create_matmul_desc(compute, scale).expect("descriptor");
        let set = |attribute, value: *const c_void, bytes| {
            // SAFETY: the value lives through the call and has that many bytes.
            unsafe { result::set_matmul_desc_attribute(descriptor, attribute, value, bytes) }
                .expect("attribute");
        };
        let (transposed, plain) = (1_i32, 0_i32);
        set(
            Attribute::CUBLASLT_MATMUL_DESC_TRANSA,
            (&raw const transposed).cast(),
            4,
        );
        set(
            Attribute::CUBLASLT_MATMUL_DESC_TRANSB,
            (&raw const plain).cast(),
            4,
        );
        if problem.element == Element::E4m3 {
            let (one, fast) = (self.one.address(), 1_i8);
            set(
                Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
                (&raw const one).cast(),
                8,
            );
            set(
                Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
                (&raw const one).cast(),
                8,
            );
            set(
                Attribute::CUBLASLT_MATMUL_DESC_FAST_ACCUM,
                (&raw const fast).cast(),
                1,
            );
        }
        let (m, n, k) = (problem.m as u64, problem.n as u64, problem.k as u64);
        let layout = |kind, rows, columns| {
            result::create_matrix_layout(kind, rows, columns, rows as i64).expect("layout")
        };
        let layouts = [
            layout(input, k, n),
            layout(input, k, m),
            layout(output, n, m),
        ];
        let mut product = Product {
            library: self,
            descriptor,
            layouts,
            integer: problem.element == Element::Int8,
            algorithms: Vec::new(),
        };
        product.algorithms = product.heuristic();
        product
    }
}

impl Product<'_> {
    fn heuristic(&self) -> Vec<sys::cublasLtMatmulAlgo_t> {
        let preference = result::create_matmul_pref().expect("preference");
        let bytes = WORKSPACE;
        let mut count = 0;
        // SAFETY: all handles are ours; `found` has room for eight results.
        unsafe {
            let attribute =
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference, attribute, (&raw const bytes).cast(), 8)
                .expect("workspace limit");
            let mut found: [sys::cublasLtMatmulHeuristicResult_t; 8] = std::mem::zeroed();
            let [a, b, c] = self.layouts;
            let status = sys::cublasLtMatmulAlgoGetHeuristic(
                self.library.handle,
                self.descriptor,
                a,
                b,
                c,
                c,
                preference,
                8,
                found.as_mut_ptr(),
                &mut count,
            );
            let _ = result::destroy_matmul_pref(preference);
            if status.result().is_err() {
                return Vec::new();
            }
            found[..count as usize]
                .iter()
                .map(|result| result.algo)
                .collect()
        }
    }

    /// What an algorithm is, by the library's numbers of `cublasLtMatmulTile_t`, `…Stages_t` and `…ClusterShape_t`.
    pub fn describe(&self, algorithm: &sys::cublasLtMatmulAlgo_t) -> String {
        use sys::cublasLtMatmulAlgoConfigAttributes_t as Attribute;
        let get = |attribute, bytes: usize| {
            let (mut value, mut written) = (0_u32, 0);
            let to = (&raw mut value).cast();
            // SAFETY: the attribute has that many bytes, at most four.
            unsafe {
                sys::cublasLtMatmulAlgoConfigGetAttribute(
                    algorithm,
                    attribute,
                    to,
                    bytes,
                    &mut written,
                )
            };
            value
        };
        format!(
            "algorithm {}, tile {}, stages {}, split {}, reduction {}, swizzle {}, custom {}, cluster {}",
            get(Attribute::CUBLASLT_ALGO_CONFIG_ID, 4),
            get(Attribute::CUBLASLT_ALGO_CONFIG_TILE_ID, 4),
            get(Attribute::CUBLASLT_ALGO_CONFIG_STAGES_ID, 4),
            get(Attribute::CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 4),
            get(Attribute::CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4),
            get(Attribute::CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, 4),
            get(Attribute::CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, 4),
            get(Attribute::CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, 2),
        )
    }

    /// Puts the product on the stream.
    pub fn run(
        &self,
        algorithm: &sys::cublasLtMatmulAlgo_t,
        a: u64,
        b: u64,
        c: u64,
    ) -> Result<(), result::CublasError> {
        let (one, zero, one_i, zero_i) = (1.0_f32, 0.0_f32, 1_i32, 0_i32);
        let (alpha, beta): (*const c_void, *const c_void) = if self.integer {
            ((&raw const one_i).cast(), (&raw const zero_i).cast())
        } else {
            ((&raw const one).cast(), (&raw const zero).cast())
        };
        let pointer = |address: u64| address as *mut c_void;
        let [la, lb, lc] = self.layouts;
        // SAFETY: the buffers hold the layouts' matrices.
        unsafe {
            result::matmul(
                self.library.handle,
                self.descriptor,
                alpha,
                beta,
                pointer(b),
                la,
                pointer(a),
                lb,
                pointer(c),
                lc,
                pointer(c),
                lc,
                algorithm,
                pointer(self.library.workspace.address()),
                WORKSPACE,
                self.library.device.stream().cast(),
            )
        }
    }
}

impl Drop for Product<'_> {
    fn drop(&mut self) {
        // SAFETY: created in `product`, destroyed once.
        unsafe {
            let _ = result::destroy_matmul_desc(self.descriptor);
            for layout in self.layouts {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}
