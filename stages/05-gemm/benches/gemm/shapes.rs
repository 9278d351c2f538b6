//! The products that are measured: the linear layers of models that people serve, for one token to 8192.

use gemm::{Element, Problem};

/// Outputs and inputs of a layer.
const LAYERS: &[(usize, usize)] = &[
    // Llama-3-8B: qkv, o, gate and up, down, head.
    (6144, 4096),
    (4096, 4096),
    (28672, 4096),
    (4096, 14336),
    (128256, 4096),
    // Llama-3-70B.
    (10240, 8192),
    (8192, 8192),
    (57344, 8192),
    (8192, 28672),
    // Qwen3-8B, Qwen3-32B; what they have in common with those above stands there.
    (24576, 4096),
    (4096, 12288),
    (10240, 5120),
    (5120, 8192),
    (51200, 5120),
    (5120, 25600),
    // DeepSeek-V3.
    (2112, 7168),
    (24576, 1536),
    (32768, 512),
    (7168, 16384),
    (36864, 7168),
    (7168, 18432),
    (4096, 7168),
    (7168, 2048),
];

const TOKENS: &[usize] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2048, 8192];

/// The products of `list` (`M,N,K M,N,K …`), or of all layers and token counts.
pub fn problems(list: Option<String>, element: Element) -> Vec<Problem> {
    let problem = |m, n, k| Problem { m, n, k, element };
    match list {
        Some(list) => {
            let words = list.split_whitespace().map(|word| {
                let sizes: Vec<usize> = word
                    .split(',')
                    .map(|size| size.parse().expect("M,N,K"))
                    .collect();
                problem(sizes[0], sizes[1], sizes[2])
            });
            words.collect()
        }
        None => {
            let layers = LAYERS
                .iter()
                .flat_map(|(n, k)| TOKENS.iter().map(|m| problem(*m, *n, *k)));
            // The head runs on the last token of each sequence, never on thousands.
            layers.filter(|p| p.n < 100_000 || p.m <= 512).collect()
        }
    }
}
