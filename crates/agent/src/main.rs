//! Entry point: parses flags, sets up logging and signals, and turns errors into exit codes.

mod command;

use std::process::ExitCode;

use clap::Parser as _;
use veriboot_agent::printable;

fn main() -> ExitCode {
    let arguments = command::Arguments::parse();
    match command::execute(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", printable(&error.to_string(), 1024));
            eprintln!("code: {} (fault: {})", error.code(), error.blame().as_str());
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(command::EXIT_ERROR)
        }
    }
}
