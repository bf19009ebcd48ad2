"""What short messages mean, in the languages that people write most: agreement, refusal, small talk.

Only a whole message counts, all of whose phrases say the same: "yes, do it now" agrees, and "yes?", "yes, but later"
and "yes, no" do not.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

MAX_CHARS = 60
"""A longer message is no phrase."""

Decision = Literal["approve", "refuse", "drop"]
SmallTalk = Literal["greeting", "farewell", "thanks", "how", "who", "help", "leave"]
"""Of these, `leave` wants out of the conversation, or to begin it anew."""

QUOTES = "\"'`“”„«»「」"

_TONES = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
_THUMBS = re.compile("[👍✅👎❌]")
_PAUSES = re.compile(r"[\s.!,;…。、¡،।]+")
_ENDS = re.compile(r"[.!?;,…。、¡¿،؟।]+")


def normal(text: str) -> str:
    """Return a short text in one way of writing it: full-width forms, apostrophes and case; of a long one, nothing."""
    text = text.strip()
    if len(text) > MAX_CHARS:
        return ""
    return unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().strip()


def _phrases(text: str) -> frozenset[str]:
    return frozenset(normal(phrase) for phrase in text.strip().replace("\n", "|").split("|"))


# English, German, French, Spanish, Italian, Portuguese, Dutch, Norwegian, Polish, Russian, Chinese, Japanese, Korean,
# Turkish, Hindi, Arabic
AGREEMENT = _phrases("""
yes|y|yep|yeah|yup|sure|ok|okay|yes please|please do|do it|go|go ahead|go for it|run it|run|proceed|confirm|confirmed
approve|approved|accept|agreed|sounds good|looks good|lgtm|of course|absolutely|definitely|certainly|alright|all right
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
はい|うん|ok です|お願いします|実行して|実行してください|承認|承認します
네|예|응|좋아요|그래요|알겠습니다|실행해|실행해 주세요|동의합니다|승인
evet|tamam|olur|peki|elbette|onaylıyorum|çalıştır
हाँ|हां|जी|जी हाँ|जी हां|ठीक है|कर दो|कीजिए|haan|theek hai
نعم|أجل|اجل|موافق|حسنا|حسنًا|تمام|أوافق|نفذ
""")  # noqa: RUF001 - Turkish has a letter i without a dot

REFUSAL = _phrases("""
no|n|nope|nah|no thanks|no thank you|don't|do not|don't do it|do not do it|don't do that|don't run it|do not run it
not now|maybe later|reject|rejected|decline|refuse|deny|denied|of course not|absolutely not
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
아니요|아니오|아뇨|싫어요|거절
hayır|istemiyorum|olmaz|yapma
नहीं|नही|जी नहीं|मत करो|nahi
لا|كلا|لا شكرا|لا شكرًا|أرفض
""")  # noqa: RUF001 - Turkish has a letter i without a dot

DROPPING = _phrases("""
cancel|cancel it|cancel that|stop|stop it|abort|drop|drop it|drop that|forget it|forget that|never mind|nevermind
drop the plan|cancel the plan|stop the plan|forget the plan|forget about it
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
취소|취소해|취소해 주세요|그만|중지
iptal|iptal et|vazgeç|vazgeçtim|boş ver|dur
रद्द करो|रद्द करें|रहने दो|रुको
إلغاء|الغاء|ألغ|توقف|انس الأمر
""")

POLITE = _phrases("""
please|now|then|just|right now|thank you|thanks|great|perfect|cool|nice|bitte|danke|jetzt|merci|por favor|gracias
per favore|grazie|obrigado|obrigada|graag|bedankt|takk|proszę|dziękuję|пожалуйста|спасибо|谢谢|请|お願い|lütfen
teşekkürler|कृपया|धन्यवाद|من فضلك|شكرا|शुक्रिया|감사합니다|고마워요
""")
"""What may stand beside a decision and changes nothing about it."""

_TALK: dict[SmallTalk, str] = {
    "greeting": """
