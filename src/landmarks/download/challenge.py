"""Answers that want a browser or a person: pages that ask for cookies, JavaScript or a captcha in place of a photo."""

import re

from landmarks.download.safe_http import Reply

SIZE = 1 << 16  # bytes of a page that are looked at
SHORT = 1 << 14  # bytes; a longer page sets cookies and has links for reasons of its own
MARKED = (("cf-mitigated", "challenge"), ("x-amzn-waf-action", "challenge"), ("x-amzn-waf-action", "captcha"))
# "enable JavaScript and cookies" in English, German and the Romance languages, "cookies are required", and the names that
# the usual guards (Cloudflare, Imperva, DataDome, PerimeterX, DDoS-Guard, Anubis) give to themselves. A banner that asks to
# accept cookies is no challenge.
ASKS = re.compile(
    rb"\b(?:enabl|activ|aktivi|habilit|abilit)\w*\W+(?:\w+\W+){0,4}(?:cookies?|javascript|js)\b"
    rb"|\b(?:cookies?|javascript)\W+(?:\w+\W+){0,4}(?:required|enabled|disabled|blocked|turned off|aktivi\w+|activ\w+)\b"
    rb"|\brequires?\W+(?:cookies|javascript)\b"
    rb"|captcha|_cf_chl_opt|cf-browser-verification|_incapsula_resource|datadome|ddos-guard|\banubis\b"
    rb"|checking (?:if the site connection|your browser)|you(?:'|&#39;|&rsquo;)?(?: a)?re (?:a human|not a (?:ro)?bot)"
)
SETS_COOKIE = re.compile(rb"document\.cookie\s*=")
COMES_BACK = re.compile(rb"location\.(?:reload|replace|assign)|location(?:\.href)?\s*=[^=]|http-equiv\W+refresh")


def wants_browser(reply: Reply) -> bool:
    """Return whether an answer asks for cookies, JavaScript or a person."""
    if any(reply.headers.get(name, "").lower() == value for name, value in MARKED):
        return True
    if reply.content[:SIZE].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<":
        return False
    page = reply.content[:SIZE].lower()
    sent_back = len(page) < SHORT and SETS_COOKIE.search(page) and COMES_BACK.search(page)
    return bool(sent_back or ASKS.search(page))
