//! The command line: `kv init` and `kv serve`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use quorate::types::{Member, NodeId};

/// What `kv --help` prints, and what follows an error in the command line.
pub(crate) const USAGE: &str = "\
usage:
  kv init  --data-dir DIR --id N --listen IP:PORT
      Creates the identity of node N in DIR and prints its line `N=<key>@IP:PORT`.
      IP:PORT is where the other nodes reach it.
  kv serve --data-dir DIR --http IP:PORT [--bootstrap LINE,LINE,LINE]
      Serves the node in DIR until SIGTERM. --bootstrap lists the lines of all
      first members, the same on every node; on later starts it is checked
      against what DIR holds, and may be left out.
";

/// What the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `kv --help`
    Help,
    /// `kv init`
    Init {
        /// The node's directory.
        data_dir: PathBuf,
        /// The node's id.
        id: NodeId,
        /// Where its peers reach it.
        listen: SocketAddr,
    },
    /// `kv serve`
    Serve {
        /// The node's directory.
        data_dir: PathBuf,
        /// Where HTTP is served.
        http: SocketAddr,
        /// The first members; empty when there is no `--bootstrap`.
        bootstrap: Vec<Member>,
    },
}

/// Why a command line makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UsageError {
    /// An argument that is not UTF-8.
    NotText(OsString),
    /// No command, or one that does not exist.
    Command(Option<String>),
    /// An argument that is not an option of the command.
    Unknown(String),
    /// An option without a value.
    NoValue(String),
    /// An option that stands there twice.
    Twice(String),
    /// An option that must be there.
    Missing(&'static str),
    /// An option with a value it cannot have.
    Value {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotText(found) => write!(f, "{} is not UTF-8", found.display()),
            Self::Command(None) => write!(f, "expected a command: init or serve"),
            Self::Command(Some(found)) => write!(f, "`{found}` is not a command: expected init or serve"),
            Self::Unknown(found) => write!(f, "`{found}` is not an option of this command"),
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::Twice(option) => write!(f, "{option} is given twice"),
            Self::Missing(option) => write!(f, "{option} is missing"),
            Self::Value { option, found, expected } => {
                write!(f, "{option} is `{found}`: expected {expected}")
            }
        }
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments after the program's name.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let text = |arg: OsString| arg.into_string().map_err(UsageError::NotText);
    let mut args = args.into_iter().map(text).collect::<Result<Vec<_>, _>>()?.into_iter();
    let command = args.next().ok_or(UsageError::Command(None))?;
    match command.as_str() {
        "-h" | "--help" | "help" => Ok(Command::Help),
        "init" => {
            let mut options = Options::read(args, &["--data-dir", "--id", "--listen"])?;
            let listen: SocketAddr = options.value("--listen", "IP:PORT, as in 127.0.0.1:7001")?;
            if listen.port() == 0 || listen.ip().is_unspecified() {
                let expected = "an address and a port at which the other nodes reach this one".to_owned();
                return Err(UsageError::Value { option: "--listen", found: listen.to_string(), expected });
            }
            Ok(Command::Init { id: options.id()?, data_dir: options.data_dir()?, listen })
        }
        "serve" => {
            let mut options = Options::read(args, &["--data-dir", "--http", "--bootstrap"])?;
            let http = options.value("--http", "IP:PORT, as in 127.0.0.1:8001")?;
            Ok(Command::Serve { data_dir: options.data_dir()?, http, bootstrap: options.bootstrap()? })
        }
        _ => Err(UsageError::Command(Some(command))),
    }
}

