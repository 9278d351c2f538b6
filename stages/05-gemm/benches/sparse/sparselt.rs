//! The peer for 2:4 weights: cuSPARSELt, if it can be loaded, with the algorithm that its own search finds fastest.

use kernels::{Buffer, Device};
use libloading::Library;
use std::cell::UnsafeCell;
use std::ffi::c_void;

const WORKSPACE: usize = 64 << 20;

/// Room for any of the library's opaque structures, of which the largest has had 11 KB.
#[repr(C, align(64))]
struct Opaque(UnsafeCell<[u8; 16384]>);

type Pointer = *mut c_void;
type Outcome<T> = Result<T, String>;

/// Calls a function of the library by name, with the types that its header gives the parameters; a status other than 0 is an error.
macro_rules! call {
    ($library:expr, $name:expr, $($type:ty: $value:expr),*) => {{
        // SAFETY: types are those of cusparseLt.h since version 0.5, and pointers are to memory that outlives the call.
        let status = unsafe {
            let function = $library.get::<unsafe extern "C" fn($($type),*) -> i32>($name);
            function.map_err(|error| error.to_string())?($($value),*)
        };
        if status != 0 {
            return Err(format!("{}: status {status}", $name));
        }
    }};
}

/// The library, on the device's stream.
pub struct SparseLt {
    library: Library,
    handle: Box<Opaque>,
    device: Device,
}

/// One product and its compressed weights. The plan may point to what it was made from.
pub struct Product<'a> {
    of: &'a SparseLt,
    parts: [Box<Opaque>; 6],
    weights: Vec<Buffer>,
    /// The last of the weights, pruned and dense.
    pub pruned: Buffer,
    workspace: Buffer,
}

fn opaque() -> Box<Opaque> {
    Box::new(Opaque(UnsafeCell::new([0; 16384])))
}

fn at(part: &Opaque) -> Pointer {
    part.0.get().cast()
}

impl SparseLt {
    /// Loads the library that the environment variable `CUSPARSELT` names, or else the one on the loader's path.
    pub fn load(device: &Device) -> Outcome<Self> {
        let path = std::env::var_os("CUSPARSELT").unwrap_or_else(|| "libcusparseLt.so.0".into());
        // SAFETY: NVIDIA's library, whose initialisation needs nothing of ours.
        let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
        let handle = opaque();
        call!(library, "cusparseLtInit", Pointer: at(&handle));
        Ok(Self {
            library,
            handle,
            device: device.clone(),
        })
    }

    /// `C = A Wᵀ` for `count` weights `[n, k]`, each pruned by the library from the bf16 at one of `dense` in turn, on tokens `a`.
    ///
    /// As the library reads, by columns: `Cᵀ[n, m] = W[n, k] Aᵀ[k, m]`. It takes tokens in eights, so `m` is filled up.
    pub fn product(
        &self,
        (m, n, k): (usize, usize, usize),
        dense: &[u64],
        count: usize,
        (a, c): (u64, u64),
    ) -> Outcome<Product<'_>> {
        // The orders and types of cusparse.h and library_types.h, the way of pruning.
        let [columns, rows, bf16, f32, strip] = [1, 2, 14, 2, 1];
        let (m, n, k) = (m.next_multiple_of(8) as i64, n as i64, k as i64);
        let (library, handle) = (&self.library, at(&self.handle));
        let parts = std::array::from_fn(|_| opaque());
        let [w, tokens, out, matmul, choice, plan] = parts.each_ref().map(|part| at(part));
        call!(library, "cusparseLtStructuredDescriptorInit", Pointer: handle, Pointer: w, i64: n, i64: k, i64: k, u32: 16, i32: bf16,
              i32: rows, i32: 0);
        for (part, length) in [(tokens, k), (out, n)] {
            call!(library, "cusparseLtDenseDescriptorInit", Pointer: handle, Pointer: part, i64: length, i64: m, i64: length, u32: 16,
                  i32: bf16, i32: columns);
        }
        call!(library, "cusparseLtMatmulDescriptorInit", Pointer: handle, Pointer: matmul, i32: 0, i32: 0, Pointer: w, Pointer: tokens,
              Pointer: out, Pointer: out, i32: f32);
        call!(library, "cusparseLtMatmulAlgSelectionInit", Pointer: handle, Pointer: choice, Pointer: matmul, i32: 0);
        call!(library, "cusparseLtMatmulPlanInit", Pointer: handle, Pointer: plan, Pointer: matmul, Pointer: choice);
        let (mut size, mut scratch) = (0_usize, 0_usize);
        call!(library, "cusparseLtSpMMACompressedSize", Pointer: handle, Pointer: plan, *mut usize: &mut size, *mut usize: &mut scratch);
        let room = |bytes: usize| {
            let buffer = self.device.allocate(bytes.max(16));
            buffer.map_err(|error| error.to_string())
        };
        let (pruned, scratch) = (room((n * k * 2) as usize)?, room(scratch)?);
        let pointer = |address: u64| address as Pointer;
        let stream: Pointer = self.device.stream().cast();
        let mut weights = Vec::new();
        for from in dense.iter().cycle().take(count) {
            let to = room(size)?;
            call!(library, "cusparseLtSpMMAPrune", Pointer: handle, Pointer: matmul, Pointer: pointer(*from),
                  Pointer: pointer(pruned.address()), i32: strip, Pointer: stream);
            call!(library, "cusparseLtSpMMACompress", Pointer: handle, Pointer: plan, Pointer: pointer(pruned.address()),
                  Pointer: pointer(to.address()), Pointer: pointer(scratch.address()), Pointer: stream);
            weights.push(to);
        }
        let product = Product {
            of: self,
            parts,
            weights,
            pruned,
            workspace: room(WORKSPACE)?,
        };
        product.execute("cusparseLtMatmulSearch", 0, a, c)?;
        let mut needed = 0;
        call!(library, "cusparseLtMatmulGetWorkspace", Pointer: handle, Pointer: plan, *mut usize: &mut needed);
        if needed > WORKSPACE {
            return Err(format!("a workspace of {needed} bytes"));
        }
        Ok(product)
    }
}

impl Product<'_> {
    /// Puts the product with weights `i` on the stream.
    pub fn run(&self, i: usize, a: u64, c: u64) -> Outcome<()> {
        self.execute("cusparseLtMatmul", i, a, c)
    }

    fn execute(&self, name: &str, i: usize, a: u64, c: u64) -> Outcome<()> {
        let (library, handle) = (&self.of.library, at(&self.of.handle));
        let mut stream: Pointer = self.of.device.stream().cast();
        let w = self.weights[i % self.weights.len()].address() as Pointer;
        let [a, c, room] = [a, c, self.workspace.address()].map(|address| address as Pointer);
        call!(library, name, Pointer: handle, Pointer: at(&self.parts[5]), *const f32: &1.0, Pointer: w, Pointer: a, *const f32: &0.0,
              Pointer: c, Pointer: c, Pointer: room, *mut Pointer: &mut stream, i32: 1);
        Ok(())
    }
}
