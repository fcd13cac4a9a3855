#!/bin/sh
# Fuzzes every target for SECONDS_EACH (60) seconds. Needs cargo-fuzz: cargo install cargo-fuzz --locked
set -eu
cd "$(dirname "$0")/.."
cargo fuzz --version >/dev/null 2>&1 || {
    echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked" >&2
    exit 1
}
found=
for folder in fuzz crates/*/fuzz; do
    [ -f "$folder/Cargo.toml" ] || continue
    for target in $(RUSTC_BOOTSTRAP=1 cargo fuzz list --fuzz-dir "$folder"); do
        found=yes
        echo "== $folder: $target"
        RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir "$folder" "$target" -- -max_total_time="${SECONDS_EACH:-60}"
    done
done
[ -n "$found" ] || echo "there are no fuzz targets"