/// Options with their values, each at most once.
struct Options(BTreeMap<&'static str, String>);

impl Options {
    /// Reads `--name value` and `--name=value`.
    fn read(args: impl Iterator<Item = String>, known: &[&'static str]) -> Result<Self, UsageError> {
        let mut args = args.peekable();
        let mut options = BTreeMap::new();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg, None),
            };
            let Some(known) = known.iter().find(|known| **known == name) else {
                return Err(UsageError::Unknown(name));
            };
            let value = value.or_else(|| args.next_if(|next| !next.starts_with("--")));
            let value =
                value.filter(|value| !value.is_empty()).ok_or_else(|| UsageError::NoValue(name.clone()))?;
            if options.insert(*known, value).is_some() {
                return Err(UsageError::Twice(name));
            }
        }
        Ok(Self(options))
    }

    fn take(&mut self, option: &'static str) -> Result<String, UsageError> {
        self.0.remove(option).ok_or(UsageError::Missing(option))
    }

    fn value<T: FromStr>(&mut self, option: &'static str, expected: &str) -> Result<T, UsageError> {
        let found = self.take(option)?;
        found.parse().map_err(|_| UsageError::Value { option, expected: expected.to_owned(), found })
    }

    fn id(&mut self) -> Result<NodeId, UsageError> {
        let (option, found) = ("--id", self.take("--id")?);
        // Digits and nothing else: `parse` takes a sign too.
        let digits = found.bytes().all(|byte| byte.is_ascii_digit());
        match found.parse() {
            Ok(id) if digits && id != 0 => Ok(NodeId(id)),
            _ => Err(UsageError::Value { option, found, expected: "a whole number from 1".to_owned() }),
        }
    }

    fn data_dir(&mut self) -> Result<PathBuf, UsageError> {
        self.take("--data-dir").map(PathBuf::from)
    }

    fn bootstrap(&mut self) -> Result<Vec<Member>, UsageError> {
        let option = "--bootstrap";
        let Ok(lines) = self.take(option) else { return Ok(Vec::new()) };
        let member = |line: &str| {
            let wrong = |expected: String| UsageError::Value { option, found: line.to_owned(), expected };
            let member: Member = line
                .parse()
                .map_err(|error| wrong(format!("lines that `kv init` printed, joined by commas: {error}")))?;
            match member.address.parse::<SocketAddr>() {
                Ok(_) => Ok(member),
                Err(_) => Err(wrong(format!("IP:PORT after the `@`, found `{}`", member.address))),
            }
        };
        lines.split(',').map(member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn both_commands_and_both_forms_of_an_option_are_read() {
        let init = Command::Init {
            data_dir: "d/1".into(),
            id: NodeId(1),
            listen: "127.0.0.1:7001".parse().expect("an address"),
        };
        assert_eq!(parsed("init --data-dir d/1 --id 1 --listen 127.0.0.1:7001"), Ok(init.clone()));
        assert_eq!(parsed("init --listen=127.0.0.1:7001 --id=1 --data-dir=d/1"), Ok(init));

        let serve = parsed("serve --data-dir d --http [::1]:80 --bootstrap 1=ab@[::1]:1,2=cd@127.0.0.1:2");
        let bootstrap = ["1=ab@[::1]:1", "2=cd@127.0.0.1:2"].map(|line| line.parse().expect("a member"));
        let http = "[::1]:80".parse().expect("an address");
        assert_eq!(serve, Ok(Command::Serve { data_dir: "d".into(), http, bootstrap: bootstrap.to_vec() }));
        assert!(
            matches!(parsed("serve --data-dir d --http 1.2.3.4:0"), Ok(Command::Serve { bootstrap, .. }) if bootstrap.is_empty())
        );
        assert_eq!(parsed("--help"), Ok(Command::Help));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |line: &str| parsed(line).expect_err("wrong on purpose").to_string();
        let rows = [
            ("", "expected a command"),
            ("start", "`start` is not a command"),
            ("init --id 1 --data-dir d", "--listen is missing"),
            ("init --listen 1.1.1.1:1 --data-dir d", "--id is missing"),
            ("init --listen 1.1.1.1:1 --id 1", "--data-dir is missing"),
            ("init --listen 1.1.1.1:1 --id 0 --data-dir d", "--id is `0`: expected a whole number from 1"),
            ("init --listen 1.1.1.1:1 --id -1 --data-dir d", "--id is `-1`"),
            ("init --listen 1.1.1.1:1 --id +1 --data-dir d", "--id is `+1`"),
            ("init --listen localhost:1 --id 1 --data-dir d", "--listen is `localhost:1`: expected IP:PORT"),
            ("init --listen 1.1.1.1:0 --id 1 --data-dir d", "expected an address and a port"),
            ("init --listen 0.0.0.0:7001 --id 1 --data-dir d", "expected an address and a port"),
            ("init --http 1.1.1.1:1", "`--http` is not an option of this command"),
            ("init d", "`d` is not an option"),
            ("init --data-dir --id 1", "--data-dir needs a value"),
            ("init --data-dir= --id 1", "--data-dir needs a value"),
            ("init --id", "--id needs a value"),
            ("init --id 1 --id 2", "--id is given twice"),
            ("serve --data-dir d", "--http is missing"),
            ("serve --http 1.1.1.1:1", "--data-dir is missing"),
            ("serve --http 1.1.1.1 --data-dir d", "--http is `1.1.1.1`"),
            ("serve --http 1.1.1.1:1 --data-dir d --bootstrap 1=ab@1.1.1.1:1,", "--bootstrap is ``"),
            ("serve --http 1.1.1.1:1 --data-dir d --bootstrap 1=xy@1.1.1.1:1", "`xy` is not a key"),
            ("serve --http 1.1.1.1:1 --data-dir d --bootstrap 1=ab@host:1", "found `host:1`"),
        ];
        for (line, expected) in rows {
            let found = message(line);
            assert!(found.contains(expected), "`kv {line}` says `{found}`, not `{expected}`");
        }
    }
}
