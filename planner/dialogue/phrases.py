"""What short messages mean, in the languages that people write most: agreement, refusal, small talk.

Only a whole message counts, never a word inside one, and nothing that is asked: "yes?" and "yes, but later" agree to
nothing.
"""

import re
import unicodedata
from typing import Literal

MAX_CHARS = 60
"""A longer message is no phrase."""

SmallTalk = Literal["greeting", "thanks", "how", "who", "help"]

_TONES = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
_PAUSES = re.compile(r"[\s.!,;…。、¡]+")
_ENDS = re.compile(r"[.!?;,…。、¡¿]+")


def normal(text: str) -> str:
    """Return a short text in one way of writing it: full-width forms, apostrophes and case; of a long one, nothing."""
    text = text.strip()
    if len(text) > MAX_CHARS:
        return ""
    return unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().strip()


def _phrases(text: str) -> frozenset[str]:
    return frozenset(normal(phrase) for phrase in text.strip().replace("\n", "|").split("|"))


# English, German, French, Spanish, Italian, Portuguese, Dutch, Norwegian, Polish, Russian, Chinese, Japanese
AGREEMENT = _phrases("""
yes|y|yep|yeah|yup|sure|ok|okay|yes please|please do|do it|go|go ahead|go for it|run it|run|proceed|confirm|confirmed
approve|approved|accept|agreed|sounds good|looks good|lgtm|yes do it|yes go ahead|yes run it|ok do it|ok go ahead
ja|ja bitte|jawohl|jep|mach das|mach es|einverstanden|genehmigt|bestätigt|ausführen|los|in ordnung|passt
oui|oui merci|oui s'il te plaît|oui s'il vous plaît|d'accord|vas-y|allez-y|je confirme|j'accepte|confirmer
sí|si|sí por favor|si por favor|vale|claro|adelante|de acuerdo|hazlo|confirmo|confirmar|acepto
sì|sì grazie|va bene|d'accordo|procedi|confermo|certo
sim|sim por favor|pode|pode fazer|prossiga|confirmado|aceito
jazeker|ja graag|akkoord|doe maar|ga je gang|prima
jo|ja takk|greit|kjør|kjør på|gjør det|bekreft|godkjent|sett i gang
tak|tak proszę|dobrze|zgoda|zgadzam się|wykonaj|potwierdzam
да|ок|да пожалуйста|хорошо|давай|давайте|согласен|согласна|подтверждаю|выполняй
是|是的|好|好的|可以|行|确认|同意|没问题|執行|执行
はい|うん|ok です|お願いします|はい お願いします|実行して|実行してください|承認|承認します
""")

REFUSAL = _phrases("""
no|n|nope|nah|no thanks|no thank you|don't|do not|please don't|reject|rejected|decline|refuse|deny|denied
nein|nein danke|nö|nicht|ablehnen|abgelehnt
non|non merci|refuser|je refuse
no gracias|rechazar|rechazo
no grazie|rifiuto
não|nao|não obrigado|não obrigada|recuso
nee|nee dank je|nee bedankt|weiger
nei|nei takk|avslå
nie|nie dziękuję|odmawiam
нет|не надо|нет спасибо|отказ
不|不是|不要|不行|不用|不可以|拒绝
いいえ|いや|だめ|ダメ|やめて|いいえ 結構です|拒否
""")

DROPPING = _phrases("""
cancel|cancel it|cancel that|stop|stop it|abort|drop|drop it|drop that|forget it|forget that|never mind|nevermind|quit
abbrechen|abbruch|stopp|vergiss es|lass es|lass das|verwerfen
annuler|annule|arrête|arrêtez|laisse tomber|laissez tomber|oublie
cancelar|cancela|cancélalo|para|olvídalo|déjalo|déjalo estar
annulla|ferma|fermati|lascia stare|lascia perdere
esquece|esqueça|deixa|deixa pra lá|pare
annuleer|annuleren|laat maar|vergeet het
avbryt|glem det|dropp det|stans
anuluj|przerwij|zostaw|zapomnij
отмена|отмени|стоп|забудь|не важно|неважно
取消|停止|算了|放弃
キャンセル|キャンセルして|中止|中止して|やめます|取り消し
""")

