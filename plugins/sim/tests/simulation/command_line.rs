//! `cargo sim` as it is typed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The last seed there is.
const LAST: &str = "18446744073709551615";

/// What it says, on both ways out, and its exit status.
fn sim(args: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().expect("the binary runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (text.concat(), output.status.code().expect("an exit status"))
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn says(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "`{wanted}` is not in\n{text}");
    }
}

#[test]
fn help_says_what_there_is() {
    let (text, code) = sim(&["--help"]);
    says(&text, &["--seeds N", "--replay SEED", "--plan FILE", "--html FILE", "exit status"]);
    assert_eq!(code, 0);
}

#[test]
fn wrong_use_is_told_from_a_finding() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "say what to run"),
        (&["--jobs", "1"], "say how much to run"),
        (&["--seeds"], "`--seeds` needs a value"),
        (&["--seeds", "many"], "takes a whole number, not `many`"),
        (&["--seeds", "1", "--seeds", "2"], "`--seeds` stands there twice"),
        (&["--seeds", "1", "--jobs", "0"], "`--jobs` is at least 1"),
        (&["--seeds", "0"], "`--seeds` is at least 1"),
        (&["--minutes", "0"], "`--minutes` is more than 0"),
        (&["--seeds", "1", "--seconds", "0"], "`--seconds` and `--limit` are more than 0"),
        (&["--seeds", "2", "--from", LAST], "`--from` is at most 18446744073709551613 for 2 seeds"),
        (&["--minutes", "1", "--from", LAST], "`--from` is at most 18446744073709551614 for 1 seeds"),
        (&["--mutations", "--from", LAST], "`--from` is at most 18446744073709551415 for 200 seeds"),
        (&["--seeds", "1", "--shrink", "1e19"], "`--shrink` takes at most a year, not `1e19`"),
        (&["--seeds", "1", "--seconds", "1e9"], "`--seconds` takes at most a year, not `1e9`"),
        (&["--seeds", "1", "--seconds", "86401"], "`--seconds` is at most a day"),
        (
            &["--replay", "1", "--html", "there/is/no/such/run.html"],
            "there/is/no/such/run.html is not written: ",
        ),
        (&["--seeds", "1", "--seconds", "-1"], "takes a time, not `-1`"),
        (&["--seeds", "1", "--hash", "ab"], "are for one run"),
        (&["--replay", "1", "--plan", "x"], "choose one"),
        (&["--replay", "1", "--from", "2"], "are for many runs"),
        (&["--replay", "1", "--hash", "no"], "not `no`"),
        (&["--replay", "1", "--brief=yes"], "takes no value"),
        (&["--replay", "1", "--mutation", "none"], "there are early-acknowledgement"),
        (&["--seeds", "1", "--profile", "calm"], "there are chaos, disk, network, membership, clock"),
        (&["--plan", "x", "--profile", "disk"], "a plan says itself"),
        (&["--mutations", "--seeds", "3"], "`--mutations` takes `--mutation`, `--from`"),
        (&["--mutations=all"], "takes no value"),
        (&["--fly"], "there is no `--fly`"),
        (&["--plan", "there/is/no/such.json"], "the plan there/is/no/such.json: "),
    ];
    for (args, wanted) in cases {
        let (text, code) = sim(args);
        says(&text, &[wanted, "--help"]);
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(!text.contains("seeds a minute") && !text.contains("n1 boots"), "{args:?} ran: {text}");
    }
}

#[test]
fn the_last_seeds_there_are_are_run_and_no_others() {
    let (text, code) =
        sim(&["--seeds=2", "--from=18446744073709551613", "--seconds=1", "--jobs=4", "--twice=0"]);
    let row = text.lines().find(|line| line.trim_start().starts_with("seeds  ")).expect("a row");
    assert!(row.ends_with("  2"), "{text}");
    assert_eq!(code, 0, "{text}");
}

