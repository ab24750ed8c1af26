"""Rows of `lists:` and lists of invented organisations in the layouts of real publishers."""

from __future__ import annotations

from pathlib import Path

from mirror.config_lists import ListConfig
from mirror.lists.formats import LOADERS
from mirror.lists.material import Part, read_file

EXTRACTS = Path(__file__).parent.parent / "data" / "lists"
#: The published extract of each format.
FILES = {
    "ofac_csv": ("ofac_sdn.csv", "ofac_add.csv", "ofac_alt.csv", "ofac_sdn_comments.csv"),
    "ofac_xml": ("ofac_consolidated.xml",),
    "csl_csv": ("csl.csv",),
    "eu_fsf": ("eu_fsf.xml",),
    "uk_sanctions": ("uk_sanctions.xml",),
    "un": ("un_consolidated.xml",),
}
SIMPLE = (
    "id,schema,name,aliases,birth_date,countries,addresses,identifiers,sanctions,phones,emails,program_ids,dataset,first_seen,last_seen,last_change\n"
    'NK-1,Company,Umbrella Corporation,Umbrella Korp;Амбрелла,,gb,1 High St,12345678;77,"HOUSE - Blocked",,info@umbrella.example,US-HOUSE,Acme list,2024-01-01,2026-01-01,2025-01-01\n'
    "NK-2,Person,Jane Roe,,1970,fr,,,HOUSE,,,,Acme list,2024-01-01,2026-01-01,2025-01-01\n"
    "NK-3,Vessel,Umbrella Star,,,,,IMO9000001,HOUSE,,,,Acme list,2024-01-01,2026-01-01,2025-01-01\n"
    "NK-4,Address,Somewhere,,,,,,,,,,Acme list,2024-01-01,2026-01-01,2025-01-01\n"
)
FTM = (
    '{"id":"NK-1","caption":"Umbrella Corporation","schema":"Company","target":true,"datasets":["acme_list"],"properties":{"name":["Umbrella Corporation"],'
    '"alias":["Амбрелла"],"weakAlias":["UMB"],"country":["gb"],"registrationNumber":["12 34-56.78"],"leiCode":["213800WSGIIZCXF1P572"],"website":["https://www.umbrella.example/x"],'
    '"email":["a@gmail.com"],"topics":["sanction"],"programId":["US-HOUSE"]}}\n'
    '{"id":"NK-5","caption":"Linked only","schema":"Company","target":false,"properties":{"name":["Linked only"]}}\n'
    '{"id":"NK-6","caption":"60 %","schema":"Ownership","properties":{"owner":["NK-1"]}}\n'
)


def row(loader: str = "csv", *source: object, **settings: object) -> ListConfig:
    return ListConfig(loader, tuple(map(str, source)) or ("list.csv",), **settings)


def extract(loader: str) -> list[Part]:
    return [read_file(EXTRACTS / name) for name in FILES[loader]]


def sample(loader: str) -> list[Part]:
    """Something that every loader reads without a fault."""
    if loader == "csv":
        return [Part("list.csv", b"name,country\nUmbrella Corporation,GB\nInitech GmbH,DE\n")]
    return [Part("targets.csv", SIMPLE.encode())] if loader == "opensanctions" else extract(loader)


def read(loader: str, *texts: str | bytes):
    """The entries of texts."""
    parts = [Part(f"part{at}", text if isinstance(text, bytes) else text.encode()) for at, text in enumerate(texts)]
    return LOADERS[loader](parts).entries
