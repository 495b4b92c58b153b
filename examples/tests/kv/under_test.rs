//! The program that the tests beside this file run: the example, and nothing else.

#[path = "../../kv/main.rs"]
mod kv;

fn main() -> std::process::ExitCode {
    kv::main()
}
