"""Chinese single-turn advice (assistant) and small talk (open chat), each question answerable at four lengths."""

import random

from polyalign.demo import styles
from polyalign.demo.chinese_words import TOPICS
from polyalign.demo.grammar import Grammar, grow
from polyalign.demo.styles import about_a_hobby, listed_advice

# kind of question -> (questions, first sentences of an answer)
KINDS = {
    "start": (
        (
            "怎样开始学{topic}？",
            "初学{topic}要知道什么？",
            "能给我一些{topic}的建议吗？",
            "{topic}难学吗？我打算先{focus}。",
            "我刚买了{gear}，{topic}的下一步是什么？",
        ),
        (
            "最简单的开始是{focus}。",
            "只需要{gear}和一点耐心。",
            "可以先{focus}。",
            "初学者应当{focus}，并准备好{gear}。",
        ),
    ),
    "why": (
        (
            "为什么很多人喜欢{topic}？",
            "{topic}的乐趣在哪里？",
            "请解释为什么要{focus}。",
            "为什么{benefit}？",
        ),
        (
            "主要是因为{benefit}。",
            "这样做{benefit}。",
            "很多人喜欢它，是因为{benefit}。",
            "{focus}的好处是{benefit}。",
        ),
    ),
    "trouble": (
        (
            "{trouble}怎么办？",
            "我在{topic}时遇到{trouble}，该怎么做？",
            "{trouble}有什么好办法？",
            "{focus}能解决{trouble}吗？",
        ),
        ("遇到{trouble}，可以{focus}。", "只要{focus}，就能避免{trouble}。", "准备{gear}，再{focus}就好。"),
    ),
    "way": (
        ("怎样才能更好地{focus}？", "什么时候适合{focus}？", "{focus}难不难？", "{focus}需要{gear}吗？"),
        (
            "{moment}{focus}最合适。",
            "可以用{gear}来{focus}。",
            "试着{moment}{focus}。",
            "{focus}大约需要{minutes}分钟。",
        ),
    ),
    "ideas": (
        (
            "周末{topic}有什么好主意？",
            "请给我几个{topic}的小窍门。",
            "一家人怎么一起{topic}？",
            "说说{topic}的实用知识。",
        ),
        (
            "可以{moment}{focus}。",
            "不妨{focus}，带上{gear}。",
            "只要{focus}，就会很开心。",
            "一个小窍门是{focus}。",
        ),
    ),
}

ADVICE = {
    "minutes": ("5", "10", "15", "20", "25", "30", "40"),
    "weeks": ("2", "3", "4", "5", "6"),
    "moment": ("早上", "下班以后", "天气好的时候", "周末", "每周一次", "午饭前"),
    "plain_end": ("只要{minutes}分钟。", "不需要别的。", "越简单越好。"),
    "connected": (
        "首先，应该{action}，因为{benefit}。",
        "其次，最好{moment}{action}。",
        "不过，要注意{problem}的情况。",
        "此外，{action}的时候，{tool}很有用。",
        "例如，许多人会{moment}{action}。",
        "因此，{benefit}，{benefit}。",
        "初学者常常忘记{action}，其实只需要{minutes}分钟。",
        "另一方面，不必着急。",
        "而且，{action}以后，{benefit}。",
        "总之，耐心比{tool}更重要。",
    ),
    "view": ("一般来说，", "据我所知，", "要看情况，不过通常", "说法不一，对多数人来说，"),
    "heading": ("## {topic}计划", "## {topic}步骤", "## {topic}笔记", "## {topic}要点"),
    "announce": ("步骤如下：", "计划分为以下几点：", "请参考下面的清单：", "要点如下："),
    "step": (
        "{action}（{minutes}分钟）；",
        "{tool}：用来{action}；",
        "{problem}：{action}；",
        "{action}，{benefit}；",
        "{moment}：{action}；",
        "{action}，然后{action}；",
    ),
    "note": (
        "注意：坚持{weeks}周。",
        "总时间：每天约{minutes}分钟。",
        "提示：给每一步写上日期。",
        "小结：{benefit}。",
    ),
    "second_heading": ("## 常见问题", "## 所需工具", "## {weeks}周以后"),
}

