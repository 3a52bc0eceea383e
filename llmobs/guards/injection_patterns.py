"""The signs of an injection: each a name, a weight, anchors of which some must stand in the text, and its pattern.

Patterns read the normal form: lower case, without accents or invisible characters. Gaps between words are bounded, so
that no text makes a pattern slow. Families as in OWASP's LLM01 (prompt injection, direct and indirect).
"""

import re
from dataclasses import dataclass

STRONG = 0.8  # hardly another use
CLEAR = 0.56  # two of them, or one and a weak one, reach 0.7
WEAK = 0.35  # ordinary texts have it too
FAINT = 0.2


@dataclass(frozen=True, slots=True)
class Pattern:
    """One sign."""

    name: str
    weight: float
    anchors: tuple[tuple[str, ...], ...]  # one of each group
    regex: re.Pattern[str]

    def matches(self, form: str) -> bool:
        """Whether it stands in a text's normal form."""
        for group in self.anchors:
            for anchor in group:
                if anchor in form:
                    break
            else:
                return False
        return self.regex.search(form) is not None


def _pattern(name: str, weight: float, anchors: str, regex: str) -> Pattern:
    groups = tuple(tuple(re.split(r"(?<!<)\|", group)) for group in anchors.split("&"))
    return Pattern(name, weight, groups, re.compile(regex))


_RULES = r"(?:instructions?|prompts?|directions|directives?|rules|guidelines?|commands?|orders|programming|training)"
_EARLIER = (
    r"(?:previous(?:ly)?|prior|above|preceding|earlier|foregoing|initial|original|former|past|system|developer|safety)"
)
_WORDS = r"(?:\s+[\w'’]+)"
_IGNORE = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget|neglect|pay no attention to|stop following|(?:do not|don'?t) follow)"
)
_OWN = r"(?:system|initial|original|hidden|secret|developer|internal|confidential|exact|full|entire|complete)"

_OVERRIDES = (
    _pattern(
        "ignore_instructions",
        STRONG,
        "ignor|disregard|forget|neglect|attention|follow&instr|prompt|direct|rule|guidel|command|order|program|training",
        rf"\b{_IGNORE}\b{_WORDS}{{0,4}}?\s+{_EARLIER}\b{_WORDS}{{0,2}}?\s+{_RULES}\b",
    ),
    _pattern(
        "ignore_instructions",
        STRONG,
        "ignor|disregard|forget|neglect|attention|follow&instr|prompt|direct|rule|guidel|command|order|program|training",
        rf"\b{_IGNORE}\b{_WORDS}{{0,3}}?\s+{_RULES}\s+(?:(?:given|written|stated|you (?:were|have been|got))\s+)?"
        r"(?:above|before|previously|earlier|so far|until now|given to you)\b",
    ),
    _pattern(
        "disregard_above",
        STRONG,
        "ignor|disregard|forget",
        r"\b(?:ignore|disregard|forget)\s+(?:all|everything|anything)"
        r"(?:\s+(?:of|the|that|was|were|been|you|i|we|they|have|had|text|content|words|it|said|told|written|stated"
        r"|learned|know))*\s+(?:above|before|previously|prior|earlier|said|told)\b(?!\s+(?:\d|the|a|an|my|our|this|that)\b)",
    ),
    _pattern(
        "ignore_your_rules",
        CLEAR,
        "your &ignor|disregard|forget|overrid|bypass|circumvent|break",
        rf"\b(?:ignor|disregard|forget|overrid|bypass|circumvent|break)\w*\s+(?:all\s+|any\s+)?(?:of\s+)?your\s+"
        rf"(?:\w+\s+){{0,2}}?(?:{_RULES}|restrictions|limitations|filters?|safeguards|safety|policies|ethics)\b",
    ),
    _pattern(
        "new_instructions",
        WEAK,
        "instruct|prompt|directive&new |updated |real |actual |revised &:",
        r"\b(?:new|updated|real|actual|revised)\s+(?:system\s+)?(?:instructions?|prompt|directives?)\s*:",
    ),
    _pattern(
        "ignore_instructions_de",
        STRONG,
        "ignorier|vergiss|vergesst|missacht",
        r"\b(?:ignorier\w*|vergiss|vergesst|missacht\w*)\b(?:\s+\w+){0,4}?\s+"
        r"(?:vorherig|vorhergehend|bisherig|obig|fruher|vorig|vorangegangen)\w*\s+(?:\w+\s+)?"
        r"(?:anweisung|befehl|regel|instruktion|vorgabe|prompt)\w*",
    ),
    _pattern(
        "ignore_instructions_romance",
        STRONG,
        "ignor|olvid|oubli|dimentic|esque",
        r"\b(?:ignor\w*|olvid\w*|oubli\w*|dimentic\w*|esque[cç]\w*)\s+(?:[\w'’]+\s+){0,4}?"
        r"(?:instruc\w+|istruzioni|consignes|reglas|regles|regole|ordenes|regras)\s+(?:\w+\s+){0,2}?"
        r"(?:anterior\w*|previ[ao]s|precedent[ei]s?|ci-dessus|de arriba|acima)\b",
    ),
    _pattern(
        "ignore_instructions_zh",
        STRONG,
        "忽略|无视|無視|忘记|忘記|忽视|忽視|不要理会|不要遵守",
        r"(?:忽略|无视|無視|忘记|忘記|忽视|忽視|不要理会|不要遵守)[^。\n]{0,10}?(?:之前|以上|前面|先前|上面|上述|此前|系统|系統)"
        r"[^。\n]{0,8}?(?:指令|指示|提示|规则|規則|要求|命令|设定|設定)",
    ),
    _pattern(
        "ignore_instructions_ja",
        STRONG,
        "無視|忘れ",
        r"(?:以前|前|上記|上|これまで)の[^。\n]{0,8}?(?:指示|命令|プロンプト|ルール)[^。\n]{0,6}?(?:無視|忘れ)",
    ),
    _pattern(
        "ignore_instructions_ru",
        STRONG,
        "игнорир|забудь",
        r"(?:про)?(?:игнорир\w+|забудь\w*)\s+(?:\w+\s+){0,3}?(?:предыдущ|прошл|прежн|все)\w*\s+(?:\w+\s+)?"
        r"(?:инструкц|указан|правил|команд)\w*",
    ),
)

