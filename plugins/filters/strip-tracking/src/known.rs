//! What is known of those who track.

/// Parameters of links that tell who clicked and where he comes from; in lower case, `*` stands
/// for any characters. None of them is needed to get to the page.
pub const PARAMETERS: [&str; 67] = [
    // Google Analytics and Ads
    "utm_*",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "_ga",
    "_gl",
    "srsltid",
    // Matomo
    "pk_*",
    "piwik_*",
    "mtm_*",
    "matomo_*",
    // Facebook, Instagram, Microsoft, Twitter, TikTok, LinkedIn, Pinterest, Yandex, Snapchat
    "fbclid",
    "igshid",
    "igsh",
    "msclkid",
    "twclid",
    "ttclid",
    "li_fat_id",
    "trk_contact",
    "trk_module",
    "trk_msg",
    "trk_sid",
    "epik",
    "yclid",
    "ysclid",
    "_openstat",
    "scclid",
    // Mailchimp
    "mc_cid",
    "mc_eid",
    "mc_tc",
    // HubSpot
    "_hsenc",
    "_hsmi",
    "__hssc",
    "__hstc",
    "__hsfp",
    "hsctatracking",
    "hsa_*",
    // Marketo, Eloqua, Salesforce, Pardot
    "mkt_tok",
    "elq",
    "elqaid",
    "elqak",
    "elqat",
    "elqcampaignid",
    "elqtrack",
    "elqtrackid",
    "sfmc_*",
    "pi_list_email",
    // Klaviyo, Vero, Omeda, MailerLite, ConvertKit, Blueshift, Bronto, dotdigital, EveryAction
    "_ke",
    "_kx",
    "vero_id",
    "vero_conv",
    "oly_anon_id",
    "oly_enc_id",
    "ml_subscriber",
    "ml_subscriber_hash",
    "ck_subscriber_id",
    "bsft_*",
    "_bta_tid",
    "_bta_c",
    "dm_i",
    "emci",
    "emdi",
    "rb_clickid",
    "wickedid",
    "_branch_match_id",
];

/// Addresses of pictures that are there to be fetched, not to be seen: globs over
/// `host/path?query`.
pub const PIXELS: [&str; 48] = [
    // Mailchimp, Mandrill
    "*.list-manage.com/track/open.php*",
    "mandrillapp.com/track/open.php*",
    // SendGrid, Amazon SES, Mailgun, Mailjet, Postmark, SparkPost, Brevo
    "*/wf/open?*",
    "*.awstrack.me/i0/*",
    "email.*/o/ej*",
    "*.mjt.lu/oo/*",
    "open.pstmrk.it/open/*",
    "pixel.pstmrk.it/open/*",
    "*/mk/op/*",
    "*/mk/open/*",
    "*.sendibt*/tr/op/*",
    // HubSpot, Marketo, Eloqua, Salesforce, Pardot, Oracle Responsys
    "*.hubspotemail.net/*/open*",
    "t.sidekickopen*/*",
    "*.hs-sales-engage.com/*",
    "*/trk?t=*",
    "*.en25.com/e/footerimages/*",
    "*/e/footerimages/footerimage?*",
    "*.exct.net/open.aspx*",
    "*/open.aspx?*",
    "*.pardot.com/e/*/o/*",
    "*/pub/as?_ri_=*",
    // Constant Contact, Campaign Monitor, ActiveCampaign, Klaviyo, Customer.io, Intercom
    "*.rs6.net/on.jsp*",
    "*.cmail*/t/*/o.gif",
    "*.createsend*/t/*/o.gif",
    "*/lt.php?*l=open*",
    "*.klaviyomail.com/o/*",
    "*.customeriomail.com/e/o/*",
    "*.intercom-mail*/o?*",
    "via.intercom.io/o?*",
    // Trackers of single mails
    "mailtrack.io/trace/*",
    "*.mailtrack.io/trace/*",
    "track.mixmax.com/*",
    "t.yesware.com/t/*",
    "mailfoogae.appspot.com/*",
    "r.superhuman.com/*",
    "*.bl-1.com/*",
    "tracking.cirrusinsight.com/*",
    "*.getnotify.com/*",
    "*/api/mailings/opened/*",
    "mailstat.us/tr/t/*",
    "*.emltrk.com/*",
    "pixel.app.returnpath.net/*",
    // Analytics and networks
    "*.google-analytics.com/*collect?*",
    "*.google-analytics.com/__utm.gif*",
    "*.facebook.com/tr?*",
    "*.facebook.com/email_open_log_pic.php*",
    "*.linkedin.com/emimp/*",
    "ad.doubleclick.net/ddm/trackimp/*",
];

/// A redirector whose links say where they lead: host and path, a glob, and the parameter with
/// the destination.
pub const REDIRECTORS: [(&str, &str); 14] = [
    // Microsoft Defender, Proofpoint, Barracuda, Cisco
    ("*.safelinks.protection.outlook.com/*", "url"),
    ("*.safelinks.protection.office365.us/*", "url"),
    ("urldefense.proofpoint.com/v1/url", "u"),
    ("linkprotect.cudasvc.com/url", "a"),
    // Google, YouTube
    ("www.google.*/url", "q"),
    ("www.google.*/url", "url"),
    ("google.com/url", "q"),
    ("www.youtube.com/redirect", "q"),
    // Facebook, Instagram, LinkedIn, Slack
    ("l.facebook.com/l.php", "u"),
    ("lm.facebook.com/l.php", "u"),
    ("l.instagram.com/", "u"),
    ("www.linkedin.com/redir/redirect", "url"),
    ("www.linkedin.com/safety/go", "url"),
    ("slack-redir.net/link", "url"),
];
