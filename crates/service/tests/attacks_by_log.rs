//! Attacks over the wire on what a log and the bodies around it say (rows 15 to 17, 19 and 22); docs/threat-model.md names the rows alike.
//! Each asserts that the attacker got no healthy verdict and no token, that the refusal has its stable code, and
//! that the record of the victim is as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_sqlite!(
    row_15_events_edited,
    row_16_log_of_another_machine_or_boot,
    row_16_log_missing_cut_and_padded,
    row_16_log_counts_and_sizes,
    row_19_hostile_words,
    row_22_agent_routes_without_the_right_token,
    row_22_bodies,
);

mod scenario {
    use super::agent_support::attacks::{assert_untouched, attest_with_log};
    use super::agent_support::boot::{Boot, EV_IPL, command, encode, encode_one, hashed, measure, sha256};
    use super::agent_support::*;
    use veriboot_wire::{Blob, FactState, LogEvidence, MachineInfo, Verdict, VmStatus};

    pub fn row_15_events_edited(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let events = Boot::default().events();
        let kernel = events.iter().position(|e| e.kind == EV_IPL && e.pcr == 8).unwrap();
        let secure_boot = 2;
        type Edit = fn(&mut Vec<super::agent_support::boot::Measured>, usize);
        let edits: [(&str, usize, Edit); 9] = [
            ("removed", kernel, |events, at| {
                events.remove(at);
            }),
            ("added", kernel, |events, at| events.insert(at, command("grub_cmd: echo hello"))),
            ("added to a PCR that the log does not use", kernel, |events, at| {
                events.insert(at, hashed(13, EV_IPL, b"extension".to_vec()));
            }),
            ("reordered", kernel, |events, at| events.swap(at, at + 2)),
            ("edited with a matching digest", kernel, |events, at| {
                events[at] = command("grub_cmd: linux /boot/vmlinuz-6.1.0-40 root=/dev/vda1 ro");
            }),
            ("edited without", kernel, |events, at| {
                events[at].data = b"grub_cmd: linux /boot/vmlinuz-6.1.0-40 ro\0".to_vec();
            }),
            ("Secure Boot said to be on otherwise", secure_boot, |events, at| {
                let last = events[at].data.len() - 1;
                events[at].data[last] ^= 1;
            }),
            ("type swapped", kernel, |events, at| events[at].kind = 0x8000_0007),
            ("PCR swapped", kernel, |events, at| events[at].pcr = 9),
        ];
        for (what, at, edit) in edits {
            let mut events = events.clone();
            edit(&mut events, at);
            let receipt = attest_with_log(&mut guest, &encode(&events));
            assert_eq!((receipt.verdict, receipt.token.as_ref()), (Verdict::Unhealthy, None), "{what}");
            assert!(!failing(&receipt).is_empty(), "{what}");
            assert_eq!(world.vm(&id).facts.log, FactState::Invalid, "{what}: {:?}", failing(&receipt));
        }
        // The digest of a boot application does not cover the event's data: the baseline holds the data too.
        let mut swapped = events.clone();
        let image = swapped.iter().position(|e| e.kind == 0x8000_0003).unwrap();
        let at = swapped[image].data.windows(2).position(|w| w == b"s\0").unwrap();
        swapped[image].data[at] = b'z';
        let receipt = attest_with_log(&mut guest, &encode(&swapped));
        assert_eq!((receipt.verdict, receipt.token.as_ref()), (Verdict::Unhealthy, None));
        // Nothing of all that became the log that later evidence is held against.
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }

