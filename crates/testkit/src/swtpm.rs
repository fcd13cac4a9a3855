//! A software TPM that is a real process: `swtpm socket` on loopback, with its state in a folder of its own.
//!
//! The data channel takes raw TPM commands and serves one connection at a time, so every helper here connects,
//! sends one command and closes; whoever keeps a connection open keeps the others waiting.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long one TPM command or a start of the process may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers of a TPM are bounded by its largest buffer.
const MAX_RESPONSE: usize = 8192;

/// A TPM that gets its start-up command.
const SWITCHED_ON: &str = "not-need-init,startup-clear";
/// A TPM that goes on.
const RESUMED: &str = "not-need-init";

/// What kind of TPM to manufacture.
#[derive(Clone, Debug, Default)]
pub struct SwtpmOptions {
    /// PCR banks that firmware would activate: `["sha256"]`; empty leaves what swtpm activates by itself.
    pub banks: Vec<String>,
    /// Whether `swtpm_setup` makes an EK certificate from a local CA (RSA-2048 at NV 0x01C00002).
    pub ek_certificate: bool,
}

impl SwtpmOptions {
    /// Activates exactly these banks, by name: `sha1`, `sha256`, `sha384`, `sha512`.
    pub fn banks(mut self, banks: &[&str]) -> Self {
        self.banks = banks.iter().map(|b| (*b).to_owned()).collect();
        self
    }

    /// Gives the TPM an EK certificate; the CA's certificate is at [`Swtpm::ek_ca`].
    pub fn with_ek_certificate(mut self) -> Self {
        self.ek_certificate = true;
        self
    }

    /// Manufactures and starts the TPM.
    pub fn start(&self) -> Result<Swtpm> {
        Swtpm::start_with(self)
    }
}

/// A running swtpm; killed when dropped.
#[derive(Debug)]
pub struct Swtpm {
    child: Option<Child>,
    port: u16,
    dir: tempfile::TempDir,
}

impl Swtpm {
    /// Starts a TPM with the SHA-256 bank active and no EK certificate.
    pub fn start() -> Result<Self> {
        SwtpmOptions::default().banks(&["sha256"]).start()
    }

