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
    // What several places record alike is recorded beside the table.
    let recorded = code.clone() + include_str!("mod.rs");
    let unused: Vec<_> =
        names::IDENTIFIERS.iter().filter(|id| !recorded.contains(&format!("names::{id}"))).collect();
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

fn operations(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations").join(file)).unwrap()
}

/// The metrics that a PromQL expression names. Histograms are named by their series.
fn named_in(expression: &str) -> Vec<&'static Metric> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    expression
        .match_indices(PREFIX)
        .map(|(at, _)| {
            let name: String = expression[at..].chars().take_while(|c| is_of_name(*c)).collect();
            let found = names::ALL.iter().find(|metric| match metric.kind {
                Kind::Histogram(_) => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|series| name.strip_suffix(series) == Some(metric.name)),
                Kind::Counter | Kind::Gauge => name == metric.name,
            });
            found.unwrap_or_else(|| panic!("{name} in {expression} is no metric"))
        })
        .collect()
}

/// The words before `=`, `=~` and `!=` in braces, and those in `by (...)`.
fn labels_in(expression: &str) -> Vec<String> {
    let mut labels = Vec::new();
    for (part, opening) in [("{", '{'), ("by (", '(')] {
        for (at, _) in expression.match_indices(part) {
            let closing = if opening == '{' { '}' } else { ')' };
            let inside = expression[at + part.len()..].split(closing).next().unwrap();
            labels.extend(
                inside.split(',').map(|matcher| matcher.split(['=', '!']).next().unwrap().trim().to_owned()),
            );
        }
    }
    labels
}

fn check_expression(expression: &str) -> Vec<&'static Metric> {
    let metrics = named_in(expression);
    assert!(!metrics.is_empty(), "{expression} names no metric");
    for label in labels_in(expression) {
        let is_known = ["instance", "le"].contains(&label.as_str())
            || metrics.iter().any(|metric| metric.labels.contains(&label.as_str()));
        assert!(is_known, "{expression}: no metric in it has the label {label}");
    }
    metrics
}

fn expressions_of(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(serde_json::Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| expressions_of(field, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions_of(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: serde_json::Value = serde_json::from_str(&operations("dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    expressions_of(&dashboard, &mut expressions);
    let shown: BTreeSet<_> = expressions
        .iter()
        .flat_map(|expression| check_expression(expression))
        .map(|metric| metric.name)
        .collect();
    let all: BTreeSet<_> = names::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, all);
}

#[test]
fn alerts_name_only_what_there_is_and_are_all_documented() {
    let rules = operations("alerts.yaml");
    let docs =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md")).unwrap();
    let mut alerts = 0;
    for rule in rules.split("- alert: ").skip(1) {
        alerts += 1;
        let name = rule.lines().next().unwrap();
        let field = |field: &str| {
            let line = rule.lines().find_map(|line| line.trim().strip_prefix(field));
            line.unwrap_or_else(|| panic!("{name} has no {field}")).trim().to_owned()
        };
        let expression = rule.split("expr: >-").nth(1).and_then(|rest| rest.split("for:").next()).unwrap();
        check_expression(expression.trim());
        assert!(docs.contains(&format!("| `{name}` | {} |", field("severity:"))), "{name} is not documented");
        assert!(!field("summary:").is_empty() && !field("description:").is_empty());
    }
    assert_eq!(docs.matches("| `LightningRod").count(), alerts, "an alert is documented that is not there");
}

#[test]
fn an_expression_with_a_wrong_name_or_label_is_noticed() {
    for wrong in [
        "rate(lightning_rod_pushs_total[5m])",
        "lightning_rod_reconcile_seconds",
        "lightning_rod_holds{kind=\"waiting\"}",
        "sum by (row) (lightning_rod_holds)",
        "up == 0",
    ] {
        let checked = std::panic::catch_unwind(|| check_expression(wrong));
        assert!(checked.is_err(), "{wrong} passes");
    }
}
