"""Countries as official lists write them, in English, to ISO 3166-1 alpha-2.

The names are those of the standard's short forms and of the four publishers whose samples the loaders were tested on
(OFAC, UK, UN, EU); what is in none of them - a region, "undetermined" - is no country, and never an error: an unknown
country is unknown.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from mirror.policy.countries import CODES

_NAMES: Final = """
AD Andorra|AE United Arab Emirates|AF Afghanistan|AG Antigua and Barbuda|AI Anguilla|AL Albania|AM Armenia|AO Angola|AQ Antarctica
AR Argentina|AS American Samoa|AT Austria|AU Australia|AW Aruba|AX Aland Islands|AZ Azerbaijan|BA Bosnia and Herzegovina;Bosnia
BB Barbados|BD Bangladesh|BE Belgium|BF Burkina Faso|BG Bulgaria|BH Bahrain|BI Burundi|BJ Benin|BL Saint Barthelemy|BM Bermuda
BN Brunei Darussalam;Brunei|BO Bolivia;Bolivia Plurinational State of|BQ Bonaire Sint Eustatius and Saba|BR Brazil|BS Bahamas
BT Bhutan|BV Bouvet Island|BW Botswana|BY Belarus|BZ Belize|CA Canada|CC Cocos Islands;Cocos Keeling Islands
CD Democratic Republic of the Congo;Congo Democratic Republic of the;Congo Democratic Republic;DR Congo;DRC
CF Central African Republic|CG Congo;Republic of the Congo;Congo Republic of the;Congo Brazzaville|CH Switzerland
CI Cote d Ivoire;Cote dIvoire;Ivory Coast|CK Cook Islands|CL Chile|CM Cameroon
CN China;People s Republic of China;China Peoples Republic of;PRC|CO Colombia|CR Costa Rica|CU Cuba|CV Cabo Verde;Cape Verde
CW Curacao|CX Christmas Island|CY Cyprus|CZ Czechia;Czech Republic|DE Germany;Federal Republic of Germany|DJ Djibouti|DK Denmark
DM Dominica|DO Dominican Republic|DZ Algeria|EC Ecuador|EE Estonia|EG Egypt|EH Western Sahara|ER Eritrea|ES Spain|ET Ethiopia
FI Finland|FJ Fiji|FK Falkland Islands;Falkland Islands Malvinas|FM Micronesia;Micronesia Federated States of|FO Faroe Islands
FR France|GA Gabon|GB United Kingdom;United Kingdom of Great Britain and Northern Ireland;Great Britain;UK;England;Scotland;Wales;Northern Ireland
GD Grenada|GE Georgia|GF French Guiana|GG Guernsey|GH Ghana|GI Gibraltar|GL Greenland|GM Gambia|GN Guinea|GP Guadeloupe
GQ Equatorial Guinea|GR Greece|GS South Georgia and the South Sandwich Islands|GT Guatemala|GU Guam|GW Guinea Bissau|GY Guyana
HK Hong Kong;China Hong Kong Special Administrative Region;Hong Kong SAR;Hong Kong China|HM Heard Island and McDonald Islands
HN Honduras|HR Croatia|HT Haiti|HU Hungary|ID Indonesia|IE Ireland;Republic of Ireland|IL Israel|IM Isle of Man;Man Isle of|IN India
IO British Indian Ocean Territory|IQ Iraq|IR Iran;Iran Islamic Republic of;Islamic Republic of Iran|IS Iceland|IT Italy|JE Jersey
JM Jamaica|JO Jordan|JP Japan|KE Kenya|KG Kyrgyzstan|KH Cambodia|KI Kiribati|KM Comoros|KN Saint Kitts and Nevis
KP North Korea;Korea North;Democratic People s Republic of Korea;Korea Democratic People s Republic of;DPRK
KR South Korea;Korea South;Republic of Korea;Korea Republic of;Korea|KW Kuwait|KY Cayman Islands|KZ Kazakhstan
LA Laos;Lao People s Democratic Republic|LB Lebanon|LC Saint Lucia|LI Liechtenstein|LK Sri Lanka|LR Liberia|LS Lesotho|LT Lithuania
LU Luxembourg|LV Latvia|LY Libya;Libyan Arab Jamahiriya|MA Morocco|MC Monaco|MD Moldova;Republic of Moldova;Moldova Republic of
ME Montenegro|MF Saint Martin|MG Madagascar|MH Marshall Islands|MK North Macedonia;North Macedonia Republic of;Macedonia;North Macedonia The Republic of
ML Mali|MM Myanmar;Burma;Myanmar Burma|MN Mongolia|MO Macau;Macao;China Macao Special Administrative Region|MP Northern Mariana Islands
MQ Martinique|MR Mauritania|MS Montserrat|MT Malta|MU Mauritius|MV Maldives|MW Malawi|MX Mexico|MY Malaysia|MZ Mozambique|NA Namibia
NC New Caledonia|NE Niger|NF Norfolk Island|NG Nigeria|NI Nicaragua|NL Netherlands|NO Norway|NP Nepal|NR Nauru|NU Niue|NZ New Zealand
OM Oman|PA Panama|PE Peru|PF French Polynesia|PG Papua New Guinea|PH Philippines|PK Pakistan|PL Poland|PM Saint Pierre and Miquelon
PN Pitcairn|PR Puerto Rico|PS Palestine;Palestinian;State of Palestine;West Bank;Region West Bank;Region Gaza;Gaza;Occupied Palestinian Territories
PT Portugal|PW Palau|PY Paraguay|QA Qatar|RE Reunion|RO Romania|RS Serbia;Republic of Serbia|RU Russia;Russian Federation|RW Rwanda
SA Saudi Arabia|SB Solomon Islands|SC Seychelles|SD Sudan|SE Sweden|SG Singapore|SH Saint Helena|SI Slovenia|SJ Svalbard and Jan Mayen
SK Slovakia|SL Sierra Leone|SM San Marino|SN Senegal|SO Somalia|SR Suriname|SS South Sudan|ST Sao Tome and Principe|SV El Salvador
SX Sint Maarten|SY Syria;Syrian Arab Republic|SZ Eswatini;Swaziland|TC Turks and Caicos Islands|TD Chad|TF French Southern Territories
TG Togo|TH Thailand|TJ Tajikistan|TK Tokelau|TL Timor Leste;East Timor|TM Turkmenistan|TN Tunisia|TO Tonga|TR Turkey;Turkiye
TT Trinidad and Tobago|TV Tuvalu|TW Taiwan;Taiwan Province of China|TZ Tanzania;United Republic of Tanzania;Tanzania United Republic of
UA Ukraine|UG Uganda|UM United States Minor Outlying Islands|US United States;United States of America;USA|UY Uruguay|UZ Uzbekistan
VA Holy See;Vatican City|VC Saint Vincent and the Grenadines|VE Venezuela;Venezuela Bolivarian Republic of
VG British Virgin Islands;Virgin Islands British|VI Virgin Islands U S;US Virgin Islands|VN Vietnam;Viet Nam|VU Vanuatu
WF Wallis and Futuna|WS Samoa|YE Yemen|YT Mayotte|ZA South Africa|ZM Zambia|ZW Zimbabwe
"""


def _folded(name: str) -> str:
    plain = "".join(one for one in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(one))
    return " ".join(word for word in re.findall(r"[a-z0-9]+", plain) if word != "the")


def _table() -> dict[str, str]:
    rows = (row for line in _NAMES.strip().splitlines() for row in line.split("|"))
    return {_folded(name): code for code, names in (row.split(" ", 1) for row in rows) for name in names.split(";")}


_BY_NAME: Final = _table()


@lru_cache(maxsize=4096)
def country_code(text: str) -> str:
    """The ISO 3166-1 alpha-2 code of a country's name, or of a code in either case; empty for anything else."""
    stripped = text.strip()
    if len(stripped) == 2 and stripped.upper() in CODES:
        return stripped.upper()
    return _BY_NAME.get(_folded(stripped), "")
