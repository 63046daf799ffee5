//! The 49 messages of RFC 4475, byte for byte.

#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/rfc4475")
}

pub fn vector(name: &str) -> Bytes {
    let path = folder().join(name).with_extension("dat");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// Name and bytes of each, by name.
pub fn vectors() -> Vec<(String, Bytes)> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dat"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), vector(&name))).collect()
}
