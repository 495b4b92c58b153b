//! A failing run is written down as a plan, and plans that are kept are run before the seeds.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use quorate::storage::MemoryStorage;
use quorate_sim::machine::{Failure, Faults, Place, Simulation, Summary, Tried, Written, Wrong};
use quorate_sim::plan_file::PlanFile;
use quorate_sim::run::Finding;
use quorate_sim::simulation;

use crate::cluster::{Numbers, a_power_cut};

/// The plans that are kept here, from the folder of the package on.
const PLANS: &str = "tests/machines/plans";

/// A machine on a storage that forgets, which no seed shows: nothing goes wrong in any.
fn forgetful() -> Simulation<Numbers> {
    simulation!(
        forgetful,
        Numbers = Numbers::default(),
        seeds: 1,
        nodes: 3,
        duration: Duration::from_secs(2),
        faults: Faults::None,
        storage: |_disk| Ok::<_, Infallible>(MemoryStorage::new()),
    )
}

/// The same on the storage that ships.
fn sound() -> Simulation<Numbers> {
    simulation!(
        sound,
        Numbers = Numbers::default(),
        seeds: 1,
        nodes: 3,
        duration: Duration::from_secs(2),
        faults: Faults::None,
        plans: PLANS,
    )
}

/// An empty folder for plans.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kept").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn the_plan() -> PlanFile {
    PlanFile::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(PLANS).join("power-cut.json")).expect("a plan")
}

fn class(failure: &Failure) -> String {
    let Wrong::Cluster(on_a_cluster) = &failure.wrong else { panic!("not of a cluster: {failure}") };
    on_a_cluster.smallest.run.finding.as_ref().map(Finding::class).expect("it failed")
}