CHAT = {
    "recent": ("昨天", "上周末", "星期天", "今天早上", "昨晚", "前两天"),
    "wow": ("哇！", "真的吗？", "哈哈！", "不会吧！", "太好了！", "哎呀！"),
    "feeling": ("太好玩了", "有点疯狂", "特别开心", "挺累的", "刚刚好", "好好笑"),
    "buddy": ("我妹妹", "我室友", "我爸", "一个老朋友", "隔壁邻居", "我表哥"),
    "opener": (
        "嗨！我{recent}{memory}，你呢？",
        "听说了吗？我{recent}{memory}！",
        "你喜欢{topic}吗？",
        "你试过{topic}吗？",
        "你{recent}做什么了？",
        "唉，又碰上{problem}，好烦啊！",
        "猜猜看，{buddy}{recent}{memory}。",
        "要不要一起{action}？",
    ),
    "follow": (
        "听起来{feeling}！然后呢？",
        "真的呀？我从来没有{memory}。",
        "你还会再来一次吗？",
        "谁和你一起去的？",
        "我也想{action}！",
        "那{problem}怎么办呀？",
        "哈哈，快多说点！",
    ),
    "quick": (
        "{wow}我{recent}也{memory}！",
        "{wow}{feeling}！",
        "没什么，就{memory}啦。",
        "好呀，一起{action}吧！",
        "还行吧，{feeling}。",
        "{wow}{buddy}也{memory}！",
        "嗯，可是我最怕{problem}！",
        "{moment}吧，好不好？",
        "我也是！",
    ),
    "chatter_start": ("嗯，从哪儿说起呢？", "让我想想。", "跟你说个事。", "说实话，"),
    "chatter": (
        "我{recent}{memory}，{feeling}！",
        "你知道吗，{benefit}呢！",
        "下次我们一起{action}吧，好不好？",
        "{buddy}还{memory}，哈哈！",
        "就是要小心{problem}呀！",
        "我现在超爱{topic}！",
        "{moment}要不要一起来？",
        "我还带了{tool}呢！",
        "嗯，反正{feeling}。",
        "对了，你最近怎么样？",
    ),
    "story_start": ("哎，我跟你说……", "你肯定不信……听我讲！", "这事说来话长……", "来，坐下听我讲……"),
    "story": (
        "{recent}我{memory}，对吧？",
        "然后呢……{buddy}{memory}！",
        "我就说：“一起{action}吧！”",
        "结果{buddy}只说：“{wow}”",
        "我们笑得停不下来……",
        "一开始当然是{problem}。",
        "你说，谁会{moment}{action}呀？！",
        "我心想：“再也不来了！”可是后来又{memory}。",
        "而且全靠{tool}，你能想象吗？",
        "最后嘛……{feeling}。",
        "大家都说{benefit}。",
        "所以我们也只好{action}！",
        "{buddy}一直喊：“{wow}{wow}”",
        "说真的，我{memory}，忙了好几个小时……",
    ),
    "story_end": ("换作你会怎么办？", "嗯，这就是我的一天！", "你真该来看看！！", "是不是很夸张？"),
}


def hobby(rng: random.Random) -> Grammar:
    """A grammar about one hobby."""
    return about_a_hobby(rng, ADVICE, CHAT, rng.choice(TOPICS))


def advice_question(grammar: Grammar) -> tuple[str, str]:
    """(kind, question) about the grammar's hobby."""
    kind = grammar.rng.choice(list(KINDS))
    return kind, grammar.choose(KINDS[kind][0])


def advice_answer(grammar: Grammar, kind: str, length: str) -> str:
    """An assistant's answer in the style of its length bin: plain, connected, or a titled list."""
    rng = grammar.rng
    lead = grammar.choose(KINDS[kind][1])
    if length == "short":
        return lead if rng.random() < 0.6 else lead + grammar.sentence("plain_end")
    if length == "medium":
        opening = grammar.sentence("view") + lead
        return grow(rng, length, lambda _: grammar.sentence("connected"), joiner="", opening=opening)
    return listed_advice(grammar, length, lead, joiner="")


def chat_answer(grammar: Grammar, length: str) -> str:
    """A friend's reply; see `styles.chat_answer`."""
    return styles.chat_answer(grammar, length, joiner="")
