//! Links, HTML and plain text without what tracks.

use proptest::prelude::*;
use strip_tracking::{Links, Rules, clean_html, clean_text};

fn links(unwrap: bool) -> Links {
    Links::new(true, &["own_*".into()], &["utm_term".into()], unwrap)
}

fn rules(unwrap: bool) -> Rules {
    Rules::new(links(unwrap), true, &["*.own.example/see/*".into()])
}

/// HTML after the filter, without unwrapping; a second time changes nothing.
#[track_caller]
fn html(text: &str) -> String {
    let clean = clean_html(text, &rules(false)).unwrap_or_else(|| text.to_owned());
    assert_eq!(clean_html(&clean, &rules(false)), None, "{clean}");
    clean
}

#[test]
fn parameters_of_links() {
    for (link, expected) in [
        ("https://x.example/?utm_source=a&utm_medium=b", "https://x.example/"),
        ("https://x.example/p?id=1&utm_source=a&q=2#top", "https://x.example/p?id=1&q=2#top"),
        ("HTTPS://x.example?FBCLID=a&id=1", "HTTPS://x.example?id=1"),
        ("http://x.example/?ut%6d_source=a", "http://x.example/"),
        ("//x.example/?gclid", "//x.example/"),
        ("https://me:pw@x.example:8080/?mc_eid=a&b", "https://me:pw@x.example:8080/?b"),
        ("https://x.example/?own_thing=1&utm_term=kept", "https://x.example/?utm_term=kept"),
        ("https://x.example/?_hsenc=p2A&mkt_tok=x#utm_source=b", "https://x.example/#utm_source=b"),
    ] {
        assert_eq!(links(false).clean(link).as_deref(), Some(expected), "{link}");
    }
    for link in [
        "https://x.example/utm_source=a",
        "https://x.example/?q=utm_source",
        "https://x.example/#?utm_source=a",
        "mailto:a@b?utm_source=a",
        "cid:x?utm_source=a",
        "?utm_source=a",
        "",
        "https://",
        "https://x.example/?",
        "https://x.example/?source=a&&x",
    ] {
        assert_eq!(links(false).clean(link), None, "{link}");
    }
    let off = Links::new(false, &["x".into()], &[], false);
    assert_eq!(off.clean("https://x.example/?utm_source=a&x=1"), None);
}

#[test]
fn destinations_of_redirectors() {
    let safe = |link: &str| {
        format!(
            "https://eur03.safelinks.protection.outlook.com/?url={link}&amp;data=05%7C02&sdata=x&reserved=0"
        )
    };
    for (link, expected) in [
        (safe("https%3A%2F%2Fx.example%2Fa%3Fb%3D1%26utm_source%3Dc"), "https://x.example/a?b=1"),
        (
            safe("https%3A%2F%2Fwww.google.com%2Furl%3Fq%3Dhttps%253A%252F%252Fx.example%252F"),
            "https://x.example/",
        ),
        (
            "https://www.google.de/url?sa=t&url=https%3A%2F%2Fx.example%2F%3Fgclid%3D1&usg=a"
                .into(),
            "https://x.example/",
        ),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Fx.example&h=AT".into(), "https://x.example"),
        (
            "https://urldefense.proofpoint.com/v2/url?u=https-3A__x.example_a-5Fb&d=Dw&c=e".into(),
            "https://x.example/a_b",
        ),
        (
            "https://urldefense.com/v3/__https://x.example/?a=1__;!!Abc$".into(),
            "https://x.example/?a=1",
        ),
        (
            "https://linkprotect.cudasvc.com/url?a=https%3a%2f%2fx.example&c=E,1".into(),
            "https://x.example",
        ),
    ] {
        assert_eq!(links(true).clean(&link).as_deref(), Some(expected), "{link}");
        assert_eq!(links(false).clean(&link), None, "{link}");
    }
    for link in [
        safe("javascript%3Aalert(1)"),
        safe("x.example"),
        safe("%2F%2Fx.example"),
        safe("https%3A%2F%2F"),
        safe("https%3A%2F%2Fx.example%2F%22%3E%3Cscript%3E"),
        safe("https%3A%2F%2Fx.example%2F%0D%0ABcc%3A"),
        safe("https%3A%2F%2Fx.example%2F%FF"),
        safe(""),
        "https://urldefense.com/v3/__https://x.example/*a__;Iw!!Abc$".into(),
        "https://www.google.com/search?q=https://x.example".into(),
        "https://safelinks.example/?url=https%3A%2F%2Fx.example".into(),
    ] {
        assert_eq!(links(true).clean(&link), None, "{link}");
    }
}