    /// Starts a TPM as described.
    pub fn start_with(options: &SwtpmOptions) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("veriboot-swtpm-").tempdir()?;
        manufacture(&dir.path().join("state"), options)?;
        let mut tpm = Self { child: None, port: 0, dir };
        tpm.spawn(SWITCHED_ON)?;
        Ok(tpm)
    }

    /// Goes on with a TPM that was stopped without being switched off: its PCRs are those that it had. `state` is its
    /// folder after `swtpm_ioctl -v`, and stays as it is.
    pub fn resume(state: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("veriboot-swtpm-").tempdir()?;
        let copy = dir.path().join("state");
        std::fs::create_dir_all(&copy)?;
        for file in ["tpm2-00.permall", "tpm2-00.volatilestate"] {
            std::fs::copy(state.join(file), copy.join(file))
                .with_context(|| format!("{} has no {file}", state.display()))?;
        }
        let mut tpm = Self { child: None, port: 0, dir };
        tpm.spawn(RESUMED)?;
        Ok(tpm)
    }

    /// Where the data channel listens.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The data channel as the agent's `--tpm` takes it: `tcp:127.0.0.1:PORT`.
    pub fn tpm_address(&self) -> String {
        format!("tcp:{}", self.addr())
    }

    /// TCTI for tpm2-tools (`TPM2TOOLS_TCTI`); the control channel is on the next port, as that TCTI expects.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Certificate (PEM) of the CA that signed the EK certificate; exists with
    /// [`SwtpmOptions::with_ek_certificate`].
    pub fn ek_ca(&self) -> PathBuf {
        self.dir.path().join("state/ca/issuercert.pem")
    }

    /// Folder of that CA: `issuercert.pem`, its key `signkey.pem`, and its root `swtpm-localca-rootca-cert.pem`.
    pub fn ek_ca_folder(&self) -> PathBuf {
        self.dir.path().join("state/ca")
    }

    /// Switches the TPM off (the process ends); PCRs are lost, NV and counters stay.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Switches a stopped TPM on again, on another port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.spawn(SWITCHED_ON)
    }

    /// Power cycle in place: PCRs go back to their reset values and resetCount goes up; same address.
    pub fn reboot(&self) -> Result<()> {
        self.initialise()?;
        // TPM2_Startup(TPM_SU_CLEAR).
        expect_success(&self.command(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0])?, "TPM2_Startup")
    }

    /// Power comes back, without TPM2_Startup.
    fn initialise(&self) -> Result<()> {
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.checked_add(1).context("port")?));
        let mut stream = connect(control)?;
        // CMD_INIT of the swtpm control channel: command 2, no flags; answers with a TPM result.
        stream.write_all(&[0, 0, 0, 2, 0, 0, 0, 0])?;
        let mut result = [0u8; 4];
        stream.read_exact(&mut result)?;
        ensure!(result == [0; 4], "swtpm refused CMD_INIT: {}", hex::encode(result));
        Ok(())
    }

    /// The machine sleeps and wakes up: PCRs stay, and restartCount goes up; same address.
    pub fn suspend(&self) -> Result<()> {
        // TPM2_Shutdown(TPM_SU_STATE) and TPM2_Startup(TPM_SU_STATE).
        expect_success(&self.command(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x45, 0, 1])?, "TPM2_Shutdown")?;
        self.initialise()?;
        expect_success(&self.command(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 1])?, "TPM2_Startup")
    }

    /// Sends one raw command and gives the raw answer, whatever its response code.
    pub fn command(&self, command: &[u8]) -> Result<Vec<u8>> {
        transact(self.addr(), command)
    }

    /// TPM2_PCR_Extend of one bank with a digest of that bank's size.
    pub fn extend(&self, pcr: u32, bank: &str, digest: &[u8]) -> Result<()> {
        let (alg, size) = bank_id(bank)?;
        ensure!(digest.len() == size, "{bank} digests have {size} bytes, not {}", digest.len());
        let mut body = Vec::new();
        body.extend(pcr.to_be_bytes());
        // Password session with an empty password: handle, empty nonce, attributes, empty hmac.
        body.extend(9u32.to_be_bytes());
        body.extend([0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        body.extend(1u32.to_be_bytes());
        body.extend(alg.to_be_bytes());
        body.extend(digest);
        expect_success(&self.command(&frame(0x8002, 0x182, &body)?)?, "TPM2_PCR_Extend")
    }

    /// TPM2_PCR_Read of one PCR.
    pub fn pcr_read(&self, pcr: u32, bank: &str) -> Result<Vec<u8>> {
        let (alg, size) = bank_id(bank)?;
        ensure!(pcr < 24, "there are 24 PCRs");
        let mut body = Vec::new();
        body.extend(1u32.to_be_bytes());
        body.extend(alg.to_be_bytes());
        body.push(3);
        body.extend((1u32 << pcr).to_le_bytes().iter().take(3));
        let answer = self.command(&frame(0x8001, 0x17e, &body)?)?;
        expect_success(&answer, "TPM2_PCR_Read")?;
        let value = answer.len().checked_sub(size).and_then(|at| answer.get(at..)).context("short answer")?;
        // header 10, counter 4, selection 4 + 6, digest count 4, TPM2B size 2
        ensure!(answer.len() == 30 + size, "bank {bank} is not active");
        Ok(value.to_vec())
    }

    fn spawn(&mut self, flags: &str) -> Result<()> {
        let state = self.dir.path().join("state");
        let pid_file = self.dir.path().join("pid");
        for _ in 0..20 {
            let _ = std::fs::remove_file(&pid_file);
            let port = free_port_pair()?;
            let mut child = Command::new("swtpm")
                .args(["socket", "--tpm2", "--flags", flags])
                .arg("--tpmstate")
                .arg(format!("dir={}", state.display()))
                .arg("--server")
                .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
                .arg("--ctrl")
                .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1))
                .arg("--pid")
                .arg(format!("file={}", pid_file.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("cannot start swtpm; install the package swtpm")?;
            let ready = wait_for_pid_file(&mut child, &pid_file);
            self.port = port;
            // The process writes its id after both ports are bound, so a port that somebody else took first ends
            // it before.
            if ready && transact(self.addr(), &GET_RANDOM).is_ok() {
                self.child = Some(child);
                return Ok(());
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        bail!("swtpm did not start in 20 attempts; state folder {}", state.display())
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes TPM state in `dir` (created when needed): banks and, where asked, EK and EK certificate. For machines that
/// start their own swtpm on that folder.
pub fn manufacture(dir: &Path, options: &SwtpmOptions) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    if options.banks.is_empty() && !options.ek_certificate {
        return Ok(());
    }
    let ca = dir.join("ca");
    std::fs::create_dir_all(&ca)?;
    std::fs::write(
        ca.join("localca.conf"),
        format!(
            "statedir = {0}\nsigningkey = {0}/signkey.pem\nissuercert = {0}/issuercert.pem\ncertserial = {0}/certserial\n",
            ca.display()
        ),
    )?;
    std::fs::write(
        ca.join("localca.options"),
        "--platform-manufacturer Veriboot\n--platform-version 1\n--platform-model testkit\n",
    )?;
    let conf = ca.join("setup.conf");
    std::fs::write(
        &conf,
        format!(
            "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {0}/localca.conf\ncreate_certs_tool_options = {0}/localca.options\n",
            ca.display()
        ),
    )?;
    let mut setup = Command::new("swtpm_setup");
    setup.arg("--tpm2").arg("--tpmstate").arg(dir).arg("--config").arg(&conf).arg("--overwrite");
    if !options.banks.is_empty() {
        setup.arg("--pcr-banks").arg(options.banks.join(","));
    }
    if options.ek_certificate {
        setup.arg("--create-ek-cert");
    }
    let output = setup.output().context("cannot start swtpm_setup; install the package swtpm-tools")?;
    ensure!(
        output.status.success(),
        "swtpm_setup failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// TPM2_GetRandom of 4 bytes, to see that the TPM answers.
const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4];

fn bank_id(bank: &str) -> Result<(u16, usize)> {
    Ok(match bank {
        "sha1" => (0x0004, 20),
        "sha256" => (0x000b, 32),
        "sha384" => (0x000c, 48),
        "sha512" => (0x000d, 64),
        _ => bail!("{bank:?} is not a PCR bank"),
    })
}

fn frame(tag: u16, code: u32, body: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(10 + body.len());
    out.extend(tag.to_be_bytes());
    out.extend(u32::try_from(10 + body.len())?.to_be_bytes());
    out.extend(code.to_be_bytes());
    out.extend(body);
    Ok(out)
}

fn expect_success(answer: &[u8], what: &str) -> Result<()> {
    let code = answer.get(6..10).context("short TPM answer")?;
    ensure!(code == [0; 4], "{what} failed with TPM_RC 0x{}", hex::encode(code));
    Ok(())
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn transact(addr: SocketAddr, command: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connect(addr)?;
    stream.write_all(command)?;
    let mut header = [0u8; 10];
    stream.read_exact(&mut header)?;
    let [_, _, a, b, c, d, ..] = header;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    ensure!((10..=MAX_RESPONSE).contains(&size), "answer of {size} bytes");
    let mut answer = header.to_vec();
    answer.resize(size, 0);
    stream.read_exact(answer.get_mut(10..).context("short TPM answer")?)?;
    Ok(answer)
}

/// A port whose successor is free as well; both may be taken again before they are used.
fn free_port_pair() -> Result<u16> {
    for _ in 0..200 {
        let data = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = data.local_addr()?.port();
        if let Some(next) = port.checked_add(1)
            && TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok()
        {
            return Ok(port);
        }
    }
    bail!("no two adjacent free ports on loopback")
}

fn wait_for_pid_file(child: &mut Child, pid_file: &Path) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if std::fs::read_to_string(pid_file).is_ok_and(|text| text.trim() == child.id().to_string()) {
            return true;
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extends_and_forgets_over_a_reboot() {
        let tpm = SwtpmOptions::default().banks(&["sha256", "sha384"]).start().unwrap();
        assert_eq!(tpm.pcr_read(7, "sha256").unwrap(), vec![0; 32]);
        tpm.extend(7, "sha256", &[1; 32]).unwrap();
        // python3: hashlib.sha256(bytes(32) + b"\x01" * 32).hexdigest()
        assert_eq!(
            hex::encode(tpm.pcr_read(7, "sha256").unwrap()),
            "5c85955f709283ecce2b74f1b1552918819f390911816e7bb466805a38ab87f3"
        );
        assert_eq!(tpm.pcr_read(7, "sha384").unwrap(), vec![0; 48]);
        assert!(tpm.pcr_read(7, "sha1").is_err());
        tpm.reboot().unwrap();
        assert_eq!(tpm.pcr_read(7, "sha256").unwrap(), vec![0; 32]);
    }

    #[test]
    fn makes_an_ek_certificate_and_survives_a_restart() {
        let mut tpm = SwtpmOptions::default().banks(&["sha256"]).with_ek_certificate().start().unwrap();
        assert!(tpm.ek_ca().is_file());
        // TPM2_NV_ReadPublic of the RSA-2048 EK certificate.
        let read_public = [0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x69, 0x01, 0xc0, 0x00, 0x02];
        expect_success(&tpm.command(&read_public).unwrap(), "TPM2_NV_ReadPublic").unwrap();
        tpm.restart().unwrap();
        expect_success(&tpm.command(&read_public).unwrap(), "TPM2_NV_ReadPublic").unwrap();
        let pid = tpm.pid().unwrap();
        drop(tpm);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
