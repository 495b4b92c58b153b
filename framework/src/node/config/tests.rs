//! No field without a check, a setter and a place in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// Every field by its path: found by serde, so that no list here can lag behind.
fn leaves(config: &Config) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let value = serde_json::to_value(config).expect("plain data");
    for (section, fields) in value.as_object().expect("sections") {
        for (field, value) in fields.as_object().expect("fields") {
            assert!(!value.is_object(), "{section}.{field} has fields of its own: teach `leaves` to descend");
            found.insert(format!("{section}.{field}"), value.clone());
        }
    }
    found
}

fn names(config: &Config) -> BTreeSet<String> {
    leaves(config).into_keys().collect()
}

/// The defaults with these fields set, by path.
fn with(fields: &[(&str, Value)]) -> Config {
    let mut value = serde_json::to_value(Config::default()).expect("plain data");
    for (path, new) in fields {
        let pointer = format!("/{}", path.replace('.', "/"));
        *value.pointer_mut(&pointer).unwrap_or_else(|| panic!("no field {path}")) = new.clone();
    }
    serde_json::from_value(value).expect("the types fit")
}

fn wrong_fields(config: &Config) -> Vec<&'static str> {
    match config.validate() {
        Ok(()) => Vec::new(),
        Err(error) => error.fields.iter().map(|error| error.field).collect(),
    }
}

/// Wrong in every field. Written without `..`, so that a new field cannot be forgotten here.
fn all_wrong() -> Config {
    Config {
        node: NodeSection { id: Some(NodeId(0)), data_dir: Some(PathBuf::new()) },
        election: ElectionSection { heartbeat_ms: 0, timeout_min_ms: 0, timeout_max_ms: 0 },
        limits: LimitsSection {
            max_command_bytes: 0,
            queue_bytes: 0,
            batch_bytes: 0,
            batches_in_flight: 0,
            cache_bytes: 0,
        },
        snapshot: SnapshotSection { log_bytes: 0, keep_entries: u64::MAX, chunk_bytes: 0 },
        timeouts: TimeoutsSection { call_ms: 0, connect_ms: 0, drain_ms: u64::MAX },
    }
}

#[test]
fn every_field_wrong_at_once_names_every_field_in_order() {
    let config = all_wrong();
    let error = config.validate().expect_err("everything is wrong");

    let named: BTreeSet<String> = error.fields.iter().map(|error| error.field.to_owned()).collect();
    assert_eq!(named, names(&config));
    assert_eq!(named.len(), error.fields.len(), "one error per field: {error}");

    let file = serde_json::to_string(&config).expect("plain data");
    let place = |path: &str| {
        let (section, field) = path.split_once('.').expect("section.field");
        let start = file.find(&format!("\"{section}\":{{")).expect("its section");
        start + file[start..].find(&format!("\"{field}\":")).expect("its name")
    };
    assert!(error.fields.is_sorted_by_key(|error| place(error.field)), "{error}");
    for field in &error.fields {
        assert!(error.to_string().contains(&field.to_string()), "{field} is missing in: {error}");
    }
}

