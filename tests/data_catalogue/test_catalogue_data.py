"""The shipped publisher catalogue and lineage, judged as data: read with PyYAML alone, without our loader."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[2] / "config"
FILES = sorted((CONFIG / "publishers").glob("*.yaml"))

# ISO 3166-1 alpha-2, officially assigned codes.
ISO = set(
    """AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO
    JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR
    MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO
    RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV
    TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW""".split()
)
KEYS = set(
    "id entity kind role parent aliases former native handles projects packages confidence countries owners listings web note".split()
)
COUNTRY_KEYS = {"code", "role", "source", "as_of", "confidence"}
LISTING_KEYS = {"list", "from", "until", "source", "as_of", "confidence"}
OWNER_KEYS = {"id", "share", "source", "as_of"}
KINDS = {"company", "university", "government", "nonprofit", "community", "individual"}
COUNTRY_ROLES = {"registered", "headquarters", "operation", "ultimate-parent"}

HUB_MUST = """google meta-llama facebook microsoft mistralai BAAI baidu MiniMaxAI stepfun-ai allenai Qwen deepseek-ai
moonshotai zai-org THUDM openai nvidia apple ibm-granite CohereLabs stabilityai black-forest-labs HuggingFaceTB
huggingface sentence-transformers tencent ByteDance-Seed internlm OpenGVLab openbmb 01-ai baichuan-inc XiaomiMiMo
ai-forever ai-sage t-tech yandex tiiuae LGAI-EXAONE upstage naver-hyperclovax rinna elyza SakanaAI EleutherAI
bigscience bigcode databricks Salesforce Snowflake Intel amd xai-org ai21labs jinaai intfloat nomic-ai mixedbread-ai
LiquidAI arcee-ai NousResearch teknium bartowski TheBloke unsloth mradermacher lmstudio-community ggml-org
mlx-community""".split()
PYPI_MUST = """torch torchvision vllm transformers huggingface-hub tokenizers datasets safetensors accelerate numpy
scipy pandas scikit-learn tensorflow jax keras requests urllib3 aiohttp pydantic fastapi paddlepaddle modelscope
dashscope qwen-agent mindspore mistralai openai anthropic cohere catboost yandexcloud huaweicloudsdkcore
tencentcloud-sdk-python deepseek kasperskytip opentip""".split()

# (hub account or publisher id, list, from, until): what is publicly known of AI publishers on official lists.
LISTED = [
    ("zai-org", "BIS Entity List", "2025-01-16", None),
    ("sophgo", "BIS Entity List", "2025-01-16", None),
    ("BAAI", "BIS Entity List", "2025-03-25", None),
    ("IEITYuan", "BIS Entity List", "2025-03-25", None),
    ("inspur", "BIS Entity List", "2023-03-02", None),
    ("huawei-noah", "BIS Entity List", "2019-05-16", None),
    ("tencent", "DoD Section 1260H", "2025-01-07", None),
    ("sensenova", "DoD Section 1260H", "2025-01-07", None),
    ("huawei-noah", "DoD Section 1260H", "2025-01-07", None),
    ("inspur", "DoD Section 1260H", "2025-01-07", None),
    ("megvii", "DoD Section 1260H", "2024-01-31", "2025-01-07"),
    ("alibaba", "DoD Section 1260H", "2026-06-08", None),
    ("baidu", "DoD Section 1260H", "2026-06-08", None),
    ("byd", "DoD Section 1260H", "2026-06-08", None),
    ("unitreerobotics", "DoD Section 1260H", "2026-06-08", None),
    ("nio", "DoD Section 1260H", "2026-06-08", None),
    ("deepseek-ai", "Texas prohibited technologies", "2025-01-31", None),
    ("deepseek-ai", "New York State ITS prohibited applications", "2025-02-10", None),
    ("deepseek-ai", "Virginia Executive Order 46", "2025-02-11", None),
    *[
        (who, "Texas prohibited technologies", "2026-01-26", None)
        for who in (
            *("alibaba", "baidu", "zai-org", "BAAI", "moonshotai", "MiniMaxAI", "stepfun-ai", "baichuan-inc"),
            *("iflytek", "sensenova", "megvii", "XiaomiMiMo"),
        )
    ],
    *[
        (who, sanctions, since, None)
        for who, sanctions, since in (
            ("ai-forever", "OFAC SDN", "2022-04-06"),
            ("ai-sage", "UK Sanctions List", "2022-04-06"),
            ("ai-forever", "EU consolidated financial sanctions", "2022-07-21"),
            ("t-tech", "OFAC SDN", "2023-07-20"),
            ("t-tech", "EU consolidated financial sanctions", "2023-02-25"),
            ("t-tech", "UK Sanctions List", "2023-05-19"),
        )
    ],
]


class StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"duplicate keys {twice}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)


@pytest.fixture(scope="module")
def publishers() -> list[dict[str, Any]]:
    return [entry for path in FILES for entry in read(path)["publishers"]]


@pytest.fixture(scope="module")
def by_id(publishers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["id"]: entry for entry in publishers}


@pytest.fixture(scope="module")
def by_handle(publishers: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (hub, handle.casefold()): entry
        for entry in publishers
        for hub, handles in entry.get("handles", {}).items()
        for handle in handles
    }


@pytest.fixture(scope="module")
def by_project(publishers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: entry for entry in publishers for name in entry.get("projects", {}).get("pypi", [])}


@pytest.fixture(scope="module")
def edges() -> list[dict[str, Any]]:
    return read(CONFIG / "lineage" / "models.yaml")["edges"]


def walk(value: Any) -> list[Any]:
    """Every scalar below `value`."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in walk(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in walk(item)]
    return [value]


