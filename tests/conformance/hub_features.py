"""What a user of huggingface_hub does, feature by feature; runs in the client's own Python, whichever generation that is.

    python hub_features.py '{"target": "direct" | "mirror", "home": folder, ...}'

Prints one line of JSON: {feature: {"value": ...} | {"error": class, "text": ...}, each with "asked": the requests that the
client sent, as it wrote them on its sockets}. Then it waits for a line, tries the features of an outage, and prints another.
The same calls are made wherever HF_ENDPOINT leads; only a command that is to be refused is not started twice.
"""

import datetime as dt
import enum
import glob
import hashlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time

import huggingface_hub
from huggingface_hub import HfApi, HfFileSystem, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download

GIVEN = json.loads(sys.argv[1])
ALICE, BOB, HOME = GIVEN["alice"], GIVEN["bob"], GIVEN["home"]
TINY, WEIGHTS, ODD = "acme/tiny-bert", "model.safetensors", "acme/odd-names"
VERSION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])
api = HfApi(token=False)
ONLINE, OUTAGE = [], []
# What differs by nature between two hubs, or between a hub with Xet and one without (a row of its own is about that).
VOLATILE = ("xet_hash", "xetHash", "xetEnabled", "endpoint", "_url", "_endpoint")


# --- what goes over the wire, as the client sees it -----------------------------------------------------------------------


class Wire:
    """Every request that this process writes on a socket; and a network that can lose its breath once."""

    def __init__(self):
        self.asked, self.left, self.dead = [], None, set()
        self.whole, self.part, self.receive, self.receive_into = (
            socket.socket.sendall, socket.socket.send, socket.socket.recv, socket.socket.recv_into)

    def saw(self, data):
        head = bytes(data[:8192])
        if re.match(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) ", head):
            line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            fields = {}
            for row in head.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
                name, _, value = row.decode("latin-1").partition(":")
                fields[name.lower()] = value.strip()
            self.asked.append([line[0], fields.get("host", ""), line[1], fields.get("range", ""), "authorization" in fields])

    def spent(self, connection, count):
        """Whether the network has carried all that it will; the connection then looks closed by the other side (FIN)."""
        if self.left is not None:
            self.left -= count
            if self.left <= 0:
                self.left = None
                self.dead.add(connection)
        return connection in self.dead


WIRE = Wire()


def _sendall(self, data, *more):
    WIRE.saw(data)
    return WIRE.whole(self, data, *more)


def _send(self, data, *more):
    WIRE.saw(data)
    return WIRE.part(self, data, *more)


def _recv(self, *more):
    data = b"" if self in WIRE.dead else WIRE.receive(self, *more)
    WIRE.spent(self, len(data))
    return data


def _recv_into(self, *more):
    count = 0 if self in WIRE.dead else WIRE.receive_into(self, *more)
    WIRE.spent(self, count)
    return count


socket.socket.sendall, socket.socket.send = _sendall, _send
socket.socket.recv, socket.socket.recv_into = _recv, _recv_into


class Shown(logging.Handler):
    """What a user reads on the terminal from the library's loggers."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


SHOWN = Shown()
logging.getLogger("huggingface_hub").addHandler(SHOWN)


# --- the form in which values are compared ----------------------------------------------------------------------------------


def plain(value):
    """A value as JSON: the library's objects by their attributes, dates as text."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return plain(dict(vars(value)))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def sha(path):
    return hashlib.sha256(read(path)).hexdigest()


def kept(path):
    """What a download left in the cache: the bytes' digest, the blob's name (the entity tag) and the commit."""
    place = path.split(os.sep)
    return [sha(path), os.path.basename(os.path.realpath(path)), place[place.index("snapshots") + 1]]


def tree_of(folder):
    found = {}
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".cache", ".huggingface")]
        for name in names:
            path = os.path.join(where, name)
            found[os.path.relpath(path, folder).replace(os.sep, "/")] = sha(path)
    return found


def gets():
    return sum(method == "GET" and "agent-harnesses" not in path for method, _, path, _, _ in WIRE.asked)


def feature(name, since=(0, 0), group=ONLINE):
    def take(function):
        if VERSION >= since:
            group.append((name, function))
        return function

    return take


def elsewhere(name):
    return os.path.join(HOME, "elsewhere", name)


# --- files ------------------------------------------------------------------------------------------------------------------


@feature("advice", since=(1, 0))
def _():
    get_hf_file_metadata(hf_hub_url(TINY, "config.json"), token=False)
    return "sending unauthenticated requests" in " ".join(SHOWN.lines)


