#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Does what README.md tells people to do: runs its commands and its program, on two hosts.

Commands that serve run on h2 and go on; all others run on h1. The verbs of make are what CI runs anyway; here they
must only exist. Compilers have run already (see Makefile), as they would take a minute in a VM. A command that this does not know is a failure, so that README.md cannot grow past it.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import time

from homawire import diag, end, ok

TOP = pathlib.Path(__file__).resolve().parent.parent


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def main():
    text = (TOP / "README.md").read_text()
    programs = blocks(text, "c")
    servers, seen = [], 0
    ok(len(programs) == 1, "there is one program")
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        (work / "target").mkdir()

        def shell(command, host):
            return subprocess.run(["ip", "netns", "exec", host, "sh", "-c", command], cwd=work, timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        for block in blocks(text, "sh"):
            for command in block.strip().splitlines():
                seen += 1
                if found := re.fullmatch(r"make( \w+)?", command):
                    verb = (found[1] or "build").strip()
                    ok(re.search(rf"^{verb}:", (TOP / "Makefile").read_text(), re.M), f"{command}: there is that verb")
                elif found := re.fullmatch(r"insmod (\S+)", command):
                    ok((TOP / found[1]).exists() and os.path.isdir("/sys/module/homa"), f"{command}: it is loaded")
                elif re.match(r"\S+_server |\./sealed server ", command):
                    with open(work / "server.log", "a") as log:
                        servers.append(subprocess.Popen(["ip", "netns", "exec", "h2", "sh", "-c", "exec " + command],
                                                        cwd=work, stdout=log, stderr=log))
                    time.sleep(1)
                    ok(servers[-1].poll() is None, f"{command}: it serves")
                elif command == "make -C examples OUT=../target/examples":
                    (work / "target/examples").symlink_to(TOP / "target/guest/examples")
                    ok((work / "target/examples/echo_client").exists(), command)
                elif command == "gcc -I include/uapi -o sealed sealed.c":
                    built = TOP / "target/guest/tests/readme"
                    ok(programs[0] == (built / "sealed.c").read_text(), "the program was compiled")
                    (work / "sealed").symlink_to(built / "sealed")
                elif re.match(r"head |\S+_client |\./sealed client ", command):
                    done = shell(command, "h1")
                    ok(done.returncode == 0, command)
                    if done.returncode:
                        diag(done.stdout)
                        diag((work / "server.log").read_text())
                    elif command.startswith("./sealed"):
                        ok(done.stdout == "It is sealed.\n", "it prints the answer")
                        ok("Is it safe?" in (work / "server.log").read_text(), "and the server the request")
                else:
                    ok(False, f"{command}: this is not tested")
        for server in servers:
            server.kill()
            server.wait()
    ok(seen >= 10, f"{seen} commands")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        ok((TOP / link).exists(), f"{link} exists")
    end()


main()
