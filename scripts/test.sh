#!/bin/sh
# Everything that must hold before a change lands. VERIBOOT_CORPUS adds the logs of other machines.
set -eu
cd "$(dirname "$0")/.."

step() {
    echo
    echo "== $*"
}

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "dependencies"
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --offline --log-level error check bans licenses sources
else
    echo "skipped: cargo-deny is not installed"
fi

step "binaries: service, CLI and static agent"
cargo xtask build

step "tests"
export VERIBOOT_MACHINES=required
if [ -z "${VERIBOOT_CORPUS:-}" ]; then
    echo "VERIBOOT_CORPUS is not set: tests on logs of other machines are skipped"
fi
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --no-fail-fast
    cargo test --workspace --doc --quiet
else
    echo "cargo-nextest is not installed: cargo test does the same, slower"
    cargo test --workspace --no-fail-fast
fi

if [ -n "${VERIBOOT_CORPUS:-}" ] && [ -f "$VERIBOOT_CORPUS/../check/replay.py" ]; then
    step "replay of logs of other machines"
    python3 "$VERIBOOT_CORPUS/../check/replay.py" target/release/veriboot
fi
