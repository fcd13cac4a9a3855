#!/usr/bin/env python3
"""Writes the log of a Windows machine that does not exist: layout as Windows writes it, every value made up.

Independent of the engine (Python's hashes, openssl for the certificates, whose keys are thrown away). The file that it
writes is part of the repository; docs/log-formats.md shows what `veriboot log show` makes of it.
"""
import hashlib
import json
import pathlib
import struct
import subprocess
import tempfile
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ACTION, EVENT_TAG, SEPARATOR, NO_ACTION, COMPACT_HASH = 0x80000007, 6, 4, 3, 12
VARIABLE, VARIABLE_BOOT, APPLICATION, AUTHORITY, GPT = 0x80000001, 0x80000002, 0x80000003, 0x800000E0, 0x80000006
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
DATABASE = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f").bytes_le
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072").bytes_le
SHA256_LIST = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328").bytes_le
OWNER = uuid.UUID("7c0ffee0-0000-4000-8000-000000000001").bytes_le


def sha256(data):
    return hashlib.sha256(data).digest()


def utf16(text):
    return text.encode("utf-16-le")


def certificate(name):
    with tempfile.TemporaryDirectory() as folder:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", f"{folder}/key", "-out", f"{folder}/crt", "-outform", "DER", "-days", "5000"]
        subprocess.run(command + ["-subj", f"/O=Example/CN={name}"], check=True, capture_output=True)
        return pathlib.Path(folder, "crt").read_bytes()


def signature_list(kind, entries):
    size = 16 + len(entries[0])
    body = b"".join(OWNER + e for e in entries)
    return kind + struct.pack("<III", 28 + len(body), 0, size) + body


def variable(vendor, name, data):
    return vendor + struct.pack("<QQ", len(name), len(data)) + utf16(name) + data


def path(file):
    name = utf16(file + "\0")
    return struct.pack("<BBH", 4, 4, 4 + len(name)) + name + b"\x7f\xff\x04\0"


def image(file):
    where = path(file)
    return struct.pack("<QQQQ", 0, 0, 0, len(where)) + where


def tagged(number, data):
    return struct.pack("<II", number, len(data)) + data


def flag(number, value):
    return tagged(number, bytes([value]))


def number(tag, value):
    return tagged(tag, struct.pack("<Q", value))


def module(file, publisher):
    return tagged(
        0x40010003,
        tagged(0x00070001, utf16(file + "\0"))
        + number(0x00070002, 0x1000)
        + number(0x00070003, 0x800C)
        + tagged(0x00070004, sha256(file.encode()))
        + flag(0x0007000A, 1)
        + tagged(0x00070005, utf16("Example Windows CA\0"))
        + tagged(0x00070008, utf16(publisher + "\0")),
    )


class Log:
    def __init__(self):
        spec = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, 1) + struct.pack("<HHB", 0x0B, 32, 0)
        self.bytes = struct.pack("<II", 0, NO_ACTION) + bytes(20) + struct.pack("<I", len(spec)) + spec
        # The firmware's root of trust started the TPM at locality 3.
        self.registers = {0: bytes(31) + b"\x03"}

    def event(self, pcr, kind, data, measured=None):
        digest = sha256(data if measured is None else measured)
        if kind == NO_ACTION:
            digest = bytes(32)
        else:
            self.registers[pcr] = sha256(self.registers.get(pcr, bytes(32)) + digest)
        self.bytes += struct.pack("<III", pcr, kind, 1) + struct.pack("<H", 0x0B) + digest
        self.bytes += struct.pack("<I", len(data)) + data


