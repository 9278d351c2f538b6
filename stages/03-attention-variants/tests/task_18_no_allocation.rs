//! A step allocates nothing: everything was allocated when the model was built.

use attention_variants::hf::Source;
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::{Cpu, Isa, RowType, Vectorised};
use attention_variants::step::{StepInputs, StepLimits};
use memory_hierarchy::Pool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may have no counter any more, and nobody asks for its count.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Three sequences: a prompt's chunk, and two that decode.
fn step(model: &mut dyn LanguageModel, position: u32) {
    let tokens = [1, 2, 3, 4, 5];
    let positions = [0, 1, 2, position, position];
    let slots = [40, 41, 42, position, 20 + position];
    let inputs = StepInputs {
        tokens: &tokens,
        positions: &positions,
        slots: &slots,
        query_starts: &[0, 3, 4, 5],
        block_tables: &[10, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        blocks_per_sequence: 5,
        block_copies: &[(0, 11)],
        outputs: &[2, 3, 4],
    };
    model.forward(&inputs);
    assert!(model.logits(0..3).iter().all(|logit| logit.is_finite()));
}

#[test]
fn steps_allocate_nothing() {
    for rows in [RowType::F32, RowType::Bf16] {
        for name in ["gpt2", "llama3", "qwen3-moe", "deepseek-v3"] {
            let root = std::env::var("CARGO_MANIFEST_DIR")
                .expect("cargo and nextest say where the crate lies");
            let source = Source::Dir(Path::new(&root).join("tests/fixtures").join(name));
            let limits = StepLimits {
                tokens: 8,
                logit_rows: 4,
                blocks: 12,
                block_size: 4,
                positions: 20,
            };
            let config = source.config().expect("a configuration");
            let weights = source.weights().expect("weights");
            // One thread: allocations are counted by thread.
            let operations = Vectorised::new(Isa::detect(), Arc::new(Pool::new(1)));
            let cpu = Cpu::new(operations.with_rows(rows));
            let mut model = load(cpu, config, weights, limits).expect("the fixture loads");
            // The cache is poisoned, so what is seen must be written first.
            (0..12).for_each(|position| step(&mut model, position));
            let before = ALLOCATIONS.get();
            assert!(before > 0, "the counter counts");
            (12..18).for_each(|position| step(&mut model, position));
            assert_eq!(ALLOCATIONS.get() - before, 0, "{name}, {rows:?}");
        }
    }
}
