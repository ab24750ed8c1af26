
"""Words that many organisations share: which of them mean the same in other languages, and how little each says.

Our own selection. A word is written as `letters.plain` leaves it; Chinese ones stand for the words by which lists
translate them.
"""

from __future__ import annotations

from typing import Final

#: word: its abbreviations, forms and translations.
_SAME: Final = """
bank: banking banco banque banca banka bankasi banki bankas trapeza
group: grp gp grupp gruppe groupe grupo gruppo gruppa grup grubu jituan
holding: holdings kholding
national: nacional nationale nazionale natsionalny natsionalnyy natsionalnyi natsionalnaya natsionalnoe nacionalna natl ulusal
international: intl int interneshnl interneshnal internacional internationale internazionale internationaux mezhdunarodny mezhdunarodnyy mezhdunarodnaya
university: univ universidad universite universita universitaet universitat universitet universitesi universidade daxue
institute: inst institut instituto istituto institutet
research: investigacion investigaciones recherche recherches issledovatelsky issledovatelskiy issledovatelskii rnd
center: centre ctr cntr centro tsentr zentrum centrum markaz merkezi
plant: factory zavod fabrika usine fabrica fabrik
industry: industries industrial ind indus industria industrias industrie industriya promyshlennost sanayi sanaye sanayeh
trading: treyding treiding treding trade trad bazargani comercio torgovy torgovyy torgovaya handel handels ticaret tejarat
commercial: comercial comercializadora kommerchesky kommercheskiy
technology: technologies technological tech tec techn tecnologia tecnologias technologie technologien tekhnologii tekhnologiya teknoloji keji
science: sciences scientific nauchny nauchno nauchnyy ciencia ciencias scientifique
engineering: engg engrg engineers ingenieria inzhiniring muhendislik
electronics: electronic elec elektronik elektronika electronica elektron
energy: energia energie enerji energiya energetika
petroleum: petrol petroleos petroliers
insurance: ins seguros assurance assurances sigorta strakhovaya versicherung bimeh
investment: investments invest inv inversiones investissement investissements investitsii yatirim
association: assn assoc asociacion associacao associazione assotsiatsiya
foundation: fdn found fundacion fondation fundacao fondazione vakfi stiftung
union: soyuz unione
movement: harakat harakah haraket harakatul movimiento mouvement dvizhenie
army: jaish jaysh jeish ejercito armee armiya
party: partido partiya
liberation: liberacion
republic: rep republica republique respublika
state: estado etat gosudarstvenny gosudarstvennyy gosudarstvennoe gosudarstvennaya
federal: federalnoe federalny federalnyy federalnaya
ministry: min ministerio ministere ministerstvo ministero
department: dept dpt departamento departement departament
construction: constr const construcciones constructora stroitelnaya insaat
transport: transportation transportes transporte transports
development: dev devel desarrollo developpement razvitie
general: gen generale generalny
security: seguridad securite
aviation: aviacion aviatsiya havacilik
airlines: airline aerolineas aviakompaniya
academy: acad academia academie akademiya akademi
laboratory: lab labs laboratories laboratorio laboratoire laboratoriya
system: systems sys sistema sistemas sistemy systemes
service: servis services serv svc svcs servicio servicios servizi uslugi
solution: solutions soluciones
product: products prod productos produits
agency: agencia agence agentstvo
office: oficina
enterprise: enterprises empresa empresas entreprise predpriyatie predpriyatiye
brothers: bros hermanos freres
saint: st sankt
manufacturing: mfg manuf manufacture
government: govt gov
management: mgmt mgt upravlyayushchaya upravlenie managing
technical: tekhnichesky tekhnicheskiy tekhnicheskii tekhnicheskaya tecnico tecnica technique technisch teknik
production: proizvodstvo proizvodstvennoe proizvodstvennaya proizvodstvenny proizvodstvennyy produccion
committee: cttee komitet comite
equipment: equip oborudovanie
machinery: machine machines
military: mil voenny voennyy
shipping: ship
logistics: logistic
communication: communications comm comms
telecommunication: telecommunications telecom telecoms
computer: computers computing
software: sw
pharmaceutical: pharmaceuticals pharma pharm
chemical: chemicals chem
organization: organisation org organizatsiya organizacion
labor: labour
defense: defence defensa
motors: motor
iran: iranian irani
russia: russian rossiya rossii rossiyskiy rossiysky rossiyskaya rossiyskoe rossiiskaya rossiiskii
china: chinese zhongguo
cuba: cuban cubana cubano
syria: syrian
korea: korean
iraq: iraqi
mexico: mexican mexicana mexicano
turkey: turkish turkiye
venezuela: venezolana venezolano venezuelan
colombia: colombiana colombiano colombian
libya: libyan
lebanon: lebanese
yemen: yemeni
somalia: somali
sudan: sudanese
ukraine: ukrainian
belarus: belarusian belorussian belarusskiy belorusskiy
india: indian
pakistan: pakistani
japan: japanese
taiwan: taiwanese
switzerland: swiss schweiz suisse
europe: european europa
asia: asian
africa: african
america: american americas
britain: british
beijing: peking
moscow: moskva moskovsky moskovskiy moskovskaya
petersburg: peterburg
tehran: teheran
burma: myanmar
kazakhstan: kazakh qazaqstan
usa: us
uk: gb
"""

