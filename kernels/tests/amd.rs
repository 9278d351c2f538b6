//! What the machine code for AMD's GPUs shows, with no such GPU: every kernel that names a gfx target is compiled for it, keeps all it
//! holds in registers, and uses the instructions that it is about.

use kernels::{AmdObject, AmdResources, Source, Values, clang_version, sources};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// One compilation: file, target, name and parameters of the configuration.
struct Case {
    path: &'static str,
    arch: String,
    name: String,
    source: Source,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in sources() {
        let metadata = Source::load(path, &Values::new()).unwrap().metadata;
        for arch in metadata.archs.iter().filter(|arch| is_amd(arch)) {
            for (name, values) in metadata.configurations() {
                cases.push(Case {
                    path,
                    arch: arch.clone(),
                    name,
                    source: Source::load(path, &values).unwrap(),
                });
            }
        }
    }
    cases
}

fn is_amd(arch: &str) -> bool {
    arch.starts_with("gfx")
}

fn compiled(path: &str, changes: &[(&str, i64)], arch: &str) -> kernels::Result<AmdObject> {
    let changes = changes.iter().map(|(name, v)| ((*name).to_owned(), *v));
    AmdObject::of(&Source::load(path, &changes.collect())?, arch)
}

#[test]
#[ignore = "needs clang-22"]
fn every_kernel_fits_its_registers() {
    let cases = cases();
    for path in ["gemm/k01_naive.cu", "gemm/cdna_mfma.cu"] {
        assert!(cases.iter().any(|case| case.path == path), "{path}");
    }
    let mut rows = String::new();
    for case in &cases {
        let Case {
            path, arch, name, ..
        } = case;
        let at = format!("{path} {arch} {name}");
        let object = AmdObject::of(&case.source, arch).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(object.log, "", "{at}: warnings");
        let AmdResources {
            vgprs,
            agprs,
            lds,
            scratch,
            spills,
            wave,
            ..
        } = object.resources().unwrap();
        assert_eq!((scratch, spills), (0, 0), "{at}: scratch and spills");
        assert_eq!(wave, if arch == "gfx1100" { 32 } else { 64 }, "{at}");
        let (.., dynamic) = case.source.metadata.block(&case.source.values).unwrap();
        assert!(lds + dynamic as usize <= 64 << 10, "{at}: {lds} B of LDS");
        writeln!(rows, "{at} {vgprs} {agprs} {lds}").unwrap();
    }
    compare(&rows);
}

