//! What an operator sees when somebody sits between the agent and its vTPM.
//!
//! Passes every TPM command on to the real TPM and answers TPM2_Quote from another TPM, with a key of that one, over
//! the same qualifyingData and the same selection. The service must say `quote-untrusted`: whatever the other TPM
//! signs, the key that was bound to this machine's EK did not sign it. For demonstrations and tests only.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use veriboot_agent::tpm::{AkBlob, NONCE_BYTES, Tpm};
use veriboot_agent::{AkAlgorithm, Connector, TpmAddress, Transport};

const TPM_CC_QUOTE: u32 = 0x158;
const HEADER: usize = 10;
const MAX_COMMAND: usize = 4096;

/// The two TPMs.
pub struct Interposer {
    real: TpmAddress,
    other: TpmAddress,
    ak: AkBlob,
}

impl Interposer {
    /// Makes a key in the other TPM.
    ///
    /// # Errors
    /// When that TPM cannot be reached or gives no key.
    pub fn new(real: TpmAddress, other: TpmAddress) -> io::Result<Self> {
        let ak = Tpm::open(&other)
            .and_then(|mut tpm| tpm.create_ak(AkAlgorithm::Auto))
            .map_err(io::Error::other)?;
        Ok(Self { real, other, ak })
    }

    /// Serves raw TPM commands, one connection at a time; the real TPM is open for as long as a connection lasts.
    ///
    /// # Errors
    /// When the listener fails.
    pub fn serve(&self, listener: &TcpListener) -> io::Result<()> {
        for stream in listener.incoming() {
            if let Err(error) = self.connection(stream?)
                && error.kind() != io::ErrorKind::UnexpectedEof
            {
                eprintln!("veriboot-tpm-interposer: {error}");
            }
        }
        Ok(())
    }

    fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut real = self.real.connect().map_err(io::Error::other)?;
        loop {
            let command = read_command(&mut stream)?;
            let answer = self.answer(real.as_mut(), &command)?;
            stream.write_all(&answer)?;
        }
    }

    fn answer(&self, real: &mut dyn Transport, command: &[u8]) -> io::Result<Vec<u8>> {
        match quoted(command) {
            Some((nonce, bank, pcrs)) => self.quote(&nonce, bank, &pcrs),
            None => real.transact(command),
        }
    }

    fn quote(&self, nonce: &[u8; NONCE_BYTES], bank: u16, pcrs: &[u8]) -> io::Result<Vec<u8>> {
        let quote = Tpm::open(&self.other)
            .and_then(|mut tpm| tpm.quote(&self.ak, nonce, bank, pcrs))
            .map_err(io::Error::other)?;
        let mut parameters = Vec::new();
        parameters.extend(u16::try_from(quote.attest.len()).map_err(io::Error::other)?.to_be_bytes());
        parameters.extend(&quote.attest);
        parameters.extend(&quote.signature);
        // The answer of a password session: empty nonce, continueSession, empty hmac.
        let session = [0, 0, 1, 0, 0];
        let size = u32::try_from(HEADER + 4 + parameters.len() + session.len()).map_err(io::Error::other)?;
        let mut answer = vec![0x80, 0x02];
        answer.extend(size.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(u32::try_from(parameters.len()).map_err(io::Error::other)?.to_be_bytes());
        answer.extend(parameters);
        answer.extend(session);
        Ok(answer)
    }
}

fn read_command(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut command = vec![0; HEADER];
    stream.read_exact(&mut command)?;
    let size = u32_at(&command, 2).map_or(0, |size| size as usize);
    if !(HEADER..=MAX_COMMAND).contains(&size) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a command of {size} bytes")));
    }
    command.resize(size, 0);
    stream.read_exact(command.get_mut(HEADER..).unwrap_or_default())?;
    Ok(command)
}

/// Nonce, bank and PCRs of a TPM2_Quote as the agent sends it: one session, one bank, the key's own scheme.
fn quoted(command: &[u8]) -> Option<([u8; NONCE_BYTES], u16, Vec<u8>)> {
    if u32_at(command, 6)? != TPM_CC_QUOTE {
        return None;
    }
    let sessions = u32_at(command, HEADER + 4)? as usize;
    let nonce_at = HEADER + 8 + sessions;
    if usize::from(u16_at(command, nonce_at)?) != NONCE_BYTES {
        return None;
    }
    let nonce = command.get(nonce_at + 2..)?.first_chunk::<NONCE_BYTES>()?;
    // After the nonce: inScheme TPM_ALG_NULL (2), count 1 (4), hash (2), sizeofSelect (1), pcrSelect.
    let select_at = nonce_at + 2 + NONCE_BYTES + 2;
    if u32_at(command, select_at)? != 1 {
        return None;
    }
    let bank = u16_at(command, select_at + 4)?;
    let size = usize::from(*command.get(select_at + 6)?);
    let select = command.get(select_at + 7..select_at + 7 + size)?;
    let pcrs = (0u8..24)
        .filter(|pcr| select.get(usize::from(pcr / 8)).is_some_and(|byte| byte & (1 << (pcr % 8)) != 0));
    Some((*nonce, bank, pcrs.collect()))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use veriboot_testkit::swtpm::Swtpm;

    #[test]
    fn quotes_come_from_the_other_tpm_and_all_else_from_the_real_one() {
        let (real, other) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
        real.extend(4, "sha256", &[1; 32]).unwrap();
        other.extend(4, "sha256", &[2; 32]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let through: TpmAddress = format!("tcp:{}", listener.local_addr().unwrap()).parse().unwrap();
        let interposer =
            Interposer::new(real.tpm_address().parse().unwrap(), other.tpm_address().parse().unwrap())
                .unwrap();
        std::thread::spawn(move || interposer.serve(&listener));
        let (ak, quote, values) = {
            let mut tpm = Tpm::open(&through).unwrap();
            let ak = tpm.create_ak(AkAlgorithm::Auto).unwrap();
            let quote = tpm.quote(&ak, &[7; 32], 0x000b, &[4]).unwrap();
            (ak, quote, tpm.pcr_values(0x000b, &[4]).unwrap())
        };
        assert_eq!(values[&4], hex(&real.pcr_read(4, "sha256").unwrap()));
        // The AK is the real TPM's, and asked directly that TPM signs another thing.
        let direct: TpmAddress = real.tpm_address().parse().unwrap();
        let honest = Tpm::open(&direct).unwrap().quote(&ak, &[7; 32], 0x000b, &[4]).unwrap();
        let tail = |attest: &[u8]| attest[attest.len() - 32..].to_vec();
        assert_ne!(tail(&honest.attest), tail(&quote.attest));
        let nonce_in = |attest: &[u8]| attest.windows(32).any(|window| window == [7; 32]);
        assert!(nonce_in(&honest.attest) && nonce_in(&quote.attest));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
