use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const PREFIX: &str = "lightning_rod_";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the server, but this folder's.
fn code() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let mine = root.join("metrics");
    let mut text = fs::read_to_string(mine.join("refresh.rs")).unwrap();
    for path in found.iter().filter(|path| !path.starts_with(&mine)) {
        text.push_str(&fs::read_to_string(path).unwrap());
    }
    text
}

#[test]
fn every_metric_of_the_table_is_used_and_no_other_is() {
    let code = code();
    let unused: Vec<_> =
        names::IDENTIFIERS.iter().filter(|id| !code.contains(&format!("names::{id}"))).collect();
    assert!(unused.is_empty(), "nothing records {unused:?}");
    assert!(!code.contains(&format!("\"{PREFIX}")), "a metric is named outside of the table");
    for macro_name in ["counter!(", "gauge!(", "histogram!("] {
        assert!(
            !code.contains(&format!("metrics::{macro_name}")),
            "{macro_name} is used outside of the table"
        );
    }
}

#[test]
fn names_say_what_they_are() {
    let mut seen = BTreeSet::new();
    for metric in names::ALL {
        let Metric { name, kind, unit, help, .. } = metric;
        assert!(seen.insert(name), "{name} is there twice");
        assert!(name.starts_with(PREFIX), "{name}");
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help:?}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let bare = name.trim_end_matches("_total");
        match unit {
            Unit::Seconds => assert!(bare.ends_with("_seconds"), "{name}"),
            Unit::Bytes => assert!(bare.ends_with("_bytes"), "{name}"),
            _ => assert!(!bare.ends_with("_seconds") && !bare.ends_with("_bytes"), "{name}"),
        }
        if let Kind::Histogram(bounds) = kind {
            assert!(!bounds.is_empty() && bounds.is_sorted(), "{name}");
        }
    }
}

/// Dashboards and alerts are written from it.
#[test]
fn the_table_in_the_documentation_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let docs = fs::read_to_string(path).unwrap();
    for metric in names::ALL {
        let labels = match metric.labels {
            [] => String::new(),
            labels => labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let line = format!("| `{}` | {kind} | {labels} | {} |", metric.name, metric.help);
        assert!(docs.contains(&line), "docs/operations.md lacks this line:\n{line}");
    }
    let documented = docs.matches(&format!("| `{PREFIX}")).count();
    assert_eq!(documented, names::ALL.len(), "docs/operations.md has metrics that are not there");
}

#[test]
fn a_second_server_in_the_process_shares_the_first_ones_recorder() {
    let first = install().unwrap();
    names::DATABASE_KV_BYTES.set_total(77, &[]);
    let second = install().unwrap();
    for handle in [first, second] {
        let text = handle.render();
        assert!(text.contains("lightning_rod_database_kv_bytes_total 77"), "{text}");
        assert!(text.contains("# HELP lightning_rod_database_kv_bytes_total Bytes of the values"), "{text}");
    }
}