fn passes(simulation: &Simulation<Numbers>) -> Summary {
    simulation.run().unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn what_no_seed_shows_is_found_by_a_plan_that_is_kept() {
    assert_eq!((passes(&forgetful()).plans, passes(&sound()).plans), (0, 1));
    let failure = forgetful().plans(PLANS).run().expect_err("it forgets");
    let text = failure.to_string();
    println!("{text}");
    assert_eq!(class(&failure), "durability", "{text}");
    let Tried::Plan(kept) = &failure.tried else { panic!("{text}") };
    assert_eq!((&kept.path, &kept.file), (&Path::new(PLANS).join("power-cut.json"), &the_plan()));
    // What is kept is as small as it was, and is not written again.
    let Wrong::Cluster(on_a_cluster) = &failure.wrong else { panic!("{text}") };
    assert_eq!((&on_a_cluster.smallest.run.setup, &on_a_cluster.written), (&kept.file.setup, &None));
    let told = [
        "`Numbers` fails with the plan tests/machines/plans/power-cut.json",
        "\n  it is kept for: A storage that keeps all in memory loses ",
        "\ndurability at ",
        "\nthe plan has 3 faults, 3 nodes, 1 clients, 3.0 s:\n",
        "\nwhat came before it\n",
        "run it again:\n    QUORATE_SIM_PLAN=tests/machines/plans/power-cut.json cargo test -p quorate-sim --test machines \
         -- --exact kept::forgetful --nocapture",
    ];
    for told in told {
        assert!(text.contains(told), "`{told}` is not in {text}");
    }
}

#[test]
fn what_a_failure_wrote_finds_the_same_once_it_is_kept() {
    let failure = forgetful().faults(a_power_cut()).duration(Duration::from_secs(4)).run();
    let failure = failure.expect_err("it forgets");
    let text = failure.to_string();
    println!("{text}");
    let Wrong::Cluster(on_a_cluster) = &failure.wrong else { panic!("{text}") };
    let Some(Written::To(path)) = &on_a_cluster.written else { panic!("{text}") };
    let name = path.file_name().expect("a file").to_string_lossy();
    assert_eq!(name, "quorate-sim-machines-kept-forgetful-Numbers-durability-seed-0.json");
    assert!(path.starts_with(env!("CARGO_TARGET_TMPDIR")), "{}", path.display());
    let file = PlanFile::read(path).expect("a plan");
    assert_eq!(file.setup, on_a_cluster.smallest.run.setup);
    assert!(file.why.starts_with("durability at "), "{}", file.why);
    assert!(text.contains(&format!("\nthis run is the plan\n    {}\n", path.display())), "{text}");
    let how = "\nkeep it: move it into a folder of quorate-sim and name that with `plans: \"tests/plans\"`, to be run \
               before the seeds\n";
    assert!(text.contains(how), "{text}");

    let folder = folder("moved");
    fs::rename(path, folder.join("forgets.json")).expect("it is moved");
    let again = forgetful().plans(&folder).run().expect_err("it forgets as it did");
    assert_eq!(class(&again), class(&failure));
    // One that must find it is content, and so is nobody when it is found no more.
    PlanFile { finds: Some(class(&failure)), ..file }.write(&folder.join("forgets.json")).expect("a file");
    assert_eq!(passes(&forgetful().plans(&folder)).plans, 1);
    let text = sound().plans(&folder).run().expect_err("nothing is forgotten").to_string();
    assert!(text.contains("\nit must find `durability`, and nothing was found\n"), "{text}");
    let mut other = PlanFile::read(&folder.join("forgets.json")).expect("a plan");
    other.finds = Some("liveness".to_owned());
    other.write(&folder.join("forgets.json")).expect("a file");
    let text = forgetful().plans(&folder).run().expect_err("it is something else").to_string();
    assert!(
        text.contains("\nit must find `liveness`, and this is `durability`:\n\ndurability at "),
        "{text}"
    );
}

#[test]
fn plans_are_run_in_the_order_of_their_names() {
    let folder = folder("order");
    fs::write(folder.join("README.md"), "What is no plan by its name is left alone.").expect("a file");
    for name in ["c.json", "a.json", "b.json"] {
        let finds = (name == "a.json").then(|| "durability".to_owned());
        PlanFile { finds, ..the_plan() }.write(&folder.join(name)).expect("a file");
    }
    let failure = forgetful().plans(&folder).run().expect_err("it forgets");
    let Tried::Plan(kept) = &failure.tried else { panic!("{failure}") };
    assert_eq!(kept.path, folder.join("b.json"), "the first finds what it must");
}

#[test]
fn a_run_that_cannot_be_written_is_shown_whole_and_what_is_wrong_as_well() {
    let no_folder: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let place = Place {
        package: "bank",
        program: None,
        module: "kept",
        test: "t",
        file: "tests/kept.rs",
        manifest: env!("CARGO_MANIFEST_DIR"),
        tmpdir: Some(no_folder),
    };
    let failure = forgetful().place(place).faults(a_power_cut()).duration(Duration::from_secs(4)).run();
    let text = failure.expect_err("it forgets").to_string();
    assert!(text.contains("\ndurability at "), "{text}");
    let told =
        format!("this run was not written to a file to keep: the plan {no_folder}/bank-kept-t-Numbers-");
    assert!(text.contains(&told), "{text}");
    let json = text.split_once("; it would be\n").expect("the plan").1;
    let json = json.split_once("\n}\n").expect("its end").0;
    let file: PlanFile = serde_json::from_str(&format!("{json}\n}}")).expect("a plan");
    assert!(file.setup.fits().is_ok() && text.contains("QUORATE_SIM_FROM=0 "), "{text}");
}

/// What is said of a folder with one plan, `what.json`, with this text.
fn said(name: &str, text: &str) -> (String, PathBuf) {
    let folder = folder(name);
    fs::write(folder.join("what.json"), text).expect("a file");
    PlanFile { finds: None, ..the_plan() }.write(&folder.join("fine.json")).expect("a file");
    let failure = sound().plans(&folder).run().expect_err("it is not run");
    assert!(matches!((&failure.tried, &failure.wrong), (Tried::Plans, Wrong::Plans(_))), "{failure}");
    (failure.to_string(), folder.join("what.json"))
}

#[test]
fn what_is_no_plan_is_told_by_its_file() {
    let changed = |change: fn(&mut PlanFile)| {
        let mut file = the_plan();
        change(&mut file);
        file.to_json()
    };
    let wrong = [
        ("no-json", "{".to_owned(), " is no plan of a run: EOF while parsing an object at line 1 column 1\n"),
        (
            "nodes",
            changed(|file| file.setup.nodes = 32),
            " is a plan of a run that there cannot be: `nodes` is 32, and a cluster has 1 to 31 nodes\n",
        ),
        (
            "no-nodes",
            changed(|file| file.setup.nodes = 0),
            " is a plan of a run that there cannot be: `nodes` is 0, and a cluster has 1 to 31 nodes\n",
        ),
        (
            "two-of-three",
            changed(|file| file.setup.nodes = 2),
            " is a plan of a run that there cannot be: the fault at 2.000000s, Crash { node: 3, crash: LoseAll, down: \
             200ms, again_at: None }, names n3, and there are n1 to n2\n",
        ),
        (
            "nobody",
            changed(|file| file.setup.clients = 0),
            " is a plan of a run that there cannot be: `clients` is 0, and without a client nothing is called: at \
             least 1\n",
        ),
        (
            "no-time",
            changed(|file| file.setup.length = Duration::ZERO),
            " is a plan of a run that there cannot be: `length` is 0ns, and faults take time: more than 0, at most a \
             day\n",
        ),
    ];
    for (name, text, why) in wrong {
        let (told, path) = said(name, &text);
        assert!(told.contains(&format!("\n{}{why}", path.display())), "{told}");
    }
}

#[test]
fn a_folder_that_is_not_there_or_holds_no_plan_is_told_by_its_name() {
    let failure = sound().plans("tests/no-such").run().expect_err("it is not there");
    let text = failure.to_string();
    let whole = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/no-such");
    let told = format!(
        "`Numbers` fails with the plans that are kept{}\n\nthe folder {whole}, that `plans` names: No such file",
        failure.commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"))
    );
    assert!(text.starts_with(&told), "{text}");
    let again =
        "run it again:\n    cargo test -p quorate-sim --test machines -- --exact kept::sound --nocapture";
    assert!(text.ends_with(again), "{text}");

    let empty = folder("empty");
    fs::write(empty.join("README.md"), "There is no plan here.").expect("a file");
    let text = sound().plans(&empty).run().expect_err("there is none").to_string();
    let told = format!("\nin the folder {}, that `plans` names, is no plan", empty.display());
    assert!(text.contains(&told), "{text}");
}

/// What another test says, which is run for it.
#[test]
fn plans_and_seeds_are_run_as_the_variables_say() {
    let summary = passes(&sound());
    println!("ran {} plans and {} seeds", summary.plans, summary.seeds);
}

#[test]
fn who_asks_for_seeds_from_one_on_gets_no_plans_and_who_asks_for_a_plan_no_seeds() {
    let ran = |variables: &[(&str, &str)]| {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "kept::plans_and_seeds_are_run_as_the_variables_say", "--nocapture"])
            .env_remove("QUORATE_SIM_PLAN")
            .env_remove("QUORATE_SIM_FROM")
            .env_remove("QUORATE_SIM_SEEDS")
            .envs(variables.iter().copied())
            .output()
            .expect("this test runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (from, seeds) = (("QUORATE_SIM_FROM", "7"), ("QUORATE_SIM_SEEDS", "2"));
    let plan = ("QUORATE_SIM_PLAN", "tests/machines/plans/power-cut.json");
    for (variables, wanted) in [
        (&[][..], "ran 1 plans and 1 seeds"),
        (&[seeds], "ran 1 plans and 2 seeds"),
        (&[from, seeds], "ran 0 plans and 2 seeds"),
        (&[plan], "ran 1 plans and 0 seeds"),
    ] {
        let text = ran(variables);
        assert!(text.contains(wanted), "{variables:?}: {text}");
    }
}
