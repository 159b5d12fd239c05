/// Characters that poems are printed with and the rhyme books do not have, each before the form whose readings it
/// takes in every book that lacks it: variants (隠 for 隐), homophones that stand in its place (这 for 者, which Song
/// poems write alike), and what OpenCC does not simplify (緜).
///
/// Found in the poems of 全唐诗 and 全宋诗 and in 宋词 (chinese-poetry, 17.5 million characters): of the characters that 平水韵
/// lacks, those that occur most. Lines that stand twice and differ in that character alone name the form; at the
/// places of otherwise regular poems where the tone is settled, it has the tone that the poems give the character.
/// Together with the characters that `ProsodyImporter` adds, they bring the places without a reading in the corpus of
/// `tihua data poems` from 92,547 to 10,529 of 15.6 million; `tihua eval prosody` lists what is left.
let variantForms = characterMap(
    """
    劒剑 堦阶 媿愧 嬾懒 廻回 徧遍 慙惭 斾旆 桮杯 櫂棹 牋笺 猨猿 珮佩 疎疏 筯箸 簷檐 缾瓶 臯皋 蘂蕊 褭袅 覩睹 醆盏 鏁锁 顇悴 髪发 鬬斗 鴈雁 厓崖 慇殷 彫雕 煖暖 捲卷 烱炯 繫系 攲欹 槃盘
    禦御 樽尊 熳漫 粘黏 馀余 乾干 沉沈 徵征 隠隐 鬰郁 欝郁 欎郁 頼赖 浄净 鶑莺 鸎莺 粧妆 鬭斗 闘斗 这者 僊仙 髙高 鼇鳌 巵卮 馿驴 賸剩 歛敛 妬妒 隣邻 餠饼 罇尊 閙闹 懽欢 隄堤 寛宽 彊强
    鲙脍 椀碗 盌碗 懃勤 鉏锄 耡锄 忻欣 鳯凤 袴绔 裤绔 峩峨 怱匆 忩匆 毬球 檝楫 虀齑 韲齑 敧欹 髣仿 髴佛 藁稿 稾稿 槀槁 珪圭 燄焰 熖焰 畧略 迺乃 廼乃 坂阪 遯遁 穉稚 踈疏 潄漱 犂犁 鼈鳖
    飜翻 繙翻 麤粗 麄粗 觕粗 蹔暂 箠棰 悮误 怳恍 醿醾 欵款 邉边 羮羹 磵涧 栢柏 岗冈 槩概 櫺棂 覊羁 覉羁 籥钥 秔粳 稉粳 歳岁 搘榰 笻筇 刬铲 蔕蒂 逈迥 揺摇 竝并 倂并 竚伫 穽阱 旛幡 暎映
    崧嵩 幙幕 緜绵 枿蘖 糵蘖 歘欻 衒炫 偪逼 顦憔 壻婿 纒缠 薫薰 姪侄 輙辄 讐仇 頳赪 箎篪 搆构 䕷蘼 毎每 碁棋 瘖喑 牓榜 蠧蠹 螘蚁 諠喧 朶朵 憇憩 斵琢 䍠蓠 呌叫 仝同 瑯琅 鵶鸦 翺翱 翶翱
    睠眷 柂舵 㶁虢 餽馈 瓌瑰 䜩宴 醼宴 罏炉 譍应 筦管 倐倏 儵倏 皷鼓 鼔鼓 藂丛 樷丛 濬浚 閴阒 廐厩 荅答 邨村 瓈璃 臙胭 躭耽 懐怀 嘿默 黙默 濶阔 寖浸 鎗枪 蕚萼 粃秕 囘回 廽回 阨厄 戹厄
    瑠琉 氊毡 鬛鬣 葅菹 舡船 舩船 澣浣 嶤峣 渇渴 沍冱 髠髡 漥洼 効效 傚效 繖伞 逺远 戯戏 毘毗 夐敻 艣橹 樐橹 棃梨 雝雍 艶艳 塲场 様样 噉啖 啗啖 駮驳 霶滂 闗关 筩筒 啣衔 衘衔 飡餐 朞期
    巌岩 嵒岩 嵓岩 喦岩 巗岩 瞇眯 呪咒 霤溜 箒帚 筭算 燿耀 槖橐 寜宁 寕宁 蟇蟆 郄郤 觧解 脇胁 琖盏 搥槌 醤酱 籝籯 窻窗 牕窗 窓窗 穏稳 愬诉 寃冤 闚窥 衞卫 碪砧 澁涩 椶棕 斚斝 嚢囊 帬裙
    輭软 虵蛇 汚污 勲勋 鵞鹅 鞵鞋 袠帙 狥徇 鐡铁 灔滟 簮簪 陁陀 逰游 礲砻 燐磷 倣仿 趂趁 勗勖 朂勖 勅敕 勑敕 𬯀跻 圞栾 啅啄 蒭刍 籖签 淛浙 釡釜 鬴釜 歴历 甦苏 蘓苏 嘷嗥 捄救 駞驼 甖罂
    憗慭 凖准 篲彗 甆瓷 彜彝 彛彝 賖赊 恓栖 飇飙 飊飙 颷飙 襃褒 髩鬓 鬂鬓 覔觅 芘庇 炰炮 徃往 糢模 橅模 匳奁 刼劫 刦劫 痩瘦 撃击 専专 囓啮 篛箬 犇奔 狠很 尅克 湼涅 誵淆 煇辉 氷冰 鷰燕
    袵衽 菓果 舃舄 鰕虾 鞾靴 桉案 餧喂 貎貌 覇霸 罣挂 璚琼 掲揭 鎻锁 覧览 蠭蜂 禆裨 眀明 曵曳 帯带 鶵雏 陜峡 膓肠 炁气 濵滨 檥舣 昻昂 敺驱 駈驱 颕颖 眎视 眡视 煅锻 恡吝 顋腮 蜨蝶 聨联
    聮联 聫联 捜搜 劔剑 苖苗 塼砖 甎砖 僣僭 㦸戟 韈袜 韤袜 蝱虻 涙泪 騣鬃 䲡鳅 馽絷 鄽廛 攅攒 頬颊 臈腊 畆亩 畮亩 戞戛 飬养 蹏蹄 蠒茧 皈归 霔注 皜皓 暠皓 皥皓 皡皓 柈盘 顚颠 扄扃 荳豆
    槹槔 橰槔 戸户 胷胸 煑煮 澘潸 沲沱 匵椟 冩写 籐藤 窼窠 敭扬 巓巅 鑛矿 蓺艺 荘庄 崕崖 壊坏 嗸嗷 凴凭 齩咬 壍堑 𫚖鳜 蜋螂 卭邛 亷廉 覰觑 覻觑 臝裸 躶裸 竢俟 晹旸 戃傥 圗图 嗁啼 鼃蛙
    飋瑟 籓藩 爼俎 敍叙 崪崒 韮韭 禩祀 矟槊 擥揽 囏艰 吚伊 髼蓬 郷乡 觝抵 壌壤 嘅慨 頺颓 聴听 聼听 罋瓮 旍旌 娬妩 𫖯俯 鍳鉴 蕋蕊 橤蕊 縦纵 絏绁 糓谷 旜旃 歗啸 晳皙 擕携 憍骄 騐验 隟隙
    繋系 甽畎 𤱶畎 尫尪 冨富 隲骘 阯址 醻酬 酧酬 詶酬 醸酿 謌歌 裩裈 皐皋 涖莅 婬淫 滛淫 埜野 鼌晁 阬坑 蠏蟹 磎溪 疉叠 徤健 帀匝 凟渎 蹷蹶 畊耕 樝楂 搉榷 幈屏 緐繁 毶毵 抝拗 尀叵 匊掬
    冺泯 冦寇 齅嗅 黒黑 頋顾 茰萸 羗羌 瘉愈 炤照 骾鲠 軃亸 艸草 糺纠 甞尝 憙喜 嵳嵯 尠鲜 尙尚 媺美 娯娱 姢娟 厪仅 謩谟 緫总 摠总 惣总 稭秸 熈熙 煕熙 攷考 愽博 廹迫 齓龀 鎁铘 譌讹 諌谏
    虗虚 薶埋 縚绦 簔蓑 瑇玳 昬昏 崐昆 崘仑 婣姻 圎圆 頟额 醎咸 莾莽 歩步 抺抹 塜冢 呑吞 餙饰 靁雷 鈆铅 衂衄 痺痹 櫩檐 忼慷 騘骢 饟饷 鑴镌 豊丰 蟁蚊 筞策 拕拖 恊协 勌倦 剏创 頥颐 逓递
    糭粽 恠怪 増增 冐冒 嘑呼 庬庞 厐庞 昩昧 撁牵 窰窑 蓱萍 珏玨 曶忽 愯悚 従从 劵券 鸖鹤 餻糕 錬炼 賛赞 衖巷 莭节 茘荔 濳潜 殱歼 揑捏 墖塔 噏吸 叡睿 叅参 儛舞 飰饭 褁裹 蠺蚕 蘐萱 舎舍
    筓笄 玆兹 瀬濑 扵于 嬝袅 嫰嫩 姸妍 龢和 辠罪 軰辈 讁谪 桞柳 柹柿 麞獐 砲礮 麏麕 趦趑 纎纤 勦剿 頖泮 閧哄 筿筱 凂浼 遶绕 𣃁斸 幷并 𫏐暂 𥩟伫 擡抬 貍狸 𫁂䆉 𫇛橹 𫛳服 𫛛鳷 𫇴刍 𪢮栾
    𰬸繐 𥬞籋 𫘞驼 劄札 𪸩辉 𫕥陨 𫖇靴 𫚥虾 𫗪喂 䌸缚 扞捍 𫐘坎 𫐆轣 𫄠絙 𠡠敕 𦰏蓧 𪎊麨 𫗋瑟 𫜪咬 𩙪飙 𨱎鍮 𢽾斅 𨱄鈯 𫔔镌 𪨷岩 𫄙纠 縴纤
    """)

/// The variants of each form, as `variantForms` has them.
private let variantsOfForm: [Character: [Character]] = {
    var variants: [Character: [Character]] = [:]
    for (variant, form) in variantForms { variants[form, default: []].append(variant) }
    return variants
}()

/// All the ways to write a character, its usual form first: those that would rhyme with themselves.
func spellings(of character: Character) -> [Character] {
    let form = variantForms[character] ?? character
    return [form] + (variantsOfForm[form] ?? []).sorted()
}
