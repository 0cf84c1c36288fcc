//! The netmon command.

use std::process::ExitCode;

fn main() -> ExitCode {
    netmon::main()
}