    pub fn row_16_log_of_another_machine_or_boot(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let earlier = guest.log();
        let other = Boot { firmware: "another vendor".into(), ..Boot::default() };
        assert_caught(&attest_with_log(&mut guest, &encode(&other.events())), "log-mismatch");
        guest.boot(&Boot { cmdline: "root=/dev/vda1 ro debug".into(), ..Boot::default() });
        // The earlier, good log beside the quote of a boot that was tampered with.
        let receipt = attest_with_log(&mut guest, &earlier);
        assert_caught(&receipt, "log-mismatch");
        assert!(receipt.findings.iter().any(|f| f.pcr == Some(8)), "{:#?}", receipt.findings);
        // The same by digest alone.
        let mut evidence = guest.evidence();
        evidence.log = Some(LogEvidence { sha256: hex::encode(sha256(&earlier)), content: None });
        assert_caught(&guest.submit(&evidence).unwrap(), "log-mismatch");
        // An unknown digest costs no challenge.
        let mut evidence = guest.evidence();
        evidence.log = Some(LogEvidence { sha256: "ab".repeat(32), content: None });
        assert_eq!(guest.submit(&evidence).unwrap_err(), "log-needed");
        evidence.log = Some(LogEvidence {
            sha256: hex::encode(sha256(&guest.log())),
            content: Some(guest.log().into()),
        });
        assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        // A digest that is not the content's.
        let mut evidence = guest.evidence();
        evidence.log =
            Some(LogEvidence { sha256: hex::encode(sha256(&earlier)), content: Some(guest.log().into()) });
        assert_eq!(guest.submit(&evidence).unwrap_err(), "log-digest-mismatch");
        for sha256 in ["", "zz", &"AB".repeat(32), &"a".repeat(63)] {
            let mut evidence = guest.evidence();
            evidence.log = Some(LogEvidence { sha256: sha256.into(), content: None });
            assert_eq!(guest.submit(&evidence).unwrap_err(), "invalid-value", "{sha256:?}");
        }
    }