@feature("small")
def _():
    return kept(hf_hub_download(TINY, "config.json"))


@feature("lfs")
def _():
    return kept(hf_hub_download(TINY, WEIGHTS))


@feature("again")
def _():
    return [sha(hf_hub_download(TINY, WEIGHTS)), sha(hf_hub_download(TINY, "config.json")), gets()]


@feature("pinned")
def _():
    commit = kept(hf_hub_download(TINY, "config.json"))[2]
    del WIRE.asked[:]
    return [kept(hf_hub_download(TINY, "config.json", revision=commit)), len(WIRE.asked)]


@feature("commit")
def _():
    return kept(hf_hub_download(TINY, "config.json", revision=GIVEN["first_commit"]))


def until_whole(name, **options):
    """A download, tried again by hand where this generation gives up after a cut: bytes, and whether a part was kept."""
    for _ in range(3):
        try:
            return [sha(hf_hub_download(name, "large.bin", **options)), sum(bool(asked[3]) for asked in WIRE.asked) > 0]
        except Exception as error:
            said = error
        finally:
            WIRE.left = None
    raise said


@feature("resume")
def _():
    hf_hub_download(GIVEN["large"], "README.md")  # what every process asks once is out of the way
    WIRE.left = 11 << 20
    return until_whole(GIVEN["large"])


@feature("hub-cuts")
def _():
    return until_whole(GIVEN["cut"])[0] == GIVEN["cut_sha"]


@feature("local-dir")
def _():
    folder = elsewhere("local")
    for name in (WEIGHTS, "config.json"):
        hf_hub_download(TINY, name, local_dir=folder)
    del WIRE.asked[:]
    hf_hub_download(TINY, WEIGHTS, local_dir=folder)
    return [tree_of(folder), gets()]


@feature("head")
def _():
    about = [get_hf_file_metadata(hf_hub_url(TINY, name), token=False) for name in (WEIGHTS, "config.json")]
    return [[one.commit_hash, one.etag, one.size] for one in about]


@feature("snapshot")
def _():
    return tree_of(snapshot_download("acme/new-name"))


@feature("snapshot-again")
def _():
    folder = snapshot_download("acme/new-name")
    return [len(tree_of(folder)), [[asked[0], asked[2]] for asked in WIRE.asked]]


@feature("verify", since=(1, 1))
def _():
    found = api.verify_repo_checksums("acme/new-name")
    return [found.revision, found.checked_count, plain(found.mismatches), plain(found.missing_paths), plain(found.extra_paths)]


@feature("snapshot-patterns")
def _():
    some = snapshot_download("globex/solid-7b", allow_patterns=["*.json", "*.txt"], ignore_patterns="vocab*")
    return tree_of(some)


@feature("snapshot-local-dir")
def _():
    return tree_of(snapshot_download("tinybert", local_dir=elsewhere("snapshot")))


@feature("dry-run", since=(1, 1))
def _():
    rows = snapshot_download("initech/mixed-up", dry_run=True)
    return sorted([row.filename, row.file_size, row.commit_hash, row.will_download] for row in rows)


@feature("names")
def _():
    return {name: sha(hf_hub_download(ODD, name)) for name in GIVEN["odd_names"]}


@feature("names-snapshot")
def _():
    return tree_of(snapshot_download(ODD))


# --- revisions and names of repositories --------------------------------------------------------------------------------------


@feature("branch")
def _():
    return kept(hf_hub_download(TINY, "notes.txt", revision="feature/x"))


@feature("tag")
def _():
    return kept(hf_hub_download(TINY, "config.json", revision="v1.0"))


@feature("pull-request")
def _():
    return kept(hf_hub_download(TINY, "proposal.txt", revision="refs/pr/1"))


@feature("convert")
def _():
    return kept(hf_hub_download("acme/reviews", "default/train/0000.parquet", revision="refs/convert/parquet", repo_type="dataset"))


@feature("short")
def _():
    return kept(hf_hub_download(TINY, "config.json", revision=GIVEN["first_commit"][:8]))


@feature("dataset")
def _():
    return [kept(hf_hub_download("acme/reviews", "data/train.csv", repo_type="dataset")),
            tree_of(snapshot_download("acme/reviews", repo_type="dataset"))]


@feature("space")
def _():
    return [kept(hf_hub_download("acme/demo", "app.py", repo_type="space")), tree_of(snapshot_download("acme/demo", repo_type="space"))]


@feature("kernel", since=(1, 0))
def _():
    return [tree_of(snapshot_download("acme/fast-kernel", repo_type="kernel")), plain(api.kernel_info("acme/fast-kernel"))]


