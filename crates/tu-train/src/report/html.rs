//! Text in HTML and SVG.

/// `text` with everything replaced that would mean something in HTML, in an attribute or in SVG. Control characters, which
/// neither may hold, become U+FFFD.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_escaped_can_open_a_tag_or_close_an_attribute() {
        let hostile = "</pre><script>alert('x')</script>\" onload=\"&\u{0}";
        let safe = escape(hostile);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{0}']), "{safe}");
        assert!(safe.starts_with("&lt;/pre&gt;&lt;script&gt;alert(&#39;x&#39;)") && safe.contains("&amp;"));
    }
}