def test_every_file_has_the_agreed_shape() -> None:
    """Each file is a version 1 mapping with publishers and nothing else, and none has a duplicate key."""
    assert FILES
    for path in FILES:
        document = read(path)
        assert {"version", "publishers"} == set(document), path.name
        assert 1 == document["version"], path.name


def test_entries_have_only_known_keys_and_types(publishers: list[dict[str, Any]]) -> None:
    """An entry has the keys of the surface and three additions (projects, confidence, note), with their types, and no others."""
    for entry in publishers:
        assert {"id", "entity", "kind", "countries"} <= set(entry) <= KEYS, entry
        assert re.fullmatch(r"[a-z0-9-]+", entry["id"]), entry["id"]
        assert entry["kind"] in KINDS, entry["id"]
        assert entry.get("role", "developer") in {"developer", "repackager"}, entry["id"]
        assert set(entry.get("handles", {})) <= {"huggingface", "pypi", "github"}, entry["id"]
        assert set(entry.get("projects", {})) <= {"pypi"}, entry["id"]
        claims = [*entry.get("handles", {}).values(), *entry.get("projects", {}).values()]
        lists = claims + [entry.get(key, []) for key in ("aliases", "packages", "web")]
        texts = [text for some in lists for text in some]
        assert all(isinstance(text, str) and text.strip() == text != "" for text in texts), entry["id"]
        assert isinstance(entry.get("note", ""), str), entry["id"]
        assert not claims or entry["confidence"] in set("ABCD"), entry["id"]


def test_no_scalar_was_swallowed_by_yaml(publishers: list[dict[str, Any]]) -> None:
    """No text turned into a boolean: NO is Norway (YAML 1.1)."""
    assert not [entry["id"] for entry in publishers if any(isinstance(leaf, bool) for leaf in walk(entry))]


def test_norway_is_there(publishers: list[dict[str, Any]]) -> None:
    """The country that the YAML trap eats first is present as text."""
    assert any("NO" == country["code"] for entry in publishers for country in entry["countries"])


def test_ids_are_unique(publishers: list[dict[str, Any]]) -> None:
    """An id names one publisher over all files."""
    assert [] == [name for name, count in Counter(entry["id"] for entry in publishers).items() if count > 1]


def test_a_handle_belongs_to_one_publisher(publishers: list[dict[str, Any]]) -> None:
    """An account of a hub, case-folded, is claimed once."""
    claims = Counter(
        (hub, handle.casefold())
        for entry in publishers
        for hub, handles in entry.get("handles", {}).items()
        for handle in handles
    )
    assert [] == [claim for claim, count in claims.items() if count > 1]


