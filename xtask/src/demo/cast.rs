//! Who takes part in the demo, what is done to them, and how they must be judged.

/// What the machine's owner or an attacker does in one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Attests as it is.
    Honest,
    /// The GRUB configuration gets these words on the kernel command line before the boot.
    Cmdline(&'static str),
    /// Attests honestly, then again with quotes answered by another TPM.
    OtherTpm,
    /// Attests with one byte of the event log changed.
    EditedLog,
}

/// Admission of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Member of the scale set `web`.
    Web,
    /// A single VM.
    Single,
}

/// How the service must judge in the end.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Status of the VM.
    pub status: &'static str,
    /// Fact about Secure Boot.
    pub secure_boot: &'static str,
    /// Reason of the open alert.
    pub reason: Option<&'static str>,
    /// Words of the alert's component.
    pub component: &'static str,
    /// Words of the alert's message.
    pub message: &'static str,
    /// Check that must be recommended.
    pub recommendation: Option<&'static str>,
}

/// One machine.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Name of the VM.
    pub name: &'static str,
    /// Where it belongs.
    pub place: Place,
    /// Secure Boot with Microsoft's keys, or off.
    pub secure_boot: bool,
    /// One entry per boot.
    pub acts: &'static [Act],
    /// What must come out.
    pub verdict: Verdict,
}

const HEALTHY: Verdict = Verdict {
    status: "healthy",
    secure_boot: "valid",
    reason: None,
    component: "",
    message: "",
    recommendation: None,
};

const UNHEALTHY: Verdict = Verdict { status: "unhealthy", ..HEALTHY };

/// The machines; those that boot twice come first.
pub const CAST: &[Role] = &[
    Role {
        name: "web-2",
        place: Place::Web,
        secure_boot: true,
        acts: &[Act::Honest, Act::Cmdline("init=/bin/sh")],
        verdict: Verdict {
            reason: Some("baseline-deviation"),
            component: "kernel command line",
            message: "init=/bin/sh",
            ..UNHEALTHY
        },
    },
    Role { name: "web-0", place: Place::Web, secure_boot: true, acts: &[Act::Honest], verdict: HEALTHY },
    Role { name: "web-1", place: Place::Web, secure_boot: true, acts: &[Act::Honest], verdict: HEALTHY },
    Role {
        name: "db-0",
        place: Place::Single,
        secure_boot: false,
        acts: &[Act::Honest],
        verdict: Verdict {
            secure_boot: "invalid",
            reason: Some("baseline-deviation"),
            component: "Secure Boot",
            message: "Secure Boot",
            recommendation: Some("secure-boot-enabled"),
            ..UNHEALTHY
        },
    },
    Role {
        name: "web-3",
        place: Place::Web,
        secure_boot: true,
        acts: &[Act::OtherTpm],
        verdict: Verdict { reason: Some("quote-untrusted"), secure_boot: "", ..UNHEALTHY },
    },
    Role {
        name: "edge-0",
        place: Place::Single,
        secure_boot: true,
        acts: &[Act::EditedLog],
        verdict: Verdict { reason: Some("log-mismatch"), secure_boot: "", ..UNHEALTHY },
    },
];
