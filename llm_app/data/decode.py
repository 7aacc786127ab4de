"""Bytes to text: the encoding found out and told, never a character guessed.

UTF-8 and the byte order marks decide by themselves. Older encodings accept nearly any bytes, so each that decodes the
whole file is rated by how much of its text consists of what its languages use most.
"""

import codecs
import unicodedata
from collections.abc import Mapping

from llm_app.data.table import FileRefused
from llm_app.data.types import Note

MARKS: Mapping[bytes, tuple[str, str]] = {
    codecs.BOM_UTF8: ("utf-8-sig", "UTF-8"),
    codecs.BOM_UTF32_LE: ("utf-32", "UTF-32 LE"),  # before UTF-16 LE, whose mark it begins with
    codecs.BOM_UTF32_BE: ("utf-32", "UTF-32 BE"),
    codecs.BOM_UTF16_LE: ("utf-16", "UTF-16 LE"),
    codecs.BOM_UTF16_BE: ("utf-16", "UTF-16 BE"),
}
NAMES: Mapping[str, str] = {
    "gb18030": "GB18030", "big5": "Big5", "cp932": "Shift-JIS", "euc_jp": "EUC-JP", "cp949": "EUC-KR",
    "cp1252": "cp1252",
}  # fmt: skip
# Those with a basic set of characters.
BASIC: Mapping[str, str] = {"gb18030": "gb2312", "big5": "big5", "cp949": "euc_kr"}
SAMPLE_CHARACTERS = 200_000
LEAST_RATING = 0.4
# The characters that make up about half of running text, simplified and traditional; and of Korean.
SIMPLIFIED = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点"
    "正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿"
    "原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德"
    "请您答句写下列根据描述输入输出回答问题吗呢谢什么怎样如何店房间服务酒错差评喜欢"
)
TRADITIONAL = frozenset(
    "的一是不我有了人在他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可她里後小麼心多天而能好都然沒日於起還發"
    "成事只作當想看文無開手十用主行方又如前所本見經頭面公同三已老從動兩長知民樣現分將外但身些與高意進把法此實回二理美點月明其種聲全工己"
    "話兒者向情部正名定女問力機給等幾很業最間新什打便位因重被走電四第門相次東政海口使教西再平真聽世氣信北少關並內加化由卻代軍產入先山五"
    "請您答寫述據輸嗎呢謝"
)
KOREAN = frozenset(
    "이다는을의에가고를한지하기사로은자도서대나리인어그부정시수보아라일있었과해것으만전들게제여주상원장면우조신선안성마스구공무적비말"
    "모동내와저요경위되생음연관습니까합세무엇질답문않없중국방화당소때영개미거러발오행산통실력던차심표식트르드려"
)
_PUNCTUATION = frozenset("，。、；：？！“”‘’（）《》〈〉「」『』【】—…·～　")
_TYPOGRAPHY = frozenset("‘’“”–—…•€£§©®°«»¿¡·\xa0½¼¾²³ºª™")


def decode(data: bytes, encoding: str | None = None) -> tuple[str, list[Note]]:
    """The text without its mark, and what to tell about the encoding.

    Raises: FileRefused with line and byte offset for NUL bytes, bytes outside the encoding, or no likely encoding.
    """
    if encoding is not None:
        return _decode_as(data, encoding), []
    for mark, (codec, name) in MARKS.items():
        if data.startswith(mark):
            return _decode_as(data, codec), [] if name == "UTF-8" else [_told(name)]
    _refuse_nul(data)
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        start, line = error.start, _line(data, error.start)
    if _is_damaged_utf8(data):
        reason = f"byte {start:,} (0x{data[start]:02x}) is damaged: all around it is UTF-8; mend or delete it"
        raise FileRefused(reason, line)
    ratings = {codec: _rating(text, codec) for codec in NAMES if (text := _try(data, codec)) is not None}
    best = max(ratings, key=lambda codec: ratings[codec], default=None)
    if best is None or ratings[best] < LEAST_RATING:
        raise FileRefused(
            f"byte {start:,} (0x{data[start]:02x}) is not UTF-8, and no other encoding is likely; save the file as"
            " UTF-8, or say which encoding it has",
            line,
        )
    return data.decode(best), [_told(NAMES[best])]


