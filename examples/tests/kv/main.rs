//! The `kv` program as its users run it: one process per node, over HTTP, with processes that are
//! killed and directories that are lost.
//!
//! [`program`] builds, starts and stops processes; [`web`] speaks HTTP to them.

mod program;
mod web;

use serde_json::{Value, json};

use crate::program::{Cluster, run};
use crate::web::Reply;

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2_and_says_what_would() {
    for line in ["", "start", "init --id 1", "serve --data-dir d --http 1", "init --id 0 --id 1"] {
        let ended = run(line.split_whitespace());
        assert_eq!(ended.code, Some(2), "`kv {line}`: {}", ended.stderr);
        assert!(ended.stderr.contains("usage:"), "`kv {line}`: {}", ended.stderr);
    }
    let help = run(["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("kv serve"), "{}", help.stdout);
}

#[test]
fn nothing_is_served_before_the_last_node_is_there_and_everything_after() {
    let mut cluster = Cluster::new();
    cluster.start(1);
    cluster.start(2);
    let refused = cluster.put(1, "a?timeout_ms=500", "early");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["outcome"], "not_applied", "{refused:?}");
    assert_eq!(cluster.get(2, "a?timeout_ms=500").status, 503);
    for path in ["/healthz", "/status"] {
        let waits_for_3 = |reply: &Reply| reply.json()["waiting_for"] == json!([3]);
        let reply = cluster.until(1, path, "names who is missing", waits_for_3);
        assert_eq!(reply.json()["phase"], "joining", "{reply:?}");
        assert_eq!(reply.status, if path == "/healthz" { 503 } else { 200 }, "{reply:?}");
    }

    cluster.start(3);
    cluster.await_leader(1);
    assert_eq!(cluster.ask(1, "GET", "/healthz", "").json(), json!({ "ok": true, "phase": "running" }));
    assert_eq!(cluster.put(1, "a", "late").status, 200);
    for node in 1..=3 {
        assert_eq!(cluster.get(node, "a").text(), (200, "late"));
    }
}

#[test]
fn what_is_acknowledged_survives_kill_9_of_the_leader_and_of_everyone() {
    let mut cluster = Cluster::started();
    let first = cluster.put(1, "a%2Fb", "one").json();
    let second = cluster.put(2, "a%2Fb", "two").json();
    assert_eq!((&first["previous"], &second["previous"]), (&Value::Null, &json!("one")));
    assert!(first["index"].as_u64() < second["index"].as_u64(), "{first} {second}");

    let status = cluster.ask(1, "GET", "/status", "").json();
    let leader = status["leader"].as_u64().expect("there is a leader");
    assert_eq!(status["members"].as_array().map(Vec::len), Some(3), "{status}");
    cluster.kill(leader);
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    for node in others {
        // A write that was sent to the dead leader is of unknown outcome and says so; the next one
        // goes to the new leader.
        let early = cluster.put(node, "a%2Fb", "three");
        assert!(early.status == 200 || early.json()["outcome"].is_string(), "{early:?}");
        cluster.await_leader(node);
        assert_eq!(cluster.put(node, "a%2Fb", "three").status, 200);
    }
    cluster.start(leader);
    cluster.await_leader(leader);
    assert_eq!(cluster.get(leader, "a%2Fb").text(), (200, "three"));

    for node in 1..=3 {
        cluster.kill(node);
    }
    cluster.start_all();
    for node in 1..=3 {
        assert_eq!(cluster.get(node, "a%2Fb").text(), (200, "three"));
    }
}

#[test]
fn a_minority_refuses_and_a_signal_ends_in_good_order() {
    let mut cluster = Cluster::started();
    assert_eq!(cluster.put(3, "a", "x").status, 200);
    assert_eq!(cluster.terminate(1).code, Some(0));
    cluster.await_leader(2);
    assert_eq!(cluster.get(2, "a").text(), (200, "x"), "two of three are a quorum");
    assert_eq!(cluster.terminate(2).code, Some(0));

    let write = cluster.put(3, "a?timeout_ms=700", "y");
    assert_eq!(write.status, 503, "{write:?}");
    let read = cluster.get(3, "a?timeout_ms=700");
    assert_eq!((read.status, &read.json()["outcome"]), (503, &json!("not_applied")));
    assert_eq!(cluster.get(3, "a?read=local").text(), (200, "x"));
    assert_eq!(cluster.ask(3, "GET", "/healthz", "").status, 200);
    assert_eq!(cluster.terminate(3).code, Some(0));
}

#[test]
fn reads_changes_and_limits_are_as_documented() {
    let cluster = Cluster::started();
    let cas = |node, body: &str| cluster.ask(node, "POST", "/kv/k/cas", body);
    assert_eq!(cas(1, r#"{"expect":null,"value":"a"}"#).status, 200);
    let conflict = cas(2, r#"{"expect":null,"value":"b"}"#);
    assert_eq!((conflict.status, conflict.json()), (409, json!({ "current": "a" })));
    assert_eq!(cas(3, r#"{"expect":"a","value":"b"}"#).json()["previous"], "a");
    for query in ["", "?read=linearizable", "?read=stale&at_most=60000", "?read=stale"] {
        assert_eq!(cluster.get(2, &format!("k{query}")).text(), (200, "b"), "{query}");
    }
    assert_eq!(cluster.ask(3, "DELETE", "/kv/k", "").json()["previous"], "b");
    assert_eq!(cluster.ask(1, "DELETE", "/kv/k", "").json()["previous"], Value::Null);
    assert_eq!(cluster.get(2, "k").status, 404);

    let full = "v".repeat(1 << 20);
    assert_eq!(cluster.put(1, "full", &full).status, 200);
    assert_eq!(cluster.get(2, "full").text(), (200, full.as_str()));
    assert_eq!(cluster.put(1, "full", &format!("{full}v")).status, 413);
    assert_eq!(cluster.put(1, &"k".repeat(513), "v").status, 400);
    assert_eq!(cluster.get(1, "k?read=never").status, 400);
    assert_eq!(cluster.ask(1, "PATCH", "/kv/k", "").status, 400);
    assert_eq!(cluster.ask(1, "GET", "/", "").status, 404);
}

#[test]
fn a_refusal_comes_before_the_body_and_does_not_cut_it_off() {
    let mut cluster = Cluster::new();
    cluster.start(1);
    let mib = 1 << 20;
    // With an hour to wait for the body: nothing but the promise is looked at.
    assert_eq!(cluster.send(1, "PUT", "/kv/k?timeout_ms=3600000", mib + 1, "").status, 413);
    assert_eq!(cluster.send(1, "DELETE", "/kv/k?timeout_ms=3600000", mib + 1, "").status, 413);
    // The whole body is sent before the answer is read.
    let long = "v".repeat(8 * mib);
    assert_eq!(cluster.put(1, "k", &long).status, 413);
    assert_eq!(cluster.put(1, &"k".repeat(513), &long).status, 400);

    let slow = cluster.send(1, "PUT", "/kv/k?timeout_ms=100", 9, "half");
    assert_eq!((slow.status, &slow.json()["outcome"]), (503, &json!("not_applied")), "{slow:?}");
}

#[test]
fn what_it_does_is_on_stderr_and_nowhere_else() {
    let mut cluster = Cluster::started();
    assert_eq!(cluster.put(1, "a", "x").status, 200);
    let ended = cluster.terminate(1);
    assert!(ended.stdout.lines().count() == 1, "one line says where it serves: {}", ended.stdout);
    for said in ["waiting for the other members", "told to stop"] {
        assert!(ended.stderr.contains(said), "it does not say `{said}`: {}", ended.stderr);
    }
}

#[test]
fn a_node_that_lost_its_disk_or_has_anothers_is_refused_with_the_way_out() {
    let mut cluster = Cluster::started();
    assert_eq!(cluster.put(1, "a", "kept").status, 200);
    cluster.kill(3);
    let refused = |cluster: &Cluster, bootstrap: &str, way_out: &str| {
        let ended = cluster.serve_until_it_ends(3, bootstrap);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(way_out), "{}", ended.stderr);
    };
    let list = cluster.bootstrap();
    let shorter = list.rsplit_once(',').expect("three lines").0.to_owned();
    refused(&cluster, &shorter, "the bootstrap list its cluster was born with");

    cluster.wipe(3);
    refused(&cluster, &list, "add it under a new node id and key");
    cluster.terminate(2);
    cluster.give_store_of(2, 3);
    refused(&cluster, &list, "give this node a directory of its own");

    cluster.start(2);
    cluster.await_leader(1);
    cluster.await_leader(2);
    let (one, two): (Reply, Reply) = (cluster.get(1, "a"), cluster.get(2, "a"));
    assert_eq!((one.text(), two.text()), ((200, "kept"), (200, "kept")));
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let mut cluster = Cluster::new();
    cluster.start_unread(1);
    cluster.start(2);
    cluster.start(3);
    cluster.await_leader(1);
    // Many times what a pipe takes.
    for key in 0..50 {
        let reply = cluster.put(1, &format!("{key}?timeout_ms=45000"), "x");
        assert!(reply.status == 200 || reply.json()["outcome"] == "unknown", "{reply:?}");
    }
    cluster.await_leader(1);
    assert_eq!(cluster.terminate(1).code, Some(0));
}