    pub fn row_16_log_missing_cut_and_padded(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let log = guest.log();
        // Missing: its own state with its own finding.
        let mut evidence = guest.evidence();
        evidence.log = None;
        evidence.log_absent_because = Some("no securityfs\u{1b}[31m".into());
        let receipt = guest.submit(&evidence).unwrap();
        assert_caught(&receipt, "log-missing");
        assert_eq!(receipt.status, VmStatus::Error);
        assert!(!receipt.findings[0].message.contains('\u{1b}'));
        assert_ne!(world.vm(&id).facts.log, FactState::Valid);
        for empty in [vec![], vec![0; 4096], vec![0xff; 4096]] {
            let receipt = attest_with_log(&mut guest, &empty);
            assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None));
        }
        // Cut: every event boundary is inside of this, and places in between.
        for length in (1..log.len()).step_by(log.len() / 40) {
            let receipt = attest_with_log(&mut guest, &log[..length]);
            assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None), "{length} bytes");
        }
        // Padded, in the middle of a boot that was attested without padding: firmware writes one log.
        for byte in [0x00, 0xff] {
            let padded = [log.as_slice(), &[byte; 512]].concat();
            assert_caught(&attest_with_log(&mut guest, &padded), "log-changed-without-reboot");
        }
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        // Padded from the start of a boot is a quirk of real machines.
        guest.boot(&Boot::default());
        let padded = [guest.log().as_slice(), &[0xff; 512]].concat();
        guest.set_log(&padded);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        // As large as a log can be, and one byte larger.
        let mut largest = guest.log();
        largest.resize(veriboot_wire::MAX_EVENT_LOG_BYTES, 0xff);
        assert_eq!(attest_with_log(&mut guest, &largest).verdict, Verdict::Unhealthy);
        largest.push(0xff);
        let mut evidence = guest.evidence();
        evidence.log =
            Some(LogEvidence { sha256: hex::encode(sha256(&largest)), content: Some(Blob(largest)) });
        assert_eq!(guest.submit(&evidence).unwrap_err(), "log-too-large");
    }

    pub fn row_16_log_counts_and_sizes(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let log = guest.log();
        let event = |pcr: u32, count: u32, alg: u16, size: u32| {
            let mut bytes = pcr.to_le_bytes().to_vec();
            bytes.extend(EV_IPL.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(alg.to_le_bytes());
            bytes.extend([0xaa; 32]);
            bytes.extend(size.to_le_bytes());
            bytes
        };
        for (what, tail) in [
            ("size of 2^32-1", event(8, 1, 0x000b, u32::MAX)),
            ("count of 2^32-1", event(8, u32::MAX, 0x000b, 0)),
            ("65,535 digests", event(8, 65_535, 0x000b, 0)),
            ("unknown algorithm", event(8, 1, 0x7777, 0)),
            ("PCR 0xffffffff extended", event(u32::MAX, 1, 0x000b, 0)),
            ("PCR 24", event(24, 1, 0x000b, 0)),
        ] {
            let receipt = attest_with_log(&mut guest, &[log.as_slice(), &tail].concat());
            assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None), "{what}");
        }
        // A header that promises 2^32-1 banks.
        let mut header = log.clone();
        header[32 + 24..32 + 28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(attest_with_log(&mut guest, &header).verdict, Verdict::Unhealthy);
        // As many events as fit.
        let one = encode_one(&hashed(8, EV_IPL, Vec::new()));
        let many = one.repeat(veriboot_wire::MAX_EVENT_LOG_BYTES / one.len() - 200);
        let receipt = attest_with_log(&mut guest, &[log.as_slice(), &many].concat());
        assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None));
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }

    pub fn row_19_hostile_words(world: &World) {
        let token = world.join_token(None, 1);
        let mut guest = world.guest("web-0", Some(&token));
        let nasty =
            "\u{1b}]0;owned\u{7}<script>alert(1)</script>\u{202e}=cmd|'/c calc'!A1\0';DROP TABLE vms;--";
        let hostile = || MachineInfo {
            hostname: nasty.repeat(1000),
            os: nasty.into(),
            os_version: nasty.into(),
            kernel: nasty.into(),
            arch: nasty.into(),
            platform: nasty.into(),
            boot_id: nasty.into(),
            agent_version: nasty.into(),
            machine_uuid: nasty.into(),
        };
        let (mut request, endorsement, ak) = guest.agent.enroll_request().unwrap();
        request.machine = hostile();
        let challenge = guest.agent.client().unwrap().enroll(&request).unwrap();
        let secret = guest.agent.activation(&endorsement, &ak, &challenge).unwrap();
        guest.agent.client().unwrap().activate(&challenge.enrolment_id, &secret).unwrap();
        // The agent forgot to keep that enrolment; it enrols again by its EK.
        let mut boot =
            Boot { cmdline: format!("root=/dev/vda1 {}", nasty.replace('\0', "")), ..Boot::default() };
        guest.boot(&boot);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        boot.cmdline.push_str("\u{1b}[2J");
        guest.boot(&boot);
        let mut evidence = guest.evidence();
        evidence.machine = hostile();
        evidence.pcrs.insert(nasty.into(), [(7, nasty.into())].into());
        let receipt = guest.submit(&evidence).unwrap();
        assert_eq!(receipt.verdict, Verdict::Unhealthy);
        let vm = world.vm(&guest.vm_id());
        let stored = [
            serde_json::to_string(&vm.machine).unwrap(),
            vm.status_detail.clone().unwrap(),
            serde_json::to_string(&receipt.findings).unwrap(),
            serde_json::to_string(&world.alerts(&vm.id)).unwrap(),
            serde_json::to_string(&world.boots(&vm.id)).unwrap(),
        ];
        for text in stored {
            assert!(text.len() < 64 * 1024, "{} bytes", text.len());
            let bad = text.chars().find(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}'));
            assert_eq!(bad, None, "{text}");
            for escaped in ["\\u001b", "\\u0000", "\\u0007"] {
                assert!(!text.contains(escaped), "{text}");
            }
        }
    }

    pub fn row_22_agent_routes_without_the_right_token(world: &World) {
        let mut a = world.healthy_guest("a");
        let b = world.healthy_guest("b");
        let before = (world.vm(&a.vm_id()), world.vm(&b.vm_id()));
        let evidence = serde_json::to_vec(&a.evidence()).unwrap();
        let fault = br#"{"code":"tpm-missing","message":"x"}"#;
        let bodies: [(&str, &[u8]); 3] = [("challenge", b""), ("evidence", &evidence), ("fault", fault)];
        let flipped = {
            let mut token = a.agent_token();
            let last = token.pop().unwrap();
            token.push(if last == 'A' { 'B' } else { 'A' });
            token
        };
        for (route, body) in bodies {
            let path = format!("/v1/agent/vms/{}/{route}", a.vm_id());
            for token in [
                None,
                Some(b.agent_token()),
                Some(flipped.clone()),
                Some("vba_".into()),
                Some("x".repeat(5000)),
            ] {
                let answer = raw::post(world.address(), &world.ca_file(), &path, token.as_deref(), body);
                assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{route} {token:?}");
            }
            // An unknown VM looks the same.
            let path = format!("/v1/agent/vms/0193b1c0-0000-7000-8000-000000000001/{route}");
            let answer = raw::post(world.address(), &world.ca_file(), &path, Some(&a.agent_token()), body);
            assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{route}");
        }
        assert_untouched(world, &before.0);
        assert_untouched(world, &before.1);
        assert!(world.alerts(&a.vm_id()).is_empty());
    }

    pub fn row_22_bodies(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let before = world.vm(&id);
        let (address, ca, token) = (world.address(), world.ca_file(), guest.agent_token());
        let path = format!("/v1/agent/vms/{id}/evidence");
        let evidence = guest.evidence();
        let good = serde_json::to_vec(&evidence).unwrap();
        let send = |body: &[u8]| raw::post(address, &ca, &path, Some(&token), body);
        // Truncated, padded, doubled, not UTF-8, deeply nested, of another shape, with members that nobody knows.
        let mut unknown = serde_json::to_value(&evidence).unwrap();
        unknown["verdict"] = "healthy".into();
        let mut doubled = good.clone();
        doubled.extend_from_slice(&good);
        let mut latin = good.clone();
        latin[2] = 0xe4;
        for (what, body) in [
            ("empty", Vec::new()),
            ("truncated", good[..good.len() / 2].to_vec()),
            ("doubled", doubled),
            ("not UTF-8", latin),
            ("nested", [b"[".repeat(100_000), b"]".repeat(100_000)].concat()),
            ("array", b"[]".to_vec()),
            ("unknown member", serde_json::to_vec(&unknown).unwrap()),
        ] {
            let answer = send(&body);
            assert_eq!((answer.status, answer.code()), (400, "invalid-body"), "{what}");
        }
        // Larger than the route takes: 8 MiB for evidence, 256 KiB elsewhere.
        let answer = send(&vec![b' '; 8 * 1024 * 1024 + 1]);
        assert_eq!((answer.status, answer.code()), (413, "body-too-large"));
        let answer = raw::post(address, &ca, "/v1/agent/enroll", None, &vec![b' '; 256 * 1024 + 1]);
        assert_eq!((answer.status, answer.code()), (413, "body-too-large"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 18446744073709551615\r\nConnection: close\r\n\r\n"
        );
        let status = raw::exchange(address, &ca, &head, b"{}").status;
        assert!(matches!(status, 400 | 413 | 431), "{status}");
        // Parts that are too large for what they are.
        for (member, bytes) in [("quote", 5000), ("signature", 3000)] {
            let mut large = serde_json::to_value(&evidence).unwrap();
            large[member] = serde_json::to_value(Blob(vec![0; bytes])).unwrap();
            let answer = send(&serde_json::to_vec(&large).unwrap());
            assert_eq!((answer.status, answer.code()), (400, "invalid-value"), "{member}");
        }
        for code in ["", "TPM", "a b", "x\u{7}", &"x".repeat(65)] {
            let refused = guest.agent.report_fault(code, "x").unwrap_err();
            assert_eq!(super::agent_support::code(&refused), "invalid-value", "{code:?}");
        }
        assert_untouched(world, &before);
        // Trailing white space is JSON.
        let padded = [good.as_slice(), &[b'\n'; 4096]].concat();
        assert_eq!(send(&padded).status, 200);
    }

    /// The harness itself: what is measured is what the TPM holds.
    #[test]
    fn the_log_replays_to_the_tpm() {
        let tpm = veriboot_testkit::swtpm::Swtpm::start().unwrap();
        let events = Boot::default().events();
        measure(&tpm, &events);
        let report = veriboot_appraisal::examine(&encode(&events));
        let bank = report.bank(veriboot_eventlog::HashAlg::Sha256).unwrap();
        for pcr in 0..16 {
            assert_eq!(
                bank.replay.pcrs.get(&pcr).copied().unwrap().as_ref(),
                tpm.pcr_read(pcr, "sha256").unwrap(),
                "PCR {pcr}"
            );
        }
    }
}