_TALK: dict[SmallTalk, str] = {
    "greeting": """
hello|hi|hey|hello there|hi there|hey there|good morning|good afternoon|good evening|greetings|bye|goodbye|see you
hallo|guten tag|guten morgen|guten abend|moin|servus|grüß gott|tschüss|auf wiedersehen
bonjour|bonsoir|salut|coucou|au revoir
hola|buenos días|buenas tardes|buenas noches|buenas|adiós
ciao|buongiorno|buonasera|salve|arrivederci
olá|ola|oi|bom dia|boa tarde|boa noite|tchau
hoi|goedemorgen|goedemiddag|goedenavond|dag|tot ziens
hei|heisann|god morgen|god dag|god kveld|ha det
cześć|dzień dobry|dobry wieczór|hej|do widzenia
привет|здравствуйте|здравствуй|добрый день|доброе утро|добрый вечер|пока|до свидания
你好|您好|早上好|下午好|晚上好|嗨|再见
こんにちは|こんばんは|おはよう|おはようございます|やあ|さようなら""",
    "thanks": """
thanks|thank you|thx|ty|many thanks|thanks a lot|thank you very much|great thanks|cheers|great|perfect|nice|cool
danke|danke schön|dankeschön|vielen dank|danke dir|super
merci|merci beaucoup|parfait
gracias|muchas gracias|perfecto
grazie|grazie mille|perfetto
obrigado|obrigada|muito obrigado|muito obrigada|perfeito
dank je|dank je wel|dank u|dank u wel|bedankt
takk|tusen takk|takk skal du ha
dzięki|dziękuję|dziękuję bardzo
спасибо|большое спасибо|спасибо большое
谢谢|谢谢你|多谢|感谢
ありがとう|ありがとうございます|どうも""",
    "how": """
how are you|how are you doing|how do you do|how is it going|how's it going|what's up
wie geht's|wie geht es dir|wie geht es ihnen
ça va|comment ça va|comment allez-vous|comment vas-tu
cómo estás|qué tal|cómo está
come stai|come va|come sta
como vai|tudo bem|como está
hoe gaat het|hoe gaat het met je
hvordan går det|hvordan har du det
jak się masz|co słychać
как дела|как ты|как поживаешь
你好吗|你怎么样
元気ですか|お元気ですか""",
    "who": """
who are you|what are you|what is your name|what's your name|are you a bot|are you human
wer bist du|wer sind sie|wie heißt du
qui es-tu|qui êtes-vous|comment tu t'appelles
quién eres|cómo te llamas
chi sei|come ti chiami
quem é você|quem és tu|qual é o seu nome
wie ben je|wie bent u|hoe heet je
hvem er du|hva heter du
kim jesteś|jak masz na imię
кто ты|кто вы|как тебя зовут
你是谁|你叫什么|你叫什么名字
あなたは誰ですか|お名前は|名前は""",
    "help": """
help|help me|what can you do|what can you do for me|how does this work|how do i use this
hilfe|was kannst du|was können sie
aide|aidez-moi|que peux-tu faire|que pouvez-vous faire
ayuda|ayúdame|qué puedes hacer
aiuto|aiutami|cosa puoi fare|cosa sai fare
ajuda|o que você pode fazer|o que você sabe fazer
wat kun je|wat kan je doen
hjelp|hva kan du gjøre
pomoc|co potrafisz|co umiesz
помощь|помоги|что ты умеешь|что вы умеете
帮助|帮帮我|你能做什么|你会做什么
ヘルプ|助けて|何ができますか|何ができるの""",
}
SMALL_TALK: dict[str, SmallTalk] = {phrase: kind for kind, phrases in _TALK.items() for phrase in _phrases(phrases)}

THUMBS = {"👍": "approve", "✅": "approve", "👎": "drop", "❌": "drop"}


def decision(message: str) -> Literal["approve", "refuse", "drop"] | None:
    """Tell what a whole message decides; `None` when it is not surely one of these."""
    text = _TONES.sub("", normal(message))
    if (thumb := THUMBS.get(text)) is not None:
        return "approve" if thumb == "approve" else "drop"
    phrase = _PAUSES.sub(" ", text).strip()
    return (
        "approve" if phrase in AGREEMENT
        else "refuse" if phrase in REFUSAL
        else "drop" if phrase in DROPPING
        else None
    )  # fmt: skip


def small_talk(message: str) -> SmallTalk | None:
    """Tell what a message is that is small talk and nothing else: "Hi! How are you?" is `how`."""
    parts = [part for piece in _ENDS.split(normal(message)) if (part := " ".join(piece.split()))]
    if not all(part in SMALL_TALK for part in parts):
        return None
    return SMALL_TALK[parts[-1]] if parts else None


def is_question(message: str) -> bool:
    """Tell whether a message ends with a question mark, of any width."""
    return unicodedata.normalize("NFKC", message[-1:]) == "?"