#[test]
fn every_bound_of_every_field_holds() {
    let kib = 1_u64 << 10;
    let mib = 1_u64 << 20;
    // A field, values it may have, values it may not: everything else is as by default.
    let rows: Vec<(&str, Vec<Value>, Vec<Value>)> = vec![
        ("node.id", vec![json!(null), json!(1), json!(u64::MAX)], vec![json!(0)]),
        ("node.data_dir", vec![json!(null), json!("d")], vec![json!("")]),
        ("election.heartbeat_ms", vec![json!(5), json!(166)], vec![json!(4), json!(10_001), json!(u64::MAX)]),
        ("election.timeout_min_ms", vec![json!(300), json!(999)], vec![json!(299), json!(60_000)]),
        ("election.timeout_max_ms", vec![json!(501), json!(60_000)], vec![json!(500), json!(60_001)]),
        ("limits.max_command_bytes", vec![json!(1), json!(4 * mib)], vec![json!(0), json!(4 * mib + 1)]),
        ("limits.queue_bytes", vec![json!(2 * mib), json!(1_u64 << 31)], vec![json!(2 * mib - 1), json!(0)]),
        ("limits.batch_bytes", vec![json!(1), json!(mib)], vec![json!(0), json!(mib + 1)]),
        ("limits.batches_in_flight", vec![json!(1), json!(64)], vec![json!(0), json!(65)]),
        ("limits.cache_bytes", vec![json!(mib), json!(1_u64 << 31)], vec![json!(mib - 1), json!(0)]),
        ("snapshot.log_bytes", vec![json!(64 * kib), json!(u64::MAX)], vec![json!(64 * kib - 1), json!(0)]),
        ("snapshot.keep_entries", vec![json!(0), json!(10_000_000)], vec![json!(10_000_001)]),
        (
            "snapshot.chunk_bytes",
            vec![json!(4 * kib), json!(4 * mib)],
            vec![json!(4 * kib - 1), json!(4 * mib + 1)],
        ),
        ("timeouts.call_ms", vec![json!(1), json!(3_600_000)], vec![json!(0), json!(3_600_001)]),
        ("timeouts.connect_ms", vec![json!(10), json!(60_000)], vec![json!(9), json!(60_001)]),
        ("timeouts.drain_ms", vec![json!(0), json!(600_000)], vec![json!(600_001), json!(u64::MAX)]),
    ];

    let covered: BTreeSet<String> = rows.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(covered, names(&Config::default()), "every field has a row");
    for (path, good, bad) in &rows {
        for value in good {
            assert_eq!(wrong_fields(&with(&[(path, value.clone())])), [""; 0], "{path} = {value}");
        }
        for value in bad {
            let wrong = wrong_fields(&with(&[(path, value.clone())]));
            assert!(wrong.contains(path), "{path} = {value} is not named: {wrong:?}");
        }
    }
}

#[test]
fn a_relation_is_reported_on_the_field_to_change_and_a_bad_field_does_not_blame_a_good_one() {
    let election = |heartbeat: u64, min: u64, max: u64| {
        wrong_fields(&with(&[
            ("election.heartbeat_ms", json!(heartbeat)),
            ("election.timeout_min_ms", json!(min)),
            ("election.timeout_max_ms", json!(max)),
        ]))
    };
    assert_eq!(election(200, 599, 2_000), ["election.timeout_min_ms"]);
    assert_eq!(election(200, 600, 600), ["election.timeout_max_ms"]);
    assert_eq!(election(10_000, 30_000, 30_001), [""; 0]);
    assert_eq!(election(0, 15, 16), ["election.heartbeat_ms"]);
    assert_eq!(election(0, 14, 16), ["election.heartbeat_ms", "election.timeout_min_ms"]);
    assert_eq!(election(100, 60_000, 60_000), ["election.timeout_min_ms"]);

    let queue = |command: u64, queue: u64| {
        wrong_fields(&with(&[
            ("limits.max_command_bytes", json!(command)),
            ("limits.queue_bytes", json!(queue)),
        ]))
    };
    assert_eq!(queue(1_000, 1_000), [""; 0]);
    assert_eq!(queue(1_000, 999), ["limits.queue_bytes"]);
    assert_eq!(queue(1 << 30, 4 << 20), ["limits.max_command_bytes"]);
}

#[test]
fn defaults_and_presets_are_valid_and_come_back_from_a_file() {
    let mut full = Config::production();
    full.node = NodeSection { id: Some(NodeId(7)), data_dir: Some(PathBuf::from("data/n7")) };
    for config in [Config::default(), Config::development(), Config::testing(), full, all_wrong()] {
        let file = serde_json::to_string(&config).expect("plain data");
        assert_eq!(serde_json::from_str::<Config>(&file).expect("its own form"), config);
    }
    for preset in [Config::default(), Config::development(), Config::testing(), Config::production()] {
        assert_eq!(preset.validate(), Ok(()));
    }
}

