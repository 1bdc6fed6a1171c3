//! The schema files are what the types say. After a change of the types: `UPDATE_SCHEMA=1 cargo test -p protocol`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_schema_files_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let update = std::env::var_os("UPDATE_SCHEMA").is_some();
    for (name, schema) in protocol::schemas() {
        let path = folder.join(format!("{name}.json"));
        let expected = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if update {
            std::fs::write(&path, &expected).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, expected, "{path:?} differs: UPDATE_SCHEMA=1 cargo test -p protocol writes it anew");
    }
}

#[test]
fn every_schema_file_has_a_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let files: BTreeSet<String> =
        folder.read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let types: BTreeSet<String> = protocol::schemas().into_iter().map(|(name, _)| format!("{name}.json")).collect();
    assert_eq!(files, types);
}