#: Words of fields and kinds: agreeing on them says less. Those of `_SAME` before its places are such too.
_KINDS: Final = """
global bank company corporation fund trust business capital partners partner financial finance industry oil gas petrochemical
electric power steel metal metals mining materials medical health media digital data cloud network networks information internet web
online intelligence intelligent artificial ai robot robotics space aerospace auto automobile automotive vehicle vehicles car marine
maritime shipping air aircraft airport cargo freight export import supply store shop market marketing design consulting consultancy
consultants college school education training library museum hospital press publishing news radio television film food foods
agriculture agricultural farm water environment environmental real estate property properties house home hotel tourism travel
charity charitable relief aid welfare social public private limited general central new first united advanced applied modern
special strategic joint stock co com net ltd inc project projects plan program programme office bureau administration authority
council commission board team community society club league alliance network free open studio studios works workshop exchange
electrical nuclear atomic missile missiles weapons arms ammunition machinery machine tools instrument instruments
equipment components parts semiconductor microelectronics circuits devices device hardware platform platforms base light heavy
bio biotechnology management economic economics law higher vocational
professional branch division subsidiary office brigade battalion front people popular revolutionary islamic muslim abu bin
"""

#: Countries, regions and cities: where a body sits says least, for registers put it before and behind the name.
_PLACES: Final = """
afghanistan africa albania algeria america andorra angola arab arabia arabian argentina armenia asia australia austria azerbaijan
bahrain baghdad baku bangkok bangladesh barcelona beijing beirut belarus belgium berlin birmingham bolivia bosnia brazil britain
brussels bulgaria burma cairo california cambodia canada caribbean caracas chengdu chile china chongqing colombia congo costa croatia
crimea cuba cyprus czech dalian damascus delhi denmark dongguan donetsk dubai ecuador egypt emirates england estonia ethiopia europe
finland france frankfurt fujian gaza geneva georgia germany ghana greece guangdong guangxi guangzhou guatemala hague hainan hamburg
hangzhou harbin havana hebei hefei henan hong kong hubei hunan hungary iceland india indonesia iran iraq ireland islamabad israel
istanbul italy japan jiangsu jiangxi jinan jordan karachi kazakhstan kenya khartoum kong korea kuwait kyiv kiev kyrgyzstan lahore laos latvia
lebanon liaoning libya lisbon lithuania london luxembourg macau macedonia madrid malaysia malta manchester mexico minsk moldova
mongolia montenegro morocco moscow mumbai myanmar nanjing nepal netherlands nicaragua nigeria ningbo north norway oman pakistan
palestine panama paraguay paris peru petersburg philippines poland portugal prague pyongyang qatar qingdao riyadh romania russia rwanda
saint samara saudi senegal serbia seoul serbia seychelles shaanxi shandong shanghai shanxi shenyang shenzhen siberia sichuan singapore slovakia slovenia
somalia south spain sudan suzhou sweden switzerland sydney syria taipei taiwan tajikistan tanzania tehran texas thailand tianjin tokyo
toronto tripoli tunisia turkey turkmenistan uae uganda uk ukraine ural urals uruguay usa uzbekistan venezuela vienna vietnam wales warsaw
west western wuhan wuxi xiamen xian xinjiang yemen york yunnan zhejiang zhengzhou zhuhai zimbabwe zurich eastern east southern northern
central novosibirsk kazan yekaterinburg ekaterinburg rostov sevastopol simferopol luhansk isfahan shiraz mashhad tabriz qom
"""

