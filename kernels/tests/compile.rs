//! Every kernel compiles for every NVIDIA target that its metadata names, with no spill, no stack and no serialised wgmma.
use kernels::{Cubin, Source, Values, sources};
#[test]
#[ignore = "needs NVRTC"]
fn every_kernel_compiles() {
    for path in sources() {
        let plain = Source::load(path, &Values::new()).unwrap();
        for (name, values) in plain.metadata.configurations() {
            let source = Source::load(path, &values).unwrap();
            for arch in plain.metadata.archs.iter().filter(|a| a.starts_with("sm_")) {
                match Cubin::compile(&source, arch) {
                    Ok(c) => println!(
                        "{path} {name} {arch}: {:?} {}",
                        c.resources(),
                        c.log
                            .lines()
                            .filter(|l| l.contains("C75") || l.contains("warning"))
                            .collect::<Vec<_>>()
                            .join("|")
                    ),
                    Err(e) => println!("{path} {name} {arch}: {e}"),
                }
            }
        }
    }
}
