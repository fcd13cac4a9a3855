#!/bin/sh
# Installs the Veriboot agent and starts it. Run as root:
#   install.sh [--join-token TOKEN] [--name NAME] [--no-start]
# Running it again updates the agent and keeps its identity; a VM that is enrolled needs no join token.
# DESTDIR=/path installs into an image: nothing is started and root is not needed.
set -eu

server='@SERVER@'
architecture='@ARCHITECTURE@'
sha256='@SHA256@'
pin='@PIN@'
ca_pem='@CA_PEM@'

fail() {
    echo "veriboot: $1" >&2
    if [ -n "${2:-}" ]; then echo "hint: $2" >&2; fi
    exit 1
}

fetch() { # URL FILE
    if command -v curl >/dev/null 2>&1; then
        if [ -n "$ca_pem" ]; then
            curl -fsS --retry 3 --cacert "$work/ca.pem" -o "$2" "$1"
        else
            curl -fsSk --retry 3 --pinnedpubkey "sha256//$pin" -o "$2" "$1"
        fi
    elif command -v wget >/dev/null 2>&1; then
        if [ -n "$ca_pem" ]; then
            wget -q --ca-certificate="$work/ca.pem" -O "$2" "$1"
        else
            wget -q -O "$2" "$1"
        fi
    else
        fail "neither curl nor wget is installed" "install curl, then run this again"
    fi
}

# put MODE SOURCE TARGET: the target is the old file or the new one, never half of it.
put() {
    cp "$2" "$3.new"
    chmod "$1" "$3.new"
    mv -f "$3.new" "$3"
}

main() {
    join_token=''
    name=''
    start=yes
    root=${DESTDIR:-}
    while [ $# -gt 0 ]; do
        case $1 in
            --join-token) [ $# -ge 2 ] || fail "--join-token needs a value"; join_token=$2; shift 2 ;;
            --name) [ $# -ge 2 ] || fail "--name needs a value"; name=$2; shift 2 ;;
            --no-start) start=no; shift ;;
            *) fail "unknown argument: $1" "install.sh [--join-token TOKEN] [--name NAME] [--no-start]" ;;
        esac
    done
    case $join_token in *[!A-Za-z0-9_-]*) fail "the join token has characters that no join token has" ;; esac
    case $name in *[!A-Za-z0-9._-]*) fail "the name may only have letters, digits, dots, underscores and hyphens" ;; esac
    [ "$(uname -s)" = Linux ] || fail "this script is for Linux"
    [ "$(uname -m)" = "$architecture" ] ||
        fail "this machine is $(uname -m), the service hands out an agent for $architecture" \
            "ask the operator of $server for an agent for this machine"
    if [ -n "$root" ]; then
        start=no
    else
        [ "$(id -u)" = 0 ] || fail "this needs root" "run it with sudo"
    fi
    config=$root/etc/veriboot/agent.toml
    if [ -z "$join_token" ] && [ ! -e "$config" ]; then
        fail "a first install needs --join-token TOKEN" "make one with: veriboot token create"
    fi

    umask 077
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    if [ -n "$ca_pem" ]; then printf '%s\n' "$ca_pem" >"$work/ca.pem"; fi

    fetch "$server/agent/linux-$architecture" "$work/agent" ||
        fail "cannot fetch the agent from $server" "check name resolution, routes and proxy on this machine"
    echo "$sha256  $work/agent" | sha256sum -c - >/dev/null 2>&1 ||
        fail "the agent that arrived is not the one that this script is for" "fetch the install line again"

    mkdir -p "$root/usr/local/bin" "$root/etc/veriboot" "$root/etc/systemd/system"
    chmod 755 "$root/usr/local/bin" "$root/etc/systemd/system"
    put 755 "$work/agent" "$root/usr/local/bin/veriboot-agent"

    if [ -n "$ca_pem" ]; then put 644 "$work/ca.pem" "$root/etc/veriboot/ca.pem"; fi
    if [ -n "$join_token" ] || [ ! -e "$config" ]; then
        {
            echo "# Written by install.sh."
            echo "server = \"$server\""
            if [ -n "$ca_pem" ]; then echo "ca = \"/etc/veriboot/ca.pem\""; fi
            if [ -n "$join_token" ]; then echo "join-token = \"$join_token\""; fi
            if [ -n "$name" ]; then echo "name = \"$name\""; fi
        } >"$work/agent.toml"
        put 600 "$work/agent.toml" "$config"
    fi

    cat >"$work/unit" <<'UNIT'
[Unit]
Description=Veriboot guest attestation agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/local/bin/veriboot-agent --config /etc/veriboot/agent.toml
Restart=always
RestartSec=10
StateDirectory=veriboot-agent
StateDirectoryMode=0700
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
# Neither PrivateDevices nor ProtectKernelLogs: the agent reads the TPM and /dev/kmsg.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
UNIT
    put 644 "$work/unit" "$root/etc/systemd/system/veriboot-agent.service"

    if [ "$start" = no ]; then
        echo "veriboot: installed, not started"
    elif [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl enable --quiet veriboot-agent.service
        systemctl restart veriboot-agent.service
        echo "veriboot: the agent is installed and started; see: systemctl status veriboot-agent"
    else
        echo "veriboot: installed; there is no systemd here, start it with:"
        echo "  /usr/local/bin/veriboot-agent --config /etc/veriboot/agent.toml"
    fi
}

# Everything is in functions: a script that arrives half does nothing.
main "$@"