_EXTRACTION = (
    _pattern(
        "reveal_prompt",
        STRONG,
        "your &prompt|instruct|message|rules|guideline|directive"
        "&reveal|leak|expose|dump|recite|print|repeat|output|show|display|disclose|tell|give|send|what",
        r"\b(?:reveal|leak|expose|dump|recite|print|repeat|output|show|display|disclose|tell\s+me|give\s+me|send\s+me"
        rf"|what(?:'?s|\s+is|\s+are|\s+was|\s+were))\s+(?:\w+\s+){{0,4}}?your\s+(?:\w+\s+){{0,2}}?{_OWN}\s+(?:\w+\s+)?"
        r"(?:prompts?|instructions?|messages?|rules|guidelines|directives?)\b",
    ),
    _pattern(
        "reveal_prompt",
        STRONG,
        "system|prompt|instruct&reveal|leak|expose|dump|recite|disclose|exfiltrate",
        r"\b(?:reveal|leak|expose|dump|recite|disclose|exfiltrate)\s+(?:\w+\s+){0,4}?"
        r"(?:system\s+(?:prompt|message)|hidden\s+(?:prompt|instructions?)|secret\s+instructions?)\b",
    ),
    _pattern(
        "reveal_instructions",
        WEAK,
        "your prompt|your instruction|your rules|your guideline",
        r"\b(?:reveal|print|repeat|output|show|display|tell\s+me|give\s+me)\s+(?:\w+\s+){0,3}?your\s+"
        r"(?:prompts?|instructions?|rules|guidelines?)\b",
    ),
    _pattern(
        "repeat_above",
        STRONG,
        "above&repeat|print|output|copy|recite",
        r"\b(?:repeat|print|output|copy|recite)\s+(?:back\s+)?(?:everything|all|the\s+(?:words|text|contents?|message))"
        r"(?:\s+(?:of|the|that|is|words|text|you|were|given|told|verbatim)){0,4}\s+above\b(?!\s+(?:the|a|an|this|that|\d))",
    ),
    _pattern(
        "repeat_forever",
        STRONG,
        "forever|indefinitely|infinitely|endlessly|without stopping&repeat",
        r"\brepeat\s+(?:the\s+|this\s+|following\s+)*(?:word|phrase|letter|token)s?\b[^\n]{0,60}?"
        r"\b(?:forever|indefinitely|infinitely|endlessly|without\s+stopping)\b",
    ),
    _pattern(
        "training_data",
        STRONG,
        "training |memori",
        r"\b(?:reveal|print|output|recite|leak|dump|extract|quote|reproduce|give\s+me|show\s+me)\s+(?:\w+\s+){0,6}?"
        r"(?:(?:from\s+)?your\s+(?:\w+\s+)?training\s+(?:data|set|corpus|examples)|you\s+(?:have\s+)?memori[sz]ed)\b",
    ),
)