@feature("single")
def _():
    return [kept(hf_hub_download("solid2", "config.json")), api.model_info("solid2").id,
            kept(hf_hub_download("tinybert", WEIGHTS)), api.model_info("tinybert").id]


@feature("case")
def _():
    return [kept(hf_hub_download("acme-labs/camelcase", WEIGHTS)), api.model_info("ACME-Labs/CamelCase").id,
            len(list(api.list_repo_tree("acme-labs/camelcase")))]


@feature("renamed")
def _():
    return [kept(hf_hub_download("acme/old-name", WEIGHTS)), api.model_info("oldcorp/old-name").id,
            len(api.get_paths_info("acme/old-name", [WEIGHTS])), tree_of(snapshot_download("oldcorp/old-name"))]


# --- what the hub tells -------------------------------------------------------------------------------------------------------


@feature("model-info")
def _():
    return [plain(api.model_info(TINY)), plain(api.model_info(TINY, revision="v1.0")), api.model_info(TINY, revision="refs/pr/1").sha]


@feature("model-info-files")
def _():
    return [plain(api.model_info(TINY, files_metadata=True)), plain(api.model_info(TINY, securityStatus=True))]


@feature("model-info-expand", since=(0, 24))
def _():
    wanted = ["author", "baseModels", "cardData", "childrenModelCount", "downloadsAllTime", "gated", "sha", "siblings", "tags"]
    known = huggingface_hub.hf_api.ExpandModelProperty_T.__args__
    return plain(api.model_info("hooli/solid-7b-merge", expand=[name for name in wanted if name in known]))


@feature("dataset-info")
def _():
    more = [plain(api.dataset_info("acme/reviews", expand=["downloads", "tags", "sha"]))] if VERSION >= (0, 24) else []
    return [plain(api.dataset_info("acme/reviews")), plain(api.dataset_info("acme/reviews", files_metadata=True)), more]


@feature("space-info")
def _():
    more = [plain(api.space_info("acme/demo", expand=["sdk", "likes", "sha"]))] if VERSION >= (0, 24) else []
    return [plain(api.space_info("acme/demo")), plain(api.space_info("acme/demo", files_metadata=True)), more]


@feature("runtime")
def _():
    return plain(api.get_space_runtime("acme/demo"))


@feature("tree")
def _():
    return plain(sorted(api.list_repo_tree("acme/many-files", recursive=True), key=lambda row: row.path))


@feature("tree-expand")
def _():
    return [plain(list(api.list_repo_tree("acme/many-files", "shard-00", expand=True))), plain(list(api.list_repo_tree(TINY, expand=True)))]


@feature("files")
def _():
    return [api.list_repo_files("acme/many-files"), api.list_repo_files("acme/reviews", repo_type="dataset", revision="refs/convert/parquet")]


@feature("paths-info")
def _():
    asked = [WEIGHTS, "config.json", "absent", "very", "ünï.txt", "hash#mark.txt"]
    return [plain(api.get_paths_info(name, asked, expand=more)) for name in (TINY, ODD) for more in (False, True)]


@feature("xet-hash", since=(1, 0))
def _():
    return [api.get_paths_info(TINY, [WEIGHTS])[0].xet_hash, get_hf_file_metadata(hf_hub_url(TINY, WEIGHTS), token=False).xet_file_data is None]


@feature("refs")
def _():
    return [plain(api.list_repo_refs(TINY, include_pull_requests=True)), plain(api.list_repo_refs("acme/reviews", repo_type="dataset"))]


@feature("commits")
def _():
    return [plain(api.list_repo_commits("acme/long-history", formatted=more)) for more in (False, True)]


@feature("exists")
def _():
    return [api.file_exists(TINY, "config.json"), api.file_exists(TINY, "nope.json"), api.revision_exists(TINY, "v1.0"),
            api.revision_exists(TINY, "v9"), api.repo_exists(TINY), api.repo_exists("acme/never-was", token=BOB)]


@feature("list-models")
def _():
    found = list(api.list_models(author="acme", token=ALICE)), list(api.list_models(author="acme", sort="downloads", limit=4, full=True, token=ALICE))
    return [plain(found), sum(asked[0] == "GET" and asked[4] for asked in WIRE.asked)]


@feature("list-datasets")
def _():
    return plain([list(api.list_datasets(author="acme", token=ALICE)), list(api.list_spaces(author="acme", token=ALICE)),
                  list(api.list_models(search="solid", token=ALICE))])


@feature("tags")
def _():
    return [plain(api.get_model_tags()), plain(api.get_dataset_tags())]


