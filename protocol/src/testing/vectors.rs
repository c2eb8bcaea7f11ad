//! The vector files.

use std::path::PathBuf;

use serde_json::Value;

/// The vector file `docs/vectors/{name}.json`.
pub(crate) fn read_vectors(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(vector_file(name)).unwrap()).unwrap()
}

/// Compares `generated` with the vector file. With `UPDATE_VECTORS` set, writes the file instead.
pub(crate) fn check_vectors(name: &str, generated: &Value) {
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(generated).unwrap() + "\n";
        std::fs::write(vector_file(name), text).unwrap();
    }
    assert_eq!(
        &read_vectors(name),
        generated,
        "UPDATE_VECTORS=1 writes the file anew, if the change is meant"
    );
}

/// Asked at run time: a target folder that two checkouts share may hold a binary that the other one built.
fn vector_file(name: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(package).join("../docs/vectors").join(format!("{name}.json"))
}
