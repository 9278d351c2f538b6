//! Launching `kernels/gemm/k19_sparse.cu`: bf16 tokens times weights that are a [`Sparse24`](crate::Sparse24).

use crate::sparse_plan::{SPARSE_CONFIGS, SparseConfig, SparsePlan};
use kernels::{Arguments, Buffer, Device, Error, Kernel, Launch, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;

const PATH: &str = "gemm/k19_sparse.cu";

/// Where the operands lie on the device, at 16-byte aligned addresses.
#[derive(Debug, Clone, Copy)]
pub struct SparseOperands {
    /// Tokens, `[m, k]` in bf16.
    pub a: u64,
    /// Kept values of the weights, `[n, k / 2]` in bf16.
    pub values: u64,
    /// What [`metadata`](crate::Sparse24::metadata) gives.
    pub metadata: u64,
    /// The result, `[m, n]` in bf16.
    pub c: u64,
}

/// The kernels of one device, compiled when they are first asked for, and the workspace that they share.
pub struct SparseGemm {
    device: Device,
    kernels: RefCell<BTreeMap<SparseConfig, Kernel>>,
    sums: Buffer,
    flags: Buffer,
}

impl SparseGemm {
    /// Prepares for `device`.
    ///
    /// # Errors
    /// If the workspace cannot be had.
    pub fn new(device: &Device) -> Result<Self> {
        let sms = device.multiprocessors() as usize;
        let most = |of: fn(&SparseConfig) -> usize| SPARSE_CONFIGS.iter().map(of).max();
        let sums = most(|c| c.occupancy * c.rows * c.tokens * 4).unwrap_or(0);
        let flags = most(|c| c.occupancy * c.rows / 64 * 4).unwrap_or(0);
        let flags = device.allocate(sms * flags)?;
        device.fill(&flags, 0)?;
        Ok(Self {
            device: device.clone(),
            kernels: RefCell::default(),
            sums: device.allocate(sms * sums)?,
            flags,
        })
    }

    /// Works out the launch of `plan` for m, n, k: `c = a · weightsᵀ`.
    ///
    /// # Errors
    /// If the kernel does not compile, or the arrays do not suit TMA: n must be a multiple of 8, k of 16.
    pub fn prepare(
        &self,
        (m, n, k): (usize, usize, usize),
        plan: &SparsePlan,
        operands: &SparseOperands,
    ) -> Result<Launch> {
        if !k.is_multiple_of(16) || !n.is_multiple_of(8) {
            return Err(Error::Launch {
                path: PATH.to_owned(),
                why: format!("weights [{n}, {k}]: n must be a multiple of 8, k of 16"),
            });
        }
        let arguments = Arguments::default()
            .address("values", operands.values)
            .address("metadata", operands.metadata)
            .address("a", operands.a)
            .address("c", operands.c)
            .buffer("sums", &self.sums)
            .buffer("flags", &self.flags)
            .integer("M", m)
            .integer("N", n)
            .integer("K", k)
            .integer("PANEL", plan.panel(m, n, k))
            .integer("WHOLE", plan.whole)
            .integer("WORKERS", plan.workers);
        self.kernel(&plan.config)?.prepare(&arguments)
    }

    fn kernel(&self, config: &SparseConfig) -> Result<Kernel> {
        if let Some(kernel) = self.kernels.borrow().get(config) {
            return Ok(kernel.clone());
        }
        let kernel = Kernel::load(&self.device, PATH, &config.parameters())?;
        self.kernels.borrow_mut().insert(*config, kernel.clone());
        Ok(kernel)
    }
}
