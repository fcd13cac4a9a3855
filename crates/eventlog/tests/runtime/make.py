#!/usr/bin/env python3
"""Writes lists of Linux IMA and logs of systemd with Python's own hashes, and what they must replay to.

Independent of the engine: the layouts are those of security/integrity/ima in Linux and of RFC 7464. Run it in its
folder; the files that it writes are part of the repository.
"""
import hashlib
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
MACHINES = HERE / "../machines"
BANKS = ["sha1", "sha256", "sha384", "sha512"]


def digest(alg, data):
    return hashlib.new(alg, data).digest()


def field(data):
    return struct.pack("<I", len(data)) + data


def typed(alg, data, prefix=b""):
    return prefix + alg.encode() + b":\0" + digest(alg, data)


def show_typed(alg, data, prefix=""):
    return f"{prefix}{alg}:{digest(alg, data).hex()}"


class Entry:
    def __init__(self, template, fields, shown, violation=False, pcr=10):
        self.template, self.shown, self.violation, self.pcr = template, shown, violation, pcr
        if template == "ima":
            file_digest, name = fields
            self.hashed = file_digest + name.ljust(256, b"\0")
            self.written = file_digest + field(name)
        else:
            self.hashed = b"".join(field(f) for f in fields)
            self.written = field(self.hashed)

    def template_digest(self, alg):
        return bytes(hashlib.new(alg).digest_size) if self.violation else digest(alg, self.hashed)

    def binary(self, alg="sha1"):
        name = self.template.encode()
        return struct.pack("<I", self.pcr) + self.template_digest(alg) + field(name) + self.written

    def ascii(self, alg="sha1"):
        return f"{self.pcr:2d} {self.template_digest(alg).hex()} {self.template} " + " ".join(self.shown) + "\n"


def extend(alg, register, value):
    return digest(alg, register + value)


def replay(entries, alg, start=None, padded=False):
    size = hashlib.new(alg).digest_size
    registers = {}
    for e in entries:
        old = registers.get(e.pcr, start or bytes(size))
        if e.violation:
            value = b"\xff" * size
        elif padded and alg != "sha1":
            value = digest("sha1", e.hashed).ljust(size, b"\0")[:size]
        else:
            value = digest(alg, e.hashed)
        registers[e.pcr] = extend(alg, old, value)
    return {str(pcr): value.hex() for pcr, value in registers.items()}


def ima(name, path, content):
    d = digest("sha1", content)
    return Entry("ima", [d, path], [d.hex(), path.decode()])


def ng(template, alg, path, content, *more, prefix="", violation=False):
    d = (prefix + alg).encode() + b":\0" + bytes(20) if violation else typed(alg, content, prefix.encode())
    shown = f"{prefix}{alg}:" + "00" * 20 if violation else show_typed(alg, content, prefix)
    return Entry(template, [d, path + b"\0", *more], [shown, path.decode(), *(m.hex() for m in more)], violation)


SIGNATURE = bytes.fromhex("0302041a2b3c4d0100") + bytes(range(64))
CASES = {
    "ima": [ima("ima", b"boot_aggregate", b"pcrs"), ima("ima", b"/usr/lib/systemd/systemd", b"init")],
    "ima-ng": [
        ng("ima-ng", "sha256", b"boot_aggregate", b"pcrs"),
        ng("ima-ng", "sha256", b"/usr/bin/bash", b"shell"),
        ng("ima-ng", "sha1", b"/tmp/open_for_writing", b"", violation=True),
        ng("ima-ng", "sha512", b"/usr/bin/with_blank_(deleted)", b"other"),
    ],
    "ima-sig": [
        ng("ima-sig", "sha256", b"boot_aggregate", b"pcrs", b""),
        ng("ima-sig", "sha256", b"/usr/bin/signed", b"signed", SIGNATURE),
        ng("ima-buf", "sha256", b"kexec-cmdline", b"root=/dev/sda1 ro", b"root=/dev/sda1 ro"),
    ],
    "ima-v2": [
        ng("ima-ngv2", "sha256", b"/usr/bin/file", b"file", prefix="ima:"),
        ng("ima-sigv2", "sha256", b"/usr/bin/verity", b"tree", b"\x06" + SIGNATURE[1:], prefix="verity:"),
        ng("d-ng|n-ng", "sha384", b"/usr/bin/own_format", b"own"),
    ],
    "ima-modsig": [
        Entry(
            "ima-modsig",
            [typed("sha256", b"m"), b"/lib/modules/x.ko\0", b"", typed("sha512", b"module"), b"\x30\x82\x01"],
            [show_typed("sha256", b"m"), "/lib/modules/x.ko", "", show_typed("sha512", b"module"), "308201"],
        )
    ],
    "evm-sig": [
        Entry(
            "evm-sig",
            [
                typed("sha256", b"e"),
                b"/usr/bin/portable\0",
                b"\x05" + SIGNATURE[1:],
                b"security.ima|security.selinux\0",
                struct.pack("<II", 33, 10),
                b"\x04\x04" + bytes(41),
                struct.pack("<I", 1000),
                struct.pack("<I", 0),
                struct.pack("<H", 0o100755),
            ],
            [
                show_typed("sha256", b"e"),
                "/usr/bin/portable",
                (b"\x05" + SIGNATURE[1:]).hex(),
                "security.ima|security.selinux",
                struct.pack("<II", 33, 10).hex(),
                (b"\x04\x04" + bytes(41)).hex(),
                "1000",
                "0",
                str(0o100755),
            ],
        )
    ],
}


