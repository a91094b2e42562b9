"""Plants secrets in mails and documents, and looks for them again, with Python's own readers.

    plant.py make DIR COUNT        writes COUNT mails NAME.eml, and files, into DIR
    plant.py corpus FROM DIR       plants in every mail below FROM, as far as Python can write it again
    plant.py check DIR OUT         compares every file of OUT (a filter's answer) with that of DIR

The search is not the filter's: it knows what was planted, takes everything apart in every way, and
looks for its letters and digits whatever stands between them.
"""
import base64, binascii, email, email.policy, html, html.parser, io, pathlib, quopri, random, re
import sys, unicodedata, urllib.parse, zipfile
from email.header import Header, decode_header, make_header

SECRETS = [
    "4111 1111 1111 1111", "5555555555554444", "3782-822463-10005", "6011 1111 1111 1117",
    "DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "FR14 2004 1010 0505 0001 3M02 606",
    "86095742719", "2 55 08 14 168 025 38", "12345678Z", "RSSMRA85T10A562S", "85.07.30-033.28",
    "811218-9876", "131052-308T", "756.9217.0769.85", "AB123456C", "536-90-4399", "111.444.777-35",
]
COMPACT = [re.sub(r"[^0-9A-Za-z]", "", secret).upper() for secret in SECRETS]
CHARSETS = ["us-ascii", "utf-8", "iso-8859-1", "windows-1252", "utf-16", "utf-16-le", "iso-2022-jp",
            "utf-7", "gb18030", "koi8-r", "shift_jis", "big5", "x-unknown"]
EOL = "\r\n"


def encoded(text, charset):
    return text.encode("utf-8" if charset == "x-unknown" else charset, "replace")


def obscured(pick, secret):
    """The secret as plain text may have it."""
    way = pick.randrange(6)
    if way == 0 and " " in secret:
        return secret.replace(" ", pick.choice(["\u00a0", "\u2009", "  ", " - ", "-"]))
    if way == 1:
        place = pick.randrange(1, len(secret))
        return secret[:place] + pick.choice(["\u00ad", "\u200b", "\u2060"]) + secret[place:]
    if way == 2:
        wide = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}
        return secret.translate(wide)
    if way == 3 and " " in secret:
        return secret.replace(" ", EOL, 1)
    return secret


def markup(pick, secret):
    """The secret as HTML may have it."""
    out = []
    for sign in secret:
        way = pick.randrange(9)
        if way == 0:
            sign = f"&#{ord(sign)};"
        elif way == 1:
            sign = f"&#x{ord(sign):x};"
        elif way == 2:
            sign = f"<b class='a>b'>{sign}</b>"
        elif way == 3:
            sign = f"{sign}&shy;"
        elif way == 4:
            sign = f"{sign}<!-- c -->"
        elif way == 5 and sign == " ":
            sign = pick.choice(["&nbsp;", "\r\n   ", "\t", "</span> <span>", "&#160;"])
        out.append(sign)
    return "".join(out)


def page(pick, secret):
    way = pick.randrange(6)
    link = urllib.parse.quote(secret)
    body = {
        0: f"<p>{markup(pick, secret)}</p>",
        1: f"<a href=\"tel:{link}\" title='{secret}'>call</a>",
        2: f"<!--[if mso]><td>{markup(pick, secret).replace('<!-- c -->', '')}</td><![endif]-->",
        3: f"<script>var x = \"{secret}\";</script><style>/* {secret} */</style>",
        4: f"<table><tr><td>{secret}<td>1 < 2 {secret}<img alt={html.escape(secret.replace(' ', '-'))}>",
        5: f"<pre>{markup(pick, secret)}</pre><a title=\"{secret}",
    }[way]
    return f"<html><head><title>t</title></head><body>before {body} after</body></html>"


