"""The scenes. Exit code 0 only if everything went as told."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.support.demo.stage import Client, Differs, StandInProcess, expect, heading, say, show
from tests.support.mirror import MirrorProcess

HERE = Path(__file__).parent
MODEL = "acme/tiny-bert"
QUANT = "quantbarn/solid-7b-merge-GGUF"


def refusals_on_the_hub(client: Client) -> None:
    """Lineage, another spelling, a publisher, a file type."""
    heading("Hugging Face: what is permitted, and what is not")
    say(f"{MODEL} is permitted, except for its pickle file, which is left out and announced.")
    said = client.hf(MODEL)
    files = client.files(MODEL)
    expect(f"{len(files)} files arrived, model.safetensors among them", said.code == 0 and "model.safetensors" in files)
    expect("pytorch_model.bin is not among them", "pytorch_model.bin" not in files)
    say("Asked for by name, the pickle file is refused, and the client prints why.")
    said = client.hf(MODEL, "pytorch_model.bin")
    expect("refused by the rule 'pickle'", said.code != 0 and "'pickle'" in said.flat)
    say(
        f"{QUANT} is published by an account of which nobody knows anything. But its card says what it was made from, "
        "and three steps up stands a model of Globex Labs, seated in Antarctica by our sample catalogue."
    )
    said = client.hf(QUANT)
    expect("refused by 'origin-aq', with the whole path", said.code != 0 and "'origin-aq'" in said.flat and "globex/solid-7b" in said.flat)
    say("Another spelling of the same name does not help.")
    said = client.hf("QuantBarn/SOLID-7B-merge-gguf")
    expect("refused by 'origin-aq' as well", said.code != 0 and "'origin-aq'" in said.flat)
    say("A publisher is refused as the company it is, not as one account's name.")
    said = client.hf("umbrella/orphan")
    expect("refused by 'pub-umbrella'", said.code != 0 and "'pub-umbrella'" in said.flat)


def refusals_on_the_index(client: Client) -> None:
    """A fresh release, a pinned one, a name."""
    heading("PyPI: the same mirror, the same policy")
    say("acme-app needs acme-lib, whose newest release is a day old. pip takes the one before by itself.")
    said = client.pip("acme-app")
    wheels = client.wheels()
    expect("pip got acme_lib-1.1, not 2.1", said.code == 0 and any("acme_lib-1.1" in name for name in wheels))
    expect("the fresh release is not here", not any("acme_lib-2.1" in name for name in wheels))
    say("Whoever pins the fresh release is told what holds it, and until when.")
    said = client.pip("acme-lib==2.1")
    expect("held by the rule 'cool-off'", said.code != 0 and "cool-off" in said.flat)
    say("And a name that the policy denies:")
    said = client.pip("evil-thing")
    expect("refused by the rule 'names'", said.code != 0 and "names" in said.flat)


def the_record(mirror: MirrorProcess, scratch: Path) -> None:
    """What the ledger holds, and that it shows a change."""
    heading("The record")
    say("Every decision is in the ledger; a refusal was there before the client saw it.")
    print("\n  $ mirror ledger tail -n 12", flush=True)
    show(mirror.command("ledger", "tail", "-n", "12").stdout)
    rules = {rule["id"] for event in mirror.events() for rule in (event.get("decision") or {}).get("rules", ())}
    wanted = {"origin-aq", "pub-umbrella", "pickle", "names", "cool-off"}
    expect("all five rules are on the record", wanted <= rules)
    print("\n  $ mirror ledger verify", flush=True)
    verified = mirror.command("ledger", "verify", check=False)
    show(verified.stdout + verified.stderr)
    expect("the chain is whole", verified.returncode == 0)
    say("Now the same on a copy in which one byte of one record was changed.")
    copy = scratch / "tampered"
    shutil.copytree(mirror.folder / "data" / "ledger", copy)
    segment = next(path for path in sorted(copy.iterdir()) if b"origin-aq" in path.read_bytes())
    raw = segment.read_bytes()
    segment.chmod(0o600)
    segment.write_bytes(raw.replace(b"origin-aq", b"origin-xx", 1))
    # A configuration of its own, so that the running mirror's is not touched.
    (mirror.folder / "tampered.yaml").write_text(f"data: {scratch / 'nothing'}\nledger: {{path: {copy}}}\n", encoding="utf-8")
    print("\n  $ mirror -c tampered.yaml ledger verify", flush=True)
    verified = mirror.command("-c", str(mirror.folder / "tampered.yaml"), "ledger", "verify", check=False)
    show((verified.stdout + verified.stderr).replace(str(scratch), ""))
    expect("the change was found", verified.returncode == 1)


def the_outage(mirror: MirrorProcess, stand_in: StandInProcess, scratch: Path) -> None:
    """The hub is killed; a new machine with an empty cache asks."""
    heading("The hub goes away")
    stand_in.kill()
    expect("hub, CDN, index and file host are dead", stand_in.gone())
    say("A new machine, nothing in its own cache, asks for what was fetched before.")
    client = Client(scratch / "second", mirror.url)
    said = client.hf(MODEL)
    expect("the model came from the mirror's cache", said.code == 0 and "model.safetensors" in client.files(MODEL))
    said = client.pip("--no-deps", "acme-lib")
    expect("so did the package", said.code == 0 and any("acme_lib-1.1" in name for name in client.wheels()))
    say("What was denied stays denied.")
    said = client.hf(QUANT)
    expect("refused by 'origin-aq'", said.code != 0 and "'origin-aq'" in said.flat)


def the_policy_changes(mirror: MirrorProcess, scratch: Path) -> None:
    """A slip is named and changes nothing; a rule applies to what is cached."""
    heading("The policy changes while the mirror runs")
    good = mirror.policy_path.read_text(encoding="utf-8")
    rule = f'  - {{id: withdrawn, when: {{artifact: "pkg:huggingface/{MODEL}"}}, effect: deny, reason: "withdrawn by the review board"}}\n'
    changed = good.replace("tests:\n", rule + "tests:\n", 1)
    say("Somebody withdraws the model, and mistypes two keys. Both are named, with their places; the rules in force stay.")
    mirror.policy_path.write_text(changed.replace("effect: deny, reason", "efect: deny, raeson"), encoding="utf-8")
    print("\n  $ mirror policy check", flush=True)
    checked = mirror.command("policy", "check", check=False)
    show((checked.stdout + checked.stderr).replace(str(mirror.folder) + "/", ""))
    expect("unusable input: exit code 2", checked.returncode == 2)
    deadline = time.monotonic() + 10
    while not (state := mirror.get("/-/health/ready").json())["policy"]["problems"] and time.monotonic() < deadline:
        time.sleep(0.1)
    expect("the running mirror has seen it, and is ready with the last good policy", state["policy"]["problems"] > 0)
    say("Then it is written as it was meant. The model lies in the cache, and is denied all the same.")
    mirror.set_policy(changed)
    said = Client(scratch / "third", mirror.url).hf(MODEL)
    expect("refused by 'withdrawn'", said.code != 0 and "'withdrawn'" in said.flat)


def play(scratch: Path) -> None:
    """All scenes, in order."""
    stand_in = StandInProcess()
    try:
        for name in ("policy.yaml", "publishers.yaml"):
            (scratch / "mirror").mkdir(exist_ok=True)
            shutil.copy(HERE / name, scratch / "mirror" / name)
        config = {"hubs": stand_in.hubs(), "catalogue": ["builtin", "publishers.yaml"]}
        policy = (HERE / "policy.yaml").read_text(encoding="utf-8")
        mirror = MirrorProcess(scratch / "mirror", config, policy).start()
        try:
            heading("A stand-in hub and index, the mirror, and five rules; no network")
            say(f"The mirror is at {mirror.url}. Its policy is tests/support/demo/policy.yaml.")
            client = Client(scratch / "first", mirror.url)
            refusals_on_the_hub(client)
            refusals_on_the_index(client)
            the_record(mirror, scratch)
            the_outage(mirror, stand_in, scratch)
            the_policy_changes(mirror, scratch)
            expect("the mirror ends in good order", mirror.stop() == 0)
        finally:
            mirror.kill()
    finally:
        stand_in.kill()


def main() -> int:
    """Play, and say how it went."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="entrepot-demo-") as folder:
        try:
            play(Path(folder))
        except (Differs, AssertionError) as differs:
            print(f"\nNOT as told: {differs}", file=sys.stderr)
            return 1
    print(f"\nEverything went as told, in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
