//! Generated mails.

use chrono::{DateTime, TimeDelta, Utc};

use crate::Profile;
use crate::blob::Blob;
use crate::dice::{self, Dice};
use crate::mail::{Address, Attached, Attachment, LONE_SURROGATE, Mail, Meeting};
use crate::media::media_type;
use crate::mime;
use crate::seed::{SPAN, epoch, seconds_after, words};

/// What the mails of a mailbox have in common.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) seed: u64,
    pub(crate) owner: Address,
    pub(crate) domain: String,
    /// How many there are.
    pub(crate) count: u64,
    pub(crate) profile: Profile,
}

/// Where a mail lies, as far as it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Received,
    Sent,
    Draft,
}

/// Shapes come round every this many mails.
const ROUND: u64 = 32;

impl Source {
    /// When mail `key` arrived. Never decreases with the key; now and then two share it.
    pub(crate) fn received(&self, key: u64) -> DateTime<Utc> {
        let key = if key % ROUND == 5 { key - 1 } else { key };
        let step = (SPAN / self.count.max(1)).max(1);
        let jitter = dice::hash(&[self.seed, key, 1]) % (step / 2 + 1);
        let at = if self.count > SPAN { key * SPAN / self.count } else { key * step + jitter };
        seconds_after(epoch(), at)
    }

    pub(crate) fn mail(&self, key: u64, role: Role) -> Mail {
        let mut dice = Dice::new(&[self.seed, dice::text(&self.owner.address), key]);
        let mut mail = self.letter(key, role, &mut dice);
        self.shape(key, &mut mail, &mut dice);
        if role == Role::Draft {
            mail.message_id = mail.message_id.filter(|_| key.is_multiple_of(3));
        }
        let hops = if role == Role::Received { self.hops(&mail, &mut dice) } else { Vec::new() };
        mail.headers = mime::headers(&mail, &hops);
        mail
    }

    /// An ordinary letter.
    fn letter(&self, key: u64, role: Role, dice: &mut Dice) -> Mail {
        let colleague = crate::seed::address(dice.below(40), &self.domain);
        let stranger = Address {
            name: format!("{} {}", dice.pick(words::GIVEN), dice.pick(words::SURNAMES)),
            address: format!("info{}@fabrikam.example", dice.below(500)),
        };
        let other = if dice.below(3) == 0 { stranger } else { colleague };
        let (from, to) = match role {
            Role::Received => (other, self.owner.clone()),
            _ => (self.owner.clone(), other),
        };
        let when = self.received(key);
        let length = 300 + dice.below(2500) as usize;
        let third = crate::seed::address(dice.below(40), &self.domain);
        let number = dice.next();
        Mail {
            subject: words::topic(dice),
            from: Some(from),
            to: vec![to],
            cc: if dice.below(4) == 0 { vec![third] } else { Vec::new() },
            created: when,
            received: (role != Role::Draft || key.is_multiple_of(2)).then_some(when),
            sent: (role != Role::Draft).then(|| when - TimeDelta::seconds(2)),
            message_id: Some(format!(
                "<AM0PR04MB{:04}{number:016X}@AM0PR04MB{:04}.eurprd04.prod.outlook.com>",
                key % 10_000,
                key % 10_000
            )),
            conversation: key / 3,
            text: words::prose(dice, length),
            class: "IPM.Note",
            importance: if dice.below(12) == 0 { "high" } else { "normal" },
            categories: match dice.below(15) {
                0 => vec!["Rote Kategorie".into()],
                1 => vec!["Blaue Kategorie".into(), "Projekt Ä".into()],
                _ => Vec::new(),
            },
            draft: role == Role::Draft,
            read: role != Role::Received,
            flagged: dice.below(20) == 0,
            ..Mail::default()
        }
    }

    /// What makes some letters less ordinary.
    fn shape(&self, key: u64, mail: &mut Mail, dice: &mut Dice) {
        let round = key / ROUND;
        match key % ROUND {
            0 | 11 | 23 => {}
            2 => mail.attachments.push(file(dice, "Bericht.docx", 30_000)),
            // Latin-1 in eight raw bits.
            6 => {
                mail.subject = format!("Grüße: {}", mail.subject);
                mail.text = format!("Grüße aus Köln, naïve façade, £5.\r\n{}", mail.text);
            }
            7 => mail.message_id = None,
            9 | 19 => mail.message_id = Some(format!("<newsletter-{round}@fabrikam.example>")),
            10 => meeting(key, mail, dice),
            12 => picture(mail, dice),
            14 => {
                mail.class = "IPM.Note.SMIME";
                mail.attachments.push(file(dice, "smime.p7m", 6_000));
            }
            15 => mail.attachments.push(forwarded(mail, dice)),
            17 => mail.subject = words::prose(dice, 400).replace("\r\n", " "),
            18 => mail.subject = String::new(),
            22 => {
                mail.attachments.push(file(dice, "Angebot.pdf", 300_000));
                mail.attachments.push(file(dice, "Übersicht 2026 – final.xlsx", 9_000));
                mail.attachments.push(file(dice, "leer.txt", 0));
            }
            24 => mail.attachments.push(link("Gemeinsame Planung.xlsx")),
            25 => {
                mail.in_reply_to = Some(format!("<reply-{key}@fabrikam.example>"));
                mail.subject = format!("AW: {}", mail.subject);
                html(mail, None);
            }
            26 => {
                mail.subject = format!("📧 完了: {} 👩‍💻", mail.subject);
                mail.text = format!("完了しました。\r\n{}", mail.text);
            }
            30 | 31 if self.profile == Profile::Nasty => mail.subject = nasty(key),
            _ => html(mail, None),
        }
    }

