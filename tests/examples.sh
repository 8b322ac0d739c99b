#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Runs the examples as their --help says, between two hosts.
n=0 failed=0
check() { # NAME COMMAND...
	n=$((n + 1))
	name=$1
	shift
	if "$@" >/tmp/examples.out 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		failed=$((failed + 1))
		sed 's/^/# /' /tmp/examples.out
	fi
}

head -c 32 /dev/urandom >/tmp/secret
head -c 32 /dev/urandom >/tmp/other
servers=
serve() { ip netns exec h2 "$@" >/tmp/server.out 2>&1 & servers="$servers $!"; sleep 0.5; }

sizes="1 64 1500 65536 1000000"
serve echo_server 99
serve echo_server -6 98
serve echo_server -s /tmp/secret 97
serve echo_server -6 -s /tmp/secret 96
serve uring_server 95
serve uring_server -6 -s /tmp/secret 94
# shellcheck disable=SC2086
{
	check "echo, plain, IPv4" ip netns exec h1 echo_client 10.0.0.2 99 $sizes
	check "echo, plain, IPv6" ip netns exec h1 echo_client fd00::2 98 $sizes
	check "echo, sealed, IPv4" ip netns exec h1 echo_client -s /tmp/secret 10.0.0.2 97 $sizes
	check "echo, sealed, again" ip netns exec h1 echo_client -s /tmp/secret 10.0.0.2 97 $sizes
	check "echo, sealed, IPv6" ip netns exec h1 echo_client -s /tmp/secret fd00::2 96 $sizes
	check "io_uring, plain" ip netns exec h1 uring_client 10.0.0.2 95 200 5000
	check "io_uring, sealed" ip netns exec h1 uring_client -s /tmp/secret fd00::2 94 200 5000
	check "io_uring client, other server" ip netns exec h1 uring_client 10.0.0.2 99 50 100000
	check "io_uring server, other client" ip netns exec h1 echo_client 10.0.0.2 95 $sizes
}
says() { # TEXT COMMAND...
	text=$1
	shift
	"$@" >/tmp/said 2>&1
	status=$?
	cat /tmp/said
	grep -q "$text" /tmp/said && return "$status"
}
check "without a key: refused" says "^without a key: Required key not available" \
	ip netns exec h1 rekey_client -s /tmp/secret 10.0.0.2 97 1
check "rekey, IPv4" says "^2000 requests answered, with 19 new" ip netns exec h1 rekey_client -s /tmp/secret 10.0.0.2 97
check "rekey, IPv6" says "^2000 requests answered, with 19 new" ip netns exec h1 rekey_client -s /tmp/secret fd00::2 96
must_fail() { ! "$@"; }
check "plain request to a sealed server fails" must_fail ip netns exec h1 echo_client 10.0.0.2 97
check "wrong secret fails" must_fail ip netns exec h1 echo_client -s /tmp/other 10.0.0.2 97
check "nobody there fails" must_fail ip netns exec h1 echo_client 10.0.0.2 4321
for program in echo_server echo_client uring_server uring_client rekey_client; do
	check "$program -h" $program -h
	check "$program without arguments fails" must_fail $program
done
# shellcheck disable=SC2086
kill $servers
echo "1..$n"
exit $((failed != 0))
