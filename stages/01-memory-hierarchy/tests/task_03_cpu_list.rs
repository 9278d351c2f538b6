//! Task 3: lists of CPUs, and machines read from their files.

mod common;

use memory_hierarchy::topology::{Topology, cpu_list};
use rand::RngExt;
use std::path::Path;

#[test]
fn lists_as_the_kernel_writes_them() {
    for (list, cpus) in [
        ("", vec![]),
        ("\n", vec![]),
        ("0\n", vec![0]),
        ("0-3,8", vec![0, 1, 2, 3, 8]),
        ("0-1,4-5,31\n", vec![0, 1, 4, 5, 31]),
        ("7-7", vec![7]),
        ("65535", vec![65535]),
    ] {
        assert_eq!(cpu_list(list), Ok(cpus), "{list:?}");
    }
}

#[test]
fn what_is_no_list_is_an_error_that_names_the_part() {
    for (list, part) in [
        ("a", "a"),
        (",", ""),
        ("1,", ""),
        ("0,3-1", "3-1"),
        ("0-3-5", "0-3-5"),
        ("-2", "-2"),
        ("2-", "2-"),
        ("1, 2", " 2"),
        ("0-18446744073709551615", "0-18446744073709551615"),
        ("0-3:2/4", "0-3:2/4"),
    ] {
        let error = cpu_list(list).unwrap_err();
        assert_eq!((error.list.as_str(), error.part.as_str()), (list, part));
    }
}

#[test]
fn random_sets_come_back() {
    let mut rng = common::rng();
    for _ in 0..500 {
        let cpus: Vec<usize> = (0..80).filter(|_| rng.random_bool(0.6)).collect();
        let runs = cpus.chunk_by(|a, b| a + 1 == *b);
        let parts: Vec<_> = runs
            .map(|run| match run {
                [one] => one.to_string(),
                _ => format!("{}-{}", run[0], run[run.len() - 1]),
            })
            .collect();
        assert_eq!(cpu_list(&parts.join(",")), Ok(cpus));
    }
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }
}

fn cache<'a>(index: &str, fields: [&'a str; 5]) -> Vec<(String, &'a str)> {
    let names = [
        "level",
        "type",
        "size",
        "coherency_line_size",
        "shared_cpu_list",
    ];
    let path = |name| format!("cpu/cpu0/cache/index{index}/{name}");
    names.into_iter().map(path).zip(fields).collect()
}

#[test]
fn a_machine_of_two_sockets() {
    let root = tempfile::tempdir().unwrap();
    let caches = [
        cache("0", ["1", "Data", "48K", "64", "0,8"]),
        cache("1", ["1", "Instruction", "32K", "64", "0,8"]),
        // The order of the folders is the kernel's own.
        cache("2", ["3", "Unified", "1G", "64", "0-3,8-11"]),
        cache("3", ["2", "Unified", "2048K", "128", "0,8"]),
    ]
    .concat();
    let caches: Vec<_> = caches
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    write(root.path(), &caches);
    write(
        root.path(),
        &[
            ("cpu/online", "0-15"),
            ("node/online", "0-2"),
            ("node/node0/cpulist", "0-3,8-11"),
            ("node/node0/distance", "10 21 30"),
            ("node/node1/cpulist", "4-7,12-15"),
            ("node/node1/distance", "21 10 30"),
            // Memory alone, as CXL brings it.
            ("node/node2/cpulist", ""),
            ("node/node2/distance", "30 30 10"),
        ],
    );
    let machine = Topology::read(root.path());
    assert_eq!(machine.cpus, (0..16).collect::<Vec<_>>());
    let found: Vec<_> = machine
        .caches
        .iter()
        .map(|cache| (cache.level, cache.bytes, cache.line, cache.shared_by.len()))
        .collect();
    assert_eq!(
        found,
        [
            (1, 48 << 10, 64, 2),
            (2, 2 << 20, 128, 2),
            (3, 1 << 30, 64, 8)
        ]
    );
    assert_eq!(machine.last_level(), Some(1 << 30));
    assert_eq!(machine.cache(4), None);
    let nodes: Vec<_> = machine
        .nodes
        .iter()
        .map(|node| (node.id, node.cpus.len()))
        .collect();
    assert_eq!(nodes, [(0, 8), (1, 8), (2, 0)]);
    assert_eq!(machine.nodes[1].distances, [21, 10, 30]);
}

#[test]
fn what_the_system_hides_is_absent() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(Topology::read(root.path()), Topology::default());
    // The first CPU may be any; a cache of unknown size and a node without distances are no caches and no nodes.
    let cache = |name| format!("cpu/cpu2/cache/index0/{name}");
    let files = [
        (cache("level"), "1"),
        (cache("type"), "Data"),
        (cache("size"), "much"),
        (cache("coherency_line_size"), "64"),
        (cache("shared_cpu_list"), "2"),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    write(root.path(), &files);
    write(
        root.path(),
        &[
            ("cpu/online", "2-3"),
            ("node/online", "0-1"),
            ("node/node0/cpulist", "2-3"),
            ("node/node0/distance", "10"),
        ],
    );
    let machine = Topology::read(root.path());
    assert_eq!(machine.cpus, [2, 3]);
    assert_eq!((machine.caches.len(), machine.nodes.len()), (0, 0));
    write(root.path(), &[("cpu/cpu2/cache/index0/size", "32768")]);
    assert_eq!(Topology::read(root.path()).last_level(), Some(32768));
}