def transfer(pick, data, binary=False):
    """Bytes in some transfer encoding: its name and the body."""
    way = pick.choice(["base64", "quoted-printable"] if binary else ["base64", "quoted-printable", "8bit", None])
    if way == "base64":
        width = pick.choice([57, 45, 30])
        lines = [base64.b64encode(data[at:at + width]) for at in range(0, len(data), width)]
        return way, EOL.encode().join(lines)
    if way == "quoted-printable":
        # Every sign may be written out, and a line may end anywhere.
        out, column = [], 0
        for byte in data:
            sign = b"=%02X" % byte if byte in b"= \r\n.\t" or not 33 <= byte <= 126 or pick.random() < 0.1 else bytes([byte])
            if column > 60 or pick.random() < 0.1:
                out.append(b"=\r\n")
                column = 0
            out.append(sign)
            column += len(sign)
        return way, b"".join(out)
    return way, data


def part(kind, data, way, *fields):
    head = [f"Content-Type: {kind}"] if kind else []
    if way:
        head.append(f"Content-Transfer-Encoding: {way}")
    return EOL.join([*head, *fields]).encode("utf-8") + b"\r\n\r\n" + data


def text(pick, secret):
    charset = pick.choice(CHARSETS)
    written = obscured(pick, secret)
    try:
        written.encode("utf-8" if charset == "x-unknown" else charset)
    except UnicodeEncodeError:
        written = secret
    data = encoded(f"Grüße 日本{EOL}the number: {written}, thanks{EOL}", charset)
    binary = charset.startswith("utf-16")
    return part(f"text/plain; charset={charset}", *reversed(transfer(pick, data, binary)))


def hypertext(pick, secret):
    charset = pick.choice(CHARSETS)
    data = encoded(page(pick, secret), charset)
    return part(f'text/html; charset="{charset}"', *reversed(transfer(pick, data, charset.startswith("utf-16"))))


def flowed(pick, secret):
    if " " in secret and pick.random() < 0.5:
        body = f"> some text {secret.replace(' ', ' ' + EOL + '> ', 1)} more{EOL}"
        return part("text/plain; format=flowed", body.encode(), None)
    place = pick.randrange(1, len(secret) - 1)
    body = f"some text {secret[:place]} {EOL}{secret[place:]} more{EOL}"
    return part("text/plain; format=flowed; delsp=yes", body.encode(), None)


def folded(pick, secret):
    place = pick.randrange(1, len(secret) - 1)
    kind = pick.choice([("text/calendar", "VCALENDAR"), ("text/vcard", "VCARD")])
    body = f"BEGIN:{kind[1]}{EOL}NOTE:pay {secret[:place]}{EOL} {secret[place:]} now{EOL}END:{kind[1]}{EOL}"
    return part(f"{kind[0]}; charset=utf-8", *reversed(transfer(pick, body.encode())))


def names(pick, secret):
    quoted = urllib.parse.quote(secret)
    half = len(secret) // 2
    first, second = urllib.parse.quote(secret[:half]), secret[half:]
    q = secret.replace(" ", "_")
    fields = pick.choice([
        [f'Content-Disposition: attachment; filename="{secret}.txt"'],
        [f"Content-Disposition: attachment; filename*=utf-8''{quoted}.txt"],
        [f"Content-Disposition: attachment;\r\n filename*0*=utf-8''{first};\r\n filename*1=\"{second}.txt\""],
        [f'Content-Disposition: attachment; filename="=?utf-8?Q?{q}?=.txt"'],
        [f"Content-Description: the {secret} thing"],
        [f"Content-Disposition: inline", f"X-Note: {secret}"],
    ])
    return part("text/plain", b"nothing here", None, *fields)


