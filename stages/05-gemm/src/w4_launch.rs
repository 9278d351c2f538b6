//! Launching `kernels/gemm/w4a16.cu` and `w4a16_wgmma.cu`: bf16 tokens times weights packed as [`W4::pack`](crate::W4::pack) does.

use crate::w4::GROUP;
use crate::w4_plan::{W4_CONFIGS, W4Config, W4Plan};
use kernels::{Arguments, Buffer, Device, Kernel, Launch, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The kernels of one device, compiled when they are first asked for, and the workspace that they share.
pub struct W4Gemm {
    device: Device,
    kernels: RefCell<BTreeMap<W4Config, Kernel>>,
    sums: Buffer,
    flags: Buffer,
}

impl W4Gemm {
    /// Prepares for `device`.
    ///
    /// # Errors
    /// If the workspace cannot be had.
    pub fn new(device: &Device) -> Result<Self> {
        let sms = device.multiprocessors() as usize;
        let most = |of: fn(&W4Config) -> usize| W4_CONFIGS.iter().map(of).max().unwrap_or(0);
        let sums = most(|c| c.occupancy * c.tile_strips() * 16 * c.tokens * 4);
        let flags = device.allocate(sms * most(|c| c.occupancy * c.tile_strips()) * 4)?;
        device.fill(&flags, 0)?;
        Ok(Self {
            device: device.clone(),
            kernels: RefCell::default(),
            sums: device.allocate(sms * sums)?,
            flags,
        })
    }

    /// Works out the launch of `plan`: `c[m, n] = a[m, k] · weights[n, k]ᵀ`, a and c bf16, row-major, at 16-byte aligned addresses.
    ///
    /// # Errors
    /// If the kernel does not compile, or the arrays do not suit TMA: n must be a multiple of 8, k of 128.
    pub fn prepare(
        &self,
        (m, n, k): (usize, usize, usize),
        plan: &W4Plan,
        (a, weights, c): (u64, u64, u64),
    ) -> Result<Launch> {
        if !k.is_multiple_of(GROUP) || !n.is_multiple_of(8) {
            return Err(kernels::Error::Launch {
                path: plan.config.path().to_owned(),
                why: format!("weights [{n}, {k}]: n must be a multiple of 8, k of {GROUP}"),
            });
        }
        let arguments = Arguments::default()
            .address("weights", weights)
            .address("a", a)
            .address("c", c)
            .buffer("sums", &self.sums)
            .buffer("flags", &self.flags)
            .integer("M", m)
            .integer("N", n)
            .integer("K", k)
            .integer("WHOLE", plan.whole)
            .integer("WORKERS", plan.workers);
        self.kernel(&plan.config)?.prepare(&arguments)
    }

    fn kernel(&self, config: &W4Config) -> Result<Kernel> {
        if let Some(kernel) = self.kernels.borrow().get(config) {
            return Ok(kernel.clone());
        }
        let kernel = Kernel::load(&self.device, config.path(), &config.parameters())?;
        self.kernels.borrow_mut().insert(*config, kernel.clone());
        Ok(kernel)
    }
}
