#!/usr/bin/env bash
# Records what restic really prints into testdata/<version>/<case>.{stdout,stderr,code}.
# usage: record.sh VERSION RESTIC REST_SERVER     (needs openssl; works in /tmp/restic-fixtures)
set -uo pipefail
out=$(cd "$(dirname "$0")" && pwd)/$1
restic=$2
rest_server=$3
work=/tmp/restic-fixtures
rm -rf "$work" "$out"
mkdir -p "$out" "$work"/{tmp,cache,src/dir,served,auth}
cd "$work"
echo hello >src/a
head -c 3000000 /dev/urandom >src/dir/b
ln -s a src/link

r() { env -i PATH=/usr/bin:/bin HOME="$work/tmp" TMPDIR="$work/tmp" RESTIC_PROGRESS_FPS=1 RESTIC_PASSWORD="${password:-secret}" \
  RESTIC_REPOSITORY="$repo" ${stop:+timeout -s INT "$stop"} "$restic" --json --cache-dir="$work/cache" "$@"; }
record() { # CASE ARGS...
  local name=$1; shift
  r "$@" >"$out/$name.stdout" 2>"$out/$name.stderr" </dev/null
  local code=$?
  [ -n "${stop:-}" ] && code=130
  echo $code >"$out/$name.code"
}

repo=$work/repo
record no-repository --no-lock cat config
record init-ok init
record init-existing init
record probe-ok --no-lock cat config
password=other record wrong-password --no-lock cat config
b="backup --host=h --tag=t --group-by=host,tags"
record backup-ok $b -- "$work/src"
record backup-missing $b -- "$work/src" "$work/gone" "$work/*.txt"
record backup-all-missing $b -- "$work/gone"
record backup-unreadable --verbose=2 $b -- "$work/src" /proc/self/mem
record snapshots --no-lock snapshots --host=h --tag=t
r $b -- "$work/src" >/dev/null
record restore-ok restore --target="$work/r1" --overwrite=if-changed -- latest
record restore-include restore --target="$work/r2" --overwrite=if-changed --include="$work/src/dir" -- latest
record restore-nothing restore --target="$work/r3" --overwrite=if-changed --include=/nope -- latest
record restore-dry-run restore --target="$work/r4" --overwrite=if-changed --dry-run -- latest
mkdir -p "$work/r5$work/src/a/blocks"
record restore-partial restore --target="$work/r5" --overwrite=if-changed -- latest
mkdir -p "$work/r6$work/src/a/blocks"
record restore-all-failed restore --target="$work/r6" --overwrite=if-changed --include="$work/src/a" -- latest
record restore-no-snapshot restore --target="$work/r7" -- 0123456789abcdef
echo >file
record restore-bad-target restore --target="$work/file/x" -- latest

env -i PATH=/usr/bin:/bin HOME="$work/tmp" TMPDIR="$work/tmp" RESTIC_PASSWORD=secret RESTIC_REPOSITORY="$repo" \
  "$restic" --cache-dir="$work/cache" --limit-download=1 check --read-data >/dev/null 2>&1 &
holder=$!
until [ -n "$(ls repo/locks)" ] || ! kill -0 $holder; do :; done
record locked --retry-lock=1s $b -- "$work/src"
kill -KILL $holder; wait $holder
r unlock >/dev/null

repo=$work/half
r init >/dev/null
rm "$work/half/config"
record half-initialised init

openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null
printf 'u:{SHA}%s\n' "$(printf secret | openssl dgst -sha1 -binary | base64)" >htpasswd
"$rest_server" --path served --no-auth --listen 127.0.0.1:18443 --tls --tls-cert cert.pem --tls-key key.pem >/dev/null 2>&1 & tls=$!
"$rest_server" --path auth --htpasswd-file htpasswd --listen 127.0.0.1:18080 >/dev/null 2>&1 & auth=$!
until (echo >/dev/tcp/127.0.0.1/18080) 2>/dev/null && (echo >/dev/tcp/127.0.0.1/18443) 2>/dev/null; do :; done
repo=rest:http://127.0.0.1:18080/u
record unauthorized --no-lock cat config
repo=rest:https://127.0.0.1:18443/u
stop=9 record untrusted --no-lock cat config
repo=rest:http://127.0.0.1:1/u
stop=5 record unreachable --no-lock cat config
record init-unreachable init
kill $tls $auth
rm -rf "$work"
