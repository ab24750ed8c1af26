"""Loaders on extracts of what is really published, and on what single publishers' descriptions say beyond these."""

from __future__ import annotations

from datetime import date

import pytest

from mirror.core.errors import InputError
from mirror.lists.formats import LOADERS
from mirror.policy.screening import CERTAIN, ScreeningList
from tests.lists.rows import FILES, FTM, SIMPLE, extract, read, sample

STATED = {"ofac_xml": date(2020, 12, 14), "eu_fsf": date(2026, 5, 1), "uk_sanctions": date(2026, 8, 22), "un": date(2026, 2, 27)}
COUNTS = {"ofac_csv": 7, "ofac_xml": 4, "csl_csv": 7, "eu_fsf": 4, "uk_sanctions": 5, "un": 3}


def found(loader: str, key: str):
    return next(one for one in LOADERS[loader](extract(loader)).entries if one.id == key)


@pytest.mark.parametrize("loader", FILES)
def test_every_entry_of_a_published_extract_is_there_and_finds_itself(loader):
    """As many entries as the extract has, the date that the list states, and each name and strong alias screens to its own entry."""
    parsed = LOADERS[loader](extract(loader))
    assert (len(parsed.entries), parsed.stated) == (COUNTS[loader], STATED.get(loader))
    screening = ScreeningList("x", "1", parsed.entries, "", "both")
    for entry in parsed.entries:
        for name in (entry.name, *entry.aliases):
            assert entry.id in {match.entry for match in screening.screen(None, [name]) if match.score == CERTAIN}, name


def test_ofac_csv_joins_its_four_files():
    """Names, strong names from alt, weak ones from the remarks and from what did not fit there, numbers, domains, a country where addresses agree."""
    vtb, sberbank = found("ofac_csv", "17013"), found("ofac_csv", "17018")
    assert vtb.name == "VTB BANK PUBLIC JOINT STOCK COMPANY"
    assert "JSC VTB BANK" in vtb.aliases
    assert vtb.weak_aliases == ("JSC VTB BANK NEW DELHI BRANCH",)
    assert (vtb.country, vtb.programme, vtb.type) == ("RU", "UKRAINE-EO13662; RUSSIA-EO14024", "organization")
    assert vtb.web == ("vtb.com", "vtb.ru")
    assert vtb.identifiers == ("bic:vtbrrumm", "reg:1027739609391", "reg:7702070139", "lei:253400v1h6art1uq0n98")
    assert sberbank.weak_aliases == ("SBERBANK INDIA", "SBERBANK MUMBAI")  # from sdn_comments.csv
    assert "reg:1027700132195" in sberbank.identifiers  # likewise
    assert sberbank.country == ""  # its branches sit in many
    assert found("ofac_csv", "306").weak_aliases == ("BNC",)


def test_ofac_xml_by_local_name_in_either_namespace():
    """The namespace of 7 May 2024 and the one before give the same entries; categories weak and strong are kept apart."""
    veb = found("ofac_xml", "17015")
    assert (veb.name, veb.weak_aliases, veb.country, veb.web) == ("VNESHECONOMBANK", ("VEB",), "RU", ("veb.ru",))
    old = extract("ofac_xml")[0].data
    new = old.replace(b"http://tempuri.org/sdnList.xsd", b"https://sanctionslistservice.ofac.treas.gov/api/PublicationPreview/exports/XML")
    assert new != old
    assert read("ofac_xml", new) == read("ofac_xml", old)


def test_ofac_csv_and_xml_agree_on_who_is_listed():
    """An entry that both layouts have carries the same number, programmes' first and domains."""
    csv, xml = ({one.id: one for one in LOADERS[loader](extract(loader)).entries} for loader in ("ofac_csv", "ofac_xml"))
    both = set(csv) & set(xml)
    assert both == {"17013", "17015"}
    assert all(csv[key].programme.split("; ")[0] == xml[key].programme and set(xml[key].web) <= set(csv[key].web) for key in both)


def test_csl_rows_say_on_which_list_they_are():
    """The source list is the first programme, "and any successor" is no name, the last alternate name loses its "and", dates are kept."""
    entry = found("csl_csv", "99ed1b052fdb09695fae1ba87516d8a0882b0df04652e07aeb5ce7be")
    assert (entry.programme, entry.country, entry.type, entry.listed_on) == ("Entity List (EL)", "CN", "", date(2018, 8, 1))
    assert entry.aliases[-1] == "CETC Research Institute 13"
    assert found("csl_csv", "233a4d725770c81fb561ffe3842c14010c2201971d6be62eca1e613b").name == "Sinobright Import and Export Company"
    assert found("csl_csv", "28603").identifiers == ("reg:che267936404", "reg:ch66005590112")
    assert found("csl_csv", "18283").web == ("mspbank.ru",)