def _told(name: str) -> Note:
    return Note(
        f"Read as {name}, not UTF-8. If characters look wrong, choose another encoding.",
        f"按 {name}（非 UTF-8）读取。如果文字显示不对，请换一种编码。",
    )


def _decode_as(data: bytes, codec: str) -> str:
    try:
        text = data.decode(codec)
    except LookupError:  # also of codecs that make no text, such as hex
        raise FileRefused(f"no encoding is called {codec!r}; examples are utf-8, {', '.join(NAMES)}") from None
    except UnicodeDecodeError as error:
        byte = f"byte {error.start:,} (0x{data[error.start]:02x})"
        reason = f"{byte} is not {codec.removesuffix('-sig')}; save the file as UTF-8"
        before = data[: error.start].decode(codec, errors="ignore")
        raise FileRefused(reason, before.count("\n") + 1) from None
    except ValueError as error:  # of a few codecs, such as idna, and of a name with a NUL
        raise FileRefused(f"it is not {codec!r}: {error}") from None
    at = text.find("\0")
    if at >= 0:
        raise FileRefused("a NUL character: this is no text file, or it was damaged", text.count("\n", 0, at) + 1)
    return text.removeprefix("\ufeff")


def _refuse_nul(data: bytes) -> None:
    at = data.find(b"\0")
    if at >= 0:
        raise FileRefused(
            f"byte {at:,} is NUL: this is no text file, it was damaged, or it is UTF-16 without its mark; save it as"
            " UTF-8",
            _line(data, at),
        )


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether most of what is beyond ASCII reads as UTF-8, which bytes of other encodings do only here and there."""
    text = data.decode("utf-8", errors="replace")
    n_broken = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - n_broken > 3 * n_broken


def _try(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _rating(text: str, codec: str) -> float:
    """Share of the characters beyond ASCII that are usual in a text of this encoding, from 0 to 1."""
    if codec == "cp1252":
        return _rating_of_western(text)
    others = [character for character in text if character > "\x7f"][:SAMPLE_CHARACTERS]
    usual = sum(_is_usual(character, codec) for character in others) / max(len(others), 1)
    if codec in BASIC:
        # Half for characters of the basic set: a text of rare ones still has them, chance hits among rare ones do not.
        fitting = sum(_fits(character, codec) for character in others)
        return (usual + fitting / max(len(others), 1)) / 2
    return usual


def _is_usual(character: str, codec: str) -> bool:
    if character in _PUNCTUATION or "\uff01" <= character <= "\uff5e":  # full-width forms
        return True
    if codec == "gb18030":
        return character in SIMPLIFIED
    if codec == "big5":
        return character in TRADITIONAL
    if codec == "cp949":
        return character in KOREAN
    return _is_kana(character)


def _is_kana(character: str) -> bool:
    return "\u3041" <= character <= "\u30ff"


def _fits(character: str, codec: str) -> bool:
    try:
        character.encode(BASIC[codec])
    except UnicodeEncodeError:
        return False
    # The Chinese sets hold kana, the Korean one Chinese characters: texts of these languages hardly do.
    return "\uac00" <= character <= "\ud7a3" if codec == "cp949" else not _is_kana(character)


def _rating_of_western(text: str) -> float:
    """Accented letters stand alone among plain ones; bytes of Asian text come in rows."""
    n_usual = n_others = 0
    for at, character in enumerate(text):
        if character <= "\x7f":
            continue
        n_others += 1
        around = text[max(at - 1, 0) : at] + text[at + 1 : at + 2]
        is_in_word = any(near.isascii() and near.isalpha() for near in around)
        n_usual += (is_in_word and unicodedata.category(character)[0] == "L") or character in _TYPOGRAPHY
        if n_others == SAMPLE_CHARACTERS:
            break
    return n_usual / max(n_others, 1)