@feature("collections")
def _():
    return [plain(api.get_collection("acme/best-0")), [one.slug for one in api.list_collections(owner="acme", limit=5)]]


@feature("papers", since=(0, 30))
def _():
    daily = [plain(list(api.list_daily_papers()))] if hasattr(api, "list_daily_papers") else []
    return [plain(api.paper_info("2403.00001")), plain(list(api.list_papers(query="tiny"))), daily]


@feature("people")
def _():
    more = [plain(api.get_organization_overview("acme"))] if hasattr(api, "get_organization_overview") else []
    return [plain(api.get_user_overview("acme")), more]


@feature("safetensors")
def _():
    return [plain(api.get_safetensors_metadata(TINY)), plain(api.parse_safetensors_file_metadata(TINY, WEIGHTS, revision="v1.0"))]


# --- HfFileSystem -------------------------------------------------------------------------------------------------------------


@feature("fs-ls")
def _():
    fs = HfFileSystem(token=False)
    keys = ("name", "size", "type", "blob_id")
    return [sorted([row.get(key) for key in keys] for row in fs.ls(TINY)), sorted(fs.ls("datasets/acme/reviews@refs%2Fconvert%2Fparquet", detail=False)),
            fs.info(TINY + "@v1.0/config.json")["size"], fs.exists(TINY + "/absent")]


@feature("fs-read")
def _():
    fs = HfFileSystem(token=False)
    with fs.open(TINY + "/" + WEIGHTS, block_size=65536) as file:
        file.seek(200000)
        middle = file.read(70000)
        file.seek(-5, 2)
        end = file.read(10)
    return [hashlib.sha256(middle).hexdigest(), end.hex(), hashlib.sha256(fs.cat(TINY + "/" + WEIGHTS)).hexdigest(),
            sum(asked[3].startswith("bytes=2") for asked in WIRE.asked) > 0]


@feature("fs-glob")
def _():
    fs = HfFileSystem(token=False)
    return [sorted(fs.glob(TINY + "/*.json")), sorted(fs.glob("datasets/acme/reviews/**/*.csv")), sorted(fs.find(ODD + "/very"))]


@feature("fs-get")
def _():
    target = elsewhere("by-filesystem.bin")
    HfFileSystem(token=False).get_file(TINY + "/" + WEIGHTS, target)
    return sha(target)


# --- who asks -----------------------------------------------------------------------------------------------------------------


@feature("whoami")
def _():
    return [plain(api.whoami(token=ALICE)), api.whoami(token=BOB)["name"]]


@feature("whoami-bad-token")
def _():
    return api.whoami(token="hf_nobody")


@feature("gated-with")
def _():
    return [kept(hf_hub_download("acme/gated-auto", WEIGHTS, token=ALICE)),
            kept(hf_hub_download("acme/gated-data", "data.csv", repo_type="dataset", token=ALICE)),
            len(api.list_repo_commits("acme/gated-auto", token=ALICE)), api.model_info("acme/gated-manual").gated]


@feature("gated-without")
def _():
    return kept(hf_hub_download("acme/gated-manual", WEIGHTS, token=BOB))


@feature("gated-anonymous")
def _():
    return kept(hf_hub_download("acme/gated-manual", WEIGHTS, token=False))


@feature("gated-commits")
def _():
    return plain(api.list_repo_commits("acme/gated-manual", token=BOB))


@feature("private-with")
def _():
    return [kept(hf_hub_download("acme/secret", WEIGHTS, token=ALICE)), plain(api.model_info("acme/secret", token=ALICE)),
            len(list(api.list_repo_tree("acme/secret", token=ALICE)))]


@feature("private-without")
def _():
    return plain(api.model_info("acme/secret", token=BOB))


@feature("auth-check", since=(0, 25))
def _():
    return [api.auth_check("acme/gated-auto", token=ALICE), api.auth_check(TINY, token=BOB), api.auth_check(TINY, token=False)]


@feature("auth-check-without", since=(0, 25))
def _():
    return api.auth_check("acme/gated-manual", token=BOB)


@feature("bad-token")
def _():
    return kept(hf_hub_download("acme/gated-auto", WEIGHTS, token="hf_nobody", cache_dir=elsewhere("bad-token")))


@feature("bad-token-public")
def _():
    return [api.model_info(TINY, token="hf_nobody").sha, kept(hf_hub_download(TINY, WEIGHTS, token="hf_nobody", cache_dir=elsewhere("bad-token")))]


# --- what is not there --------------------------------------------------------------------------------------------------------


@feature("no-file")
def _():
    return hf_hub_download(TINY, "absent.json")