    fn hops(&self, mail: &Mail, dice: &mut Dice) -> Vec<String> {
        let when = mail.when();
        let hop = |from: String, by: &str, id: u64, lag: i64| {
            format!(
                "from {from} by\r\n {by} with Microsoft SMTP Server (version=TLS1_3,\r\n \
                 cipher=TLS_AES_256_GCM_SHA384) id 15.20.{}.{};\r\n {}",
                7000 + id % 900,
                id % 30,
                mime::date(when - TimeDelta::seconds(lag))
            )
        };
        let id = dice.next();
        let sender = mail.from.as_ref().and_then(|a| a.address.split_once('@'));
        let sender = sender.map_or("unknown.example", |(_, host)| host);
        vec![
            hop(
                "AM0PR04MB6001.eurprd04.prod.outlook.com (2603:10a6:208::1)".into(),
                "DB9PR04MB8001.eurprd04.prod.outlook.com",
                id,
                0,
            ),
            hop(
                format!("mail.{sender} (198.51.100.{})", id % 250 + 1),
                "AM0EUR02FT035.mail.protection.outlook.com",
                id >> 8,
                1,
            ),
        ]
    }
}

fn html(mail: &mut Mail, image: Option<&str>) {
    let paragraphs = mail.text.replace("\r\n\r\n", "</p>\r\n<p>");
    let image =
        image.map_or(String::new(), |id| format!("<img src=\"cid:{id}\" alt=\"Logo\">\r\n"));
    mail.html = Some(format!(
        "<html>\r\n<head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=us-ascii\">\r\n\
         <style type=\"text/css\" style=\"display:none;\"> P {{margin-top:0;margin-bottom:0;}} </style>\r\n\
         </head>\r\n<body dir=\"ltr\">\r\n{image}<p>{paragraphs}</p>\r\n</body>\r\n</html>\r\n"
    ));
}

fn file(dice: &mut Dice, name: &str, about: u64) -> Attachment {
    let len = if about == 0 { 0 } else { about / 2 + dice.below(about) };
    let blob = Blob::Woven { seed: dice.next(), len, text: false };
    Attachment { what: Attached::File(blob), ..link(name) }
}

fn link(name: &str) -> Attachment {
    Attachment {
        name: name.to_owned(),
        content_type: media_type(name).to_owned(),
        content_id: None,
        inline: false,
        what: Attached::Reference,
    }
}

fn picture(mail: &mut Mail, dice: &mut Dice) {
    html(mail, Some("logo001@contoso"));
    mail.attachments.push(Attachment {
        inline: true,
        content_id: Some("logo001@contoso".into()),
        ..file(dice, "image001.png", 4_000)
    });
}

/// Subjects no file system likes, and half an emoji.
fn nasty(key: u64) -> String {
    if key % ROUND == 31 {
        return format!("Half an emoji {LONE_SURROGATE} here");
    }
    let names = words::NASTY_NAMES;
    names[(key / ROUND) as usize % names.len()].to_owned()
}

fn meeting(key: u64, mail: &mut Mail, dice: &mut Dice) {
    let start = mail.created + TimeDelta::days(3);
    mail.class = "IPM.Schedule.Meeting.Request";
    mail.subject = format!("Besprechung: {}", words::word(dice));
    mail.meeting = Some(Meeting {
        start,
        end: start + TimeDelta::minutes(45),
        place: "Raum Isar".into(),
        uid: format!("040000008200E00074C5B7101A82E008{:016X}{key:016X}", dice.next()),
    });
}

fn forwarded(outer: &Mail, dice: &mut Dice) -> Attachment {
    let when = outer.created - TimeDelta::hours(30);
    let mut inner = Mail {
        subject: "Reminder - please bring laptop".into(),
        from: Some(Address { name: "Robin".into(), address: "robin@fabrikam.example".into() }),
        to: outer.to.clone(),
        created: when,
        received: Some(when),
        sent: Some(when),
        message_id: Some(format!("<{:016x}@fabrikam.example>", dice.next())),
        text: words::prose(dice, 200),
        class: "IPM.Note",
        importance: "normal",
        ..Mail::default()
    };
    inner.headers = mime::headers(&inner, &[]);
    Attachment {
        name: inner.subject.clone(),
        content_type: "message/rfc822".into(),
        content_id: None,
        inline: false,
        what: Attached::Item(Blob::Stored(mime::render(&inner, dice.next()))),
    }
}
