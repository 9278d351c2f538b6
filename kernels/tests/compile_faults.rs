//! That the checks in `compile.rs` can fail: kernels with one fault each, and the sentence that each of them gets.

mod support;

use kernels::{Source, Values};
use std::path::Path;
use support::{Case, run};

/// A kernel of the given body, whose first line is line 8 of `made_up.cu`.
fn made_up(metadata: &str, body: &str) -> Source {
    let text = format!(
        "//@ entry: made_up\n//@ arch: sm_90a\n//@ threads: 128\n//@ grid: 1\n//@ args: out\n{metadata}\n#include \"wgmma.h\"\n{body}\n"
    );
    Source::of_text("made_up.cu", &text, &Values::new()).unwrap()
}

#[test]
#[ignore = "needs NVRTC"]
fn spills_and_stacks_are_seen() {
    let fewer = Values::from([("REGISTERS".to_owned(), 32)]);
    let mut source = Source::load("micro/register_pressure.cu", &fewer).unwrap();
    assert_eq!(Case::of(source.clone(), "sm_90a").complaints(), "");
    source.metadata.spills = false;
    let said = Case::of(source, "sm_90a").complaints();
    let name = "micro/register_pressure.cu default sm_90a: a stack of ";
    assert!(
        said.starts_with(name) && !said.contains(" 0 bytes"),
        "{said}"
    );
    // An array indexed by what only the GPU knows has no registers: a stack and no spill.
    let body = "KERNEL void made_up(GLOBAL(int) out) { int own[64]; for (int i = 0; i < 64; ++i) own[out[i] & 63] = i; out[0] = own[out[1] & 63]; }";
    let said = Case::of(made_up("//", body), "sm_90a").complaints();
    assert!(
        said.contains("a stack of 256 bytes and 0 bytes of spills"),
        "{said}"
    );
}

#[test]
#[ignore = "needs NVRTC"]
fn a_serialised_wgmma_is_seen() {
    // The accumulators are changed between a product and the wait for it: the compiler must wait in between.
    let body = |between: &str| {
        format!(
            "KERNEL void made_up(GLOBAL(float) out, u64 a) {{ float d[4] = {{}}; wgmma_fence(); wgmma<8>(d, a, a, 1); {between} wgmma<8>(d, a, a, 1); wgmma_commit(); wgmma_wait<0>(); out[threadIdx.x] = d[0]; }}"
        )
    };
    let said = Case::of(made_up("//", &body("")), "sm_90a").complaints();
    assert_eq!(said, "");
    let said = Case::of(made_up("//", &body("d[1] *= out[0];")), "sm_90a").complaints();
    assert!(
        said.contains("(C75") && said.contains("serialized"),
        "{said}"
    );
}

#[test]
#[ignore = "needs NVRTC"]
fn an_instruction_that_is_not_there_is_missed() {
    let source = made_up(
        "//@ expect: sm_90a EXIT>=1 HGMMA>=2 STG>=1",
        "KERNEL void made_up(GLOBAL(int) out) { out[0] = 1; }",
    );
    let said = Case::of(source, "sm_90a").complaints();
    let expected =
        "made_up.cu default sm_90a: HGMMA 0 times in the disassembly, 2 or more were expected\n";
    assert_eq!(said, expected);
}

#[test]
#[ignore = "needs NVRTC"]
fn a_launch_that_does_not_fit_is_seen() {
    let mut source = Source::load("micro/empty.cu", &Values::new()).unwrap();
    source.metadata.smem = (227 * 1024 + 1).to_string();
    source.metadata.threads = "1056".to_owned();
    let said = Case::of(source, "sm_90a").complaints();
    assert!(said.contains("a block of 1056 threads"), "{said}");
    assert!(
        said.contains("a block of 232449 bytes of shared memory"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    let mut source = Source::load("micro/register_pressure.cu", &Values::new()).unwrap();
    source.metadata.threads = "512".to_owned();
    let said = Case::of(source, "sm_90a").complaints();
    assert!(said.contains("a block of 86016 registers"), "{said}");
}

#[test]
#[ignore = "needs NVRTC"]
fn an_error_names_the_file_and_the_line() {
    let body = "KERNEL void made_up(GLOBAL(int) out) {\n    out[0] = nothing;\n}";
    let said = Case::of(made_up("//", body), "sm_90a").complaints();
    assert!(said.contains("made_up.cu(9): error"), "{said}");
    assert!(said.contains("does not compile for sm_90a"), "{said}");
    // In a header it is the header's line, wherever it was included.
    let said = Case::of(made_up("//@ param: wgmma_fence=1", body), "sm_90a").complaints();
    let header = kernels::read("include/sm90.h").unwrap();
    let line = header
        .lines()
        .position(|line| line.contains("wgmma_fence("));
    let place = format!("include/sm90.h({}): error", line.unwrap() + 1);
    assert!(
        said.contains(&place) && said.contains("made_up.cu(9)"),
        "{place}: {said}"
    );
}

#[test]
#[ignore = "needs NVRTC"]
fn another_generation_s_instructions_are_refused() {
    let source = Source::load("gemm/k17_stream_k.cu", &Values::new()).unwrap();
    for arch in ["sm_80", "sm_100a"] {
        let said = Case::of(source.clone(), arch).complaints();
        assert!(
            said.contains(&format!("does not compile for {arch}")),
            "{said}"
        );
        assert!(said.contains("not supported on .target"), "{said}");
    }
}

#[test]
#[ignore = "needs NVRTC"]
fn a_missing_nvdisasm_is_a_failure() {
    let mut variables = vec![("NVDISASM", Path::new("no-such-nvdisasm"))];
    let wheels = std::env::var_os("CUDA_WHEELS");
    if let Some(wheels) = &wheels {
        variables.push(("CUDA_WHEELS", Path::new(wheels)));
    }
    let (passed, said) = run("an_instruction_that_is_not_there_is_missed", &variables);
    assert!(!passed, "{said}");
    assert!(said.contains("no-such-nvdisasm cannot be run"), "{said}");
}
