//! Launching a plan.

use crate::epilogue::Epilogue;
use crate::plan::Plan;
use crate::problem::{Element, Problem};
use kernels::{Arguments, Buffer, Device, Error, Kernel, Launch, Result, Values};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The kernel that everything TMA can address goes to.
const PATH: &str = "gemm/k17_stream_k.cu";

/// The kernels of one device, compiled when they are first asked for, and the workspace that they share.
pub struct Gemm {
    device: Device,
    kernels: RefCell<BTreeMap<(Element, crate::Config, Epilogue), Kernel>>,
    any: RefCell<Option<Kernel>>,
    sums: Buffer,
    flags: Buffer,
}

/// Where the operands lie on the device, row-major, 16-byte aligned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Operands {
    /// `A[m, k]`: tokens.
    pub a: u64,
    /// `B[n, k]`: weights.
    pub b: u64,
    /// `C[m, n]` in bf16, or what the epilogue makes of it.
    pub c: u64,
    /// Factor of the product for e4m3: the product of both operands' scales.
    pub alpha: f32,
    /// Scales of A's rows, f32, for int8.
    pub scale_a: u64,
    /// Scales of B's rows, f32, for int8.
    pub scale_b: u64,
    /// What is done to the sums before they are stored.
    pub epilogue: Epilogue,
    /// bf16, one for each row of B.
    pub bias: u64,
    /// `R[m, n]` in bf16.
    pub residual: u64,
    /// f32, what the result is divided by: one value for e4m3, one for each row of A for s8.
    pub out_scale: u64,
}

impl Gemm {
    /// Prepares for `device`.
    ///
    /// # Errors
    /// If the workspace cannot be had.
    pub fn new(device: &Device) -> Result<Self> {
        let sms = device.multiprocessors() as usize;
        // A block's sums are 128 x 320 at most, in 32 bits; a flag for each of its blocks of 64 rows.
        let sums = device.allocate(sms * 128 * 320 * 4)?;
        let flags = device.allocate(sms * 4 * 4)?;
        device.fill(&flags, 0)?;
        Ok(Self {
            device: device.clone(),
            kernels: RefCell::default(),
            any: RefCell::default(),
            sums,
            flags,
        })
    }

    /// Works out the launch of `plan`.
    ///
    /// # Errors
    /// If the kernel does not compile, or the sizes are none that a kernel takes.
    pub fn prepare(&self, problem: &Problem, plan: &Plan, operands: &Operands) -> Result<Launch> {
        let Problem { m, n, k, .. } = *problem;
        if !problem.suits_tma() {
            return self.prepare_any(problem, operands);
        }
        let (tiles, steps) = plan.config.tiles(problem);
        if plan.config.split > 1
            && (plan.whole != tiles || plan.workers < tiles || steps < plan.config.split)
        {
            return Err(Error::Launch {
                path: PATH.to_owned(),
                why: format!(
                    "{plan:?}: where blocks divide k, each cluster does one tile, and each block some of its {steps} steps"
                ),
            });
        }
        let epilogue = operands.epilogue;
        if !epilogue.suits(&plan.config) {
            return Err(Error::Launch {
                path: PATH.to_owned(),
                why: format!("{plan:?} has no tile for {epilogue:?}; `plan_for` picks one"),
            });
        }
        let kernel = self.kernel(problem.element, plan, epilogue)?;
        let tall = |first, second| {
            if plan.config.swap {
                (second, first)
            } else {
                (first, second)
            }
        };
        let (p, q) = tall(operands.a, operands.b);
        let (scale_p, scale_q) = tall(operands.scale_a, operands.scale_b);
        let (rows_p, rows_q) = if plan.config.swap { (n, m) } else { (m, n) };
        let arguments = Arguments::default()
            .address("p", p)
            .address("q", q)
            .address("c", operands.c)
            .buffer("sums", &self.sums)
            .buffer("flags", &self.flags)
            .address("scale_p", scale_p)
            .address("scale_q", scale_q)
            .float("alpha", operands.alpha)
            .address("bias", operands.bias)
            .address("residual", operands.residual)
            .address("out_scale", operands.out_scale)
            .integer("P", rows_p)
            .integer("Q", rows_q)
            .integer("K", k)
            .integer("PANEL", crate::schedule::panel(problem, plan))
            .integer("WHOLE", plan.whole)
            .integer("WORKERS", plan.workers);
        kernel.prepare(&arguments)
    }

    /// Arrays that TMA cannot address, whose rows are no multiples of 16 bytes, go to the step of the ladder that takes any: k08.
    fn prepare_any(&self, problem: &Problem, operands: &Operands) -> Result<Launch> {
        const PATH: &str = "gemm/k08_multistage.cu";
        if problem.element != Element::Bf16 || operands.epilogue != Epilogue::None {
            return Err(Error::Launch {
                path: PATH.to_owned(),
                why: format!(
                    "{problem:?}: k must be a multiple of 16 bytes and n of 8, but for bf16 with no epilogue"
                ),
            });
        }
        let arguments = Arguments::default()
            .address("a", operands.a)
            .address("b", operands.b)
            .address("c", operands.c)
            .integer("M", problem.m)
            .integer("N", problem.n)
            .integer("K", problem.k);
        let mut any = self.any.borrow_mut();
        if any.is_none() {
            *any = Some(Kernel::load(&self.device, PATH, &Values::new())?);
        }
        any.as_ref()
            .expect("it was just loaded")
            .prepare(&arguments)
    }

    fn kernel(&self, element: Element, plan: &Plan, epilogue: Epilogue) -> Result<Kernel> {
        let key = (element, plan.config, epilogue);
        if let Some(kernel) = self.kernels.borrow().get(&key) {
            return Ok(kernel.clone());
        }
        let kernel = Kernel::load(
            &self.device,
            PATH,
            &epilogue.parameters(&plan.config, element),
        )?;
        self.kernels.borrow_mut().insert(key, kernel.clone());
        Ok(kernel)
    }
}
