# ruff: noqa: RUF001 - legal forms in the scripts in which they are written
"""The legal forms of organisations, as they end or begin a name: `ag`, `ltd`, `ooo`, in many languages.

Condensed from `org_types.yml` of rigour (https://github.com/opensanctions/rigour), Copyright (c) 2023 OpenSanctions
Datenbanken GmbH, MIT licence (config/matching/NOTICE), with additions of our own. Each form is written as `names.plain` leaves it,
grouped by what kind of body it is; `CORP` is any company that its words do not place.
"""

from __future__ import annotations

from typing import Final

_TABLE: Final = {
    "JSC": """
        a g | aandelenvennootschap | aat | ab | abp | ad | adkritaye aktsiyanernaye tavaristva | adkrytae
        akcyyanernae tavarystva | ag | ag societe anonyme | ags | akc spolecnost | akciju sabiedriba |
        akcionarsko drustvo | akciova spolecnost | akg | aksiyadorlik jamiyati | akt ges | aktg | aktiebolag |
        aktienges | aktiengesellschaft | aktieselskab | aktsiaselts | aktsionerne tovarystvo | aktsionerno
        druzhestvo | aktsionernoe obshchestvo | aktsionernoe obshchestvo otkrytogo tipa | aktsionerny
        kommercheskiy bank | allami tulajdonban levo reszvenytarsasag | anonim ortaklık | anonim sirket | ao |
        as | at | atviroji akcine bendrove | avatud aktsiaselts | avoin osakeyhtio | berhad | bhd | c por a |
        cjsc | closed joint stock company | closed jsc | comandita por acciones | compania por acciones | cong
        ty co phan | cpa | cty cp | cuideachta comhstoic oscailte | dd | det offentligretlige aktieselskab |
        dionicko drustvo | ednolichno aktsionerno druzhestvo | europaische aktiengesellschaft | europaische
        gesellschaft | evropeysko druzhestvo | eвропеиско дружество | fb tic | gag | gemeinnutzige
        aktiengesellschaft | haao | halka acık anonim ortaklık | j s c | j stock company | javna delniska druzba
        | javno dionicko drustvo | javno trgovacko drustvo | joint stock bank | joint stock co | joint stock
        commercial bank | joint stock company | js co | jsc | jscb | jt stock co | jtd | julkinen osakeyhtio |
        jusikhoesa | kumpanija bishma kongunti | kumpanija bishma kongunti pubblici | n v | naaml vennootschap |
        naamloze vennootschap | nao | nv | nyilvanosan mukodo reszvenytarsasag | nyrt | o j s c | oaj | oao |
        ochiq aksiyadorlik jamiyati | offene aktiengesellschaft | oj sc | ojsc | open jnt stock co | open joint
        stock company | open jsc | openbare aandelenvennootschap | openbare vennootschap op aandelen | otkr akts
        obshch | otkrytoe akcionernoe obshhestvo | otkrytoe aktsionernoe obshchestvo | otkrytoe aktsionernoye
        obshestvo | otkrytoje akcionernoje obshchestvo | otwarta społka akcyjna | oyj | p l c | panstwowa społka
        akcyjna | pao | pjsc | pjscb | pl co | plc | plc company | plc ltd | plcs | psc | pt | pt tbk | pub
        limited | pub limited co | pub ltd co | public joint stock commercial bank | public joint stock company
        | public jsc | public limited | public limited co | public limited company | public limited corporation
        | public lt company | public ltd co | public ltd corporation | public stock company | public stock
        company pjsc | publichne aktsionerne tovarystvo | publichnoe aktsionernoe obshchestvo | publicly ltd
        company | qsc | reszvenytarsasag | rt | sa | sa de cv | sacif | sacifi | sacifia | sacifiy a | saciy f |
        sacv | sad | sadecv | saica | saoc | saog | sapi de cv | sapicv | sarf | sca | se | sh a | sha |
        sharikat al mossahamah | shoqeri aksionere | shoqeri anonime | soc anon de cap var | sociedad anonima |
        sociedad anonima de capital variable | sociedad anonima deportiva | sociedad limitada por acciones
        abierta | sociedad por acciones | sociedade por acoes | sociedade por acoes aberta | sociedade publica
        por acoes | societa per azioni | societas europaea | societate anonima | societate pe actiuni |
        societatea publica pe actiuni | societateare pe actiuni | societe anonyme | societe anonyme omanaise
        close | societe anonyme omanaise generale | societe en commandite par actions | societe par actions |
        societe par actions ouverte | societe publique par actions | spa | społka akcyjna | tbk | vennootschap
        op aandelen | verejna akciova spolocnost | vidkrite akcionerne tovaristvo | vidkryte aktsionerne
        tovarystvo | viesoji akcine bendrove | yoaj | yopiq aksiyadorlik jamiyati | zakryte akcjonarne
        obschtschestwo | zakrytoe akcionernoe obshchestvo | zakrytoe aktsionernoe obshhestvo | zakrytoye
        aktsionernoye obshchestvo | zao | zartkoruen mukodo reszvenytarsasag | zrt | δημοσια συμμετοχικη
        εταιρεια | аат | ад | адкрытае акцыянернае таварыства | акб | акционарско друштво | акционеpное общество
        откpытого типа | акционеное общество закрытого типа | акционерно дружество | акционерного общества |
        акционерного общества закрытого типа | акционерное общество | акционерные общества закрытого типа |
        акционерныи коммерческии банк | акциядорлик жамияти | акцонерное общество открытого типа | акціонерне
        товариство | акціонерне товариство відкритого типу | акціонернии комерціинии банк | акціонерного
        товариства | ао | ваt | ват | відкрите акціонерне товариство | еад | ед | еднолично акционерно дружество
        | закрите акціонерне товариство | закрытое акционерное общество | зао | зат | нао | оао | открытоe
        акционерное общeство | открытое акционергое общество | открытое акционернoe общество | очиқ акциядорлик
        жамияти | пао | пат | приватне акціонерне товариство | публично акционерно дружество | публичное
        акционерное общество | публічне акціонерне товариство | сак | страховая акционер компания | страховая
        акционерная компания | хк | хувьцаат компани | شركة خفية الاسم | شـركـة الـمـسـاهـمـة | დახურული სააქციო
        საზოგადოება | სააქციო საზოგადოება | სს | 주 | 주식회사 | ሃላፊነቱ የተወሰነ የግል ማህበር | 株式会社 | 股份公司 | 股份有限公司 |
        주식회사
    """,
    "LLC": """
        ab company oy | amba | andelsselskab med begrænset ansvar | anpartsselskab | aps | b v | b vennootschap
        | besl vennootschap | besloten vennootschap | bv | bvba | ca | cia | cia ltda | co ltd | coltd |
        compania anonima | compania limitada | company limited | company oy ab | cty tnhh | cty tnhh mtv | cyf |
        cyfyngedig | d o o | dis tic ltd | dmcc | dmcc co | dmcc company | dmcc free zone | dmcc llc | dno |
        dntn | doanh nghiep tu nhan | doo | drujestvo s ogranichena otgovornost | drustv ogranic odgovor |
        drustveno preduzece | drustvo ogranicene odgovornosti | drustvo s ogranicenom odgovornoscu | druzba z
        omejeno odgovornostjo | dtnn | dubai multi commodities centre | dubai multi commodities centre company |
        eenpersoons bvba | ehf | einkahlutafelag | eireli | eirl | eood | eurl | foreign limited liability
        company | free economic zone llc | free zone co | free zone enterprise | free zone entity | free zone
        establishment | free zone limited liability company | free zone llc | freezone company | fz co | fz
        enterprise | fz entity | fz establishment | fz llc | fzco | fze | fzllc | g m b h | gemeinnutzige gmbh |
        gemeinnutzige ug | gemeinnutzige ug haftungsbeschrankt | gemeinnutzige unternehmergesellschaft | ges mbh
        | ges mit beschr haftung | gesellsch mbh | gesellschaft mbh | gesellschaft mit besch haftung |
        gesellschaft mit beschrankter haftung | gesmbh | ggmbh | gk | gm beschr haftung | gmb h | gmbh | gmbhs |
        gug | hf | hlutafelag | i n c | in | incorp | incorporado | incorporee | incs | ivs | iværksætterselskab
        | jdoo | k f t | kft | kft fioktelep | korlatolt felelossegu tarsasag | kulfoldi szekhelyu vallalkozas
        fioktelepe | l l c | lc | lda | limitada | limitd | limite | limited | limited by guarantee | limited by
        shares | limited co | limited company | limited liab co | limited liability co | limited liability
        company | limited liability corporation | limited sirket | limited sti | limitee | limted | ll | llc |
        llc fz | llcs | lmtd | lt | ltd | ltd co | ltd liab company | ltd liability comp | ltd liability company
        | ltd sti | ltda | ltds | masuliyati cheklangan jamiyat | mbh | mchj | mit besch haftung | mit
        beschrankter haftung | mmc | məhdud məsuliyyətli cəmiyyət | o y | obshchestvo s ogranichennoi
        otvetstvennostyu | od | ood | ooo | ortacko drustvo | osakeyhtio | oy | oy company ab | oсoo | pllc |
        private company with limited liability | private limited | private limited company | private limited
        liability company | professional limited liability company | proprietary limited | proprietary limited
        company | proprietary ltd | pte ltd | pty ltd | pvt ltd | ribotos atsakomybes bendrove | s a r l | s a s
        | s de rl de cv | s ie | s par as | s r l | s r o | sa rl | sabiedriba ar ierobezotu atbildibu |
        sabiratelno druzhestvo sd sadruzhie | sarl | sas | scc | sd | sd s ie | sdn bhd | selskab med begrænset
        ansvar | sendirian berhad | sh pk | shoqeri me pergjegjesi te kufizuar | shpk | sia | sicietatea de
        raspundere limitata | single member private limited company | sirketi | sll | slne | smba | soc a resp
        limitata | soc a resp limitee | soc a responsab limitee | soc par actions simplifiee | soc resp limitada
        | sociedad de responsabilidad limitada | sociedad limitada laboral | sociedad limitada nueva empresa |
        sociedad por acciones simplificada | sociedade limitada | societa a responsabilita limitata | societate
        cu rasponbilitate limitata | societate cu raspundere limitata | societate cu responsabilitate limiiata |
        societatea cu rasponsabilitate limitata | societatea cu raspundere | societatii cu raspunderea limitata
        | societe a responsabilite limitee | societe actions simplifiee | societe commerciale canadienne |
        societe par actions simplifiee | societe privee a responsabilite limitee | sp z ogr odp | sp z oo | sp z
        oo sp k | sp zoo | special economic zone llc | spol s ro | spol s ruc omez | spolecnost s rucenim
        omezenym | spolka z ogr odpow | spolka z ograniczona odpowiedzialnoscia | spolka z oo | społka z oo sp k
        | sprl | spz oo | spzoo | srl | srlcv | sro | sti | suarl | tavaristva z abmezhavanaj adkaznastsiu |
        tavarystva z abmezhavanaj adkaznascyu | tavarystva z abmezhavanay adkaznastsyu | tavarystva z dadatkovaj
        adkaznascyu | too | tov | tovarystvo z obmezhenoyu vidpovidalnistyu | trade free zone company | uab | ug
        | ug haftungsbeschr | ug haftungsbeschrankt | ug hb | unternehmerges | unternehmerges haftungsbeschrankt
        | unternehmergesellschaft | unternehmergesellschaft haftungsbeschrankt | uzdaroji akcine bendrove |
        uzdarosios akcines bendroves | wll | yk | yu | yuhanhoesa | εpε | επε | εταιρια περιορισμενησ ευθυνησ |
        гмбх | дззд | доо | дп | дружество с ограничена отговорност | друштвено предузеће | друштво са
        ограниченом одговорношћу | еоод | компания с ограниченнои ответственностью | ликвидационная комиссия ооо
        | лимитед | лтд | лімітед | масъулияти чекланган жамият | мчж | общество ограниченнои ответственности |
        общество с дополнительнои ответственностью | общество с ограниченнои от | общество с ограниченнои
        отвествтеннсотью | общество с ограниченнои ответсвенноссть | общество с ограниченнои ответственнои |
        общество с ограниченнои ответственностью | общество с огрниченнои отственностью | од | одо | оод | ооо |
        ортачко друштво | с ие | сд | сиа | събирателно дружество | събирателно дружество сд съдружие | таа |
        таварыства з абмежаванаи адказнасцю | таварыства з дадатковаи адказнасцю | тда | тзов | тов | товариство
        з обмеженою відповідальністю | ххк | хязгаарлагдмал хариуцлагатаи компани | частная компания с
        ответственностью | בע מ | المحدودة | المساهمة المحدودة | شركة ذات مسووليات محدودة شمم | شركة فردية ذات
        مسووليات محدودة | შეზღუდული პასუხისმგებლობის საზოგადოება | შპს | 유 | 유한회사 | 合同会社 | 有限 | 有限会社 |
        有限公司 | 有限責任公司 | 有限责任公司 | 유한회사
    """,
    "CORP": """
        co | compagnie | compania | company | corp | corporation | firma | group of companies | inc |
        incorporated | na | national association | societe | 公司 | 集团 | 集團
    """,
    "LP": """
        ag co kg | ag und co kg | agcokg | agcokgaa | aktiengesellschaft co kg | beteti tarsasag | bt | bv co kg
        | bvcokg | comandita simple | comm v | comm va | commanditaire vennootschap | commanditaire vennootschap
        op aandelen | cv | cva | eg co kg | egcokg | eingetragene genossenschaft co kg | europaische
        gesellschaft co kg | genossenschaft co kg | gesellschaft mbh co kg | gewone commanditaire vennootschap |
        gmbh co | gmbh co kg | gmbh und co kg | gmbhcokg | gmbhcokgaa | ilp | incorporated limited partnership |
        kb | kd | kda | kg | kgaa | kom sti | komandit sirket | komanditni spolecnost | komanditno drustvo |
        komanditno druzhestvo | komanditno druzhestvo s aktsii | komanditno druzhestvo s aktsiyami |
        komanditsabiedriba | kommandiittiyhtio | kommanditbolag | kommanditgesellschaft | kommanditgesellschaft
        auf aktien | kommanditselskab | ks | ky | limited co kg | limited ortaklık | limited partnership | lp |
        ltd co kg | ltdcokg | mbh u co kg | s cra | s en c | sapa | sce i | scei | scpa | scra | scs | se co kg
        | se co kgaa | secokg | secokgaa | secs | sh k | shk | shoqeri komandite | snc | snt | sociedad
        comanditaria | sociedad de capital e industria | sociedad en comandita por acciones | sociedad en
        comandita simple | societa in accomandita per azioni | societas europaea co kg | societe en commandite
        simple | societe en nom collectif | stiftung co kg | stiftung und co kg | stiftungcokgaa | taisuhing |
        tokumei kumiai | tu | ug co kg | ug haftungsbeschrankt co kg | ugcokg | unternehmergesellschaft co kg |
        usaldusuhing | uu | гмбх енд ко кг | кд | кда | командитно дружество | командитно дружество с акции |
        командитно друштво | лп | садоводческое некоммерческое товарищество | 兩合公司 | 匿名組合 | 合資会社
    """,
    "LLP": """
        limited liability partnership | llp | mbb | part mbb | partg mbb | partgmbb | partmbb | partnerschaft
        mbb | partnerschaftsgesellschaft mbb | ооп | тоо | 有限責任事業組合
    """,
    "GP": """
        avoin yhtio | ay | bgb gesellschaft | e gbr | egbr | egyszeru tarsasag | eingetragene gbr | et | gbr |
        general partnership | ges bur rechts | ges burgerlichen rechts | gesbr | gesellschaft burgerlichen
        rechts | gesellschaft des burgerlichen rechts | gmbhcoohg | gp | keg | kkt | kolektif sirket | koll sti
        | kommanditerwerbsgesellschaft | kozkereseti tarsasag | offene handelsgesellschaft | ohg | part g |
        partg | partnerschaft | partnerschaftsgesellschaft | sameignarfelag | sc | sf | sociedad colectiva |
        societatea comerciala | ug co ohg | ugcoohg | полное товарищество | пт | አክሲዩን ማህበር | 合名会社
    """,
    "SP": """
        e kfm | e kfr | ednolichen targovets | egyeni ceg | egyeni vallalkozo | ei | eingetr kaufmann |
        eingetragene kauffrau | eingetragener kaufmann | eingetragenes einzelunternehmen | ek | ekfm | ekfr |
        empresa unipersonal | entreprise individuelle | fop | ii | inteprinderea individuala | intreprinzator
        individual | ip | kfm | kfr | obiteljsko poljoprivredno gospodarstvo | oilaviy korxona | opg | pp |
        private enterprise | pryvatne pidpryiemstvo | pup | samostalni preduzetnik | sau | sociedad anonima
        unipersonal | sole proprietorship | sp | spd | statni podnik | ultd | unlimited | unlimited proprietary
        | unltd | vennootschap onder firma | verejna obchodni spolecnost | vof | vos | едноличен търговец | ет |
        индивидуальныи предприниматель | ип | оилавии корхона | пп | приватне підприємство | прыватнае унітарнае
        прадпрыемства | пуп | спд | субъект предпринимательскои деятельности | субєкт підприємницькоі діяльності
        | физическое лицо предприниматель | фоп | фізична особа підприємець | індывідуальны прадпрымальнік | іп
        | 無限公司
    """,
    "COOP": """
        andelslag | andelslag med begrænset ansvar | anl | co op | cooperative | cvba | cvoa | economisch
        samenwerkingsverband | eeig | eg | ege | egen | eingetragene genossenschaft | ek for | ekd | ekfor |
        ekonomisk forening | erdeszeti tarsulas | esv | ets | europai gazdasagi egyesules | europaische
        genossenschaft | european economic interest grouping | evropeysko kooperativno druzhestvo | ewiv |
        eвропеиско кооперативно дружество | genossenschaft | gensidigt selskab | gie | gospodarsko interesno
        udruzenje | groupement dinteret economique | hop tac xa | htx | koop | kooperatif sirket | kooperatsia |
        sce | scop | sem | sgr | sociedad cooperativa | sociedad de garantia reciproca | societas cooperativa
        europaea | societe cooperative de production | societe deconomie mixte | societe en participation |
        społdzielni | szov | szovetkezet | versicherungsverein ag | versicherungsverein auf gegenseitigkeit |
        vvag | екд | еоии | кооперация | пк | пкооп | потребительскии кооператив | производственныи кооператив |
        спк | ህብረት ስራ ማህበራት
    """,
}