def test_a_project_belongs_to_one_publisher_and_is_normalised(publishers: list[dict[str, Any]]) -> None:
    """A PyPI project is claimed once, in the form of PEP 503, and globs stay under packages."""
    names = [name for entry in publishers for name in entry.get("projects", {}).get("pypi", [])]
    assert [] == [name for name, count in Counter(names).items() if count > 1]
    assert [] == [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)]


def test_countries_are_iso_codes_with_a_source_a_date_and_a_grade(publishers: list[dict[str, Any]]) -> None:
    """Each country is an assigned ISO 3166-1 code in a known role, and says who says so, when and how surely."""
    for entry in publishers:
        for country in entry["countries"]:
            assert COUNTRY_KEYS == set(country), entry["id"]
            assert country["code"] in ISO, (entry["id"], country["code"])
            assert country["role"] in COUNTRY_ROLES, entry["id"]
            assert country["source"].strip(), entry["id"]
            assert isinstance(country["as_of"], date), entry["id"]
            assert country["confidence"] in set("ABCD"), entry["id"]
        pairs = [(country["code"], country["role"]) for country in entry["countries"]]
        assert len(pairs) == len(set(pairs)), entry["id"]


def test_what_nobody_showed_is_not_certain(publishers: list[dict[str, Any]]) -> None:
    """A fact whose source is unverified has grade C or D."""
    for entry in publishers:
        for fact in [*entry["countries"], *entry.get("listings", [])]:
            if fact["source"].startswith("unverified"):
                assert fact["confidence"] in {"C", "D"}, entry["id"]


def test_the_companions_borrow_no_grade(by_id: dict[str, dict[str, Any]]) -> None:
    """An `-attributed` entry hangs under its publisher, carries its name, and is nowhere better than C."""
    companions = [entry for name, entry in by_id.items() if name.endswith("-attributed")]
    assert companions
    for entry in companions:
        assert entry["id"].removesuffix("-attributed") == entry["parent"]
        assert by_id[entry["parent"]]["entity"] in entry["aliases"]
        assert all(country["confidence"] in {"C", "D"} for country in entry["countries"]), entry["id"]
        assert entry["confidence"] in {"C", "D"}, entry["id"]


def test_unknown_has_a_reason(publishers: list[dict[str, Any]]) -> None:
    """Who has no country has a note that says why."""
    assert [] == [entry["id"] for entry in publishers if not entry["countries"] and not entry.get("note")]


def test_nobody_gets_a_nationality(publishers: list[dict[str, Any]]) -> None:
    """No individual has a country, unless a document at grade A or B gives it."""
    for entry in publishers:
        if "individual" == entry["kind"]:
            for country in entry["countries"]:
                assert country["source"].startswith("https://"), entry["id"]
                assert country["confidence"] in {"A", "B"}, entry["id"]
            assert entry.get("parent") is None, entry["id"]


def test_listings_have_dates_a_source_and_a_grade(publishers: list[dict[str, Any]]) -> None:
    """Each listing names its list, begins on a day, ends after it or not at all, and says who says so."""
    for entry in publishers:
        for listing in entry.get("listings", []):
            assert LISTING_KEYS == set(listing), entry["id"]
            assert isinstance(listing["from"], date), entry["id"]
            assert isinstance(listing["as_of"], date), entry["id"]
            assert listing["until"] is None or listing["from"] < listing["until"], entry["id"]
            assert listing["list"].strip(), entry["id"]
            assert listing["source"].strip(), entry["id"]
            assert listing["confidence"] in set("ABCD"), entry["id"]
        pairs = [(listing["list"], listing["from"]) for listing in entry.get("listings", [])]
        assert len(pairs) == len(set(pairs)), entry["id"]


def test_owners_are_publishers_and_shares_are_fractions(by_id: dict[str, dict[str, Any]]) -> None:
    """An owner is an id of the catalogue, its share unknown or at most the whole."""
    for entry in by_id.values():
        for owner in entry.get("owners", []):
            assert OWNER_KEYS == set(owner), entry["id"]
            assert owner["id"] in by_id, entry["id"]
            assert owner["share"] is None or 0 < owner["share"] <= 1, entry["id"]
        assert 1 >= sum(owner["share"] or 0 for owner in entry.get("owners", [])), entry["id"]


