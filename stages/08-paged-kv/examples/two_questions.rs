//! What the cache does with two questions about one text: `cargo run -p stage-08 --example two_questions`.

use paged_kv::{PageTable, PagedKv};

fn main() {
    let mut kv = PagedKv::new(8, 4, true);
    let text: Vec<u32> = (100..109).collect();

    let mut first = kv.match_prefix(&text, 0);
    kv.reserve(&mut first, text.len())
        .expect("8 blocks are free");
    kv.commit(&mut first, &text);
    show("a prompt of 9 tokens", &kv, &[&first]);

    let mut second = kv.fork(&first);
    show("forked: a second answer", &kv, &[&first, &second]);

    let copy = kv.reserve(&mut second, 1).expect("a block is free");
    println!("{:28} {copy:?}", "");
    kv.commit(&mut second, &[&text[..], &[7]].concat());
    show("the second writes first", &kv, &[&first, &second]);

    kv.release(first);
    kv.release(second);
    show("both are done", &kv, &[]);

    let question = [&text[..8], &[55, 56, 57]].concat();
    let table = kv.match_prefix(&question, 0);
    println!(
        "{:28} {} of {} tokens found stored",
        "",
        table.len(),
        question.len()
    );
    show("another question", &kv, &[&table]);
    println!("{:28} position 6 is in slot {}", "", table.slot(6, 4));
    kv.release(table);

    let stranger = kv.match_prefix(&question, 1);
    println!(
        "{:28} {} tokens found by a tenant with another salt",
        "",
        stranger.len()
    );
    kv.release(stranger);
}

fn show(what: &str, kv: &PagedKv, tables: &[&PageTable]) {
    let blocks = tables.iter().map(|table| {
        let ids: Vec<_> = table
            .blocks()
            .iter()
            .map(|block| block.0.to_string())
            .collect();
        format!("[{}]", ids.join(" "))
    });
    println!(
        "{what:28} used {}, cached {}, free {}  {}",
        kv.used_blocks(),
        kv.cached_blocks(),
        kv.free_blocks(),
        blocks.collect::<Vec<_>>().join(" ")
    );
}
