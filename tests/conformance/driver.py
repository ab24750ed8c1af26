"""Runs many commands of one Python client, which is loaded once: each command is a process of its own, forked from here.

    CLIENT-PYTHON driver.py MODULE:FUNCTION PRELOADED,MODULES < jobs.json > said.json

A job is {name, folder, commands: [[word, ...], ...], environ}; its commands run one after the other until one fails. Only the
standard library is used: this file is run by the Python of an environment that has the client and nothing of the tests.
"""

import importlib
import json
import os
import pathlib
import sys
import time
import traceback


def forked(function, command, folder, environ, out):
    """One command in a child; everything that it writes, also below Python, goes to the file `out`. Returns its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70  # what happens below must never come back to the loop of the parent
    try:
        target = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(target, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        os.environ.update(environ)
        sys.argv = list(command)
        code = function() or 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main():
    entry, preloaded = sys.argv[1], sys.argv[2].split(",") if sys.argv[2] else []
    module, _, name = entry.partition(":")
    function = getattr(importlib.import_module(module), name)
    for one in preloaded:
        importlib.import_module(one)
    said = {}
    for job in json.load(sys.stdin):
        began, codes = time.monotonic(), []
        out = pathlib.Path(job["folder"]) / "said.txt"
        for command in job["commands"]:
            codes.append(forked(function, command, job["folder"], job["environ"], out))
            if codes[-1]:
                break
        text = out.read_text(encoding="utf-8", errors="replace") if out.exists() else ""
        said[job["name"]] = {"codes": codes, "text": text, "seconds": round(time.monotonic() - began, 2)}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
