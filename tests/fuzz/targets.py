"""Every target by name: its function, the words that its grammar is made of, and where its seeds lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import files, pages, paths

CORPUS = Path(__file__).parent / "corpus"

_TRICKS = "%2f %2F %2e%2e %2e . .. / // %00 %0d%0a %5c \\ ; : @ ? # %25 %23 %c3%a9 %ff %E2%80%AE é"
_NAMES = "acme globex tools acme-tools solid-7b main refs%2Fpr%2F1 model.safetensors a b x 1.0 _ -"
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_HTML = '<a href=" </a> <base href=" <script> </script> <!-- --> <![CDATA[ ]]> <? <meta name="pypi:repository-version" content="1.0"> &#x6a; javascript: data: //evil.example http://169.254.169.254/ data-yanked=" onerror= > \' " \u202e \x00 #sha256='


@dataclass(frozen=True)
class Target:
    """One parser or renderer. `check` takes arbitrary bytes and lets nothing escape but what is a finding."""

    name: str
    check: Callable[[bytes], None]
    words: tuple[str, ...]

    @property
    def seeds(self) -> list[Path]:
        """Small files that the generators start from; those called `found-…` once broke a promise."""
        return sorted((CORPUS / self.name).glob("*.bin"))


def _target(check: Callable[[bytes], None], *words: str) -> tuple[str, Target]:
    return check.__name__, Target(check.__name__, check, tuple(word for text in words for word in text.split(" ") if word) + (" ", "\n"))


TARGETS = dict(
    [
        _target(
            paths.routing, _TRICKS, _NAMES, _COMMIT,
            "GET HEAD POST PUT api models datasets spaces resolve raw blob tree revision refs commits info/refs info/lfs/objects/batch http://mirror.example",
            "resolve-cache v2 manifests blobs sha256: simple packages pypi json integrity provenance parquet buckets telemetry xet-read-token",
        ),
        _target(paths.hub_paths, _TRICKS, _NAMES, _COMMIT, "models datasets spaces kernels resolve raw api"),
        _target(
            paths.index_paths, _TRICKS, _NAMES,
            "-1.0.tar.gz -1.0-py3-none-any.whl .zip .metadata .egg .exe -py2.7 !1 +cpu rc1 https://files.acme.example/packages/aa/bb/",
        ),
        _target(paths.purl, _TRICKS, _NAMES, _COMMIT, "pkg: pkg:huggingface/ pkg:pypi/ ?repo_type= ?file_name= dataset model & = @ #"),
        _target(
            paths.header_fields, 'GET HEAD bytes= 0-0 -1 5- 0-18446744073709551615 , ; q=0 q=0.5 * W/ " application/vnd.pypi.simple.v1+json text/html gzip zstd identity',
            "Sun, 06 Nov 1994 08:49:37 GMT +9999 -2400 9999 0001 bytes 0-1/2 bytes */5 100000",
        ),
        _target(
            pages.index_pages, _HTML, _TRICKS,
            '{ } [ ] , : "meta" "api-version" "1.4" "name" "acme-tools" "files" "filename" "url" "hashes" "sha256" "size" "upload-time" "yanked" "provenance" "core-metadata" "versions"',
            '"acme_tools-1.0.tar.gz" "0001-01-01T00:00:00+23:59" 1e999 NaN true null "\\ud800" 9007199254740993 "project-status" "releases" "urls" "info" "projects"',
        ),
        _target(
            pages.hub_pages, _HTML, _TRICKS, _COMMIT,
            '{ } [ ] , : "id" "sha" "_id" "siblings" "rfilename" "lfs" "size" "blobId" "gated" "private" "cardData" "license" "tags" "base_model" "createdAt" "error" "xetHash" "layers" "digest"',
            '"acme/x" "sha256:' + "a" * 64 + '" "operation" "download" "objects" "oid" "ref" "name" "transfers" 1e999 NaN "\\ud800" 9007199254740993 "0001-01-01T00:00:00+23:59" \\r\\n "/api/datasets/acme/x/parquet/a"',
        ),
        _target(
            pages.hub_headers, _TRICKS, "x-linked-etag: x-linked-size: etag: content-length: x-error-code: x-error-message: x-repo-commit: link: location:",
            '<https://index.acme.example/api/models?cursor=1>; rel="next" javascript: ; rel= <> https://evil.example \r \x00 \x0b ' + "a" * 64 + " " + "9" * 40,
        ),
        _target(files.wheels, "PK\x01\x02 PK\x03\x04 PK\x05\x06 acme-1.0.dist-info/METADATA \x08 \x00\x00 \xff\xff\xff\xff"),
        _target(
            files.bundles, _COMMIT, '{ } [ ] , : "manifests" "layers" "digest" "sha256: "size" "mediaType" "artifactType" "annotations" "config" "schemaVersion" "imageLayoutVersion" 1.0.0 -1 2 1e9 true null ../x ustar 0000644 M V L x S 5',
            '"payload" "payloadType" "signatures" "keyid" "sig" "_type" "predicateType" "predicate" "subject" "number" "created" "withdrawn" "requires" "since" application/vnd.in-toto+json \x00 \x80 \xff \\ud800',
        ),
        _target(
            files.policy, _NAMES, "version:\x201 rules: - id: when: effect: deny allow warn artifact: publisher: origin: [ ] { } ancestor: file: license: kind: age_days: lt: gte: exceptions: tests: defaults: sets:",
            "for: groups: networks: from: until: 2027-01-01 0001-01-01 9999-12-31 timezone: Europe/Berlin 10.0.0.0/8 * pkg:pypi/* given: expect: facts: &a *a !!python/object: !!binary <<: 1e400 99999999999999999999 NO | > \t",
        ),
        _target(files.yaml, "&a *a [ ] { } - : ? !!set !!python/object:os.system ! | > --- ... %YAML <<: 2026-01-01 2026-01-01T00:00:00+99:99 .5e999 0x10 \t # \" ' \\ \x00 \u2028"),
        _target(files.lists, 'name , " ; aliases country programme listed_on until id web type source GB XX 2026-01-31 entity individual \r \x00 \ufeff line-3'),
        _target(
            files.official_lists, 'PK\x03\x04 < > </ /> & &amp; &#x0; <!DOCTYPE <!ENTITY <![CDATA[ ]]> xmlns=" <?xml\x20version="1.0"\x20encoding=" utf-16 latin-1 utf-7 " , ; -0- -0-\x20 \x1a \x00 \xff \r',
            "<sdnList> </sdnList> <sdnEntry> </sdnEntry> <uid>1</uid> <lastName>A</lastName> <sdnType>Entity</sdnType> <Record_Count>1</Record_Count> <export> <sanctionEntity <nameAlias wholeName= countryIso2Code=",
            "<Designations> <Designation> <UniqueID>1</UniqueID> <Names> <Name> <Name6>A</Name6> <CONSOLIDATED_LIST> <ENTITY> <FIRST_NAME>A</FIRST_NAME> <DATAID>1</DATAID> 9999-12-31 31/12/9999",
            '{ } [ ] : "id" "schema" "Company" "properties" "name" "target" _id source name alt_names ids end_date aliases countries',
        ),
        _target(files.ledger, 'R \x00 \x01 \x02 \xff { } "seq" "leaf" "prev" "personal" "part" "salt"'),
    ]
)  # fmt: skip