def test_csl_bodies_on_two_of_its_lists_are_two_entries():
    """OFAC's number stands on both rows; the second gets its list's letters. An end date is the last day in force."""
    text = extract("csl_csv")[0].data.decode()
    line = next(one for one in text.splitlines() if one.startswith('"18283"'))
    other = line.replace("Sectoral Sanctions Identifications List (SSI)", "Specially Designated Nationals (SDN)")
    ids = [one.id for one in read("csl_csv", text.rstrip() + f"\n{other}\n")]
    assert ids[-2:] == ["18283", "18283 (SDN)"]
    dated = text.splitlines()[0] + '\n"1","S (S) - D","","","","Umbrella","","","","2020-01-01","2030-06-29",' + ",".join(['""'] * 18)
    assert [(one.listed_on, one.until) for one in read("csl_csv", dated)] == [(date(2020, 1, 1), date(2030, 6, 30))]


def test_eu_entries_are_called_by_their_english_name():
    """Twenty languages are aliases of one entry; numbers, country codes, programme and regulation are kept."""
    entry = found("eu_fsf", "EU.10357.93")
    assert (entry.country, entry.programme, entry.source, entry.identifiers) == ("RU", "UKR", "2023/1216 (OJ L159 I)", ("reg:7714077682",))
    assert "Aktiengesellschaft DUKS" in entry.aliases
    assert entry.name.isascii()
    assert entry.listed_on == date(2023, 6, 23)


def test_eu_elements_that_the_extract_lacks():
    """Made to the published schema 1.1: weak names, persons by parts, contact information, false documents, dates of listing and delisting."""
    [entry] = read("eu_fsf", """<export xmlns="urn:other" generationDate="2026-05-01T00:00:00Z" globalFileId="1">
      <sanctionEntity logicalId="7" designationDate="2020-02-03" delistingDate="2030-01-01"><regulation programme="P" numberTitle="T" entryIntoForceDate="2021-01-01"/>
      <subjectType code="person" classificationCode="P"/>
      <nameAlias firstName="Jane" middleName="" lastName="Roe" strong="true"/><nameAlias wholeName="JR" strong="false"/>
      <nameAlias wholeName="Janie" strong="true"><remark>low quality alias</remark></nameAlias>
      <address countryIso2Code="00"><contactInfo key="WEB" value="http://roe.example/"/><contactInfo key="EMAIL" value="jane@mail.ru"/></address>
      <identification identificationTypeCode="regnumber" number="111222333" knownFalse="true" countryIso2Code="FR"/></sanctionEntity></export>""")
    assert (entry.id, entry.name, entry.weak_aliases, entry.type) == ("7", "Jane Roe", ("JR", "Janie"), "individual")
    assert (entry.listed_on, entry.until, entry.country) == (date(2020, 2, 3), date(2030, 1, 1), "")
    assert (entry.web, entry.identifiers) == (("roe.example",), ())


def test_uk_names_in_every_script():
    """Primary names first whatever the case of NameType, then variations, aliases and non-Latin scripts; regime, measures and date."""
    entry = found("uk_sanctions", "BEL0111")
    assert entry.name == 'Open Joint Stock Company "Belaruskali"'
    assert 'Открытое акционерное общество "Беларуськалий"' in entry.aliases
    assert (entry.country, entry.listed_on) == ("BY", date(2021, 12, 2))
    assert entry.source == "Asset freeze|Director Disqualification Sanction"


def test_uk_elements_that_the_extract_lacks():
    """Made to the publisher's description: AliasStrength, websites, mail addresses, registration numbers, names of persons by parts, ships."""
    body, ship = read("uk_sanctions", """<Designations><DateGenerated>22/08/2026</DateGenerated>
      <Designation><UniqueID>X1</UniqueID><Names><Name><Name6>Umb</Name6><NameType>ALias</NameType><AliasStrength>Low quality a.k.a</AliasStrength></Name>
      <Name><Name1>Umbrella</Name1><Name6>Corporation</Name6><NameType>primary Name</NameType></Name></Names><IndividualEntityShip>Entity</IndividualEntityShip>
      <EntityDetails><Websites><Website>https://www.umbrella.example</Website></Websites><EmailAddresses><EmailAddress>a@umbrella.test</EmailAddress></EmailAddresses>
      <BusinessRegistrationNumbers><BusinessRegistrationNumber>HRB-1234567</BusinessRegistrationNumber></BusinessRegistrationNumbers></EntityDetails></Designation>
      <Designation><UniqueID>X2</UniqueID><Names><Name><Name6>Star</Name6><NameType>Primary Name</NameType></Name></Names><IndividualEntityShip>Ship</IndividualEntityShip></Designation>
      </Designations>""")
    assert (body.name, body.weak_aliases, body.aliases) == ("Umbrella Corporation", ("Umb",), ())
    assert (body.web, body.identifiers) == (("umbrella.example", "umbrella.test"), ("reg:hrb1234567",))
    assert ship.type == "vessel"