def attachment(pick, secret):
    way = pick.randrange(5)
    if way == 0:
        data, kind = f"a,b\r\n1,{secret}\r\n".encode("utf-16"), "application/octet-stream"
    elif way == 1:
        data, kind = f'{{"n": "{secret}"}}'.encode(), "application/json"
    elif way == 2:
        data, kind = f"<?xml version='1.0'?><a b='{secret}'><c>{secret}</c></a>".encode(), "application/xml"
    elif way == 3:
        runs = "".join("{\\b %s}\\~" % run if " " in secret else run for run in secret.split(" "))
        data, kind = ("{\\rtf1\\ansi %s\\par}" % runs.replace("\\~", " ")).encode(), "application/rtf"
    else:
        data, kind = f"\ufeffNumber {secret}".encode(), "application/octet-stream; name=a.txt"
    return part(kind, *reversed(transfer(pick, data, True)))


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def office(pick, secret):
    """An Office document's bytes and its name."""
    half = len(secret) // 2
    a, b = secret[:half], secret[half:]
    way = pick.randrange(6)
    w = "xmlns:w='urn:w'"
    if way == 0:
        xml = f"<?xml version='1.0'?><w:document {w}><w:p><w:r><w:t>{a}</w:t></w:r><w:proofErr/><w:r><w:t xml:space='preserve'>{b}</w:t></w:r></w:p></w:document>"
        return zipped([("[Content_Types].xml", "<Types/>"), ("word/document.xml", xml), ("word/media/a.png", b"\x89PNG\r\n\x1a\n123")]), "a.docx"
    if way == 1:
        number = re.sub(r"\D", "", secret)
        # Ids without their signs are found only where a word says what they are.
        is_sure = number in COMPACT and len(number) > 14
        cell = f"<c r='A1'><v>{number}</v></c>" if is_sure else ""
        sheet = f"<worksheet><sheetData><row>{cell}<c t='s'><v>0</v></c></row></sheetData></worksheet>"
        strings = f"<sst><si><r><t>{a}</t></r><r><rPr><b/></rPr><t>{b}</t></r></si></sst>"
        return zipped([("xl/worksheets/sheet1.xml", sheet), ("xl/sharedStrings.xml", strings)]), "a.xlsx"
    if way == 2:
        slide = f"<p:sld xmlns:p='p' xmlns:a='a'><a:p><a:r><a:t>{a}</a:t></a:r><a:r><a:t>{b}</a:t></a:r></a:p><p:cNvPr descr='{secret}'/></p:sld>"
        return zipped([("ppt/slides/slide1.xml", slide), ("docProps/app.xml", f"<P><T>{secret}</T></P>")]), "a.pptx"
    if way == 3:
        spaced = secret.replace(" ", "<text:s/>")
        xml = f"<office:d xmlns:office='o' xmlns:text='t'><text:p>{spaced}<text:span> x</text:span></text:p></office:d>"
        return zipped([("mimetype", "application/vnd.oasis.opendocument.text"), ("content.xml", xml)]), "a.odt"
    if way == 4:
        return zipped([("in/a.txt", f"x {secret}"), ("b.html", page(pick, secret)), (f"{secret}.txt", "n")]), "a.zip"
    inner, name = office(pick, secret)
    return zipped([("word/embeddings/" + name, inner)]), "a.docx"


def document(pick, secret):
    data, name = office(pick, secret)
    return part("application/octet-stream", *reversed(transfer(pick, data, True)), f'Content-Disposition: attachment; filename="{name}"')


def inline_file(pick, secret):
    data = f"hidden {secret} here".encode()
    if pick.random() < 0.5:
        lines = [binascii.b2a_uu(data[at:at + 45]).decode().rstrip("\n") for at in range(0, len(data), 45)]
        body = EOL.join(["see", "begin 644 a.txt", *lines, "`", "end", "bye", ""]).encode()
    else:
        coded = bytes((byte + 42) % 256 for byte in data)
        coded = b"".join(b"=" + bytes([(byte + 64) % 256]) if byte in b"\0\n\r=" else bytes([byte]) for byte in coded)
        body = b"see\r\n=ybegin line=128 size=%d name=a\r\n" % len(data) + coded + b"\r\n=yend\r\nbye\r\n"
    return part("text/plain; charset=windows-1252", body, "8bit")