/// Holds `rows` to the snapshot, or writes it where UPDATE_RESOURCES is set.
fn compare(rows: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources-amd.txt");
    let version = clang_version().unwrap();
    if std::env::var_os("UPDATE_RESOURCES").is_some() {
        let head = format!(
            "# kernel, target, configuration, vector registers, accumulation registers among them, bytes of LDS; by {version}\n"
        );
        std::fs::write(path, head + rows).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<_> = rows
        .lines()
        .filter(|row| !kept.lines().any(|line| line == *row))
        .collect();
    let gone: Vec<_> = kept
        .lines()
        .filter(|line| !line.starts_with('#') && !rows.lines().any(|row| row == *line))
        .collect();
    assert!(
        changed.is_empty() && gone.is_empty(),
        "{version} now gives {changed:#?}, where kernels/resources-amd.txt has {gone:#?}; if that is meant, run this test again with UPDATE_RESOURCES=1"
    );
}

#[test]
#[ignore = "needs clang-22"]
fn every_kernel_uses_the_instructions_it_names() {
    let mut checks = 0;
    for case in cases().iter().filter(|case| case.name == "default") {
        let Some(expected) = case.source.metadata.expect.get(&case.arch) else {
            continue;
        };
        let object = AmdObject::of(&case.source, &case.arch).unwrap();
        for (mnemonic, least) in expected {
            let found = object.count(mnemonic).unwrap();
            let Case { path, arch, .. } = case;
            assert!(
                found >= *least,
                "{path} {arch}: {mnemonic} {found} times, {least} or more were expected"
            );
            checks += 1;
        }
    }
    assert!(checks >= 20, "{checks} checks");
}

#[test]
#[ignore = "needs clang-22"]
fn int8_has_its_own_matrix_instruction() {
    // On gfx90a one instruction takes 16 values of k, elsewhere a chunk of 16 bytes makes two of 32 or one of 16.
    for (path, arch, mnemonic, count) in [
        ("gemm/cdna_mfma.cu", "gfx90a", "v_mfma_i32_16x16x16i8", 128),
        ("gemm/cdna_mfma.cu", "gfx942", "v_mfma_i32_16x16x32_i8", 64),
        (
            "gemm/rdna_wmma.cu",
            "gfx1100",
            "v_wmma_i32_16x16x16_iu8",
            64,
        ),
    ] {
        let object = compiled(path, &[("BITS", 8)], arch).unwrap();
        assert_eq!(object.count(mnemonic).unwrap(), count, "{path} {arch}");
    }
}

/// What the register double buffer is for: nothing waits for global memory between the products of a tile, and what goes to LDS after
/// them is waited for but asked for earlier.
#[test]
#[ignore = "needs clang-22"]
fn the_next_tile_is_in_flight_while_this_one_is_multiplied() {
    let mut checked = 0;
    for case in cases() {
        let object = AmdObject::of(&case.source, &case.arch).unwrap();
        let text = object.disassembly().unwrap();
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        let any = |lines: &[&str], what: &str| lines.iter().any(|line| line.contains(what));
        let product = |line: &&str| line.starts_with("v_mfma") || line.starts_with("v_wmma");
        let Some(first) = lines.iter().position(product) else {
            continue;
        };
        let last = lines.iter().rposition(product).unwrap();
        let to_lds = |line: &&str| line.starts_with("ds_write") || line.starts_with("ds_store");
        let at = format!("{} {} {}", case.path, case.arch, case.name);
        let store = lines[last..].iter().position(to_lds);
        let store =
            last + store.unwrap_or_else(|| panic!("{at}: nothing goes to LDS after the products"));
        assert!(!any(&lines[first..=last], "vmcnt"), "{at}: a wait between");
        assert!(any(&lines[last..=store], "vmcnt"), "{at}: no wait before");
        assert!(!any(&lines[last..=store], "global_load"), "{at}: too late");
        checked += 1;
    }
    assert!(checked >= 10, "{checked} checked");
}

#[test]
#[ignore = "needs clang-22"]
fn a_kernel_of_another_family_is_refused() {
    for (path, arch, why) in [
        ("gemm/cdna_mfma.cu", "gfx1100", "MFMA is CDNA's"),
        (
            "gemm/rdna_wmma.cu",
            "gfx942",
            "WMMA instructions are RDNA3's",
        ),
        ("gemm/cdna_fp8.cu", "gfx90a", "Fp8"),
    ] {
        let error = compiled(path, &[], arch).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(path), "{error}");
    }
}

/// The check on scratch can fail: an array indexed by what only the GPU knows has no registers.
#[test]
#[ignore = "needs clang-22"]
fn scratch_is_seen() {
    let mut source = Source::load("gemm/k01_naive.cu", &Values::new()).unwrap();
    source.text += "KERNEL void indexed(GLOBAL(int) a) { int own[64]; for (int i = 0; i < 64; ++i) own[a[i] & 63] = i; a[0] = own[a[1] & 63]; }\n";
    let found = AmdObject::compile(&source, "gfx942").unwrap().resources();
    assert!(found.unwrap().scratch >= 256);
}

/// Without the compiler the tests above fail with a sentence that says what to install; they do not pass.
#[test]
fn a_missing_compiler_is_a_failure() {
    let tests = std::env::current_exe().unwrap();
    let output = Command::new(tests)
        .args(["--ignored", "--exact", "every_kernel_fits_its_registers"])
        .env("CLANG", "clang-that-is-not-there")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("clang-that-is-not-there cannot be run"),
        "{said}"
    );
    assert!(
        said.contains("apt-get install clang-22 lld-22 llvm-22"),
        "{said}"
    );
}
