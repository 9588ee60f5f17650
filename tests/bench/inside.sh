#!/usr/bin/env bash
# What is measured inside the private world. Writes rows of a Markdown table to the file named.
set -eEuo pipefail
rows=$1
bench=/opt/world/pam-bench
many=100000
# People with a grant, and people without; each has a limit on how often they may ask at once.
users=user,3001,20
guests=guest,3101,20
pam=/opt/bench/pam

die() { echo "bench: $*" >&2; tail -n 5 /var/log/bench-*.log >&2 2>/dev/null || true; exit 1; }
trap 'die "failed at line $LINENO"' ERR
say() { echo "bench: $*" >&2; }

# Until something answers; $1 is what to say if it does not.
wait_for() {
    local what=$1 _
    shift
    for _ in $(seq 500); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.02
    done
    die "$what does not answer"
}

# A folder of PAM files with one account line: NAME LINE...
stack() {
    local dir=$pam/$1 file
    shift
    mkdir -p "$dir"
    for file in sudo other; do
        echo "account required $*" >"$dir/$file"
    done
}

# Configuration, grants and places of one agent: NAME DURABLE
agent_files() {
    local dir=/mnt/$1
    mkdir -p "$dir/grants.d"
    cat >"$dir/agent.toml" <<TOML
[agent]
host = "web1"
local_grants = true
[service.sudo]
mode = "enforce"
grant = true
mfa = "none"
[audit]
durable = $2
TOML
    grants 20 >"$dir/grants.d/mine.toml"
    stack "$1" "pam_jit.so socket=/run/bench/$1/agent.sock"
}

people() {
    local n
    for n in $(seq 20); do
        echo "user$n:x:$((3000 + n)):100::/home/user$n:/bin/bash"
        echo "guest$n:x:$((3100 + n)):100::/home/guest$n:/bin/bash"
    done >>/etc/passwd
}

# So many grants, each another person's.
grants() {
    local until
    until=$(date -u -d '+20 hours' +%Y-%m-%dT%H:%M:%SZ)
    awk -v many="$1" -v until="$until" 'BEGIN {
        for (n = 1; n <= many; n++)
            printf "[[grant]]\nid = \"inc-%d\"\nuser = \"user%d\"\nservices = [\"sudo\"]\n" \
                "run_as = [\"root\"]\nhosts = [\"web*\"]\nnot_after = %s\nmfa = \"none\"\n" \
                "reason = \"INC-%d failover\"\napproved_by = [\"carol\"]\n\n",
                n, n, until, n
    }'
}

agent_words() {
    echo "--config /mnt/$1/agent.toml --grants /mnt/$1/grants.d --state /mnt/$1/state --run /run/bench/$1"
}

agents=()
start_agent() {
    # shellcheck disable=SC2046 # words on purpose
    env -i PATH=/usr/sbin:/usr/bin /usr/local/sbin/jit-agentd $(agent_words "$1") \
        </dev/null >"/var/log/bench-$1.log" 2>&1 &
    agents+=($!)
    wait_for "the agent $1" $bench --rounds 1 "x=$pam/$1,$users"
}

ldap() {
    local dir=/opt/bench/ldap
    mkdir -p $dir/db /run/nslcd
    cat >$dir/slapd.conf <<'CONF'
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile /run/slapd.pid
database mdb
suffix "dc=example,dc=org"
rootdn "cn=admin,dc=example,dc=org"
directory /opt/bench/ldap/db
index objectClass,uid,uidNumber eq
CONF
    slapadd -q -f $dir/slapd.conf <<LDIF
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

$(for n in $(seq 20); do
    printf '%s\n' "dn: uid=user$n,ou=people,dc=example,dc=org" \
        'objectClass: account' 'objectClass: posixAccount' 'objectClass: shadowAccount' \
        "uid: user$n" "cn: user$n" "uidNumber: $((3000 + n))" 'gidNumber: 100' \
        "homeDirectory: /home/user$n" 'loginShell: /bin/bash' ''
done)
LDIF
    # -d 0 keeps it in the foreground.
    slapd -f $dir/slapd.conf -h ldap://127.0.0.1/ -d 0 >/var/log/bench-slapd.log 2>&1 &
    wait_for slapd ldapsearch -x -H ldap://127.0.0.1/ -b dc=example,dc=org uid=user1
    install -m 600 /dev/null /etc/nslcd.conf
    cat >/etc/nslcd.conf <<'CONF'
uid nslcd
gid nslcd
uri ldap://127.0.0.1/
base dc=example,dc=org
CONF
    chown nslcd:nslcd /run/nslcd
    nslcd 2>/var/log/bench-nslcd.log
    stack ldap /opt/world/pam_ldap.so
    wait_for nslcd $bench --rounds 1 x=$pam/ldap,$users
}

say "the stacks to compare"
# /dev/log is rsyslogd's here, as on a machine; the world's own agent is not needed.
agentctl stop
people
mkdir -p /run/bench
stack permit pam_permit.so
stack exec pam_exec.so quiet /bin/true
stack echo /opt/world/pam_echo.so /run/bench/echo.sock
$bench --echo /run/bench/echo.sock &
agents+=($!)
wait_for "the echo" $bench --rounds 1 "x=$pam/echo,$users"
ldap
agent_files light false
agent_files durable true
agent_files crowded false
grants $many >/mnt/crowded/grants.d/many.toml
rm /mnt/crowded/grants.d/mine.toml
for agent in light durable crowded; do start_agent $agent; done

say "whole transactions, $ROUNDS rounds"
$bench --rounds "$ROUNDS" --concurrent "$CONCURRENT" \
    "pam_permit=$pam/permit,$users" \
    "pam_jit, durable = false=$pam/light,$users" \
    "pam_jit, durable = false, refused=$pam/light,$guests,refused" \
    "pam_jit, durable = false, among $many grants=$pam/crowded,$users" \
    "pam_jit, durable = true=$pam/durable,$users" \
    "nslcd with slapd (pam_ldap)=$pam/ldap,$users" \
    "pam_exec /bin/true=$pam/exec,$users" \
    "a bare echo over a unix socket=$pam/echo,$users" >"$rows"

kill "${agents[@]}"
wait "${agents[@]}" || true
say "starting with $many grants in local files"
start() {
    # shellcheck disable=SC2046 # words on purpose
    $bench --start "$2" "$pam/$1,$users" /usr/local/sbin/jit-agentd $(agent_words "$1")
}
{
    echo "| **jit-agentd, from its start to the right answer** | median | p99 | RSS, PSS |"
    start light "20 grants"
    start crowded "$many grants in local files"
} >>"$rows"

say "starting with $many grants in a bundle"
(
    cd /mnt
    umask 077
    jit policy keygen --out key >public
    grep -o 'ed25519:[A-Za-z0-9+/=]*' public >public.key
    jit policy sign --key key --realm bench --host web1 --expires 24h -o bundle.json crowded/grants.d/many.toml
) >/dev/null 2>/var/log/bench-bundle.log
agent_files bundled false
rm /mnt/bundled/grants.d/mine.toml
sed -i '/^local_grants/d' /mnt/bundled/agent.toml
cat >>/mnt/bundled/agent.toml <<TOML
[policy]
realm = "bench"
url = "file:///mnt/bundle.json"
trusted_keys = ["$(cat /mnt/public.key)"]
TOML
# The first start fetches it; what is measured are those after it.
agents=()
start_agent bundled
kill "${agents[@]}"
wait "${agents[@]}" || true
start bundled "$many grants in a bundle" >>"$rows"
