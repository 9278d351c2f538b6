//! A kernel on a GPU: loaded once, launched with arguments by name.

use crate::device::{Buffer, Device, check};
use crate::error::{Error, Result};
use crate::expression::Values;
use crate::metadata::Metadata;
use crate::nvrtc::Cubin;
use crate::source::Source;
use crate::tensor_map::encode;
use cudarc::driver::{result, sys};
use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::rc::Rc;

/// A kernel that the driver has loaded.
#[derive(Clone)]
pub struct Kernel(Rc<Loaded>);

struct Loaded {
    metadata: Metadata,
    values: Values,
    threads: u32,
    cluster: u32,
    smem: u32,
    module: sys::CUmodule,
    function: sys::CUfunction,
    stream: sys::CUstream,
}

/// Arguments by the names that the metadata gives them. Integers are also what grid and map sizes are computed from.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    pointers: BTreeMap<String, u64>,
    integers: Values,
    floats: BTreeMap<String, f32>,
}

/// A launch whose grid, tensor maps and arguments are worked out: launching it again costs one driver call.
pub struct Launch {
    kernel: Rc<Loaded>,
    grid: [u32; 3],
    slots: Vec<Slot>,
}

/// One kernel parameter. A tensor map is 128 bytes, aligned to 64.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Slot([u64; 16]);

impl Arguments {
    /// Sets a pointer: the start of a buffer.
    pub fn buffer(self, name: &str, buffer: &Buffer) -> Self {
        self.address(name, buffer.address())
    }

    /// Sets a pointer to any address on the GPU.
    pub fn address(mut self, name: &str, address: u64) -> Self {
        self.pointers.insert(name.to_owned(), address);
        self
    }

    /// Sets an integer.
    pub fn integer(mut self, name: &str, value: usize) -> Self {
        self.integers.insert(name.to_owned(), value as i64);
        self
    }

    /// Sets a float.
    pub fn float(mut self, name: &str, value: f32) -> Self {
        self.floats.insert(name.to_owned(), value);
        self
    }
}

impl Kernel {
    /// Compiles the kernel in `path` with `changes` to its parameters for the device, and loads it.
    ///
    /// # Errors
    /// If it does not compile, or the device lacks what its metadata asks for.
    pub fn load(device: &Device, path: &str, changes: &Values) -> Result<Self> {
        let source = Source::load(path, changes)?;
        let cubin = Cubin::of(&source, &device.arch())?;
        let (threads, cluster, smem) = source.metadata.block(&source.values)?;
        let entry = CString::new(source.metadata.entry.as_str()).expect("a name has no zero byte");
        // SAFETY: the image is a cubin for this device; the function is in it.
        let (module, function) = unsafe {
            let module = check(
                "cuModuleLoadData",
                result::module::load_data(cubin.image.as_ptr().cast()),
            )?;
            (
                module,
                check(
                    "cuModuleGetFunction",
                    result::module::get_function(module, entry),
                )?,
            )
        };
        // All that L1 can give up as shared memory: two blocks must fit where the kernel means two to.
        for (attribute, value) in [
            (
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                smem as i32,
            ),
            (
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                if smem > 0 { 100 } else { -1 },
            ),
        ] {
            // SAFETY: the function was just loaded.
            check("cuFuncSetAttribute", unsafe {
                result::function::set_function_attribute(function, attribute, value)
            })?;
        }
        let mut values = source.values;
        values.insert("SMS".to_owned(), device.multiprocessors());
        Ok(Self(Rc::new(Loaded {
            metadata: source.metadata,
            values,
            threads,
            cluster,
            smem,
            module,
            function,
            stream: device.stream(),
        })))
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<i64> {
        self.0.values.get(name).copied()
    }

    /// Works out a launch with these arguments.
    ///
    /// # Errors
    /// If an argument is missing or a tensor map does not fit what the hardware takes.
    pub fn prepare(&self, arguments: &Arguments) -> Result<Launch> {
        let mut values = self.0.values.clone();
        values.extend(arguments.integers.clone());
        let slots = self
            .0
            .metadata
            .args
            .iter()
            .map(|name| self.0.slot(name, arguments, &values));
        Ok(Launch {
            kernel: Rc::clone(&self.0),
            grid: self.0.metadata.blocks(&values)?,
            slots: slots.collect::<Result<_>>()?,
        })
    }
}

impl Loaded {
    fn slot(&self, name: &str, arguments: &Arguments, values: &Values) -> Result<Slot> {
        let missing = |what: &str| Error::Launch {
            path: self.metadata.path.clone(),
            why: format!("no {what} was given for `{name}`"),
        };
        let mut slot = Slot([0; 16]);
        if let Some(map) = self.metadata.maps.get(name) {
            let address = *arguments
                .pointers
                .get(name)
                .ok_or_else(|| missing("buffer"))?;
            let refuse = |why| Error::Launch {
                path: self.metadata.path.clone(),
                why: format!("tensor map {name}: {why}"),
            };
            let encoded = encode(map, address, values, refuse)?;
            slot.0.copy_from_slice(&encoded.opaque);
        } else if let Some(address) = arguments.pointers.get(name) {
            slot.0[0] = *address;
        } else if let Some(value) = arguments.floats.get(name) {
            slot.0[0] = u64::from(value.to_bits());
        } else {
            let value = arguments
                .integers
                .get(name)
                .ok_or_else(|| missing("value"))?;
            slot.0[0] = *value as u64;
        }
        Ok(slot)
    }
}

impl Launch {
    /// Blocks along x, y and z.
    pub fn grid(&self) -> [u32; 3] {
        self.grid
    }

    /// Puts the launch on the stream.
    ///
    /// # Errors
    /// If the driver refuses it.
    pub fn run(&self) -> Result<()> {
        let mut attributes = Vec::new();
        if self.kernel.cluster > 1 {
            let (x, y, z) = (self.kernel.cluster, 1, 1);
            attributes.push(attribute(
                sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                |value| {
                    value.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
                },
            ));
        }
        if self.kernel.metadata.pdl {
            attributes.push(attribute(
                sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                |value| {
                    value.programmaticStreamSerializationAllowed = 1;
                },
            ));
        }
        let config = sys::CUlaunchConfig {
            gridDimX: self.grid[0],
            gridDimY: self.grid[1],
            gridDimZ: self.grid[2],
            blockDimX: self.kernel.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: self.kernel.smem,
            hStream: self.kernel.stream,
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let mut pointers: Vec<*mut c_void> = self
            .slots
            .iter()
            .map(|slot| std::ptr::from_ref(slot) as *mut c_void)
            .collect();
        // SAFETY: one pointer a parameter, each to at least as many bytes as the parameter has.
        let outcome = unsafe {
            sys::cuLaunchKernelEx(
                &config,
                self.kernel.function,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        check("cuLaunchKernelEx", outcome.result())
    }
}

fn attribute(
    id: sys::CUlaunchAttributeID,
    set: impl FnOnce(&mut sys::CUlaunchAttributeValue_union),
) -> sys::CUlaunchAttribute {
    let mut value = sys::CUlaunchAttributeValue_union { pad: [0; 64] };
    set(&mut value);
    sys::CUlaunchAttribute {
        id,
        pad: [0; 4],
        value,
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: loaded here, unloaded once.
        let _ = unsafe { result::module::unload(self.module) };
    }
}
