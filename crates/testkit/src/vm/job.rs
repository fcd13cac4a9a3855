//! What a machine does in one boot.

use std::fmt::Write as _;

/// How the agent in the guest reaches the service.
#[derive(Clone, Debug)]
pub struct AgentSetup {
    /// Port of the service on the host's loopback.
    pub port: u16,
    /// Fingerprint of the service's CA.
    pub ca_fingerprint: String,
    /// Join token.
    pub join_token: String,
    /// Name of the VM.
    pub name: String,
}

/// A shell script for the guest, made of the commands that `init.sh` offers.
#[derive(Clone, Debug)]
pub struct Job {
    script: String,
}

impl Default for Job {
    fn default() -> Self {
        Self::new()
    }
}

impl Job {
    /// A job that does nothing.
    pub fn new() -> Self {
        Self { script: "# Job of this boot.\n".to_owned() }
    }

    /// Adds one line of shell.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.script.push_str(line);
        self.script.push('\n');
        self
    }

    /// Runs a command as a step: its output and exit code come back in the report.
    #[must_use]
    pub fn step(self, name: &str, command: &str) -> Self {
        self.line(&format!("step {name} {command}"))
    }

    /// Sends the event log (`eventlog.bin`) and the PCR values that the kernel reads from the TPM
    /// (`pcrs.txt`, one `BANK INDEX HEX` per line).
    #[must_use]
    pub fn capture(self) -> Self {
        self.capture_as("")
    }

    /// Like [`Job::capture`], with a suffix in the names of the files: `eventlog-later.bin`.
    #[must_use]
    pub fn capture_as(self, suffix: &str) -> Self {
        self.line("cat \"$LOG\" >/tmp/eventlog.bin")
            .line(&format!("send eventlog{suffix}.bin /tmp/eventlog.bin"))
            .line("read_pcrs >/tmp/pcrs.txt")
            .line(&format!("send pcrs{suffix}.txt /tmp/pcrs.txt"))
    }

    /// Extends a PCR of the SHA-256 bank as any process of the administrator can: 32 bytes 0x5a.
    #[must_use]
    pub fn extend(self, pcr: u8) -> Self {
        // TPM2_PCR_Extend (TPM 2.0 library, part 3, section 22.2) with an empty password: tag, size, command,
        // PCR handle, authorization of 9 bytes, one digest, its algorithm.
        let command = format!(
            "{}{pcr:08x}{}{}",
            "80020000004100000182",
            "0000000940000009000000000000000001000b",
            "5a".repeat(32)
        );
        let escaped: String = command
            .as_bytes()
            .chunks(2)
            .map(|pair| format!("\\x{}", String::from_utf8_lossy(pair)))
            .collect();
        self.line("exec 3<>/dev/tpmrm0")
            .line(&format!("printf '{escaped}' >&3"))
            // The answer ends with response code 0 in bytes 6 to 9.
            .line("dd bs=4096 count=1 <&3 2>/dev/null | od -An -tx1 | head -n 1 >/tmp/extend")
            .line("exec 3>&-")
            .step("extend", "grep -q '^ 80 02 00 00 00 .. 00 00 00 00' /tmp/extend")
    }

    /// Runs and reads files so that IMA has something to measure. Files on tmpfs are not measured: they are in the
    /// root file system. Two are read while they are open for writing, which IMA records as violations.
    #[must_use]
    pub fn busy_under_ima(self) -> Self {
        self.line("mkdir -p /root/files && cd /root/files")
            .line("for i in $(seq 1 60); do echo \"file $i\" >\"file $i.txt\"; cat \"file $i.txt\" >/dev/null; done")
            .line("for i in $(seq 1 20); do printf '#!/bin/sh\\nexit 0\\n' >run-$i; chmod 755 run-$i; ./run-$i; done")
            .line("echo open >written; exec 4>>written; cat written >/dev/null; echo more >&4; exec 4>&-")
            .line("echo first >later; exec 4<later; echo second >>later; exec 4<&-")
            .line("cd /")
    }

    /// Sends the list of IMA, binary (`ima.bin`) and as text (`ima.ascii`).
    #[must_use]
    pub fn capture_ima(self) -> Self {
        self.line("IMA=/sys/kernel/security/ima")
            .line("cat $IMA/binary_runtime_measurements >/tmp/ima.bin")
            .line("cat $IMA/ascii_runtime_measurements >/tmp/ima.ascii")
            .line("send ima.bin /tmp/ima.bin")
            .line("send ima.ascii /tmp/ima.ascii")
    }

    /// Changes one byte of a copy of the event log at `/tmp/edited-log`: the digest of the event that holds
    /// the kernel command line.
    #[must_use]
    pub fn edit_log(self) -> Self {
        self.step("edit-log", "edit_log /tmp/edited-log")
    }

    /// Starts the interposer: it listens as a TPM on port 2321 of the guest's loopback, passes commands on to the
    /// machine's TPM, and has quotes answered by the TPM on this port of the host.
    #[must_use]
    pub fn interpose(self, port: u16) -> Self {
        self.line(&format!(
            "veriboot-tpm-interposer --listen 127.0.0.1:2321 --tpm /dev/tpmrm0 --quotes-from 10.0.2.2:{port} \
             >/tmp/interposer.log 2>&1 &"
        ))
        .step("interposer-ready", "wait_port 2321")
    }

    /// Attests once as step `name`; enrols first where the state disk holds no enrolment. `extra` are
    /// further arguments of the agent.
    #[must_use]
    pub fn attest(self, name: &str, agent: &AgentSetup, extra: &[&str]) -> Self {
        let mut command = String::from("veriboot-agent --once --state-dir /state");
        let arguments = [
            ("--server", format!("https://10.0.2.2:{}", agent.port)),
            ("--ca-fingerprint", agent.ca_fingerprint.clone()),
            ("--join-token", agent.join_token.clone()),
            ("--name", agent.name.clone()),
        ];
        for (flag, value) in arguments {
            let _ = write!(command, " {flag} {}", quote(&value));
        }
        for word in extra {
            let _ = write!(command, " {}", quote(word));
        }
        self.line(&format!("hostname {}", quote(&agent.name))).step(name, &command)
    }

    /// The script.
    pub fn script(&self) -> &str {
        &self.script
    }
}

/// A word that the shell takes as it is.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_whole() {
        for word in ["plain", "two words", "it's", "$(id)", "a;b", ""] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn init_and_jobs_are_valid_shell() {
        let setup = AgentSetup {
            port: 8443,
            ca_fingerprint: "ab".into(),
            join_token: "t".into(),
            name: "web-0".into(),
        };
        let job =
            Job::new().edit_log().attest("attest", &setup, &["--event-log", "/tmp/edited-log"]).capture();
        let job = job.extend(9).capture_as("-later").busy_under_ima().capture_ima();
        for script in [super::super::INIT, job.script()] {
            let output = std::process::Command::new("sh").args(["-n", "-c", script]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
