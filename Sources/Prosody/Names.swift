/// A name as it is compared: lower case, simplified, without tone marks, spaces, hyphens, apostrophes and dots; ü is
/// written v.
func normalised(_ name: String) -> String {
    let kept = name.lowercased().filter { !" -_'’·　".contains($0) }
    return String(kept.map { plainLetters[$0] ?? simplifiedInNames[$0] ?? $0 })
}

private let plainLetters: [Character: Character] = [
    "ā": "a", "á": "a", "ǎ": "a", "à": "a", "ē": "e", "é": "e", "ě": "e", "è": "e", "ī": "i", "í": "i", "ǐ": "i",
    "ì": "i", "ō": "o", "ó": "o", "ǒ": "o", "ò": "o", "ū": "u", "ú": "u", "ǔ": "u", "ù": "u", "ü": "v", "ǖ": "v",
    "ǘ": "v", "ǚ": "v", "ǜ": "v",
]

/// The traditional characters of names (forms, tunes, rhyme groups, books), each before its simplified form: the
/// converter of whole texts is another library, which this one does without.
private let simplifiedInNames = characterMap(
    """
    醜丑 東东 個个 臨临 麗丽 烏乌 樂乐 鄉乡 買买 雲云 傳传 體体 傾倾 兒儿 蘭兰 關关 養养 涼凉 減减 鳳凤 刪删 別别 動动 華华 雙双 臺台 葉叶 號号
    後后 鹹咸 嘯啸 園园 聖圣 聲声 頭头 嬌娇 寶宝 宮宫 寢寝 對对 歲岁 應应 開开 歸归 徑径 禦御 憶忆 戀恋 願愿 揚扬 搖摇 攤摊 曉晓 闇暗 鬆松 棲栖
    橋桥 夢梦 樓楼 橫横 歡欢 漢汉 漁渔 遊游 谿溪 滿满 點点 燭烛 現现 鹽盐 眞真 禡祃 鞦秋 簫箫 紅红 紗纱 紙纸 絳绛 絕绝 絶绝 綉绣 繡绣 綺绮 緝缉
    縷缕 羅罗 職职 餚肴 腫肿 艷艳 豔艳 艶艳 蒼苍 蘇苏 薺荠 藥药 鶯莺 蕭萧 薩萨 驀蓦 蠻蛮 見见 覺觉 講讲 訴诉 詞词 詩诗 語语 調调 諫谏 謁谒 謠谣
    謡谣 質质 賀贺 賄贿 轉转 軫轸 遷迁 過过 邁迈 選选 採采 釵钗 鈴铃 銑铣 鎖锁 錫锡 錦锦 長长 門门 問问 隊队 陽阳 陰阴 陣阵 霽霁 韻韵 風风 飛飞
    馬马 魚鱼 鴣鸪 鵲鹊 鶴鹤 鷓鹧 齊齐 龍龙 脣唇 萊莱 孫孙 導导 憂忧 擷撷 無无 瓏珑 疊叠 虛虚 釣钓 黃黄
    """)

/// Pairs of characters between spaces, as a map from the first of each to the second.
func characterMap(_ pairs: String) -> [Character: Character] {
    var map: [Character: Character] = [:]
    for pair in pairs.split(whereSeparator: \.isWhitespace) {
        if let from = pair.first, let to = pair.last { map[from] = to }
    }
    return map
}

/// Levenshtein distance relative to the longer string, so that a two-character name does not win by being short.
package func editDistance(_ a: String, _ b: String) -> Double {
    let (a, b) = (Array(a.prefix(64)), Array(b.prefix(64)))
    guard !a.isEmpty, !b.isEmpty else { return 1 }
    var row = Array(0...b.count)
    for i in 1...a.count {
        var diagonal = row[0]
        row[0] = i
        for j in 1...b.count {
            let substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)
            diagonal = row[j]
            row[j] = min(row[j] + 1, row[j - 1] + 1, substituted)
        }
    }
    return Double(row[b.count]) / Double(max(a.count, b.count))
}