#[test]
fn a_file_may_leave_out_what_it_does_not_change_but_not_invent_fields() {
    let config: Config =
        serde_json::from_value(json!({ "election": { "heartbeat_ms": 50 } })).expect("partial");
    assert_eq!(config, with(&[("election.heartbeat_ms", json!(50))]));

    let root = serde_json::from_value::<Config>(json!({ "elections": {} })).expect_err("no such section");
    assert!(root.to_string().contains("elections"), "{root}");
    let sections = serde_json::to_value(Config::default()).expect("plain data");
    for section in sections.as_object().expect("sections").keys() {
        let file = json!({ section.as_str(): { "extra": 1 } });
        let error = serde_json::from_value::<Config>(file).expect_err("no such field");
        assert!(error.to_string().contains("extra"), "{section}: {error}");
    }
}

#[test]
fn every_field_has_a_setter_that_sets_it_alone() {
    type Setter = fn(ConfigBuilder) -> ConfigBuilder;
    const MS: Duration = Duration::from_millis(7);
    let setters: [(&str, Setter); 16] = [
        ("node.id", |b| b.node_id(7)),
        ("node.data_dir", |b| b.data_dir("7")),
        ("election.heartbeat_ms", |b| b.heartbeat(MS)),
        ("election.timeout_min_ms", |b| b.election_timeout_min(MS)),
        ("election.timeout_max_ms", |b| b.election_timeout_max(MS)),
        ("limits.max_command_bytes", |b| b.max_command_bytes(7)),
        ("limits.queue_bytes", |b| b.queue_bytes(7)),
        ("limits.batch_bytes", |b| b.batch_bytes(7)),
        ("limits.batches_in_flight", |b| b.batches_in_flight(7)),
        ("limits.cache_bytes", |b| b.cache_bytes(7)),
        ("snapshot.log_bytes", |b| b.snapshot_log_bytes(7)),
        ("snapshot.keep_entries", |b| b.snapshot_keep_entries(7)),
        ("snapshot.chunk_bytes", |b| b.snapshot_chunk_bytes(7)),
        ("timeouts.call_ms", |b| b.call_timeout(MS)),
        ("timeouts.connect_ms", |b| b.connect_timeout(MS)),
        ("timeouts.drain_ms", |b| b.drain_timeout(MS)),
    ];

    let default = leaves(&Config::default());
    let mut set = BTreeSet::new();
    for (path, setter) in setters {
        let config = setter(ConfigBuilder::new()).config;
        let changed: Vec<(String, Value)> =
            leaves(&config).into_iter().filter(|(field, value)| default[field] != *value).collect();
        let seven = if path == "node.data_dir" { json!("7") } else { json!(7) };
        assert_eq!(changed, [(path.to_owned(), seven)]);
        set.insert(path.to_owned());
    }
    assert_eq!(set, names(&Config::default()), "every field has a setter");
}

#[test]
fn a_builder_starts_from_a_preset_and_refuses_what_is_wrong() {
    let config = ConfigBuilder::from(Config::testing()).node_id(3).build().expect("a preset");
    assert_eq!(config.election, Config::testing().election);
    assert_eq!(config.node.id, Some(NodeId(3)));

    let error = ConfigBuilder::new().node_id(0).batch_bytes(0).build().expect_err("two are wrong");
    let fields: Vec<_> = error.fields.iter().map(|field| field.field).collect();
    assert_eq!(fields, ["node.id", "limits.batch_bytes"]);
}

#[test]
fn a_duration_is_rounded_up_and_one_that_does_not_fit_is_refused() {
    let connect = |duration| ConfigBuilder::new().connect_timeout(duration).config.timeouts.connect_ms;
    assert_eq!(connect(Duration::ZERO), 0);
    assert_eq!(connect(Duration::from_nanos(1)), 1);
    assert_eq!(connect(Duration::from_millis(20)), 20);
    assert_eq!(connect(Duration::from_micros(20_001)), 21);
    assert_eq!(connect(Duration::MAX), u64::MAX);

    let error = ConfigBuilder::new().drain_timeout(Duration::MAX).build().expect_err("for ever");
    assert_eq!(error.fields[0].field, "timeouts.drain_ms");
}