hello|hi|hey|hello there|hi there|hey there|good morning|good afternoon|good evening|greetings
hallo|guten tag|guten morgen|guten abend|moin|servus|grüß gott
bonjour|bonsoir|salut|coucou
hola|buenos días|buenas tardes|buenas noches|buenas
ciao|buongiorno|buonasera|salve
olá|ola|oi|bom dia|boa tarde|boa noite
hoi|goedemorgen|goedemiddag|goedenavond|dag
hei|heisann|god morgen|god dag|god kveld
cześć|dzień dobry|dobry wieczór|hej
привет|здравствуйте|здравствуй|добрый день|доброе утро|добрый вечер
你好|您好|早上好|下午好|晚上好|嗨
こんにちは|こんばんは|おはよう|おはようございます|やあ
안녕|안녕하세요
merhaba|selam|günaydın|iyi günler|iyi akşamlar
नमस्ते|नमस्कार
مرحبا|السلام عليكم|صباح الخير|مساء الخير""",  # noqa: RUF001 - Turkish has a letter i without a dot
    "farewell": """
bye|goodbye|good bye|bye bye|see you|see you later
tschüss|auf wiedersehen|bis später
au revoir|à bientôt
adiós|hasta luego
arrivederci
tchau
tot ziens
ha det
do widzenia
пока|до свидания
再见
さようなら
안녕히 계세요
hoşça kal|görüşürüz
अलविदा
مع السلامة""",
    "leave": """
quit|exit|log out|logout|start over|start again|begin again|restart|new conversation|new chat
beenden|neu anfangen|von vorne
quitter|recommencer
salir|empezar de nuevo
esci|ricominciare
sair|recomeçar
afsluiten|opnieuw beginnen
avslutt|begynn på nytt
wyjdź|zacznij od nowa
выход|выйти|начать заново
退出|重新开始
終了|最初から""",
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
ありがとう|ありがとうございます|どうも
고마워|감사합니다|고맙습니다
teşekkürler|teşekkür ederim|sağ ol
धन्यवाद|शुक्रिया
شكرا|شكرًا|شكرا جزيلا""",
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
ヘルプ|助けて|何ができますか|何ができるの
도와줘|도움말|뭘 할 수 있어
yardım|ne yapabilirsin
मदद|तुम क्या कर सकते हो
مساعدة|ماذا يمكنك أن تفعل""",  # noqa: RUF001 - Turkish has a letter i without a dot
}
SMALL_TALK: dict[str, SmallTalk] = {phrase: kind for kind, phrases in _TALK.items() for phrase in _phrases(phrases)}

THUMBS: dict[str, Decision] = {"👍": "approve", "✅": "approve", "👎": "drop", "❌": "drop"}

_SAYS: dict[str, str] = (
    dict.fromkeys(POLITE, "")
    | dict.fromkeys(AGREEMENT, "approve")
    | dict.fromkeys(REFUSAL, "refuse")
    | dict.fromkeys(DROPPING, "drop")
)


def decision(message: str) -> Decision | None:
    """Tell what a whole message decides; `None` when it is not surely one of these."""
    text = _TONES.sub("", normal(message)).strip(QUOTES)
    words = _PAUSES.sub(" ", _THUMBS.sub(" ", text)).split()
    parts = _parts(words)
    if parts is None:
        return None
    found = {*parts, *(THUMBS[thumb] for thumb in _THUMBS.findall(text))} - {""}
    match sorted(found):
        case ["approve"]:
            return "approve"
        case ["refuse"]:
            return "refuse"
        case ["drop"] | ["drop", "refuse"]:
            return "drop"
        case _:
            return None


def _parts(words: Sequence[str]) -> list[str] | None:
    """Return what each phrase says of which words are made, the longest first; `None` where they are not only that."""
    if not words:
        return []
    for end in range(len(words), 0, -1):
        says = _SAYS.get(" ".join(words[:end]))
        if says is not None and (rest := _parts(words[end:])) is not None:
            return [says, *rest]
    return None


def yes_or_no(text: str) -> bool | None:
    """Read what is asked as true or false, in any of the languages; `None` when it is neither."""
    if normal(text) in ("true", "false"):
        return normal(text) == "true"
    return {"approve": True, "refuse": False}.get(decision(text) or "")


def small_talk(message: str) -> SmallTalk | None:
    """Tell what a message is that is small talk and nothing else: "Hi! How are you?" is `how`."""
    parts = [part for piece in _ENDS.split(normal(message)) if (part := " ".join(piece.split()))]
    if not all(part in SMALL_TALK for part in parts):
        return None
    return SMALL_TALK[parts[-1]] if parts else None


def is_question(message: str) -> bool:
    """Tell whether a message ends with a question mark, of any width."""
    return unicodedata.normalize("NFKC", message[-1:]) == "?"