@feature("no-folder")
def _():
    return list(api.list_repo_tree(TINY, "absent"))


@feature("no-revision")
def _():
    return hf_hub_download(TINY, "config.json", revision="v9")


@feature("no-revision-info")
def _():
    return api.model_info(TINY, revision="v9")


@feature("no-repository")
def _():
    return api.model_info("acme/never-was", token=BOB)


@feature("no-repository-download")
def _():
    return hf_hub_download("acme/never-was", "config.json", token=BOB)


@feature("no-repository-anonymous")
def _():
    return api.model_info("acme/never-was")


@feature("disabled")
def _():
    return api.model_info("acme/disabled", token=BOB)


@feature("region")
def _():
    return hf_hub_download("acme/region-blocked", WEIGHTS, token=BOB)


# --- the command --------------------------------------------------------------------------------------------------------------


def command(*words):
    """The command that came with this generation: its exit code, its output, and everything it said on one line."""
    folder = os.path.dirname(sys.executable)
    name = "hf" if os.path.exists(os.path.join(folder, "hf")) else "huggingface-cli"
    done = subprocess.run([os.path.join(folder, name)] + list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
    return done.returncode, done.stdout, " ".join((done.stdout + " " + done.stderr).split())


@feature("command")
def _():
    code, out, said = command("download", TINY, "config.json", WEIGHTS, "--local-dir", elsewhere("command"))
    assert code == 0, said
    return tree_of(elsewhere("command"))


# --- what the house denies ----------------------------------------------------------------------------------------------------


@feature("denied-download")
def _():
    return kept(hf_hub_download("umbrella/orphan", WEIGHTS))


@feature("denied-snapshot")
def _():
    return len(tree_of(snapshot_download("umbrella/orphan")))


@feature("denied-info")
def _():
    return api.model_info("umbrella/loop-a").id


@feature("denied-command")
def _():
    code, _, said = command("download", "umbrella/loop-b", "config.json") if GIVEN["target"] == "mirror" else (0, "", "")
    return [code != 0, said]


@feature("denied-file-snapshot")
def _():
    return sorted(tree_of(snapshot_download("initech/mixed")))


@feature("denied-file")
def _():
    return kept(hf_hub_download("initech/mixed", "weights.bin"))


@feature("recall")
def _():
    folder = elsewhere("recall")
    hf_hub_download("initech/withdrawn", "config.json", cache_dir=folder, endpoint=GIVEN["hub"], library_name="before")
    assert glob.glob(os.path.join(folder, "*", "snapshots", "*", "config.json"))
    return kept(hf_hub_download("initech/withdrawn", "config.json", cache_dir=folder))


@feature("warned")
def _():
    return kept(hf_hub_download("initech/careful", "config.json"))


@feature("upload")
def _():
    return str(api.upload_file(path_or_fileobj=b"{}", path_in_repo="new.json", repo_id=TINY, token=ALICE))


@feature("create")
def _():
    return str(api.create_repo("acme/brand-new", token=ALICE))


@feature("discussions")
def _():
    return plain(list(api.get_repo_discussions(TINY, token=False)))


# --- an outage ----------------------------------------------------------------------------------------------------------------


@feature("outage-file", group=OUTAGE)
def _():
    return kept(hf_hub_download(TINY, WEIGHTS, cache_dir=elsewhere("outage")))


@feature("outage-info", group=OUTAGE)
def _():
    return [api.model_info(TINY).sha, len(list(api.list_repo_tree("acme/many-files", recursive=True)))]


@feature("outage-own-copy", group=OUTAGE)
def _():
    return kept(hf_hub_download(TINY, WEIGHTS))


def tried(function):
    del WIRE.asked[:]
    del SHOWN.lines[:]
    try:
        came = {"value": function()}
    except Exception as error:
        came = {"error": type(error).__name__, "text": " ".join(str(error).split())}
    came["asked"], came["shown"] = list(WIRE.asked), " ".join(SHOWN.lines)
    return came


def main():
    os.makedirs(elsewhere(""))
    try:
        from importlib.metadata import version

        xet = version("hf_xet")
    except ImportError:
        xet = None
    found = {"versions": [huggingface_hub.__version__, xet]}
    found.update((name, tried(function)) for name, function in ONLINE)
    print(json.dumps(found), flush=True)
    sys.stdin.readline()
    time.sleep = lambda seconds: None  # clients sleep up to 23 s between tries at a hub that is not there
    print(json.dumps({name: tried(function) for name, function in OUTAGE}), flush=True)


if __name__ == "__main__":
    main()