#[test]
fn pixels() {
    for img in [
        r#"<img src="https://x.example/a.gif" width="1" height="1">"#,
        r#"<IMG HEIGHT=1 WIDTH=0 SRC=//x.example/a.gif />"#,
        r#"<img src='http://x.example/a' style='width:1px; HEIGHT: 1PX !important'/>"#,
        r#"<img src="https://x.example/a" style="max-width:0;max-height:0.5px">"#,
        r#"<img alt="a>b" src="https://x.example/a" style="color:red;display:none">"#,
        r#"<img src="https://x.example/a" style="visibility: hidden">"#,
        r#"<img src="https://x.example/a" style="opacity:0.0">"#,
        r#"<img src="https://x.us1.list-manage.com/track/open.php?u=1&amp;id=2" width="600">"#,
        r#"<img src="https://u1.ct.sendgrid.net/wf/open?upn=abc">"#,
        r#"<img src=" https://a.own.example/see/1 ">"#,
        "<img\n src = \"https://x.example/a\"\n width = \"1\"\n height = '1' >",
        "<amp-pixel src=\"https://x.example/a\">",
    ] {
        assert_eq!(html(&format!("<p>a{img}b</p>")), "<p>ab</p>", "{img}");
    }
    for img in [
        r#"<img src="https://x.example/a.gif" width="100" height="1">"#,
        r#"<img src="https://x.example/a.gif" width="1">"#,
        r#"<img src="https://x.example/a.gif" width="1%" height="1%">"#,
        r#"<img src="cid:1" width="1" height="1">"#,
        r#"<img src="data:image/gif;base64,R0" width="1" height="1">"#,
        r#"<img alt="src=https://x.example" width="1" height="1">"#,
        r#"<img src="https://x.example/open" style="display:block">"#,
        r#"<imgs src="https://x.example/a" width="1" height="1">"#,
        r#"<img src="https://x.example/a" width="1" height="1""#,
    ] {
        assert_eq!(html(img), img);
    }
    let off = Rules::new(links(false), false, &[]);
    assert_eq!(clean_html(r#"<img src="https://x.example/a" width="1" height="1">"#, &off), None);
}

#[test]
fn links_in_html() {
    for (text, expected) in [
        (
            r#"<a href="https://x.example/?a=1&amp;utm_source=b&amp;c=2">x</a>"#,
            r#"<a href="https://x.example/?a=1&amp;c=2">x</a>"#,
        ),
        (
            r#"<A id=1 HREF = 'https://x.example/?a=1&utm_source=b&c=2' >"#,
            r#"<A id=1 HREF = 'https://x.example/?a=1&amp;c=2' >"#,
        ),
        ("<a href=https://x.example/?fbclid=b>x", "<a href=https://x.example/>x"),
        (
            r#"<a href="https://x.example/?a=&#x27;&quot;&#38;gclid=1">"#,
            r#"<a href="https://x.example/?a=&#39;&quot;">"#,
        ),
        (
            r#"<!--[if mso]><v:rect href="https://x.example/?utm_id=1"><![endif]-->"#,
            r#"<!--[if mso]><v:rect href="https://x.example/"><![endif]-->"#,
        ),
        (
            r#"<area href="https://x.example/?utm_id=1"/>é<b>"#,
            r#"<area href="https://x.example/"/>é<b>"#,
        ),
    ] {
        assert_eq!(html(text), expected);
    }
    for text in [
        r#"<link href="https://x.example/?utm_id=1">"#,
        r#"<img src="https://x.example/?utm_id=1">"#,
        r#"<a title="https://x.example/?utm_id=1" data-href="https://x.example/?utm_id=1">https://x.example/?utm_id=1</a>"#,
        "a < b & c <3 <",
        "<a href=\"https://x.example/?utm_id=1",
    ] {
        assert_eq!(html(text), text);
    }
    let wrapped = "<a href=\"https://a.safelinks.protection.outlook.com/?url=https%3A%2F%2Fx.example%2F%3Fa%3D1%26b%3D2&amp;data=x\">";
    assert_eq!(
        clean_html(wrapped, &rules(true)).unwrap(),
        "<a href=\"https://x.example/?a=1&amp;b=2\">"
    );
}

#[test]
fn links_in_plain_text() {
    for (text, expected) in [
        ("See https://x.example/?utm_source=a.", "See https://x.example/."),
        ("(<HTTP://x.example/?utm_source=a&b=1>)\r\n", "(<HTTP://x.example/?b=1>)\r\n"),
        (
            "https://x.example/?utm_id=1 https://y.example/?utm_id=2",
            "https://x.example/ https://y.example/",
        ),
        ("é://https://x.example/?gclid=1é", "é://https://x.example/"),
    ] {
        assert_eq!(clean_text(text, &links(false)).as_deref(), Some(expected));
    }
    for text in
        ["://", "s://x?utm_id=1", "ftp://x.example/?utm_id=1", "https://x.example/ ?utm_id=1", ""]
    {
        assert_eq!(clean_text(text, &links(false)), None, "{text}");
    }
}

#[test]
fn many_tags_without_an_end_do_not_take_long() {
    // Were the rest read for each, that would be 10^12 steps.
    assert_eq!(clean_html(&"<a ".repeat(1_000_000), &rules(true)), None);
}

proptest! {
    #[test]
    fn nothing_is_left_for_a_second_time(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<a href=", "<img src=", "\"", "'", ">", " width=1 ", " height=\"1\"", "https://x.example/", "?", "&", "&amp;",
            "utm_source=a", "gclid", "b=1", "#", "<", "/>", "é", "&#38;", "url=https%3A%2F%2Fy.example%2F%3Fgclid%3D1",
            "https://www.google.com/url", " ", "\n", "<!--", "-->",
        ]), 0..25),
    ) {
        let text = pieces.concat();
        for unwrap in [false, true] {
            if let Some(clean) = clean_html(&text, &rules(unwrap)) {
                prop_assert!(clean.len() < text.len() + 40);
                prop_assert_ne!(&clean, &text);
            }
            if let Some(clean) = clean_text(&text, &links(unwrap)) {
                prop_assert_eq!(clean_text(&clean, &links(unwrap)), None, "{} of {}", clean, text);
            }
        }
    }
}