def main():
    platform, exchange = certificate("Example Platform Key"), certificate("Example Key Exchange CA 2023")
    production = certificate("Example Windows Production CA 2023")
    log = Log()
    log.event(0, NO_ACTION, b"StartupLocality\0\x03")
    log.event(0, 8, utf16("EXAMPLE-FW 2.14.0\0"))
    log.event(7, VARIABLE, variable(GLOBAL, "SecureBoot", b"\x01"))
    log.event(7, VARIABLE, variable(GLOBAL, "PK", signature_list(X509, [platform])))
    log.event(7, VARIABLE, variable(GLOBAL, "KEK", signature_list(X509, [exchange])))
    log.event(7, VARIABLE, variable(DATABASE, "db", signature_list(X509, [production])))
    revoked = [sha256(b"revoked %d" % i) for i in range(3)]
    log.event(7, VARIABLE, variable(DATABASE, "dbx", signature_list(SHA256_LIST, revoked)))
    log.event(7, SEPARATOR, bytes(4))
    order = struct.pack("<H", 4)
    log.event(1, VARIABLE_BOOT, variable(GLOBAL, "BootOrder", order), order)
    where = path("\\EFI\\Microsoft\\Boot\\bootmgfw.efi")
    entry = struct.pack("<IH", 1, len(where)) + utf16("Windows Boot Manager\0") + where
    log.event(1, VARIABLE_BOOT, variable(GLOBAL, "Boot0004", entry), entry)
    log.event(4, ACTION, b"Calling EFI Application from Boot Option")
    for pcr in [0, 1, 2, 3, 4, 5, 6]:
        log.event(pcr, SEPARATOR, bytes(4))
    log.event(7, AUTHORITY, variable(DATABASE, "db", OWNER + production))
    log.event(4, APPLICATION, image("\\EFI\\Microsoft\\Boot\\bootmgfw.efi"), b"boot manager")
    boundary = number(0x00020002, 117) + flag(0x00040001, 0)
    boundary += tagged(0x00040002, struct.pack("<QIH", 1, 32, 0x0B) + sha256(b"revocation list"))
    boundary += module("\\EFI\\Microsoft\\Boot\\bootmgfw.efi", "Example Windows")
    boundary += number(0x00020005, 1)
    log.event(12, EVENT_TAG, tagged(0x40010001, boundary))
    loader = flag(0x00050002, 1) + flag(0x00050003, 0) + flag(0x00050021, 0) + flag(0x00050001, 0)
    loader += flag(0x00050005, 0) + flag(0x00050006, 0) + number(0x00050004, 1)
    loader += number(0x0005000A, 1) + number(0x00050012, 1) + number(0x0005000E, 1)
    loader += tagged(0x00050009, utf16("\\Windows\0")) + flag(0x000A0001, 1) + number(0x000A0007, 1)
    log.event(12, EVENT_TAG, tagged(0x40010001, loader))
    modules = ["winload.efi", "ntoskrnl.exe", "hal.dll", "ci.dll", "hvix64.exe", "securekernel.exe"]
    for file in modules:
        log.event(13, EVENT_TAG, tagged(0x40010001, module(f"\\Windows\\System32\\{file}", "Example Windows")))
    elam = tagged(0x40010002, tagged(0x00090001, utf16("Example Anti-Malware\0")) + tagged(0x00090003, bytes(32)))
    log.event(13, EVENT_TAG, tagged(0x40010001, module("\\Windows\\System32\\drivers\\exav.sys", "Example Anti-Malware")))
    log.event(13, EVENT_TAG, tagged(0x40010001, elam))
    for pcr in [12, 13, 14]:
        log.event(pcr, SEPARATOR, b"WBCL")
    log.event(5, ACTION, b"Exit Boot Services Invocation")
    log.event(5, ACTION, b"Exit Boot Services Returned with Success")
    # Windows ends its log with events that are not extended.
    log.event(0xFFFFFFFF, NO_ACTION, tagged(0x40010001, number(0x00020006, 119)))
    (HERE / "windows.bin").write_bytes(log.bytes)
    registers = {str(pcr): value.hex() for pcr, value in sorted(log.registers.items())}
    (HERE / "registers.json").write_text(json.dumps(registers, indent=1) + "\n")


if __name__ == "__main__":
    main()
