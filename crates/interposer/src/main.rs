//! `veriboot-tpm-interposer --listen 127.0.0.1:2321 --tpm auto --quotes-from 10.0.2.2:4321`; the agent in the same
//! guest then runs with `--tpm tcp:127.0.0.1:2321`.

use std::error::Error;
use std::net::TcpListener;
use std::process::ExitCode;

use veriboot_agent::TpmAddress;
use veriboot_interposer::Interposer;

const USAGE: &str = "usage: veriboot-tpm-interposer --listen HOST:PORT --quotes-from HOST:PORT [--tpm auto|/dev/NAME|tcp:HOST:PORT]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("veriboot-tpm-interposer: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let (mut listen, mut real, mut other) = (None, TpmAddress::Auto, None);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--listen" => listen = Some(value),
            "--tpm" => real = value.parse()?,
            "--quotes-from" => other = Some(TpmAddress::Tcp(value)),
            _ => return Err(format!("{flag:?} is no flag").into()),
        }
    }
    let interposer = Interposer::new(real, other.ok_or("--quotes-from is not given")?)?;
    // Last, so that whoever waits for the port finds it working.
    let listener = TcpListener::bind(listen.ok_or("--listen is not given")?)?;
    eprintln!("listening on {}", listener.local_addr()?);
    interposer.serve(&listener)?;
    Ok(())
}
