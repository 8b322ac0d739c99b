# SPDX-License-Identifier: GPL-2.0 OR MIT
"""A peer that attacks: scripts of packets that no honest peer sends, each with the rule that it tests.

The peer is this program (homawire.RawPeer); the other end is a socket of the module on the
server's side. Prints TAP, and at the end a line for each script: how many checks it made, and its rule.
"""

import argparse
import importlib
import pathlib
import socket
import sys
import traceback

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
homawire, scene = (importlib.import_module(name) for name in ("homawire", "scene"))
for name in ("plain", "replay", "nonces", "epochs", "truncation", "splice", "flips", "forged", "bounds", "flood", "recorded"):
    importlib.import_module(name)

FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}


def play(function, client, server, family):
    """Runs a script in a scene of its own; how many checks it made, and how many failed."""
    before = homawire.run, homawire.failed
    stage = scene.Scene(client, server, family)
    stage.what = f"{scene.theme(function)}.{function.__name__}"
    try:
        function(stage)
        stage.end()
    except Exception as e:     # noqa: BLE001 - a script that dies is a failed one
        homawire.ok(False, f"{stage.v} {stage.what} ends: {e!r}")
        homawire.diag(traceback.format_exc())
    stage.close()
    return homawire.run - before[0], homawire.failed - before[1]


def main():
    called = {f: {scene.theme(f), f.__name__, f"{scene.theme(f)}.{f.__name__}"} for f in scene.SCRIPTS}
    parser = argparse.ArgumentParser(prog="python3 tests/hostile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--seconds", type=int, metavar="N", help="how long `recorded` records (default: as short as it can)")
    parser.add_argument("--family", choices=FAMILIES, help="only IPv4, or IPv6")
    parser.add_argument("names", nargs="*", metavar="THEME, SCRIPT or THEME.SCRIPT", help="(default: all)")
    parser.parse_args(namespace=scene.OPTIONS)
    names = set(scene.OPTIONS.names)
    if unknown := names.difference(*called.values()):
        parser.error(f"there is no {', '.join(sorted(unknown))}: see --list")
    chosen = [f for f in called if called[f] & names] if names else scene.SCRIPTS
    if scene.OPTIONS.list:
        for function in chosen:
            print(f"{scene.theme(function):12} {function.__name__:24} {scene.rule(function)}")
        return
    families = FAMILIES.values() if scene.OPTIONS.family is None else [FAMILIES[scene.OPTIONS.family]]
    client, server = homawire.Side("HOMA_TEST_CLIENT"), homawire.Side("HOMA_TEST_SERVER")
    results = {f: [play(f, client, server, family) for family in families] for f in chosen}
    homawire.nothing_left(client, server)
    for function, of_each in results.items():
        run, failed = map(sum, zip(*of_each))
        homawire.diag(f"{'FAILED' if failed else 'ok':7} {run - failed:4} of {run:4}  {scene.theme(function)}.{function.__name__}: {scene.rule(function)}")
    homawire.end()


main()
