//! Probes of what lies between host and GPU: launches, the PCIe link, and whether copying and computing overlap.

use crate::lab::{Lab, Outcome, median, same};
use cudarc::driver::{result, sys};
use kernels::{Arguments, Launch};
use std::time::Instant;

/// Bytes a ns that PCIe 5.0 x16 leaves of its 63 for data, and that a host copies into the driver's staging buffers.
const PINNED: f64 = 55.0;
const PAGEABLE: f64 = 12.0;
const LINK: f64 = 63.0;

pub fn launches(lab: &mut Lab) -> Outcome {
    for (file, suffix, gap) in [
        ("empty", "", 1300.0),
        ("empty_dependent", "-dependent", 600.0),
    ] {
        let kernel = lab.kernel(file, &[])?;
        let count = lab.zeros(4)?;
        let arguments = |run| {
            Arguments::default()
                .buffer("count", &count)
                .integer("RUN", run)
        };
        let (counted, empty) = (
            kernel.prepare(&arguments(1))?,
            kernel.prepare(&arguments(0))?,
        );
        let repeat = |launch: &Launch, nodes: usize| (0..nodes).try_for_each(|_| launch.run());
        // Both ways launch all that they are asked to.
        repeat(&counted, 100)?;
        let graph = lab.device.capture(|| repeat(&counted, 100))?;
        graph.launch()?;
        graph.launch()?;
        same("the launches", lab.device.download(&count, 1)?[0], 300)?;
        for nodes in [1, 10, 100] {
            let per_launch = |times: Vec<f64>| times.iter().map(|ns| ns / nodes as f64).collect();
            let stream = lab.time(30, 1, |_| repeat(&empty, nodes))?;
            let graph = lab.device.capture(|| repeat(&empty, nodes))?;
            let replay = lab.time(30, 1, |_| graph.launch())?;
            let first = 3000.0 / nodes as f64;
            lab.point(
                format!("launch-stream{suffix}/{nodes}"),
                "ns",
                2100.0 + first,
                per_launch(stream),
            );
            lab.point(
                format!("launch-graph{suffix}/{nodes}"),
                "ns",
                gap + first,
                per_launch(replay),
            );
        }
        let mut there_and_back = Vec::new();
        for _ in 0..50 {
            let begin = Instant::now();
            empty.run()?;
            lab.device.synchronize()?;
            there_and_back.push(begin.elapsed().as_nanos() as f64);
        }
        lab.point(
            format!("launch-and-wait{suffix}"),
            "ns",
            6000.0,
            there_and_back,
        );
    }
    Ok(())
}

/// Host memory that the driver has pinned, so that the GPU's copy engines reach it.
struct Pinned {
    pointer: *mut u32,
    words: usize,
}

impl Pinned {
    fn new(words: usize) -> Outcome<Self> {
        // SAFETY: a context is current.
        let pointer = unsafe { result::malloc_host(words * 4, 0)? }.cast();
        // SAFETY: the allocation is that large; any bits are a word.
        unsafe { std::ptr::write_bytes(pointer, 0, words) };
        Ok(Self { pointer, words })
    }

    fn words(&mut self) -> &mut [u32] {
        // SAFETY: allocated and initialised in `new`, borrowed as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.words) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once, when no copy is under way: the probes wait for theirs.
        let _ = unsafe { result::free_host(self.pointer.cast()) };
    }
}

pub fn transfers(lab: &mut Lab) -> Outcome {
    let largest = 256 << 20;
    let mut pageable: Vec<u32> = (0..largest / 4).map(|_| lab.random()).collect();
    let mut pinned = Pinned::new(largest / 4)?;
    pinned.words().copy_from_slice(&pageable);
    let (buffer, stream) = (lab.device.allocate(largest)?, lab.device.stream());
    for bytes in [64 << 10, 1 << 20, 16 << 20, largest] {
        let (words, kilobytes) = (bytes / 4, bytes >> 10);
        for (line, host, speed) in [
            ("pageable", &mut pageable[..words], PAGEABLE),
            ("pinned", &mut pinned.words()[..words], PINNED),
        ] {
            let sent = host.to_vec();
            let (mut down, mut up) = (Vec::new(), Vec::new());
            lab.warm()?;
            for round in 0..11 {
                let begin = Instant::now();
                // SAFETY: the buffer is large enough; the host's memory lives until the synchronisation below.
                unsafe { result::memcpy_htod_async(buffer.address(), &*host, stream)? };
                lab.device.synchronize()?;
                let there = begin.elapsed();
                host.fill(0);
                let begin = Instant::now();
                // SAFETY: as above.
                unsafe { result::memcpy_dtoh_async(host, buffer.address(), stream)? };
                lab.device.synchronize()?;
                let back = begin.elapsed();
                // The first round brings in pages and the driver's staging buffers.
                if round > 0 {
                    down.push(bytes as f64 / there.as_nanos() as f64);
                    up.push(bytes as f64 / back.as_nanos() as f64);
                }
                if *host != sent[..] {
                    return Err(format!("{bytes} bytes did not come back as they went").into());
                }
            }
            let predicted = bytes as f64 / (10_000.0 + bytes as f64 / speed);
            lab.bounded(
                format!("to-gpu-{line}/{kilobytes}"),
                "GB/s",
                predicted,
                LINK,
                down,
            );
            lab.bounded(
                format!("to-host-{line}/{kilobytes}"),
                "GB/s",
                predicted,
                LINK,
                up,
            );
        }
    }
    Ok(())
}

