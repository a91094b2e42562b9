//! What of an address or a text may be shown.

use url::Url;

const LONGEST: usize = 300;

/// A Graph address without its query, which may hold a token.
pub(crate) fn graph_url(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Of a pre-authenticated address only the host: its path may be part of the secret.
pub(crate) fn host(url: &Url) -> String {
    format!("{}/…", url.origin().ascii_serialization())
}

/// A text of the service on one line, shortened, without what looks like a token.
pub(crate) fn text(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    let mut line = String::new();
    let mut hide_next = false;
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        let hidden = hide_next || is_secret(word);
        hide_next = word.eq_ignore_ascii_case("bearer");
        line.push_str(if hidden { "…" } else { word });
        if line.len() > LONGEST {
            line.truncate(line.floor_char_boundary(LONGEST));
            line.push('…');
            break;
        }
    }
    line
}

/// JWTs begin with `eyJ` (`{"` in base64), addresses carry secrets in their query.
fn is_secret(word: &str) -> bool {
    let query_of_url = word.find("://").is_some_and(|at| word[at..].contains('?'));
    let named = ["token=", "tempauth=", "sig=", "secret=", "assertion="];
    query_of_url || word.contains("eyJ") || named.iter().any(|name| word.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_tokens_and_line_breaks() {
        let shown = text("AADSTS1: no\r\nBearer abc eyJ0.x.y https://a/b?tempauth=1 $skiptoken=z");
        assert_eq!(shown, "AADSTS1: no Bearer … … … …");
        assert!(text(&"ü ".repeat(500)).len() <= LONGEST + 3);
    }

    #[test]
    fn addresses_lose_their_query() {
        let url = Url::parse("https://u:p@host.example:8443/v1.0/me?$skiptoken=x#f").unwrap();
        assert_eq!(graph_url(&url), "https://host.example:8443/v1.0/me");
        assert_eq!(host(&url), "https://host.example:8443/…");
    }
}
