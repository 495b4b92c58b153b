//! The derive macro of `quorate`, which re-exports it: depend on that crate, not on this one.
//!
//! Its stages are its files: `parse` reads the list into `ast`, `check` turns that into `model` and
//! finds every mistake, `expand` writes the code, and `fallback` writes less of it when there were
//! mistakes. The model knows nothing of the syntax.

mod ast;
mod check;
mod ctxt;
mod expand;
mod fallback;
mod model;
mod parse;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::ctxt::Ctxt;

/// Makes a replicated state machine of a struct or an enum and its methods.
///
/// The list in `#[raft(..)]` is the wire contract: every command and every query of the machine, with
/// its permanent id and its signature. The methods themselves are plain inherent methods.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use quorate::prelude::*;
///
/// /// Accounts and their balances, in cents.
/// #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
/// #[raft(
///     /// Opens an account and returns its id.
///     command(1, open(owner: String) -> u64),
///     command(2, transfer(from: u64, to: u64, amount: u64) -> Result<(), Overdraft>),
///     query(1, balance(account: u64) -> Option<u64>),
/// )]
/// pub struct Bank {
///     balances: BTreeMap<u64, u64>,
///     owners: BTreeMap<u64, String>,
/// }
///
/// /// The account has less than that.
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// pub struct Overdraft;
///
/// impl Bank {
///     fn open(&mut self, owner: String) -> u64 {
///         let id = self.owners.len() as u64;
///         self.owners.insert(id, owner);
///         self.balances.insert(id, 100);
///         id
///     }
///
///     fn transfer(&mut self, from: u64, to: u64, amount: u64) -> Result<(), Overdraft> {
///         let rest = self.balances.get(&from).and_then(|cents| cents.checked_sub(amount)).ok_or(Overdraft)?;
///         self.balances.insert(from, rest);
///         *self.balances.entry(to).or_default() += amount;
///         Ok(())
///     }
///
///     fn balance(&self, account: u64) -> Option<u64> {
///         self.balances.get(&account).copied()
///     }
/// }
///
/// async fn pay(bank: BankClient) -> Result<Option<u64>, Box<dyn std::error::Error>> {
///     let ada = bank.open("Ada".to_owned()).await?;
///     // The outer error is consensus, the inner one the bank's own.
///     if let Err(Overdraft) = bank.transfer(ada, 7, 500).await? {
///         println!("not enough");
///     }
///     Ok(bank.balance(ada).await?)
/// }
/// ```
///
/// # The list
///
/// ```text
/// #[raft( entry, entry, .. )]                          several attributes add up
///
/// entry    = docs* command(ID, signature)              calls a method that takes `&mut self`
///          | docs* query(ID, signature)                calls a method that takes `&self`
///          | setting
/// docs     = a doc comment | #[deprecated ..]          copied to the variant and the client's method
/// ID       = 1 to 65535, a plain number
/// signature = name(arguments) -> Type                  no `-> Type` is unit
/// arguments = name: Type, ..                           owned types; a doc comment may stand before each
///           | ctx, name: Type, ..                      the method takes the context after `self`
///
/// setting  = crate = "path"                            the path of quorate; `::quorate`
///          | name = "text"                             the machine's name; the type's name
///          | version = NUMBER                          the machine's version; 1
///          | deadline = path                           what the clock alone changes next; nothing
///          | snapshot(part, ..)                        see below
///          | bound(V: Trait, ..)                       see below
///          | tables = crate(TABLE, ..)                 see below
///          | names(command = Name, response = Name, query = Name, answer = Name, client = Name)
/// ```
///
/// * **`ctx`** is written without a type and comes first. The method then takes
///   `&mut ApplyContext` (a command) or `&QueryContext` (a query) right after `self`: the position in
///   the log, the log's clock, and random numbers that every replica draws alike.
/// * **Types** are owned, name what they are, and implement `Serialize`, `DeserializeOwned`, `Clone`,
///   `Debug`, `Send` and `'static`. Values are encoded by postcard, which is not self-describing:
///   untagged enums, `#[serde(flatten)]` and `#[serde(skip_serializing_if = ..)]` do not work with it.
///   It writes a `Vec<u8>` element by element; `bytes::Bytes` (with its feature `serde`) is faster.
/// * **Names** of methods must leave the client its own methods `clone`, `with_timeout`,
///   `with_consistency`, `with_session` and `as_client`.
///
/// # What is generated
///
/// For a type `Bank`, next to it and as visible as it is:
///
/// | Item | What it is |
/// |---|---|
/// | `BankCommand`, `BankQuery` | an enum with a variant per item: `Open { owner: String }`; a unit variant without arguments |
/// | `BankResponse`, `BankAnswer` | an enum with a variant per item, which holds what the method returned: `Open(u64)`, `Close(())` |
/// | `BankClient` | a client with an async method per item, typed to what that one returns |
///
/// and the impls of `StateMachine` and `Service` for `Bank`, of `Wire` for the four enums, and of
/// `Clone` and `Debug` for all five. The enums do not implement `PartialEq`, which would ask it of
/// every argument.
///
/// A method of the client returns `Result<Ret, WriteError>` (a command) or `Result<Ret, ReadError>`
/// (a query). When the position of a write matters, ask the client below:
///
/// ```
/// # use quorate::prelude::*;
/// # #[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
/// # #[raft(command(1, open(owner: String) -> u64))]
/// # struct Bank;
/// # impl Bank { fn open(&mut self, _: String) -> u64 { 0 } }
/// # async fn open(bank: BankClient) -> Result<(), quorate::error::WriteError> {
/// let applied = bank.as_client().write(&BankCommand::Open { owner: "Ada".to_owned() }).await?;
/// println!("{} at {}", matches!(applied.response, BankResponse::Open(_)), applied.position);
/// # Ok(())
/// # }
/// ```
///
/// # The wire form, and upgrades
///
/// A command, query, response or answer is the id of its item (`u16`, little endian), then the
/// postcard of every argument, or of what was returned, in order, and nothing after that. An unknown
/// id and bytes left over are errors.
///
/// Nothing else in the list reaches the wire. So these changes keep old logs and old nodes readable:
/// reordering the list, renaming methods and arguments, adding an item with a new id.
///
/// These do not, because the entries in the log were written before:
/// * **An id is permanent.** Giving it to another item makes old entries mean something else. When an
///   item goes, leave a comment in its place, so that its id is never given away again.
/// * **The arguments and what is returned are permanent too**, in number, order and type. Change them
///   by adding an item with a new id, and mark the old one `#[deprecated]`; the old method must stay as
///   long as a log may hold its command.
/// * Before a new command is proposed, every node must know it: a node refuses, as not applied, what
///   it cannot decode, but a replica that must apply it stops.
///
/// Raise `version` when the meaning of commands or the form of snapshots changes.
///
/// # Deadlines
///
/// The log's clock moves with the entries. A machine whose answers change by the clock alone, as
/// when a lease ends, says when that happens next: `deadline = path` names a function
/// `fn(&Self, LogTime) -> Option<LogTime>`, given the log's clock, that returns the first such time
/// later than it. The leader then moves the clock on at that time if nothing else does.
///
/// # Snapshots
///
/// By default the state is captured by `Clone`, written by `Serialize` as postcard, and read back by
/// `DeserializeOwned`. No entry is applied while the state is cloned, so the clone is a pause. Measured
/// on one core of a small server, from 16-byte strings to 64 bytes, medians of 9:
///
/// | State | 5,000 entries | 100,000 | 900,000 |
/// |---|---|---|---|
/// | `std::collections::BTreeMap` | 0.2 ms | 6 ms | 190 ms |
/// | `imbl::OrdMap`, a persistent map | | | 24 ns (1,000,000) |
///
/// A persistent map shares its nodes with its clones, so that the pause does not grow with the state.
/// Nothing else changes:
///
/// ```text
/// # Cargo.toml: imbl = { version = "7", features = ["serde"] }
///
/// #[derive(Clone, Default, Serialize, Deserialize, RaftStateMachine)]
/// #[raft(command(1, put(key: String, value: String)), query(1, get(key: String) -> Option<String>))]
/// pub struct Store { values: imbl::OrdMap<String, String> }
/// ```
///
/// `snapshot(..)` changes that. Each part is the path of a function:
///
/// | Part | Function | Needs |
/// |---|---|---|
/// | `capture` | `fn(&Self) -> Snapshot` | |
/// | `write` and `restore` | `fn(Snapshot, &mut dyn Write) -> std::io::Result<()>`, `fn(&mut Self, &mut dyn Read) -> Result<(), RestoreError>` | each other |
/// | `type` | the type `Snapshot`, by default `Self` | the other three |
///
/// ```
/// use std::io::{self, Read, Write};
///
/// use quorate::error::RestoreError;
/// use quorate::prelude::*;
///
/// /// A text that is neither cloned nor serialised.
/// #[derive(RaftStateMachine)]
/// #[raft(
///     snapshot(type = Vec<u8>, capture = Self::bytes, write = write, restore = Self::read),
///     command(1, append(text: String)),
/// )]
/// pub struct Text(String);
///
/// fn write(snapshot: Vec<u8>, out: &mut dyn Write) -> io::Result<()> {
///     out.write_all(&snapshot)
/// }
///
/// impl Text {
///     fn append(&mut self, text: String) {
///         self.0.push_str(&text);
///     }
///
///     fn bytes(&self) -> Vec<u8> {
///         self.0.clone().into_bytes()
///     }
///
///     fn read(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
///         self.0.clear();
///         input.read_to_string(&mut self.0)?;
///         Ok(())
///     }
/// }
/// ```
///
/// # Tables
///
/// With `tables = quorate_redb(ACCOUNTS, OWNERS)` the state is in those tables on the disk, for a state
/// larger than memory. Every table of the machine is named. The type implements
/// `quorate_redb::TableMachine` then; the node is given a `RedbMachine` of it. Each method takes `&self`,
/// the tables, the context if there is a `ctx`, and the arguments; and returns its value in a
/// `Result<_, TableError>`, of which an error stops the node. The list says the value alone.
///
/// | | Method |
/// |---|---|
/// | `command(1, put(key: u64) -> bool)` | `fn put(&self, tables: &WriteTables<'_>, key: u64) -> Result<bool, TableError>` |
/// | `query(1, has(key: u64) -> bool)` | `fn has(&self, tables: &ReadTables<'_>, key: u64) -> Result<bool, TableError>` |
/// | `deadline = Self::next` | `fn next(&self, tables: &ReadTables<'_>, now: LogTime) -> Result<Option<LogTime>, TableError>` |
///
/// # Type parameters
///
/// A type may have parameters, but no lifetimes. Each enum takes those that its variants use, the
/// client takes all. The generated impls ask of every type parameter `Clone + Send + Sync + 'static +
/// Serialize + DeserializeOwned`, besides what the type asks itself; `bound(..)` replaces that. Name
/// what your methods need there:
///
/// ```
/// use quorate::prelude::*;
///
/// /// Keeps the greatest value.
/// #[derive(Clone, Debug, Serialize, Deserialize, RaftStateMachine)]
/// #[raft(
///     bound(V: Ord + Clone + Send + Sync + Serialize + for<'de> Deserialize<'de> + 'static),
///     command(1, raise(to: V)),
///     query(1, greatest() -> Option<V>),
/// )]
/// pub struct Greatest<V>(Option<V>);
///
/// impl<V: Ord + Clone> Greatest<V> {
///     fn raise(&mut self, to: V) {
///         self.0 = self.0.take().max(Some(to));
///     }
///
///     fn greatest(&self) -> Option<V> {
///         self.0.clone()
///     }
/// }
/// ```
#[proc_macro_derive(RaftStateMachine, attributes(raft))]
pub fn derive_raft_state_machine(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let cx = Ctxt::new();
    let input = parse::input(&cx, input);
    let machine = check::machine(&cx, input);
    let errors = cx.finish();
    let mut tokens: proc_macro2::TokenStream = errors.iter().map(syn::Error::to_compile_error).collect();
    match machine {
        Some(machine) if errors.is_empty() => tokens.extend(expand::machine(&machine)),
        Some(machine) => tokens.extend(fallback::items(&machine)),
        None => {}
    }
    tokens.into()
}