#: What the table above lacks.
_FURTHER: Final = {
    "JSC": """
        plk | joint stock kompani | asa | ab publ | kk | kabushiki kaisha | kabushikigaisha | ksc | kscc | kscp | bsc | bscc | qpsc | psc | saog | saoc | sal | sjsc |
        npao | jsic | dioncko drustvo | san ve tic as | sanayi ve ticaret as | sanayi ve ticaret anonim sirketi | san tic as |
        pjsic | sa de cv sofom | spolka akcyjna | 株式會社 | 股份有限責任公司 | aktsionernoye obshchestvo | otkrytoye aktsionernoye obshchestvo |
        zakrytoye aktsionernoye obshchestvo | publichnoye aktsionernoye obshchestvo | neftegazovaya aktsionernaya kompaniya | aktsionernaya kompaniya
    """,
    "LLC": """
        llk | ko ltd | ko limited | kompani limited | gmbkh | osoo | ou | osauhing | dac | designated activity company | godo kaisha | godogaisha | yugen kaisha | smllc | lllp | ulc | scrl |
        slu | sl | fzd | fz llc | est | establishment | san ve tic ltd sti | sanayi ve ticaret ltd sti | sanayi ve ticaret limited sirketi |
        san tic ltd sti | tic ltd sti | ticaret limited sirketi | ticaret ltd sti | co llc | company llc | co wll | company wll | one person company |
        opc private limited | opc pvt ltd | private ltd | p ltd | pvt limited | pt ltd | pte limited | pty limited | nominees |
        limitada de capital variable | spolka z oo | 有限責任公司 | 合同会社 | 有限会社 | 有限責任会社
    """,
    "CORP": """
        kompani | kompany | korporation | korporatsiya | korp | ink | incorp | incorporation | corporate | corpn | coy | sarl au | gongsi | youxian gongsi | companies | unincorporated | cic |
        community interest company | pc | kompaniya | kompaniia | sherkat | sherkate | shirkat | sharikat | stichting
    """,
    "STATE": """
        fgup | fsue | gup | mup | federal state unitary enterprise | state unitary enterprise |
        federalnoe gosudarstvennoe unitarnoe predpriyatie | gosudarstvennoe unitarnoe predpriyatie
    """,
    "ASSOCIATION": "ev | eingetragener verein | asbl | aisbl | vzw | ivzw | asociacion civil | ac",
    "LLC GMBH": "ggmbh | gemeinnutzige gmbh",
}

#: Form -> kind.
FORMS: Final = {
    **{" ".join(form.split()): kind.split()[0] for kind, text in _FURTHER.items() for form in text.split("|")},
    **{" ".join(form.split()): kind for kind, text in _TABLE.items() for form in text.split("|")},
}
