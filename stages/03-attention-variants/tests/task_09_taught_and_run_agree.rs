//! Task 9: the attention that is taught and the attention that the engine runs on its paged cache are the same.

mod support;

use attention_variants::ops::{AttentionShape, Cpu, HostTensor, Ops};
use attention_variants::step::StepInputs;
use attention_variants::variants::{HeadShape, KvCache, Visibility, prefill};
use support::{assert_close, rng, values};

#[test]
fn paged_attention_is_attention() {
    let rng = &mut rng();
    let (len, block) = (23, 4);
    for (heads, kv_heads, head_dim, window) in
        [(4, 2, 6, None), (3, 1, 10, Some(5)), (2, 2, 16, Some(1))]
    {
        let shape = HeadShape {
            heads,
            kv_heads,
            head_dim,
        };
        let width = kv_heads * head_dim;
        let q = values(rng, len * heads * head_dim);
        let (k, v) = (values(rng, len * width), values(rng, len * width));
        let visibility = window.map_or(Visibility::Causal, Visibility::SlidingWindow);
        let mut want = vec![f32::NAN; q.len()];
        prefill(
            &mut want,
            &q,
            &k,
            &v,
            &mut KvCache::default(),
            shape,
            visibility,
        );

        // The same keys and values in pages that lie backwards.
        let table: Vec<u32> = (0..len.div_ceil(block) as u32).rev().collect();
        let mut cpu = Cpu::default();
        let mut kv = cpu.kv(table.len(), block, width, width);
        for position in 0..len {
            let slot = table[position / block] as usize * block + position % block;
            let row = position * width..(position + 1) * width;
            kv.store(slot, &k[row.clone()], &v[row]);
        }
        let positions: Vec<u32> = (0..len as u32).collect();
        cpu.begin(&StepInputs {
            tokens: &positions,
            positions: &positions,
            slots: &positions,
            query_starts: &[0, len as u32],
            block_tables: &table,
            blocks_per_sequence: table.len(),
            block_copies: &[],
            outputs: &[],
        });
        let mut queries = HostTensor::new(len, heads * head_dim);
        queries.resize(len).copy_from_slice(&q);
        let mut out = HostTensor::new(len, heads * head_dim);
        let scale = shape.scale();
        let shape = AttentionShape {
            heads,
            kv_heads,
            key_dim: head_dim,
            value_dim: head_dim,
            scale,
            window,
        };
        cpu.attend(&mut out, &queries, &kv, &shape);
        assert_close(out.values(), &want, 2e-6, &format!("{shape:?}"));
    }
}

/// Keys that are no numbers poison what reads them, even if they fill the first positions that are scored together.
#[test]
fn what_is_not_a_number_is_not_hidden() {
    let rng = &mut rng();
    let (len, dim) = (40, 8);
    let positions: Vec<u32> = (0..len as u32).collect();
    for poisoned in [0..16, 16..32, 39..40] {
        let mut cpu = Cpu::default();
        let mut kv = cpu.kv(len / 4, 4, dim, dim);
        for slot in 0..len {
            let key = if poisoned.contains(&slot) {
                vec![f32::NAN; dim]
            } else {
                values(rng, dim)
            };
            kv.store(slot, &key, &values(rng, dim));
        }
        let table: Vec<u32> = (0..len as u32 / 4).collect();
        cpu.begin(&StepInputs {
            tokens: &positions,
            positions: &positions,
            slots: &positions,
            query_starts: &[0, len as u32],
            block_tables: &table,
            blocks_per_sequence: table.len(),
            block_copies: &[],
            outputs: &[],
        });
        let mut queries = HostTensor::new(len, dim);
        queries.resize(len).copy_from_slice(&values(rng, len * dim));
        let mut out = HostTensor::new(len, dim);
        let shape = AttentionShape {
            heads: 1,
            kv_heads: 1,
            key_dim: dim,
            value_dim: dim,
            scale: 0.3,
            window: None,
        };
        cpu.attend(&mut out, &queries, &kv, &shape);
        for (position, row) in out.values().chunks(dim).enumerate() {
            let reads_poison = position >= poisoned.start;
            assert_eq!(
                row.iter().all(|x| x.is_nan()),
                reads_poison,
                "position {position} of {poisoned:?}"
            );
        }
    }
}
