//! A GPU: its memory, its stream, events and graphs; no more of CUDA than the kernels need.

use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::rc::Rc;

/// The first GPU, with one stream on which everything happens in order.
#[derive(Clone)]
pub struct Device(Rc<Inner>);

struct Inner {
    ordinal: sys::CUdevice,
    stream: sys::CUstream,
}

/// Memory on the GPU, freed with the value.
pub struct Buffer {
    address: u64,
    bytes: usize,
}

/// Work that was recorded once and is launched as a whole.
pub struct Graph {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    stream: sys::CUstream,
}

/// A point in the stream's time.
pub struct Event(sys::CUevent);

/// Types that are plain bits, so that device memory can hold them.
///
/// # Safety
/// Any bit pattern must be a value of the type.
pub unsafe trait Plain: Copy + Default {}
// SAFETY: integers and floats take any bits.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

pub(crate) fn check<T>(
    call: &'static str,
    outcome: std::result::Result<T, result::DriverError>,
) -> Result<T> {
    outcome.map_err(|error| Error::Driver {
        call,
        what: format!("{error:?}"),
    })
}

impl Device {
    /// Opens the first GPU.
    ///
    /// # Errors
    /// If there is no driver or no GPU.
    pub fn open() -> Result<Self> {
        // SAFETY: looks for the driver's library; its initialisers have no conditions.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::NoDriver);
        }
        check("cuInit", result::init())?;
        let ordinal = check("cuDeviceGet", result::device::get(0))?;
        // SAFETY: the device exists; its primary context lives as long as the process.
        let context = check("cuDevicePrimaryCtxRetain", unsafe {
            result::primary_ctx::retain(ordinal)
        })?;
        // SAFETY: the context was just retained.
        check("cuCtxSetCurrent", unsafe {
            result::ctx::set_current(context)
        })?;
        let stream = check(
            "cuStreamCreate",
            result::stream::create(result::stream::StreamKind::NonBlocking),
        )?;
        Ok(Self(Rc::new(Inner { ordinal, stream })))
    }

    /// The GPU's name.
    pub fn name(&self) -> String {
        result::device::get_name(self.0.ordinal).unwrap_or_default()
    }

    /// A property, 0 where the driver does not know it.
    pub fn attribute(&self, which: sys::CUdevice_attribute) -> i64 {
        // SAFETY: the device exists.
        unsafe { result::device::get_attribute(self.0.ordinal, which) }.map_or(0, i64::from)
    }

    /// Streaming multiprocessors.
    pub fn multiprocessors(&self) -> i64 {
        self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    }

    /// The architecture to compile for, `sm_90a`: with the features that are this chip's alone where it has them.
    pub fn arch(&self) -> String {
        let major =
            self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
        let minor =
            self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        format!("sm_{major}{minor}{}", if major >= 9 { "a" } else { "" })
    }

    /// The stream, for calls to other libraries.
    pub fn stream(&self) -> sys::CUstream {
        self.0.stream
    }

    /// Memory of `bytes` bytes, not initialised.
    ///
    /// # Errors
    /// If the GPU has not that much free.
    pub fn allocate(&self, bytes: usize) -> Result<Buffer> {
        // SAFETY: a context is current; the size is not zero.
        let address = check("cuMemAlloc", unsafe { result::malloc_sync(bytes.max(16)) })?;
        Ok(Buffer { address, bytes })
    }

    /// A copy of `data` on the GPU.
    ///
    /// # Errors
    /// If the GPU has not that much free, or the copy fails.
    pub fn upload<T: Plain>(&self, data: &[T]) -> Result<Buffer> {
        let buffer = self.allocate(std::mem::size_of_val(data))?;
        // On the stream, and waited for: the call that is said to be synchronous returns when pageable memory has been read, not when all of
        // it has arrived, and no other stream waits for it.
        // SAFETY: the buffer is as large as the data, which lives until the copy is over.
        check("cuMemcpyHtoDAsync", unsafe {
            result::memcpy_htod_async(buffer.address, data, self.0.stream)
        })?;
        self.synchronize()?;
        Ok(buffer)
    }

    /// The first `count` values of a buffer, after all work on the stream.
    ///
    /// # Errors
    /// If work on the stream failed or the copy fails.
    ///
    /// # Panics
    /// If the buffer is smaller.
    pub fn download<T: Plain>(&self, buffer: &Buffer, count: usize) -> Result<Vec<T>> {
        assert!(
            count * size_of::<T>() <= buffer.bytes,
            "the buffer is smaller than what is asked of it"
        );
        self.read(buffer.address, count)
    }

    /// `count` values from an address on the GPU, after all work on the stream.
    ///
    /// # Errors
    /// If work on the stream failed, or the range is not allocated.
    pub fn read<T: Plain>(&self, address: u64, count: usize) -> Result<Vec<T>> {
        self.synchronize()?;
        let mut data = vec![T::default(); count];
        // SAFETY: the driver checks the range on the GPU; any bits are a `T`.
        check("cuMemcpyDtoH", unsafe {
            result::memcpy_dtoh_sync(&mut data, address)
        })?;
        Ok(data)
    }

    /// Sets every byte of a buffer, in order with the stream.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn fill(&self, buffer: &Buffer, byte: u8) -> Result<()> {
        self.set(buffer.address, byte, buffer.bytes)
    }

    /// Sets `bytes` bytes from an address on the GPU, in order with the stream.
    ///
    /// # Errors
    /// If the driver refuses, as it does for a range that is not allocated.
    pub fn set(&self, address: u64, byte: u8, bytes: usize) -> Result<()> {
        // SAFETY: the driver checks the range.
        check("cuMemsetD8Async", unsafe {
            result::memset_d8_async(address, byte, bytes, self.0.stream)
        })
    }

    /// Copies `bytes` bytes from one address on the GPU to another, in order with the stream.
    ///
    /// # Errors
    /// If the driver refuses, as it does for a range that is not allocated.
    pub fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        // SAFETY: the driver checks both ranges.
        check("cuMemcpyDtoDAsync", unsafe {
            result::memcpy_dtod_async(to, from, bytes, self.0.stream)
        })
    }

    /// Waits for all work on the stream.
    ///
    /// # Errors
    /// If any of it failed.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream lives as long as the device.
        check("cuStreamSynchronize", unsafe {
            result::stream::synchronize(self.0.stream)
        })
    }

    /// Marks the present point of the stream.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn event(&self) -> Result<Event> {
        let event = check(
            "cuEventCreate",
            result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT),
        )?;
        // SAFETY: event and stream were created here.
        check("cuEventRecord", unsafe {
            result::event::record(event, self.0.stream)
        })?;
        Ok(Event(event))
    }

    /// Records what `work` puts on the stream into a graph, without running it.
    ///
    /// # Errors
    /// If the work fails or cannot be captured.
    pub fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        let (stream, mode) = (
            self.0.stream,
            sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED,
        );
        // SAFETY: the stream is ours and not capturing.
        check("cuStreamBeginCapture", unsafe {
            result::stream::begin_capture(stream, mode)
        })?;
        let outcome = work();
        // SAFETY: capture has begun; it is ended even if the work failed.
        let graph = check("cuStreamEndCapture", unsafe {
            result::stream::end_capture(stream)
        });
        outcome?;
        let graph = graph?;
        let mut executable = std::ptr::null_mut();
        // SAFETY: the graph is valid; no flag is set.
        check("cuGraphInstantiate", unsafe {
            sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0).result()
        })?;
        Ok(Graph {
            graph,
            executable,
            stream,
        })
    }
}

impl Event {
    /// Microseconds from this event to `later`, once both have passed.
    ///
    /// # Errors
    /// If work before them failed.
    pub fn microseconds_to(&self, later: &Self) -> Result<f64> {
        // SAFETY: both events were recorded.
        unsafe {
            check("cuEventSynchronize", result::event::synchronize(later.0))?;
            check(
                "cuEventElapsedTime",
                result::event::elapsed(self.0, later.0),
            )
            .map(|ms| f64::from(ms) * 1e3)
        }
    }
}

impl Graph {
    /// Puts the whole graph on the stream.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn launch(&self) -> Result<()> {
        // SAFETY: graph and stream live.
        check("cuGraphLaunch", unsafe {
            result::graph::launch(self.executable, self.stream)
        })
    }
}

impl Buffer {
    /// Address on the GPU.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated here, freed once; `cuMemFree` waits for work that uses it.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created here, destroyed once.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: both were created here; destroyed once.
        unsafe {
            let _ = result::graph::exec_destroy(self.executable);
            let _ = result::graph::destroy(self.graph);
        }
    }
}