def test_un_entries_and_what_the_extract_lacks():
    """Two names in one cell are two names; the original script is an alias; a quality of Low is weak; persons have four names."""
    lakes = found("un", "CDe.003")
    assert (lakes.name, lakes.aliases) == ("COMPAGNIE AERIENNE DES GRANDS LACS (CAGL)", ("GREAT LAKES BUSINESS COMPANY (GLBC)", "CAGL"))
    assert (lakes.country, lakes.programme, lakes.listed_on) == ("CD", "DRC", date(2007, 3, 29))
    assert found("un", "QDe.006").aliases[-1] == "الجماعة الاسلامية المسلحة"
    person, group = read("un", """<CONSOLIDATED_LIST dateGenerated="2026-02-27T00:00:09.554Z"><INDIVIDUALS><INDIVIDUAL><DATAID>1</DATAID><FIRST_NAME>Jane</FIRST_NAME>
      <SECOND_NAME>Q</SECOND_NAME><THIRD_NAME/><FOURTH_NAME>Roe</FOURTH_NAME><INDIVIDUAL_ALIAS><QUALITY>Low</QUALITY><ALIAS_NAME>JR</ALIAS_NAME></INDIVIDUAL_ALIAS>
      <INDIVIDUAL_ALIAS><QUALITY>Good</QUALITY><ALIAS_NAME>Janet Roe</ALIAS_NAME></INDIVIDUAL_ALIAS></INDIVIDUAL></INDIVIDUALS><ENTITIES><ENTITY><FIRST_NAME>Umbrella</FIRST_NAME>
      <REFERENCE_NUMBER>XXe.1</REFERENCE_NUMBER><LISTED_ON>2015-03-27-04:00</LISTED_ON></ENTITY></ENTITIES></CONSOLIDATED_LIST>""")
    assert (person.name, person.aliases, person.weak_aliases, person.type) == ("Jane Q Roe", ("Janet Roe",), ("JR",), "individual")
    assert group.listed_on == date(2015, 3, 27)


def test_opensanctions_table():
    """Invented, to the published columns of targets.simple.csv: bodies, persons and ships; addresses are none of these; short numbers carry their country."""
    entries = read("opensanctions", SIMPLE)
    assert [(one.id, one.type) for one in entries] == [("NK-1", "company"), ("NK-2", "individual"), ("NK-3", "vessel")]
    assert (entries[0].aliases, entries[0].country, entries[0].programme) == (("Umbrella Korp", "Амбрелла"), "GB", "US-HOUSE")
    assert (entries[0].identifiers, entries[0].web) == (("reg:12345678",), ("umbrella.example",))


def test_opensanctions_entities():
    """Invented, to the published model of entities.ftm.json: targets only, weak aliases apart, identifiers by kind, free mail domains left out."""
    [entry] = read("opensanctions", FTM)
    assert (entry.name, entry.aliases, entry.weak_aliases) == ("Umbrella Corporation", ("Амбрелла",), ("UMB",))
    assert (entry.identifiers, entry.web) == (("reg:12345678", "lei:213800wsgiizcxf1p572"), ("umbrella.example",))
    assert (entry.country, entry.programme, entry.source) == ("GB", "US-HOUSE; sanction", "acme_list")


@pytest.mark.parametrize("loader", [*FILES, "opensanctions"])
def test_the_order_of_a_list_is_nothing(loader):
    """A list whose entries come in another order has the same entries."""
    parts = sample(loader)
    first = parts[0].data.decode()
    if first.lstrip().startswith("<"):
        name = {"ofac_xml": "sdnEntry", "eu_fsf": "sanctionEntity", "uk_sanctions": "Designation", "un": "ENTITY"}[loader]
        head, *records = first.replace(f"<{name}>", f"\0<{name}>").replace(f"<{name} ", f"\0<{name} ").split("\0")
        tail = records[-1].rpartition(f"</{name}>")
        records[-1] = tail[0] + tail[1]
        turned = head + "".join(reversed(records)) + tail[2]
    else:
        lines = [line for line in first.replace("\r\n", "\n").split("\n") if line.strip("\x1a")]
        keep = 0 if loader == "ofac_csv" else 1
        turned = "\n".join([*lines[:keep], *reversed(lines[keep:])]) + "\n"
    again = LOADERS[loader]([type(parts[0])("again", turned.encode()), *parts[1:]]).entries
    assert sorted(one.digest for one in again) == sorted(one.digest for one in LOADERS[loader](parts).entries)
    assert [one.id for one in again] != [one.id for one in LOADERS[loader](parts).entries]


def test_alternate_names_of_another_list_are_not_taken():
    """OFAC numbers entries across lists; a file of which most rows name nobody is a mix-up, and told as one."""
    sdn, _, alt, _ = extract("ofac_csv")
    with pytest.raises(InputError, match=r"part1: belongs to another list: 5\d of its 5\d rows"):
        read("ofac_csv", sdn.data.splitlines(keepends=True)[0], alt.data)