def opaque(pick, secret):
    kind, magic = pick.choice([("application/pdf", b"%PDF-1.7\n"), ("application/msword", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
                               ("application/ms-tnef", b"\x78\x9f\x3e\x22"), ("application/x-foo", b"\x00\x01\x02\x03\xff")])
    return part(kind, *reversed(transfer(pick, magic + secret.encode() + b"\0\0", True)), "Content-Disposition: attachment; filename=\"a.bin\"")


def nested(pick, secret):
    inner = mail(pick, [secret], 1)
    if pick.random() < 0.3:
        return part("message/rfc822", base64.encodebytes(inner).replace(b"\n", b"\r\n"), "base64")
    return part("message/rfc822", inner, None)


def report(pick, secret):
    kind = pick.choice(["message/delivery-status", "text/rfc822-headers", "message/feedback-report"])
    return part(kind, f"Subject: x {secret}{EOL}X-Other: =?utf-8?B?{base64.b64encode(secret.encode()).decode()}?={EOL}".encode(), None)


LEAVES = [text, text, hypertext, hypertext, flowed, folded, names, names, attachment, document, document, inline_file, opaque, report]


def header_fields(pick, secret):
    half = len(secret) // 2
    words = lambda text, charset, way: f"=?{charset}?{way}?" + (
        base64.b64encode(encoded(text, charset)).decode() if way in "Bb" else
        "".join(f"={byte:02X}" if pick.random() < 0.5 or byte in b" =?_" else chr(byte) for byte in encoded(text, charset))) + "?="
    charset = pick.choice(["utf-8", "iso-8859-1", "windows-1252", "utf-8"])
    encoded_halves = words(secret[:half], charset, pick.choice("BQbq")) + pick.choice([" ", EOL + " "]) + words(secret[half:], charset, pick.choice("BQ"))
    wide = words("番号 " + secret, "iso-2022-jp", "B")
    return pick.choice([
        f"Subject: about {secret} today", f"Subject: about {encoded_halves} today", f"Subject: {wide}",
        f"Subject: a {secret.replace(' ', EOL + ' ', 1)}", f"From: {encoded_halves} <a@b.example>",
        f'To: "{secret}" <a@b.example>, c@d.example', f"X-Custom: {secret[:half]}{words(secret[half:], 'utf-8', 'Q')}",
        f"Comments: {wide} x", f"Subject: =?utf-16?B?{base64.b64encode(secret.encode('utf-16')).decode()}?=",
    ])


def mail(pick, secrets, depth=0):
    head = ["From: A <a@b.example>", "To: c@d.example", "Date: Mon, 2 Feb 2026 10:00:00 +0100",
            "Message-ID: <20260102.1@b.example>", "MIME-Version: 1.0"]
    if pick.random() < 0.5:
        field = header_fields(pick, pick.choice(secrets))
        head = [line for line in head if line.split(":")[0] != field.split(":")[0]] + [field]
    makers = LEAVES + ([nested] * 4 if depth < 3 else [])
    body = tree(pick, secrets, makers, 0)
    return EOL.join(head).encode() + b"\r\n" + body


def tree(pick, secrets, makers, level):
    if level > 2 or pick.random() < 0.3:
        return pick.choice(makers)(pick, pick.choice(secrets))
    boundary = f"=_{pick.randrange(10**9)}_{level}"
    kind = pick.choice(["mixed", "alternative", "related", "digest", "report", "signed"])
    parts = [tree(pick, secrets, makers, level + 1) for _ in range(pick.randrange(1, 4))]
    if kind == "digest":
        parts = [b"\r\n" + b"Subject: " + pick.choice(secrets).encode() + b"\r\n\r\n" + pick.choice(secrets).encode() for _ in parts]
    marked = b"".join(b"--" + boundary.encode() + b"\r\n" + one + b"\r\n" for one in parts)
    gap = pick.choice(["", f"preamble {pick.choice(secrets)}\r\n"]).encode()
    tail = pick.choice(["", f"\r\nepilogue {pick.choice(secrets)}\r\n"]).encode()
    return part(f'multipart/{kind};\r\n boundary="{boundary}"', gap + marked + b"--" + boundary.encode() + b"--" + tail, None)


def make(directory, count):
    for number in range(count):
        pick = random.Random(number)
        secrets = pick.sample(SECRETS, 3)
        (directory / f"{number:04}.eml").write_bytes(mail(pick, secrets))
        data, name = office(pick, secrets[0])
        (directory / f"{number:04}-{name}").write_bytes(data)
        charset = pick.choice(["utf-8", "utf-16", "utf-8-sig"])
        (directory / f"{number:04}.txt").write_bytes(f"a\r\n{obscured(pick, secrets[1])}\r\nb".encode(charset))
        (directory / f"{number:04}.html").write_bytes(page(pick, secrets[2]).encode())


def corpus(source, directory):
    for number, path in enumerate(sorted(source.rglob("*.eml"))):
        pick = random.Random(number)
        try:
            message, blocks = email.message_from_bytes(path.read_bytes()), []
            for one in message.walk():
                secret = pick.choice(SECRETS)
                if one in blocks:
                    continue
                if one.get_content_type() == "message/delivery-status":
                    blocks += one.get_payload()  # Fields alone.
                elif one.get_content_maintype() == "text" and not one.is_multipart():
                    data = one.get_payload(decode=True) or b""
                    charset = "utf-8" if pick.random() < 0.5 else "iso-8859-1"
                    planted = data.decode("latin-1") + f" {secret}\n"
                    del one["Content-Transfer-Encoding"]
                    one.set_payload(planted, charset)
                one["X-Planted"] = Header(secret, "utf-8") if pick.random() < 0.5 else secret
            written = message.as_bytes()
            email.message_from_bytes(written)
        except Exception:
            continue  # Too broken for Python to write.
        (directory / f"{number:04}.eml").write_bytes(written)


# --- looking for it ---

class Text(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text = []

    def handle_data(self, data):
        self.text.append(data)


def readings(data):
    """A file's bytes in every way that somebody might read them."""
    yield data.decode("latin-1")
    for charset in ["utf-8", "utf-16-le", "utf-16-be", "utf-16"]:
        yield data.decode(charset, "ignore")
    if b"+" in data:
        try:
            yield data.decode("utf-7")
        except UnicodeDecodeError:
            pass
    for charset in ["iso-2022-jp", "shift_jis", "gb18030"]:
        yield data.decode(charset, "ignore")


def texts(data, depth=0):
    """All texts in a file, and in what is in it."""
    for reading in readings(data):
        yield reading
        if "<" in reading or "&" in reading:
            yield html.unescape(reading)
            yield re.sub(r"<[^<>]*>", "", html.unescape(re.sub(r"<!--.*?-->", "", reading, flags=re.S)))
            stripped = Text()
            try:
                stripped.feed(reading)
                stripped.close()
            except Exception:
                pass
            yield "".join(stripped.text)
        if "%" in reading:
            yield urllib.parse.unquote(reading)
        if "=?" in reading:
            yield from words(reading)
        if "{\\rtf" in reading:
            yield re.sub(r"\\[a-z]+-?\d* ?|[{}]|\\~", "", reading)
        yield re.sub(r"\r?\n[ \t>]*", "", reading)
    if depth < 5:
        for block in re.findall(rb"(?:[A-Za-z0-9+/]{4,}={0,2}[\r\n ]*)+", data):
            joined = re.sub(rb"[^A-Za-z0-9+/]", b"", block)
            if len(joined) >= 8:
                yield from texts_of_decoded(base64.b64decode(joined + b"=" * (-len(joined) % 4)) if len(joined) % 4 != 1 else b"", depth)
        if b"=" in data:
            yield from texts_of_decoded(quopri.decodestring(data), depth)
        yield from unpacked(data, depth)


def texts_of_decoded(data, depth):
    if data:
        yield from (texts(data, depth + 1) if data[:2] == b"PK" else readings(data))


def unpacked(data, depth):
    for name, content in entries(data):
        yield name
        yield from texts(content, depth + 1)
    for begin in re.finditer(rb"begin \d+ .*\r?\n", data):
        out = b""
        for line in data[begin.end():].splitlines():
            if line == b"end":
                break
            try:
                out += binascii.a2b_uu(line)
            except binascii.Error:
                break
        yield from readings(out)


def entries(data):
    """Names and contents of a ZIP file; nothing if it is none, or bytes that only look like one."""
    if data[:2] != b"PK":
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, ValueError):
        return []


def words(text):
    try:
        yield str(make_header(decode_header(re.sub(r"\r?\n", "", text))))
    except Exception:
        pass
    for charset, way, inner in re.findall(r"=\?([^?]*)\?([BbQq])\?([^?]*)\?=", text):
        data = base64.b64decode(inner.encode("latin-1", "ignore") + b"===") if way in "Bb" else quopri.decodestring(inner.encode("latin-1", "ignore"), header=True)
        yield from readings(data)


def mail_texts(message):
    for one in message.walk():
        for name, value in one.items():
            yield str(value)
            yield from words(str(value))
        yield str(one.get_filename())
        for pair in one.get_params(failobj=[]):
            value = pair[1]
            yield urllib.parse.unquote(value[2] if isinstance(value, tuple) else str(value))
        if not one.is_multipart():
            yield from texts(one.get_payload(decode=True) or b"")
        elif isinstance(one.get_payload(), list):
            yield str(one.preamble)
            yield str(one.epilogue)


def compact(text):
    text = unicodedata.normalize("NFKC", text)
    return "".join(sign for sign in text if sign.isascii() and sign.isalnum()).upper()


def found(data, is_mail):
    """The planted secrets that are there."""
    seen = set()
    sources = [texts(data)]
    if is_mail:
        sources.append(mail_texts(email.message_from_bytes(data)))
    for source in sources:
        for text in source:
            joined = compact(text)
            seen.update(secret for secret in COMPACT if secret in joined)
    return seen


def compare(name, before, after, there):
    """What is wrong with a mail, and how many of its parts gave way to a note."""
    old, new = email.message_from_bytes(before), email.message_from_bytes(after)
    # What is wrapped twice is not taken apart here.
    is_plain = b"message/rfc822" not in before and b"Removed by redact-pii" not in after
    if not there and before != after and is_plain:
        yield "changed, though nothing is in it"
    kinds = [[(one.get_content_type(), one.get_boundary()) for one in message.walk()] for message in (old, new)]
    if len(kinds[0]) != len(kinds[1]):
        differ = [pair for pair in zip(*kinds) if pair[0] != pair[1]]
        yield f"{len(kinds[0])} parts became {len(kinds[1])}, first {differ[:1]}"
        return
    stubs = 0
    for a, b, one in zip(*kinds, new.walk()):
        is_stub = not one.is_multipart() and b"Removed by redact-pii" in (one.get_payload(decode=True) or b"")
        stubs += is_stub
        if a != b and not is_stub:
            yield f"{a} became {b}"
    strict = [email.message_from_bytes(data, policy=email.policy.default) for data in (before, after)]
    defects = [sum(len(one.defects) for one in message.walk()) for message in strict]
    if defects[1] > defects[0]:
        yield f"{defects[0]} defects became {defects[1]}"
    fields = [[name for name, _ in message.items()] for message in (old, new)]
    if fields[0] != fields[1][:len(fields[0])] or len(fields[1]) > len(fields[0]) + 3 * stubs + 2:
        yield f"fields {fields[0]} became {fields[1]}"


def check(directory, out):
    searched, planted, wrong = 0, 0, []
    for path in sorted(directory.iterdir()):
        before = path.read_bytes()
        is_mail = path.suffix == ".eml"
        there = found(before, is_mail)
        planted += bool(there)
        after = out / path.name
        if not after.exists():
            continue  # Dropped.
        after = after.read_bytes()
        searched += 1
        if left := found(after, is_mail):
            wrong.append(f"{path.name}: {left} is still there")
        if [name for name, _ in entries(before)] and len(entries(after)) != len(entries(before)):
            wrong.append(f"{path.name}: is no whole ZIP file now")
        if is_mail:
            wrong += [f"{path.name}: {what}" for what in compare(path.name, before, after, there)]
    print(f"searched {searched} planted {planted}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    if command == "make":
        make(pathlib.Path(paths[0]), int(paths[1]))
    elif command == "corpus":
        corpus(*map(pathlib.Path, paths))
    else:
        check(*map(pathlib.Path, paths))
