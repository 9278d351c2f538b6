//! Every problem has plans that cover it, and one that is chosen. Rests on the tasks before it.

use gemm::{Element, Epilogue, Plan, Problem, plan, plan_for, plans};

#[test]
fn every_problem_has_a_plan_that_covers_it() {
    for m in [1, 5, 8, 9, 31, 64, 65, 100, 128, 1000, 8192] {
        for (n, k) in [
            (8, 8),
            (4096, 4096),
            (2112, 7168),
            (32768, 512),
            (5000, 3000),
        ] {
            let problem = Problem {
                m,
                n,
                k,
                element: Element::Bf16,
            };
            let all = plans(&problem, 132);
            for (_, plan) in &all {
                let (tiles, steps) = plan.config.tiles(&problem);
                let Plan { workers, whole, .. } = *plan;
                assert!(workers >= 1 && workers * plan.config.blocks() <= 132);
                // Where two blocks fit a multiprocessor, each gets one, also without work.
                let kept = plan.config.occupancy > 1 && whole == tiles;
                assert!(whole <= tiles && (kept || workers <= tiles * steps));
            }
            let chosen = plan(&problem, 132);
            // A tuned plan of more tokens may be of a configuration that fewer would not try.
            assert!(chosen.workers >= 1 && chosen.workers * chosen.config.blocks() <= 132);
        }
    }
}

/// Not every plan's tile suits every epilogue; a plan made for one does.
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