#: Places of two words or more, as one.
TOGETHER: Final = {
    "united states of america": "usa", "united states": "usa", "united kingdom": "uk", "united arab emirates": "uae", "hong kong": "hongkong",
    "saudi arabia": "saudiarabia", "new york": "newyork", "new delhi": "newdelhi", "new zealand": "newzealand", "abu dhabi": "abudhabi",
    "tel aviv": "telaviv", "kuala lumpur": "kualalumpur", "sri lanka": "srilanka", "costa rica": "costarica", "el salvador": "elsalvador",
    "north korea": "northkorea", "south korea": "southkorea", "south africa": "southafrica", "buenos aires": "buenosaires",
    "sao paulo": "saopaulo", "ras al khaimah": "rasalkhaimah", "nizhny novgorod": "nizhnynovgorod", "ho chi minh": "hochiminh",
}  # fmt: skip

#: Chinese, and what lists write for it.
CHINESE: Final = {
    "科技": "technology", "技术": "technology", "集团": "group", "银行": "bank", "大学": "university", "学院": "college",
    "研究院": "institute", "研究所": "institute", "研究中心": "research center", "实验室": "laboratory", "科学院": "academy science",
    "中心": "center", "人工智能": "artificial intelligence", "智能": "intelligent", "信息": "information", "电子": "electronics",
    "通信": "communication", "通讯": "communication", "网络": "network", "软件": "software", "数据": "data", "云": "cloud",
    "机器人": "robot", "半导体": "semiconductor", "微电子": "microelectronics", "工业": "industry", "产业": "industry",
    "国际": "international", "国家": "national", "中国": "china", "中华": "china", "投资": "investment", "控股": "holding",
    "贸易": "trading", "进出口": "import export", "能源": "energy", "石油": "petroleum", "化工": "chemical", "航空": "aviation",
    "航天": "aerospace", "汽车": "automobile", "电气": "electric", "电力": "power", "机械": "machinery", "设备": "equipment",
    "制造": "manufacturing", "工程": "engineering", "建筑": "construction", "建设": "construction", "系统": "system",
    "服务": "service", "开发": "development", "发展": "development", "咨询": "consulting", "管理": "management",
    "文化": "culture", "传媒": "media", "教育": "education", "生物": "bio", "医药": "pharmaceutical", "医疗": "medical",
    "材料": "materials", "物流": "logistics", "保险": "insurance", "证券": "securities", "基金": "fund", "公司": "",
    "分公司": "branch", "北京": "beijing", "上海": "shanghai", "深圳": "shenzhen", "广州": "guangzhou", "杭州": "hangzhou",
    "重庆": "chongqing", "天津": "tianjin", "南京": "nanjing", "武汉": "wuhan", "成都": "chengdu", "西安": "xian",
    "香港": "hong kong", "澳门": "macau", "台湾": "taiwan", "厦门": "xiamen", "长沙": "changsha", "长春": "changchun",
    "长江": "changjiang", "长城": "changcheng", "长安": "changan", "陕西": "shaanxi", "浙江": "zhejiang", "广东": "guangdong", "江苏": "jiangsu",
    "市": "", "省": "", "技術": "technology", "集團": "group", "銀行": "bank", "大學": "university", "研究院所": "institute",
    "電子": "electronics", "國際": "international", "中國": "china", "國家": "national", "工業": "industry", "航空工业": "aviation industry",
}  # fmt: skip


def _same() -> dict[str, str]:
    lines = (line.partition(":") for line in _SAME.strip().splitlines())
    return {other: word for word, _, others in lines for other in others.split()}


#: Word -> the one that stands for it.
SAME: Final = _same()
#: The longer words behind one of `SAME`: a slip in one of them is a slip in it.
VARIANTS: Final = {
    word: tuple(other for other, meant in SAME.items() if meant == word and len(other) > 4) for word in dict.fromkeys(SAME.values())
}
PLACES: Final = frozenset(SAME.get(word, word) for word in (*_PLACES.split(), *TOGETHER.values()))
COMMON: Final = frozenset(SAME.get(word, word) for word in (*_KINDS.split(), *SAME.values())) - PLACES
IDLE: Final = frozenset("the of and for de del la le les du des di da do dos der die das und et y e i im am zu zur van von ve en los las el al ul".split())

_UNITS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS: Final = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
_ROMAN: Final = "ii iii iv vi vii viii ix xi xii xiii xiv xv xvi xvii xviii xix xx".split()
#: Number words, ordinals and Roman numerals (beyond the one-lettered) as digits.
NUMBERS: Final = {
    **{word: str(number) for number, word in enumerate(_UNITS)},
    **{word: str(number * 10) for number, word in enumerate(_TENS, 2)},
    **{word: str(number) for number, word in enumerate(_ORDINALS, 1)},
    **dict(zip(_ROMAN, map(str, (2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)), strict=True)),
    "fourty": "40", "hundredth": "100",
}  # fmt: skip