def test_parents_exist_and_do_not_loop(by_id: dict[str, dict[str, Any]]) -> None:
    """Following parents from any publisher ends."""
    for name, entry in by_id.items():
        seen = {name}
        while (parent := entry.get("parent")) is not None:
            assert parent in by_id, (name, parent)
            assert parent not in seen, (name, parent)
            seen.add(parent)
            entry = by_id[parent]


@pytest.mark.parametrize("handle", HUB_MUST)
def test_a_hub_account_that_must_be_known_is(handle: str, by_handle: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The account resolves to a publisher."""
    assert ("huggingface", handle.casefold()) in by_handle


@pytest.mark.parametrize("project", PYPI_MUST)
def test_a_python_project_that_must_be_known_is(project: str, by_project: dict[str, dict[str, Any]]) -> None:
    """The project resolves to a publisher."""
    assert project in by_project


@pytest.mark.parametrize(("who", "name", "since", "until"), LISTED)
def test_a_known_listing_is_recorded(
    who: str,
    name: str,
    since: str,
    until: str | None,
    by_id: dict[str, dict[str, Any]],
    by_handle: dict[tuple[str, str], dict[str, Any]],
) -> None:
    """The publisher behind the account is recorded on that list from and until those days."""
    entry = by_handle.get(("huggingface", who.casefold())) or by_id[who]
    found = [(listing["list"], listing["from"], listing["until"]) for listing in entry.get("listings", [])]
    assert (name, date.fromisoformat(since), until and date.fromisoformat(until)) in found


@pytest.mark.parametrize(("project", "wronged"), [("deepseek", "deepseek"), ("kasperskytip", "kaspersky")])
def test_a_look_alike_accuses_nobody(
    project: str, wronged: str, by_id: dict[str, dict[str, Any]], by_project: dict[str, dict[str, Any]]
) -> None:
    """A package that only resembles a publisher's name is neither the publisher's nor matched by its globs."""
    entry = by_project[project]
    assert wronged != entry["id"]
    assert wronged != entry.get("parent")
    assert [] == entry["countries"]
    assert not any(project.startswith(glob.rstrip("*")) for glob in by_id[wronged].get("packages", []))


def test_the_size_does_not_shrink_unseen(
    by_handle: dict[tuple[str, str], dict[str, Any]], by_project: dict[str, dict[str, Any]]
) -> None:
    """The catalogue covers at least 870 hub accounts and 1,400 Python projects."""
    assert sum("huggingface" == hub for hub, _ in by_handle) >= 870
    assert len(by_project) >= 1400


def test_repackagers_are_marked(by_handle: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The well-known quantisers are repackagers, so that their own country decides nothing about origin."""
    for handle in "bartowski TheBloke unsloth mradermacher lmstudio-community ggml-org mlx-community".split():
        assert "repackager" == by_handle["huggingface", handle.casefold()]["role"], handle


def test_lineage_edges_are_well_formed(edges: list[dict[str, Any]]) -> None:
    """Each edge names two models, a known relation, a root, a source and a grade; none is given twice."""
    for edge in edges:
        assert {"child", "parent", "relation", "root", "source", "confidence"} == set(edge), edge
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", edge[key]) for key in ("child", "parent", "root")), edge
        assert edge["relation"] in {"finetune", "adapter", "merge", "quantized", "distill"}, edge
        assert edge["confidence"] in set("ABCD"), edge
        assert edge["source"] != "unverified" or edge["confidence"] in {"C", "D"}, edge
    pairs = Counter((edge["child"].casefold(), edge["parent"].casefold()) for edge in edges)
    assert [] == [pair for pair, count in pairs.items() if count > 1]


def test_no_model_is_its_own_ancestor(edges: list[dict[str, Any]]) -> None:
    """Following parents from any model ends."""
    parents: dict[str, set[str]] = {}
    for edge in edges:
        parents.setdefault(edge["child"].casefold(), set()).add(edge["parent"].casefold())
    for model in parents:
        reached, frontier = set(), set(parents[model])
        while frontier:
            reached |= frontier
            frontier = {above for below in frontier for above in parents.get(below, set())} - reached
        assert model not in reached
