#!/bin/sh
# Installs the Debian packages that are missing for the groups named, and says which and why.
# usage: scripts/packages.sh build|demo|test|capture...
set -eu

# need PROGRAM PACKAGE WHY
need() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || want "$2" "$3"
}

# want PACKAGE WHY
want() {
    case " $missing " in *" $1 "*) return 0 ;; esac
    missing="$missing $1"
    echo "  $1: $2"
}

# look GROUP...: sets `missing`
look() {
    missing=
    for group in "$@"; do
        case $group in
        build)
            need cc build-essential "compiles the C parts of dependencies (SQLite, AWS-LC)"
            ;;
        demo)
            need qemu-system-x86_64 qemu-system-x86 "runs the virtual machines"
            need swtpm swtpm "is the TPM of each machine"
            need swtpm_setup swtpm-tools "makes TPMs with endorsement keys"
            need mformat mtools "fills boot disks without root"
            need dpkg-deb dpkg "unpacks the signed boot chain"
            need gzip gzip "packs the initramfs"
            need xz xz-utils "unpacks kernel modules"
            ;;
        test)
            need tpm2_eventlog tpm2-tools "is the second opinion on event logs and quotes"
            need openssl openssl "makes certificates for tests"
            need python3 python3 "runs checks that are independent of our code"
            need mformat mtools "makes FAT file systems for tests of disk images"
            need prometheus-alertmanager prometheus-alertmanager "is told of alerts in tests"
            /usr/bin/python3 -c "import aiosmtpd" 2>/dev/null || want python3-aiosmtpd "is the mail server of tests"
            need mke2fs e2fsprogs "makes ext4 file systems for tests of disk images"
            need virsh libvirt-clients "lists virtual machines of libvirt's driver for tests"
            need promtool prometheus "loads the alert rules and scrapes the service in a test"
            need qemu-img qemu-utils "makes qcow2 images for tests of disk images"
            if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
                want postgresql "is the second database of every store test"
            fi
            ;;
        capture)
            need openssl openssl "makes signing keys"
            need sbsign sbsigntool "signs boot loader and unified kernel image"
            need gcc gcc "compiles the lab's EFI program"
            need objcopy binutils "builds the unified kernel image and that program"
            need python3 python3 "runs virt-firmware, which edits firmware variables"
            need qemu-system-aarch64 qemu-system-arm "runs the machine with U-Boot"
            need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu "builds U-Boot with variables inside it"
            need dpkg-source dpkg-dev "unpacks the source of U-Boot"
            need bison bison "builds the configuration of U-Boot"
            need flex flex "builds the configuration of U-Boot"
            need bc bc "builds U-Boot"
            [ -e /usr/include/openssl/evp.h ] || want libssl-dev "builds the tools of U-Boot"
            python3 -m pip --version >/dev/null 2>&1 || want python3-pip "installs virt-firmware into the cache"
            ;;
        *)
            echo "unknown group $group: build, demo, test or capture" >&2
            exit 2
            ;;
        esac
    done
}

look "$@"
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || {
    echo "these packages are missing, and there is no apt-get to install them" >&2
    exit 1
}
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "installing them needs root: apt-get install$missing" >&2
        exit 1
    }
    sudo=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
# Twice: where a package of another version was installed by hand, installing its neighbour can remove it.
for _ in once again; do
    echo "installing:$missing"
    # shellcheck disable=SC2086
    $sudo apt-get install -q -y --no-install-recommends $missing
    look "$@"
    [ -n "$missing" ] || exit 0
done
echo "still missing after they were installed:$missing" >&2
exit 1