/// A second stream, and the two events by which it forks from the device's and joins it again.
struct Second {
    stream: sys::CUstream,
    fork: sys::CUevent,
    join: sys::CUevent,
}

impl Second {
    fn new() -> Outcome<Self> {
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        Ok(Self {
            stream: result::stream::create(result::stream::StreamKind::NonBlocking)?,
            fork: event()?,
            join: event()?,
        })
    }

    /// Makes `to` wait for what is on `from` now.
    fn order(event: sys::CUevent, from: sys::CUstream, to: sys::CUstream) -> Outcome {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: streams and event are alive.
        unsafe {
            result::event::record(event, from)?;
            Ok(result::stream::wait_event(to, event, flags)?)
        }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // SAFETY: all three were created in `new` and are destroyed once.
        unsafe {
            let _ = result::stream::destroy(self.stream);
            let _ = result::event::destroy(self.fork);
            let _ = result::event::destroy(self.join);
        }
    }
}

/// A copy to the GPU and a kernel of about the same length, alone, one after the other, and at the same time on two streams.
pub fn overlap(lab: &mut Lab) -> Outcome {
    let bytes = 256 << 20;
    let mut pinned = Pinned::new(bytes / 4)?;
    pinned.words().fill_with(|| lab.random());
    let words: &[u32] = pinned.words();
    let (buffer, second, main) = (lab.zeros(bytes)?, Second::new()?, lab.device.stream());
    let kernel = lab.kernel("fma_rate", &[])?;
    let (counts, out) = (lab.zeros(lab.sms * 16)?, lab.zeros(lab.sms * 2 * 1024 * 4)?);
    let arguments = Arguments::default()
        .buffer("cycles", &counts)
        .buffer("out", &out);
    let arguments = arguments
        .float("a", 0.999)
        .float("b", 0.5)
        .integer("ROUNDS", 4096);
    let launch = kernel.prepare(&arguments)?;
    let copy = |on| -> Outcome {
        // SAFETY: the buffer is as large as the words, which live until `taken` has waited for the copy.
        unsafe { result::memcpy_htod_async(buffer.address(), words, on)? };
        Ok(())
    };
    let taken = |work: &dyn Fn() -> Outcome| -> Outcome<Vec<f64>> {
        let mut samples = Vec::new();
        for round in 0..11 {
            let begin = lab.device.event()?;
            let outcome = work();
            let end = lab.device.event()?;
            let ns = begin.microseconds_to(&end)? * 1e3;
            outcome?;
            if round > 0 {
                samples.push(ns);
            }
        }
        Ok(samples)
    };
    lab.warm()?;
    let alone = taken(&|| copy(main))?;
    let compute = taken(&|| Ok(launch.run()?))?;
    let in_turn = taken(&|| {
        copy(main)?;
        Ok(launch.run()?)
    })?;
    let together = taken(&|| {
        Second::order(second.fork, main, second.stream)?;
        let copied = copy(second.stream);
        let launched = launch.run();
        Second::order(second.join, second.stream, main)?;
        copied?;
        Ok(launched?)
    })?;
    if lab.device.download::<u32>(&buffer, words.len())? != words {
        return Err("the copy is not the original".into());
    }
    let fmas = (lab.sms * 2 * 1024 * 8 * 16 * 4096) as f64;
    let predicted = fmas / (lab.sms as f64 * 128.0 * lab.clock);
    let (copying, computing) = (median(&alone), median(&compute));
    lab.point(
        "overlap-copy".to_owned(),
        "ns",
        bytes as f64 / PINNED,
        alone,
    );
    lab.point("overlap-compute".to_owned(), "ns", predicted, compute);
    lab.point(
        "overlap-in-turn".to_owned(),
        "ns",
        copying + computing,
        in_turn,
    );
    lab.point(
        "overlap-two-streams".to_owned(),
        "ns",
        copying.max(computing),
        together,
    );
    Ok(())
}
