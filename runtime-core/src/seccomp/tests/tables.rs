//! The generator of `tables/data.rs`, and the comparison of the tables with libseccomp's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oci_spec::runtime::Arch;

use super::oracle::Oracle;
use crate::seccomp::arch::{Abi, COLUMNS};
use crate::seccomp::tables;

/// Where numbers can be: mips starts at 4000, 5000 and 6000; arm's private calls are at 0x0f0000.
fn candidates() -> impl Iterator<Item = i32> {
    (0..8000).chain(0x000f_0000..0x000f_0100)
}

/// All that libseccomp knows: name → number by column. Pseudo numbers (a call that this
/// architecture lacks, or reaches through socketcall or ipc) are negative and left out; those that
/// i386 has in both forms are found by number.
fn read(oracle: &Oracle) -> BTreeMap<String, BTreeMap<usize, u32>> {
    let mut names = BTreeSet::new();
    let mut by_number = BTreeSet::new();
    for (column, arch) in COLUMNS.iter().enumerate() {
        for number in candidates() {
            let asked = if *arch == Arch::ScmpArchX32 { number | 0x4000_0000 } else { number };
            if let Some(name) = oracle.name(*arch, asked) {
                names.insert(name.clone());
                by_number.insert((name, column, number.unsigned_abs()));
            }
        }
    }
    let mut table: BTreeMap<String, BTreeMap<usize, u32>> = BTreeMap::new();
    for (name, column, number) in by_number {
        table.entry(name).or_default().insert(column, number);
    }
    // Two names of one number (arm's sync_file_range2): resolve_num tells only one of them.
    for name in names {
        for (column, arch) in COLUMNS.iter().enumerate() {
            if let Some(number) = oracle.resolve(*arch, &name).and_then(|n| u32::try_from(n).ok()) {
                table.entry(name.clone()).or_default().insert(column, number & !0x4000_0000);
            }
        }
    }
    table
}

/// Writes `tables/data.rs`; see `tables/mod.rs` for the command.
#[test]
#[ignore = "writes a source file: run it by hand when libseccomp has new tables"]
fn regenerate() {
    let oracle = Oracle::open().expect("libseccomp");
    let (major, minor, micro) = oracle.version;
    let mut text = format!(
        "//! Generated from libseccomp {major}.{minor}.{micro} by `cargo test`: see `tables/mod.rs`; \
         do not edit.\n\nuse super::{{NONE as N, Row}};\n\n/// Sorted by name; the columns are \
         those of `arch::COLUMNS`.\npub(super) static ROWS: &[Row] = &[\n"
    );
    for (name, numbers) in read(&oracle) {
        write!(text, "    Row(\"{name}\", [").unwrap();
        for column in 0..COLUMNS.len() {
            let separator = if column == 0 { "" } else { ", " };
            match numbers.get(&column) {
                Some(number) => {
                    write!(text, "{separator}{}", tables::encode(*number).expect("fits")).unwrap();
                }
                None => write!(text, "{separator}N").unwrap(),
            }
        }
        text.push_str("]),\n");
    }
    text.push_str("];\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/tables/data.rs");
    std::fs::write(path, text).unwrap();
}

#[test]
fn tables_agree_with_libseccomp() {
    let Some(oracle) = Oracle::open() else { return };
    println!("libseccomp {:?}", oracle.version);
    for (name, numbers) in read(&oracle) {
        for (column, number) in numbers {
            let abi = Abi::of(COLUMNS[column]);
            if (name.as_str(), abi.arch) == ("_llseek", Arch::ScmpArchParisc64) {
                continue; // a mistake that libseccomp 2.6.1 mended
            }
            let bit = if abi.arch == Arch::ScmpArchX32 { 0x4000_0000 } else { 0 };
            let ours = tables::find(&name).and_then(|row| abi.number(row));
            assert_eq!(ours, Some(number | bit), "{name} on {:?}", abi.arch);
        }
    }
}

#[test]
fn rows_are_sorted_and_known() {
    assert!(tables::rows().is_sorted_by(|a, b| a.0 < b.0));
    let x86_64 = Abi::of(Arch::ScmpArchX86_64);
    let x32 = Abi::of(Arch::ScmpArchX32);
    let arm = Abi::of(Arch::ScmpArchArm);
    let number = |abi: Abi, name| abi.number(tables::find(name).unwrap());
    assert_eq!(number(x86_64, "read"), Some(0));
    assert_eq!(number(x86_64, "clone3"), Some(435));
    assert_eq!(number(x86_64, "socketcall"), None);
    assert_eq!(number(x32, "read"), Some(0x4000_0000));
    assert_eq!(number(x32, "execve"), Some(0x4000_0000 + 520));
    assert_eq!(number(arm, "set_tls"), Some(0x000f_0005));
    assert!(tables::find("no_such_call").is_none());
}

#[test]
fn encoding_is_reversible() {
    for number in [0, 1, 462, 6462, 0x000f_0001, 0x000f_00ff] {
        assert_eq!(tables::decode(tables::encode(number).unwrap()), Some(number));
    }
    assert_eq!(tables::encode(0x0010_0000), None);
    assert_eq!(tables::decode(tables::NONE), None);
}
