#!/bin/busybox sh
# First process of a lab machine. Runs the job that the host left in fw_cfg and reports on the second serial
# port, line by line:
#   @@ step NAME        a command starts
#   @@ file NAME BYTES  base64 lines follow, then @@ end NAME
#   @@ exit NAME CODE   the command ended
#   @@ done             the job ended
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t tmpfs tmp /tmp

while read -r module; do
    insmod "/lib/modules/$module" || echo "cannot load $module"
done </lib/modules/order

ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2

stty -F /dev/ttyS1 raw -echo
exec 9>/dev/ttyS1
# Firmware may have left half a line.
echo >&9

LOG=/sys/kernel/security/tpm0/binary_bios_measurements

report() {
    echo "@@ $*" >&9
}

# send NAME FILE: gives a file to the host.
send() {
    report file "$1" "$(wc -c <"$2")"
    base64 "$2" >&9
    report end "$1"
}

# step NAME COMMAND...: runs a command; its output and exit code go to the host.
step() {
    name=$1
    shift
    report step "$name"
    "$@" >"/tmp/$name.out" 2>"/tmp/$name.err"
    code=$?
    send "$name.out" "/tmp/$name.out"
    send "$name.err" "/tmp/$name.err"
    report exit "$name" "$code"
    return "$code"
}

# flip FILE OFFSET: inverts the lowest bit of one byte.
flip() {
    byte=$(dd if="$1" bs=1 skip="$2" count=1 2>/dev/null | od -An -tu1)
    printf "\\$(printf %o $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# edit_log OUT: a copy of the event log with one byte changed: the last byte of the digest of the event that
# holds the kernel command line. In TCG_PCR_EVENT2 the digests end right before eventSize (4 bytes) and event.
edit_log() {
    cat "$LOG" >"$1"
    text=$(strings -t d -n 8 "$1" | grep 'kernel_cmdline: ' | tail -n 1 | awk '{print $1}')
    [ -n "$text" ] || return 1
    flip "$1" $((text - 5))
}

# wait_port PORT: until somebody listens on this TCP port (state 0A in /proc/net/tcp).
wait_port() {
    tries=0
    until grep -q "$(printf ':%04X 00000000:0000 0A' "$1")" /proc/net/tcp; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || return 1
        usleep 100000
    done
}

# read_pcrs: every active bank as the kernel reads it from the TPM, one `BANK INDEX HEX` per line.
read_pcrs() {
    for bank in /sys/class/tpm/tpm0/pcr-*; do
        for pcr in "$bank"/*; do
            echo "${bank##*/pcr-} ${pcr##*/} $(tr A-F a-f <"$pcr")"
        done
    done
}

# State survives reboots as a tar on the second disk.
mkdir -p /state
tar -xf /dev/vdb -C /state 2>/dev/null
chmod 700 /state

report start "$(cut -d' ' -f1 /proc/uptime)"
cat /sys/firmware/qemu_fw_cfg/by_name/opt/veriboot/job/raw >/tmp/job
. /tmp/job

tar -cf /dev/vdb -C /state .
sync
report done
usleep 100000
poweroff -f