_PERSONAS = (
    _pattern("do_anything_now", STRONG, "do anything now", r"\bdo anything now\b"),
    _pattern("dan", WEAK, " dan", r"\b(?:you are|act as|answer as|respond as|called|stay)\s+(?:now\s+)?dan\b"),
    _pattern(
        "developer_mode",
        STRONG,
        " mode|jailbr",
        r"\b(?:you|chatgpt|assistant|ai|model|gpt|claude)\b[^.\n]{0,60}\b(?:in|into|with|enter|enable|activate|simulate)\s+"
        r"(?:\w+\s+)?(?:developer|god|debug|jailbreak)\s+mode\b"
        r"|\b(?:developer|god|jailbreak)\s+mode\s+(?:output|response)\b",
    ),
    _pattern("jailbreak", WEAK, " mode|jailbr", r"\bjailbr(?:eak|oken)\w*|\b(?:developer|god)\s+mode\b"),
    _pattern(
        "unrestricted",
        CLEAR,
        "restrict|filter|limitation|censor|guideline|safeguard|ethic|moral|rules"
        "&unrestricted|unfiltered|uncensored|without|free |no |not bound",
        r"\b(?:you|act|pretend|respond|answer|roleplay|behave|reply)\b[^.\n]{0,60}?"
        r"(?:\b(?:unrestricted|unfiltered|uncensored)\s+(?:ai|assistant|model|chatbot|bot|version|language|gpt|mode)"
        r"|\b(?:without|free\s+(?:of|from)|no|not\s+bound\s+by)\s+(?:(?:any|all|your|the|ethical|moral|safety|content)\s+)*"
        r"(?:restrictions?|filters?|limitations?|censorship|guidelines|safeguards|ethics|morals?|rules)\b)",
    ),
    _pattern(
        "role_change",
        WEAK,
        "you are now|from now on|henceforth|pretend|act as if|you will now|you must now",
        r"\b(?:from now on|henceforth),?\s+you\b|\byou\s+(?:are|will|must)\s+now\b"
        r"|\bpretend\s+(?:to be|you are|you're|that you)\b|\bact as if you\b",
    ),
    _pattern(
        "never_refuse",
        WEAK,
        "refuse|say no",
        r"\b(?:never|cannot|can'?t|must not|will not|won'?t|do not|don'?t)\s+(?:ever\s+)?(?:refuse|say no)\b",
    ),
)

_MARKERS = (
    _pattern(
        "template_token",
        STRONG,
        "<|",
        r"<\|\s*(?:im_start|im_end|im_sep|system|user|assistant|developer|endoftext|endofprompt|begin_of_text|end_of_text"
        r"|start_header_id|end_header_id|eot_id|eom_id|channel|message|start|end|return)\s*\|>",
    ),
    _pattern(
        "template_token",
        STRONG,
        "[inst]|[/inst]|<<sys>>|<</sys>>|_of_turn>|[system_prompt]",
        r"\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|\[/?system_prompt\]",
    ),
    _pattern(
        "role_heading",
        CLEAR,
        "##",
        r"(?m)^[^\S\n]*#{2,}\s{0,20}(?:system|assistant|developer|human)(?:\s+(?:prompt|message))?\s*:",
    ),
    _pattern("role_tag", WEAK, "system>|system_prompt>|assistant>", r"</?(?:system|system_prompt|assistant)>"),
    _pattern("role_json", WEAK, '"role"&"system"|"developer"', r'"role"\s*:\s*"(?:system|developer)"'),
    _pattern(
        "role_marker",
        WEAK,
        "system|developer&:",
        r"(?m)^[ \t>*\[\"']*(?:system|developer)(?:\s+(?:prompt|message))?[ \t\]*]*:",
    ),
    _pattern("many_newlines", FAINT, "\n", r"(?:\r?\n[ \t]*){4}"),
    _pattern(
        "role_after_gap",
        CLEAR,
        "system|developer&:&\n",
        r"(?:\r?\n[ \t]*){4,20}(?:system|developer)(?:\s+(?:prompt|message))?[ \t]*:",
    ),
)

