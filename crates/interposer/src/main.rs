//! `tpm-interposer LISTEN REAL OTHER`, for example `tpm-interposer 127.0.0.1:2321 auto tcp:10.0.2.2:4321`; the agent
//! in the same guest then runs with `--tpm tcp:127.0.0.1:2321`.

use std::net::TcpListener;
use std::process::ExitCode;

use veriboot_agent::TpmAddress;
use veriboot_interposer::Interposer;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, real, other] = arguments.as_slice() else {
        eprintln!(
            "usage: tpm-interposer LISTEN REAL OTHER\n  REAL and OTHER: auto, /dev/NAME or tcp:HOST:PORT"
        );
        return ExitCode::from(2);
    };
    match run(listen, real, other) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tpm-interposer: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(listen: &str, real: &str, other: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (real, other): (TpmAddress, TpmAddress) = (real.parse()?, other.parse()?);
    let listener = TcpListener::bind(listen)?;
    let interposer = Interposer::new(real, other)?;
    eprintln!("tpm-interposer: listening on {}", listener.local_addr()?);
    interposer.serve(&listener)?;
    Ok(())
}
