//! A replicated key-value store behind HTTP, one process per node.
//!
//! ```text
//! kv init --data-dir d1 --id 1 --listen 127.0.0.1:7001     prints this node's line
//! kv serve --data-dir d1 --http 127.0.0.1:8001 --bootstrap LINE,LINE,LINE
//! curl -X PUT --data 'a value' http://127.0.0.1:8001/kv/key
//! curl http://127.0.0.1:8002/kv/key
//! ```
//!
//! `cli` reads the command line, `identity` keeps who a node is, `machine` is the replicated state,
//! `request` and `http` are its face, `serve` puts them on a node, and `trace` tells on stderr what
//! happens (`RUST_LOG` says how much). Any node answers any request. `GET /healthz` is 200 once the
//! node takes part, and before and after it 503 with the phase and whom it waits for; whether there
//! is a leader is seen in `GET /status`.

mod cli;
mod http;
mod identity;
mod machine;
mod request;
mod serve;
mod trace;

use std::error::Error;
use std::process::ExitCode;

use self::cli::{Command, USAGE};
use self::identity::Identity;

/// What stops the program.
type Failure = Box<dyn Error + Send + Sync>;

pub(crate) fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprint!("kv: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kv: {}", chain(failure.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Help => print!("{USAGE}"),
        Command::Init { data_dir, id, listen } => {
            println!("{}", Identity::create(&data_dir, id, listen)?.member());
        }
        Command::Serve { data_dir, http, bootstrap } => {
            let _trace = trace::start()?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve::serve(&data_dir, http, bootstrap))?;
        }
    }
    Ok(())
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
