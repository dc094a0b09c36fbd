"""Chinese passages about invented places, with questions whose answers are spans of the passage."""

import random

from polyalign.demo import styles
from polyalign.demo.chinese_words import PLACES
from polyalign.demo.grammar import Grammar

# attribute -> (sentences of the passage, questions); the answer is the attribute's value, verbatim.
FACTS = {
    "year": (
        ("{name}{kind}建于{year}年。", "{name}{kind}在{year}年完工。"),
        ("{name}{kind}是哪一年建成的？", "{name}{kind}建于哪一年？"),
    ),
    "builder": (
        ("建造的钱来自{builder}。", "它由{builder}出资修建。"),
        ("谁出资修建了{name}{kind}？", "建造{name}{kind}的钱来自谁？"),
    ),
    "material": (
        ("它的墙用{material}砌成。", "工人们用{material}修了外墙。"),
        ("{name}{kind}的墙是用什么做的？", "{name}{kind}用了什么材料？"),
    ),
    "setting": (
        ("它位于{setting}。", "游客可以在{setting}找到它。"),
        ("{name}{kind}位于哪里？", "在哪里可以找到{name}{kind}？"),
    ),
    "height": (
        ("它高{height}米。", "它的最高点有{height}米。"),
        ("{name}{kind}有多高？", "{name}{kind}高多少米？"),
    ),
    "purpose": (
        ("很长一段时间里，它是一座{purpose}。", "后来它被当作{purpose}使用。"),
        ("{name}{kind}曾被当作什么使用？", "{name}{kind}以前是什么？"),
    ),
    "festival": (
        ("每年{season}，这里都会举办{festival}。", "一到{season}，人们就来看{festival}。"),
        ("{name}{kind}每年举办什么活动？", "人们来{name}{kind}看什么？"),
    ),
    "colour": (
        ("它{colour}的大门很有名。", "很多人认得它{colour}的屋顶。"),
        ("{name}{kind}以什么颜色出名？", "人们认得{name}{kind}的什么颜色？"),
    ),
}
UNITS = {"year": "年", "height": "米"}

PASSAGE_TASKS = {
    "task": (
        "请概括这段关于{name}{kind}的文字。",
        "这段文字讲了{name}{kind}的哪些内容？",
        "请根据文字介绍{name}{kind}。",
        "游客应该了解{name}{kind}的什么？",
    ),
    "gist": (
        "{name}{kind}建于{year}年，位于{setting}。",
        "{name}{kind}高{height}米。",
        "文字介绍了{year}年建成的{name}{kind}。",
    ),
    "told": (
        "首先，文字说它建于{year}年。",
        "其次，文字提到{builder}出了钱。",
        "此外，它的墙是用{material}砌成的。",
        "不过，很长一段时间里，它是一座{purpose}。",
        "因为它在{setting}，所以很容易找到。",
        "而且，它有{height}米高。",
        "到了{season}，这里会举办{festival}。",
        "另一方面，人们记得最清楚的是{colour}。",
    ),
    "entry": (
        "年份：建于{year}年；",
        "出资：{builder}；",
        "材料：墙用{material}砌成；",
        "位置：{setting}；",
        "高度：{height}米；",
        "用途：曾是一座{purpose}；",
        "活动：每年{season}举办{festival}；",
        "颜色：{colour}的大门和屋顶；",
        "参观：大约需要{minutes}分钟；",
        "门票：成人{price}元，儿童免费；",
        "开放：上午{hour}点开门，{day}休息；",
        "讲解：每{minutes}分钟一次；",
        "提示：{season}的风景最好；",
        "交通：从车站步行{minutes}分钟；",
        "拍照：可以，请不要用闪光灯；",
    ),
}
NUMBERS = {
    "minutes": ("20", "30", "45", "60", "90"),
    "price": ("5", "10", "15", "20"),
    "hour": ("8", "9", "10"),
    "day": ("周一", "周二", "周三"),
}


def place(rng: random.Random) -> Grammar:
    """A grammar in which every fact about one invented place is fixed."""
    grammar = Grammar(rng, PLACES, PASSAGE_TASKS, NUMBERS)
    for attribute in PLACES:
        grammar.bind(attribute, attribute)
    grammar.rules["year"] = (str(rng.randint(1620, 1989)),)
    grammar.rules["height"] = (str(rng.randint(11, 98)),)
    return grammar


def passage(grammar: Grammar, sentences: int) -> tuple[str, list[str]]:
    """(passage, attributes it tells), the place's name first."""
    attributes = grammar.rng.sample(list(FACTS), sentences)
    attributes = ["year", *(name for name in attributes if name != "year")]
    return "".join(grammar.choose(FACTS[name][0]) for name in attributes), attributes


def fact_question(grammar: Grammar, attribute: str) -> tuple[str, str]:
    """(question, answer) about one attribute; the answer is a span of any passage that tells it."""
    answer = grammar.expand("{" + attribute + "}") + UNITS.get(attribute, "")
    return grammar.choose(FACTS[attribute][1]), answer


def passage_answer(grammar: Grammar, length: str) -> str:
    """The assistant's summary of a passage; see `styles.passage_answer`."""
    return styles.passage_answer(grammar, length, joiner="", opening="## {name}{kind}\n{gist}要点如下：")
