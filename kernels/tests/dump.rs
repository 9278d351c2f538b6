//! scratch
use kernels::{Cubin, Source, Values};
#[test]
#[ignore = "needs NVRTC"]
fn dump() {
    let path = std::env::var("K").unwrap();
    let mut v = Values::new();
    for p in std::env::var("P").unwrap_or_default().split_whitespace() {
        let (a, b) = p.split_once('=').unwrap();
        v.insert(a.into(), b.parse().unwrap());
    }
    let s = Source::load(&path, &v).unwrap();
    let c = Cubin::compile(&s, &std::env::var("A").unwrap_or("sm_90a".into())).unwrap();
    println!("{}", c.log);
    std::fs::write("/tmp/out.cubin", c.image).unwrap();
}
