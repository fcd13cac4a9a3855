#!/bin/sh
# Fuzzes every target for SECONDS_EACH (60) seconds, or those named as arguments. Needs cargo-fuzz:
# cargo install cargo-fuzz --locked
# Seeds are the captures of our own machines and the files of the tests; what a run finds stays in the folders corpus
# and artifacts beside the targets. Logs are cut into their events: short inputs run many times faster, and a log has
# no state that needs more than a few events. Without a sanitizer, for the same reason: all code that is fuzzed forbids
# unsafe code, so what there is to find are panics, endless loops and memory, which the fuzzer sees by itself.
set -eu
cd "$(dirname "$0")/.."
cargo fuzz --version >/dev/null 2>&1 || {
    echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked" >&2
    exit 1
}

captures=crates/testkit/corpus

# Puts the seeds of a target into a folder.
seeds() {
    into=$1
    mkdir -p "$into"
    case $2 in
    log | event_data | structures)
        cargo run -q -p veriboot-eventlog --example fuzz_seeds -- "$(dirname "$into")" "$captures"/*/eventlog.bin
        ;;
    ima) cp crates/eventlog/tests/runtime/*.bin crates/eventlog/tests/runtime/*.txt "$into" ;;
    userspace)
        cp crates/eventlog/tests/runtime/*.log crates/eventlog/tests/runtime/*.pcrlock \
            crates/eventlog/tests/runtime/cel.json "$into"
        ;;
    expression)
        sed -n 's/^expression = "\(.*\)"$/\1/p' docs/policies.md | while read -r expression; do
            printf '%s' "$expression" >"$into/$(printf '%s' "$expression" | cksum | cut -d' ' -f1)"
        done
        ;;
    boot)
        for capture in "$captures"/*/; do
            cp "$capture/eventlog.bin" "$into/$(basename "$capture")"
        done
        ;;
    quote)
        # Length of the quote in 16 bits, quote, signature.
        for capture in "$captures"/*/; do
            member() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$capture/bundle.json" | base64 -d; }
            size=$(member quote | wc -c)
            seed=$into/$(basename "$capture")
            printf "\\$(printf %03o $((size / 256)))\\$(printf %03o $((size % 256)))" >"$seed"
            member quote >>"$seed"
            member signature >>"$seed"
        done
        ;;
    key)
        for capture in "$captures"/*/; do
            sed -n 's/.*"ak_public": *"\([^"]*\)".*/\1/p' "$capture/bundle.json" | base64 -d \
                >"$into/$(basename "$capture")"
        done
        ;;
    pe)
        # Headers, sections and the start of the code: what is behind them is hashed only.
        for image in .cache/lab/packages/unpacked/*/usr/lib/systemd/boot/efi/* \
            .cache/lab/packages/unpacked/*/usr/lib/shim/*.efi.signed; do
            [ -f "$image" ] && head -c 4096 "$image" >"$into/$(basename "$image")"
        done
        ;;
    package)
        : >"$into/empty"
        (
            cd "$into" && mkdir -p boot && echo kernel >boot/vmlinuz-1 && tar -cf data.tar boot && gzip -kf data.tar &&
                echo 2.0 >debian-binary && ar rc small.deb debian-binary data.tar.gz && ar rc plain.deb debian-binary data.tar
            rm -rf boot data.tar data.tar.gz debian-binary
        )
        ;;
    disk)
        # Two small file systems: FAT with a folder, and ext4.
        head -c 40960 /dev/zero >"$into/fat"
        echo kernel >"$into/vmlinuz"
        MTOOLS_SKIP_CHECK=1 mformat -i "$into/fat" -T 80 -h 2 -s 9 :: &&
            MTOOLS_SKIP_CHECK=1 mmd -i "$into/fat" ::/EFI &&
            MTOOLS_SKIP_CHECK=1 mcopy -i "$into/fat" "$into/vmlinuz" "::/EFI/a long name.efi"
        head -c 65536 /dev/zero >"$into/ext4"
        mke2fs -q -t ext4 -b 1024 -N 16 -O ^has_journal,^resize_inode "$into/ext4" || rm -f "$into/ext4"
        rm -f "$into/vmlinuz"
        ;;
    inventory)
        for file in crates/inventory/tests/samples/*.* crates/inventory/tests/samples/libvirt/*; do
            { printf 'x' && cat "$file"; } >"$into/$(basename "$file")"
        done
        ;;
    grub)
        printf 'function f {\n  if [ x$a = xy ]; then\n    set b="${c} d"\n  fi\n}\nmenuentry "A" --id a {\n\tlinux /k ro\n}\n' \
            >"$into/config"
        ;;
    esac
}

for folder in fuzz crates/*/fuzz; do
    [ -f "$folder/Cargo.toml" ] || continue
    for target in $(RUSTC_BOOTSTRAP=1 cargo fuzz list --fuzz-dir "$folder"); do
        [ $# -eq 0 ] || case " $* " in *" $target "*) ;; *) continue ;; esac
        echo "== $folder: $target"
        seeds "target/fuzz-seeds/$target" "$target"
        mkdir -p "$folder/corpus/$target"
        case $target in
        ima) longest=1024 ;;
        pe | package) longest=16384 ;;
        disk) longest=262144 ;;
        *) longest=4096 ;;
        esac
        [ "$target" = disk ] && longest=65536
        [ "$target" = boot ] && longest=20000
        dictionary=
        for file in "$folder"/dictionaries/*.dict; do
            [ -f "$file" ] && dictionary="-dict=$file"
        done
        RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none --fuzz-dir "$folder" --target-dir target/fuzz "$target" \
            "$folder/corpus/$target" "target/fuzz-seeds/$target" -- \
            -max_total_time="${SECONDS_EACH:-60}" -max_len=$longest -print_final_stats=1 $dictionary
    done
done