_PAYLOADS = (
    _pattern(
        "follow_encoded",
        STRONG,
        "decode|decrypt|decipher|base64|rot13&follow|obey|execute|comply|carry out|do what|do as",
        r"\b(?:decode|decrypt|decipher|base64|rot13)\b[^\n]{0,120}?\b(?:and|then)\s+(?:then\s+)?"
        r"(?:follow|obey|execute|comply|carry out|do what|do as)\b(?!\s+up)",
    ),
    _pattern(
        "image_exfiltration",
        CLEAR,
        "![",
        r"!\[[^\]\n]{0,200}\]\(\s*<?https?://(?>[^)\s]{1,500}?[?=/])[^)\n]{0,700}?"
        r"(?:\{|\$|%7b|\[|secret|prompt|history|conversation|password|token|credential)",
    ),
    _pattern(
        "exfiltration",
        CLEAR,
        "conversation|history|system prompt|secret|api key|credential|password|environment variable"
        "&append|include|encode|insert|send|put|embed|exfiltrate|post|forward|upload|mail&http|url|image|@",
        r"\b(?:append|include|encode|insert|send|put|embed|exfiltrate|post|forward|upload|e-?mail)\b[^.\n]{0,80}"
        r"\b(?:conversation|history|system\s+prompt|secrets?|api\s+keys?|credentials?|passwords?|environment\s+variables)\b"
        r"[^\n]{0,100}?(?:https?://|\burls?\b|\bimage\b|\bto\s+\S{1,64}@)",
    ),
)

EVERYWHERE: tuple[Pattern, ...] = _OVERRIDES + _EXTRACTION + _PERSONAS + _MARKERS + _PAYLOADS

IN_TOOL_RESULTS: tuple[Pattern, ...] = (
    _pattern(
        "addresses_the_model",
        WEAK,
        "ai |assistant|llm|language model|chatbot|agent|chatgpt|claude|copilot|gpt"
        "&must|should|need to|have to|please|are |attention|note|message|instruction",
        r"\b(?:ai|assistants?|llms?|language models?|chatbots?|agents?|chatgpt|claude|copilot|gpt)\b[^.\n]{0,40}?"
        r"\b(?:must|should|need to|have to|please|are (?:required|instructed|ordered))\b"
        r"|\b(?:attention|note|message|instructions?)\s+(?:to|for)\s+(?:the\s+|all\s+|any\s+)?(?:ai|assistants?|llms?|agents?)\b",
    ),
    _pattern(
        "when_you_read_this",
        WEAK,
        "when you|if you",
        r"\b(?:when|if)\s+you\s+(?:read|see|process|summari[sz]e|parse)\b",
    ),
    _pattern(
        "hide_from_user",
        CLEAR,
        "user&tell|inform|mention|reveal|show|alert|notify|ask",
        r"\b(?:do not|don'?t|never|without)\s+(?:tell|inform|mention|reveal|show|alert|notify|ask)\w*"
        r"(?:\s+\w+){0,4}?\s+users?\b",
    ),
    _pattern(
        "orders_a_call",
        WEAK,
        "tool|function|e-mail|email&call|use|invoke|run|send",
        r"\b(?:you must|you should|immediately|now|instead|first|then)\b[^.\n]{0,40}?\b(?:call|use|invoke|run|send)\b"
        r"[^.\n]{0,40}?\b(?:tools?|functions?|e-?mails?)\b",
    ),
)
