//! Just enough of Rust's lexer to tell code from comments and strings, and to find what braces hold.

use std::ops::Range;

/// `text` with every comment and literal blanked: the same length, the same lines.
pub(crate) fn code_only(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut at = 0;
    while at < out.len() {
        let end = comment_end(text, at).or_else(|| literal_end(text, at));
        let Some(end) = end else {
            at += 1;
            continue;
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("comments and literals begin and end at characters")
}

fn comment_end(text: &str, at: usize) -> Option<usize> {
    let rest = &text.as_bytes()[at..];
    if rest.starts_with(b"//") {
        return Some(text[at..].find('\n').map_or(text.len(), |length| at + length));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let mut depth = 0;
    let mut end = at;
    while end < text.len() {
        match text.as_bytes()[end..] {
            [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
            [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
        if depth == 0 {
            break;
        }
    }
    Some(end)
}

fn literal_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'"' => Some(escaped_end(bytes, at + 1, b'"')),
        b'r' if at == 0 || !is_word(bytes[at - 1]) || matches!(bytes[at - 1], b'b' | b'c') => {
            let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
            let open = at + 1 + hashes;
            if bytes.get(open) != Some(&b'"') {
                return None;
            }
            let close = format!("\"{}", "#".repeat(hashes));
            Some(text[open + 1..].find(&close).map_or(text.len(), |length| open + 1 + length + close.len()))
        }
        b'\'' => {
            let mut chars = text[at + 1..].chars();
            let first = chars.next()?;
            if first == '\\' {
                return Some(escaped_end(bytes, at + 1, b'\''));
            }
            // Otherwise it is a lifetime.
            (chars.next() == Some('\'')).then(|| at + 1 + first.len_utf8() + 1)
        }
        _ => None,
    }
}

/// One past the first `close` from `at` on that no backslash escapes.
fn escaped_end(bytes: &[u8], mut at: usize, close: u8) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == close => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands in `text`, not as a part of a longer word.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).is_none_or(|at| !is_word(bytes[at]));
        before && bytes.get(at + word.len()).is_none_or(|byte| !is_word(*byte))
    })
}

/// One past the bracket that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The end of the item that begins at `start`: its body's brace or its semicolon.
fn item_end(code: &str, start: usize) -> usize {
    let mut at = start;
    while at < code.len() {
        match code.as_bytes()[at] {
            b'{' => return closing(code, at),
            b'(' | b'[' => at = closing(code, at),
            b';' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// Every function with a name: the name, and where it stands with its body.
pub(crate) fn functions(code: &str) -> Vec<(&str, Range<usize>)> {
    let named = |at: usize| {
        let rest = code[at + 2..].trim_start();
        let length = rest.bytes().take_while(|byte| is_word(*byte)).count();
        (length > 0).then(|| (&rest[..length], at..item_end(code, at)))
    };
    words(code, "fn").filter_map(named).collect()
}

/// The items behind `#[cfg(test)]`.
pub(crate) fn test_items(code: &str) -> Vec<Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let item = |(at, _)| at..item_end(code, at + ATTRIBUTE.len());
    code.match_indices(ATTRIBUTE).map(item).collect()
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    let text = r##"a('x', '\'', '"', "\"//", r#"b"c"#, br"\"); // d
/* e /* f */ g */ h::<'a>(); let r#type = "ä"; "##;
    let code = code_only(text);
    let kept: String = code.split_whitespace().collect();
    assert_eq!(kept, "a(,,,,,b);h::<'a>();letr#type=;");
    assert_eq!(code.len(), text.len());
    assert_eq!(code.find("h::"), text.find("h::"));
}

#[test]
fn a_function_ends_with_its_body() {
    let code = "fn a(x: [u8; 2]) -> B { if c { d } }\nfn e();\nlet f: fn(u8) = g;\n#[cfg(test)]\nmod tests { fn h() {} }\nfn i() {}";
    let found: Vec<_> = functions(code).into_iter().map(|(name, range)| (name, &code[range])).collect();
    assert_eq!(
        found,
        [
            ("a", "fn a(x: [u8; 2]) -> B { if c { d } }"),
            ("e", "fn e();"),
            ("h", "fn h() {}"),
            ("i", "fn i() {}")
        ]
    );
    let tests: Vec<_> = test_items(code).into_iter().map(|range| &code[range]).collect();
    assert_eq!(tests, ["#[cfg(test)]\nmod tests { fn h() {} }"]);
}