/// Names of ci tunes beside those of the tables: pinyin, then other names of the same tune and pattern.
package let tuneNames: [String: (pinyin: String, aliases: [String])] = [
    "蝶恋花": ("dielianhua", ["鹊踏枝", "凤栖梧"]), "浣溪沙": ("huanxisha", ["浣溪纱", "浣沙溪"]), "如梦令": ("rumengling", ["忆仙姿"]),
    "南乡子": ("nanxiangzi", []), "十六字令": ("shiliuziling", ["苍梧谣", "归字谣"]), "醉花阴": ("zuihuayin", []),
    "鹧鸪天": ("zhegutian", ["思佳客"]), "临江仙": ("linjiangxian", []), "水调歌头": ("shuidiaogetou", ["水调歌"]),
    "念奴娇": ("niannujiao", ["百字令", "酹江月", "大江东去"]), "满江红": ("manjianghong", []), "点绛唇": ("dianjiangchun", []),
    "清平乐": ("qingpingyue", ["清平乐令"]), "水龙吟": ("shuilongyin", []), "满庭芳": ("mantingfang", ["锁阳台"]),
    "朝中措": ("chaozhongcuo", []), "卜算子": ("busuanzi", []), "贺新郎": ("hexinlang", ["金缕曲", "乳燕飞", "贺新凉"]),
    "沁园春": ("qinyuanchun", []), "谒金门": ("yejinmen", []), "浪淘沙": ("langtaosha", ["浪淘沙令"]), "踏莎行": ("tasuoxing", []),
    "鹊桥仙": ("queqiaoxian", []), "渔家傲": ("yujiaao", []), "青玉案": ("qingyuan", ["横塘路"]), "南歌子": ("nangezi", ["南柯子"]),
    "柳梢青": ("liushaoqing", []), "洞仙歌": ("dongxiange", []), "生查子": ("shengzhazi", []),
    "醉落魄": ("zuiluopo", ["一斛珠"]), "蓦山溪": ("moshanxi", ["上阳春"]), "小重山": ("xiaochongshan", []),
    "诉衷情": ("suzhongqing", ["诉衷情令"]), "江城子": ("jiangchengzi", ["江神子"]), "瑞鹤仙": ("ruihexian", []),
    "阮郎归": ("ruanlanggui", ["醉桃源"]), "玉楼春": ("yulouchun", ["木兰花", "木兰花令"]), "摸鱼儿": ("moyuer", ["买陂塘", "迈陂塘", "摸鱼子"]),
    "八声甘州": ("bashengganzhou", ["甘州"]), "感皇恩": ("ganhuangen", []), "眼儿媚": ("yanermei", ["秋波媚"]),
    "醉蓬莱": ("zuipenglai", []), "忆秦娥": ("yiqine", ["秦楼月"]), "一剪梅": ("yijianmei", ["一翦梅"]), "声声慢": ("shengshengman", []),
    "少年游": ("shaonianyou", []), "千秋岁": ("qianqiusui", []), "霜天晓角": ("shuangtianxiaojiao", []),
    "喜迁莺": ("xiqianying", []), "永遇乐": ("yongyule", []), "行香子": ("xingxiangzi", []),
    "祝英台近": ("zhuyingtaijin", ["祝英台"]), "采桑子": ("caisangzi", ["丑奴儿"]), "汉宫春": ("hangongchun", []),
    "风入松": ("fengrusong", []), "望江南": ("wangjiangnan", ["忆江南", "江南好", "梦江南"]), "风流子": ("fengliuzi", []),
    "菩萨蛮": ("pusaman", ["子夜歌", "重叠金"]), "西江月": ("xijiangyue", ["步虚词"]), "减字木兰花": ("jianzimulanhua", ["减兰"]),
    "虞美人": ("yumeiren", ["一江春水"]), "好事近": ("haoshijin", ["钓船笛"]), "木兰花慢": ("mulanhuaman", []),
    "长相思": ("changxiangsi", ["双红豆", "长相思令"]), "齐天乐": ("qitianyue", ["台城路"]), "导引": ("daoyin", []),
    "定风波": ("dingfengbo", ["定风波令"]), "调笑令": ("tiaoxiaoling", ["转应曲", "古调笑", "宫中调笑"]),
    "调笑": ("tiaoxiao", ["调笑转踏"]), "相见欢": ("xiangjianhuan", ["上西楼", "秋夜月"]), "乌夜啼": ("wuyeti", ["圣无忧"]),
    "夜行船": ("yexingchuan", []), "渔父": ("yufu", ["渔父词", "渔歌子"]), "瑞鹧鸪": ("ruizhegu", []),
    "更漏子": ("genglouzi", []), "忆王孙": ("yiwangsun", ["豆叶黄"]), "桃源忆故人": ("taoyuanyiguren", ["虞美人影"]),
    "唐多令": ("tangduoling", ["糖多令", "南楼令"]), "武陵春": ("wulingchun", []), "烛影摇红": ("zhuyingyaohong", []),
    "最高楼": ("zuigaolou", []), "昭君怨": ("zhaojunyuan", []), "苏幕遮": ("sumuzhe", ["苏莫遮"]), "天仙子": ("tianxianzi", []),
    "望海潮": ("wanghaichao", []), "钗头凤": ("chaitoufeng", ["撷芳词", "折红英", "摘红英", "玉珑璁"]),
    "东坡引": ("dongpoyin", []), "摊破浣溪沙": ("tanpohuanxisha", ["山花子", "摊破浣溪纱"]),
    "临江仙·五十八字": ("linjiangxian58", []), "南歌子·双调": ("nangezi52", []), "望江南·双调": ("wangjiangnan54", []),
    "青玉案·六十六字": ("qingyuan66", []), "青玉案·六十八字": ("qingyuan68", []), "风入松·七十四字": ("fengrusong74", []),
    "少年游·五十一字": ("shaonianyou51", []), "千秋岁·七十二字": ("qianqiusui72", []), "忆秦娥·平韵": ("yiqineping", []),
    "柳梢青·仄韵": ("liushaoqingze", []), "洞仙歌·八十五字": ("dongxiange85", []),
    "风流子·一百十字": ("fengliuzi110", []),
]

/// The tune that a name means: itself, or the tune that it is another name of.
package func tune(named name: String) -> String {
    tuneNames[name] == nil ? tuneNames.first { $0.value.aliases.contains(name) }?.key ?? name : name
}
