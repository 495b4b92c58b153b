//! A run as one page that a browser shows without anything else.

use serde_json::{Value, json};

use super::story::{Story, Turn};
use crate::moment::Outcome;
use crate::run::Run;
use crate::workload::Workload;

/// The page around the run.
const TEMPLATE: &str = include_str!("page.html");
/// Where the run stands in it.
const PLACE: &str = "\"THE RUN\"";

/// The page of a run whose trace is [recorded](crate::trace::Trace::recording). `command` is what runs
/// it again.
pub fn page<W: Workload>(run: &Run, workload: &W, command: &str) -> String {
    let story = Story::of(run, workload);
    // Inside a script nothing may look like its end.
    let data = data(run, &story, command).to_string().replace("</", "<\\/").replace("<!", "<\\!");
    TEMPLATE.replacen(PLACE, &data, 1)
}

fn us(at: std::time::Duration) -> u64 {
    at.as_micros() as u64
}

fn data(run: &Run, story: &Story, command: &str) -> Value {
    let setup = &run.setup;
    let end = run.report.as_ref().map_or(story.end, |report| report.ended.max(story.end));
    let finding = run.finding.as_ref().map(|finding| {
        json!({
            "class": finding.class(),
            "at": finding.at().map(us),
            "what": run.also().iter().fold(finding.to_string(), |text, also| format!("{text}\nalso {also}")),
        })
    });
    let events: Vec<Value> =
        run.trace.events().iter().map(|event| json!([us(event.at), event.what])).collect();
    json!({
        "seed": setup.seed,
        "nodes": setup.nodes,
        "clients": setup.clients,
        "length": us(setup.length),
        "end": us(end),
        "bug": setup.mutation.map(|bug| format!("{bug:?}")),
        "command": command,
        "finding": finding,
        "lasting": format!("{:?} lasts at {:?}", setup.plan.lasting, setup.plan.minority),
        "faults": faults(run, story),
        "lives": lives(story),
        "calls": calls(story),
        "frames": frames(story),
        "events": events,
        "evidence": story.evidence,
    })
}

/// Each as beginning, end, what it was, and the nodes that it names.
fn faults(run: &Run, story: &Story) -> Vec<Value> {
    let fault = |happened: &super::story::Happened| {
        let planned = &run.setup.plan.faults[happened.fault];
        let ended = happened.ended.unwrap_or(run.setup.length.max(happened.began));
        let names = serde_json::to_value(planned.fault).unwrap_or_default();
        json!([us(happened.began), us(ended), happened.words, nodes(&names)])
    };
    story.faults.iter().map(fault).collect()
}

/// The nodes that a fault names, as its fields say.
fn nodes(fault: &Value) -> Vec<u64> {
    const FIELDS: [&str; 8] = ["node", "from", "to", "a", "b", "gone", "left", "leader"];
    let fields = fault.as_object().and_then(|fault| fault.values().next()).and_then(Value::as_object);
    let Some(fields) = fields else { return Vec::new() };
    FIELDS.iter().filter_map(|field| fields.get(*field)?.as_u64()).collect()
}

/// Of each node: when, which kind of turn, and what there is to say.
fn lives(story: &Story) -> Value {
    let turn = |(at, turn): &(std::time::Duration, Turn)| match turn {
        Turn::Boots(boot) => json!([us(*at), "boots", boot]),
        Turn::Stops(stopped) => {
            json!([us(*at), "stops", stopped.keeps, stopped.waiting, stopped.lost, stopped.torn])
        }
        Turn::Role(role, term) => json!([us(*at), "role", role, term]),
        Turn::Snapshot(upto) => json!([us(*at), "snapshot", upto]),
    };
    let lives = story.lives.iter();
    lives.map(|(node, turns)| (node.to_string(), turns.iter().map(turn).collect::<Value>())).collect()
}

/// Each as id, client, node, beginning, end, whether it writes, its outcome and its words.
fn calls(story: &Story) -> Vec<Value> {
    let call = |told: &super::story::Told| {
        let outcome = told.ended.as_ref().map_or("open", |(_, outcome)| match outcome {
            Outcome::Answered(_) => "answered",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
        });
        let ended = told.ended.as_ref().map(|(ended, _)| us(*ended));
        json!([told.id, told.client, told.node, us(told.began), ended, told.write, outcome, told.words])
    };
    story.calls.iter().map(call).collect()
}

/// Each as sent, arrived, from, to and bytes.
fn frames(story: &Story) -> Vec<Value> {
    let frame =
        |sent: &super::story::Sent| json!([us(sent.began), us(sent.arrived), sent.from, sent.to, sent.bytes]);
    story.frames.iter().map(frame).collect()
}