def boot_aggregate(variant):
    """The entry that a kernel writes over the registers that the TPM of a captured machine gave."""
    pcrs = json.loads((MACHINES / variant / "pcrs.json").read_text())["sha256"]
    d = digest("sha256", b"".join(bytes.fromhex(pcrs[str(i)]) for i in range(10)))
    data = b"sha256:\0" + d
    return Entry("ima-sig", [data, b"boot_aggregate\0", b""], [f"sha256:{d.hex()}", "boot_aggregate", ""])


BOOT_ID = "0f3f4b6d9d3a4a5a8f0d6c2b1a090807"
RECORDS = [
    (11, "phase", "enter-initrd", None),
    (15, "volume-key", "cryptsetup:root:0f1e", b"a keyed digest, not that of the words"),
    (15, "machine-id", "machine-id:52540012345678123456781234567812", None),
    (15, "filesystem", "file-system:/:1234:ext4:root::", None),
    (11, "phase", "leave-initrd", None),
    (11, "phase", "sysinit", None),
    (11, "phase", "ready", None),
]


def user_space():
    text, registers = b"", {alg: {} for alg in BANKS}
    for at, (pcr, kind, words, other) in enumerate(RECORDS):
        values = []
        for alg in BANKS:
            value = digest(alg, other if other is not None else words.encode())
            old = registers[alg].get(pcr, bytes(hashlib.new(alg).digest_size))
            registers[alg][pcr] = extend(alg, old, value)
            values.append({"hashAlg": alg, "digest": value.hex()})
        content = {"string": words, "bootId": BOOT_ID, "timestamp": 1_000_000 + at, "eventType": kind}
        record = {"pcr": pcr, "digests": values, "content_type": "systemd", "content": content}
        text += b"\x1e" + json.dumps(record, separators=(",", ":")).encode() + b"\n"
    return text, {alg: {str(p): v.hex() for p, v in by.items()} for alg, by in registers.items()}


def main():
    expected = {}
    for name, entries in CASES.items():
        (HERE / f"{name}.bin").write_bytes(b"".join(e.binary() for e in entries))
        (HERE / f"{name}.txt").write_text("".join(e.ascii() for e in entries))
        expected[name] = {alg: replay(entries, alg) for alg in BANKS}
        expected[name]["sha256-padded"] = replay(entries, "sha256", padded=True)
    entries = CASES["ima-ng"]
    (HERE / "ima-ng-sha256.bin").write_bytes(b"".join(e.binary("sha256") for e in entries))
    (HERE / "ima-ng-sha256.txt").write_text("".join(e.ascii("sha256") for e in entries))
    for variant in ["secure-boot-off", "direct-kernel"]:
        (HERE / f"{variant}.bin").write_bytes(boot_aggregate(variant).binary())
    (HERE / "tpm2-measure.log").write_bytes(user_space()[0])
    expected["tpm2-measure"] = user_space()[1]
    record = {"pcr": 11, "digests": [{"hashAlg": a, "digest": digest(a, b"ready").hex()} for a in BANKS]}
    (HERE / "phase.pcrlock").write_text(json.dumps({"records": [record]}) + "\n")
    cel = [{"recnum": 0, **record, "content_type": "pcclient_std", "content": {"event_type": "EV_IPL"}}]
    (HERE / "cel.json").write_text(json.dumps(cel, indent=2) + "\n")
    expected["phase"] = {a: {"11": extend(a, bytes(hashlib.new(a).digest_size), digest(a, b"ready")).hex()} for a in BANKS}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
