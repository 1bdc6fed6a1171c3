//! The house rules, as data: who may use whom, which licences, what must not be in the tree.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each crate of ours, and the crates of ours that it may use. Tests and benchmarks may use `servers` besides.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("protocol", &[]),
    ("bus", &["protocol"]),
    ("connector", &["protocol", "bus"]),
    ("migrations", &[]),
    ("store", &["protocol", "migrations"]),
    ("worker", &["protocol", "bus", "store"]),
    ("plugins", &["protocol", "worker", "store"]),
    ("pubbot", &["protocol", "bus", "connector", "worker", "plugins", "store"]),
    ("bench", &["protocol", "bus", "connector", "worker", "plugins", "store", "migrations", "servers"]),
];

/// What only one crate of ours may know: the crate, and its only user beside the benchmarks.
const ONLY_ONE_KNOWS: [(&str, &str); 2] = [("lapin", "bus"), ("irc-proto", "connector")];

/// A second TLS provider makes rustls panic at run time.
const BANNED: [&str; 4] = ["aws-lc-sys", "aws-lc-rs", "openssl-sys", "native-tls"];

struct Package {
    name: String,
    ours: bool,
    /// Name and kind (`null` for normal, `dev`, `build`) of each dependency.
    dependencies: Vec<(String, Option<String>)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `cargo metadata` says of every package in the tree.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let dependency = |d: &Value| (text(&d["name"]).unwrap(), text(&d["kind"]));
    Package {
        name: text(&value["name"]).unwrap(),
        ours: value["source"].is_null(),
        dependencies: value["dependencies"].as_array().unwrap().iter().map(dependency).collect(),
    }
}

#[test]
fn crates_use_only_whom_the_architecture_lets_them() {
    let packages = packages();
    let ours: Vec<&Package> = packages.iter().filter(|package| package.ours).collect();
    let table: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    for package in &ours {
        let Some(allowed) = table.get(package.name.as_str()) else {
            assert_eq!(package.name, "servers", "{} is missing in the table", package.name);
            continue;
        };
        for (used, kind) in &package.dependencies {
            let is_ours = ours.iter().any(|other| other.name == *used);
            let for_tests = kind.as_deref() == Some("dev");
            assert!(!is_ours || for_tests || allowed.contains(&used.as_str()), "{} may not use {used}", package.name);
        }
    }
    assert_eq!(ours.len(), MAY_USE.len() + 1, "the table names a crate that is gone");
}

#[test]
fn only_the_bus_knows_lapin_and_only_the_connector_knows_irc() {
    for package in packages().iter().filter(|package| package.ours && package.name != "bench") {
        for (known, owner) in ONLY_ONE_KNOWS {
            let uses = package.dependencies.iter().any(|(name, _)| name == known);
            assert!(!uses || package.name == owner, "{} may not use {known}: only {owner} does", package.name);
        }
    }
}

#[test]
fn there_is_one_tls_provider() {
    let packages = packages();
    for banned in BANNED {
        assert!(packages.iter().all(|package| package.name != banned), "{banned} is in the tree: see `cargo tree -i`");
    }
}

/// A crate's documentation opens with what the file is for.
#[test]
fn every_source_file_opens_with_what_it_is_for() {
    for folder in [
        "protocol/src",
        "bus/src",
        "connector/src",
        "migrations/src",
        "store/src",
        "worker/src",
        "plugins/src",
        "bench/src",
        "src",
        "examples",
    ] {
        for file in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//!"), "{} does not say what it is for", file.display());
        }
    }
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in folder.read_dir().unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Links in the documents lead somewhere.
#[test]
fn the_documents_name_only_files_that_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let outside = path.contains("://") || path.is_empty();
            assert!(outside || root().join(path).exists(), "{document} links to {link}");
        }
    }
}