#[test]
fn what_must_happen_within_so_many_seeds_is_not_asked_of_short_ones() {
    let (text, code) = sim(&["--seeds=20", "--seconds=0.5", "--twice=0"]);
    says(&text, &["found\n  nothing"]);
    assert!(!text.contains("NEVER"), "{text}");
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_run_that_is_not_what_it_was_is_told_by_its_exit_status() {
    let again = |hash: &str| sim(&["--replay=2", "--seconds=1", "--brief", "--hash", hash]);
    let (text, code) = again("1");
    says(&text, &["this is not the run that was: its trace came to 0000000000000001", "everything held"]);
    assert_eq!(code, 1, "{text}");
    let is = text.split("now comes to ").nth(1).expect("the hash");
    let (text, code) = again(&is[..16]);
    says(&text, &["this is the run that was"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn what_is_not_made_smaller_is_named() {
    let found = |shrink: &str| {
        sim(&[
            "--seeds=1",
            "--seconds=4",
            "--mutation=stale-read",
            "--twice=0",
            "--jobs=1",
            "--shrink",
            shrink,
        ])
    };
    let (text, code) = found("0");
    says(&text, &["not made smaller, since `--shrink` leaves no time: linearizability (seed 0)"]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn a_campaign_ends_with_what_it_came_to() {
    let (text, code) = sim(&["--seeds", "3", "--from=40", "--seconds", "2", "--twice", "2"]);
    says(
        &text,
        &[
            "seeds a minute",
            "simulated time",
            "faults planned",
            "what happened sometimes",
            "found\n  nothing",
        ],
    );
    let row = |name: &str| {
        let row = text.lines().find(|line| line.trim_start().starts_with(name));
        row.and_then(|row| row.split_whitespace().last()).map(str::to_owned)
    };
    assert_eq!(row("seeds  "), Some("3".to_owned()), "{text}");
    assert_eq!(row("seeds run twice"), Some("2".to_owned()), "{text}");
    assert_eq!(code, 0);
}

#[test]
fn a_campaign_that_finds_something_says_how_to_see_it_again() {
    let out = scratch("campaign");
    let out = out.to_str().expect("a path of words");
    let (text, code) = sim(&[
        "--seeds=1",
        "--seconds=4",
        "--mutation",
        "stale-read",
        "--twice=0",
        "--shrink=20",
        "--out",
        out,
    ]);
    assert_eq!(code, 1, "{text}");
    says(
        &text,
        &[
            "1 of 1 seeds",
            "shrunk from",
            "again: cargo sim --replay 0 --seconds 4 --mutation stale-read --hash ",
        ],
    );
    // The commands that it prints do what they say.
    let command = |start: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start)).expect(start);
        line.strip_prefix("cargo sim ").expect("a command").split(' ').map(str::to_owned).collect()
    };
    for (start, wanted) in [
        ("again: ", "this is the run that was"),
        ("the smallest again: ", "the smallest history that shows it"),
    ] {
        let args = command(start);
        let (text, code) = sim(&args.iter().map(String::as_str).collect::<Vec<_>>());
        says(&text, &[wanted]);
        assert_eq!(code, 1, "{text}");
    }
}

#[test]
fn a_profile_is_another_run_and_its_commands_say_so() {
    let row = |profile: &str, name: &str| {
        let (text, code) = sim(&["--seeds=8", "--seconds=3", "--twice=0", "--profile", profile]);
        assert_eq!(code, 0, "{text}");
        text.lines().any(|line| line.trim_start().starts_with(name))
    };
    assert!(row("clock", "Clock ") && !row("clock", "Crash "), "clocks, and no crashes but of leaders");
    assert!(row("disk", "Crash ") && !row("disk", "Clock "));
    let (text, code) = sim(&[
        "--seeds=1",
        "--seconds=4",
        "--profile=network",
        "--mutation=stale-read",
        "--twice=0",
        "--shrink=0",
    ]);
    says(&text, &["cargo sim --replay 0 --profile network --seconds 4 --mutation stale-read"]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn a_hunt_is_a_table_and_says_who_survives() {
    let (text, code) = sim(&["--mutations", "--mutation=stale-read", "--from=3", "--jobs=1"]);
    says(&text, &["1 bugs, looked for from seed 3", "stale-read is found after", "all 1 bugs are found"]);
    let row = text.lines().find(|line| line.starts_with("stale-read  ")).expect("a row");
    assert!(row.ends_with("linearizability"), "{text}");
    assert_eq!(code, 0, "{text}");
    // No run comes to its end within a millisecond, with the bug or without it.
    let (text, code) = sim(&["--mutations", "--mutation=early-acknowledgement", "--limit=0.001"]);
    says(&text, &["early-acknowledgement SURVIVES: seed 0 is accused without it", "1 of 1 bugs SURVIVE"]);
    assert_eq!(code, 1, "{text}");
    // One that an oracle is to see is not found by whatever is wrong.
    let (text, code) = sim(&["--mutations", "--mutation=stale-read", "--limit=0.001"]);
    says(&text, &["stale-read SURVIVES: it is not found within 10 seeds", "1 of 1 bugs SURVIVE"]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn a_replay_is_a_timeline_and_a_page() {
    let html = scratch("replay.html");
    let (text, code) = sim(&[
        "--replay",
        "1",
        "--seconds",
        "3",
        "--hash",
        "1",
        "--html",
        html.to_str().expect("a path of words"),
    ]);
    says(
        &text,
        &[
            "seed 1:",
            "plan\n",
            "n1 boots (boot 0)",
            " leads T",
            "acknowledged after",
            "the faults end",
            "everything held",
        ],
    );
    says(&text, &["this is not the run that was: its trace came to 0000000000000001"]);
    assert_eq!(code, 1, "{text}");
    let page = std::fs::read_to_string(&html).expect("a page");
    assert!(page.starts_with("<!doctype html>") && page.len() > 50_000);
    for outside in ["http://", "https://", "src=", "@import", "\"THE RUN\""] {
        assert!(!page.contains(outside), "the page needs nothing else: {outside}");
    }
    let (brief, _) = sim(&["--replay", "1", "--seconds", "3", "--brief"]);
    assert!(!brief.contains("acknowledged after"), "{brief}");
}

#[test]
fn a_file_that_is_no_plan_is_wrong_use() {
    let path = scratch("junk.json");
    for junk in ["", "{", "{\"why\": 1}", "\u{0}\u{1}", "{\"why\":\"\",\"setup\":{},\"more\":1}"] {
        std::fs::write(&path, junk).expect("a file");
        let (text, code) = sim(&["--plan", path.to_str().expect("a path of words")]);
        says(&text, &["is no plan of a run"]);
        assert_eq!(code, 2, "{junk:?}: {text}");
    }
}

#[test]
#[cfg(unix)]
fn an_interrupt_ends_a_campaign_with_what_it_came_to() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    let mut campaign = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["--seeds", "1000000", "--seconds", "1", "--jobs", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // Said when interrupts are caught.
    let mut line = String::new();
    let stderr = campaign.stderr.take().expect("it is piped");
    let mut stderr = BufReader::new(stderr);
    stderr.read_line(&mut line).expect("a line");
    says(&line, &["a campaign from seed 0"]);
    let interrupt = Command::new("kill").args(["-INT", &campaign.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    let mut text = String::new();
    campaign.stdout.take().expect("it is piped").read_to_string(&mut text).expect("words");
    says(&text, &[" of 1000000", "found\n  nothing"]);
    assert_eq!(campaign.wait().expect("it ends").code(), Some(0));
}
