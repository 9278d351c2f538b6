//! Plans for products with an epilogue: every tile of theirs suits it, which not every plan's tile does.

use gemm::{Element, Epilogue, Problem, plan, plan_for};

#[test]
fn a_plan_for_an_epilogue_has_a_tile_that_suits_it() {
    let layers = [
        (10240, 8192),
        (7168, 18432),
        (24576, 1536),
        (28672, 4096),
        (1000, 264),
    ];
    let mut otherwise = 0;
    for (n, k) in layers {
        for m in [1, 3, 16, 64, 100, 128, 256, 512, 2048, 8192] {
            let element = Element::Bf16;
            let problem = Problem { m, n, k, element };
            for epilogue in Epilogue::ALL {
                let config = plan_for(&problem, epilogue, 132).config;
                assert!(
                    epilogue.suits(&config),
                    "{problem:?} {epilogue:?}: {config:?}"
                );
                otherwise += usize::from(!epilogue.suits(&plan(&problem, 132).config));
            }
        }
    }
    assert!(
        otherwise > 0,
        "every tile suits every epilogue: there was nothing to pick"
    );
}
