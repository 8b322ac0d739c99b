// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tokens of the kernel's interface headers.

use super::ParseError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Ident(String),
    Number(u64),
    /// A single character, or '<' for the operator `<<`.
    Punct(char),
}

/// The tokens of a header, each with its line. Preprocessor lines are left out, but for `#define NAME ...`, which
/// comes as `define NAME ... ;` behind the other tokens.
pub fn tokens(text: &str) -> Result<Vec<(Token, usize)>, ParseError> {
    let mut out = Vec::new();
    let mut defines = Vec::new();
    let clean = without_comments(text)?;
    let mut lines = clean.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(directive) = line.trim_start().strip_prefix('#') else {
            line_tokens(line, number + 1, &mut out)?;
            continue;
        };
        let mut whole = directive.trim_start().to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            whole.push_str(lines.next().map_or("", |(_, more)| more));
        }
        if is_constant(&whole) {
            line_tokens(&whole, number + 1, &mut defines)?;
            defines.push((Token::Punct(';'), number + 1));
        }
    }
    out.extend(defines);
    Ok(out)
}

/// A definition of a name with a value, not of a macro with arguments.
fn is_constant(directive: &str) -> bool {
    let Some(rest) = directive.strip_prefix("define") else { return false };
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    rest[end..].starts_with([' ', '\t']) && !rest[end..].trim().is_empty()
}

/// The text with comments blanked; line numbers stay.
fn without_comments(text: &str) -> Result<String, ParseError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*").into_iter().chain(rest.find("//")).min() {
        out.push_str(&rest[..at]);
        if rest[at..].starts_with("//") {
            rest = rest[at..].find('\n').map_or("", |end| &rest[at + end..]);
            continue;
        }
        let body = &rest[at + 2..];
        let end =
            body.find("*/").ok_or(ParseError { line: 0, what: "a comment without end".into() })?;
        out.extend(body[..end].chars().filter(|c| *c == '\n'));
        out.push(' ');
        rest = &body[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

fn line_tokens(line: &str, number: usize, out: &mut Vec<(Token, usize)>) -> Result<(), ParseError> {
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let word =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if first.is_ascii_digit() {
            out.push((Token::Number(parse_number(&rest[..word], number)?), number));
            word
        } else if word > 0 {
            out.push((Token::Ident(rest[..word].to_owned()), number));
            word
        } else {
            out.push((Token::Punct(first), number));
            if rest.starts_with("<<") {
                2
            } else {
                first.len_utf8()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(())
}

fn parse_number(word: &str, line: usize) -> Result<u64, ParseError> {
    let lower = word.to_ascii_lowercase();
    let digits = lower.trim_end_matches(['u', 'l']);
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.map_err(|_| ParseError { line, what: format!("not a number: {word}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|(t, _)| t).collect()
    }

    #[test]
    fn words_numbers_punctuation() {
        let id = |s: &str| Token::Ident(s.into());
        assert_eq!(
            kinds("u8 a_1[0X2A]; 1ULL << 3"),
            [
                id("u8"),
                id("a_1"),
                Token::Punct('['),
                Token::Number(42),
                Token::Punct(']'),
                Token::Punct(';'),
                Token::Number(1),
                Token::Punct('<'),
                Token::Number(3)
            ]
        );
    }

    #[test]
    fn comments_vanish_and_lines_count() {
        let found = tokens("a /* b\n c */ d // e\nf").unwrap();
        assert_eq!(found.iter().map(|(_, line)| *line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn of_directives_only_constants() {
        let found = kinds("#ifndef X\n#define F(x) (x)\n#define GUARD\n#define N \\\n 6\na");
        assert_eq!(found.len(), 5);
        assert_eq!(found[3], Token::Number(6));
    }

    #[test]
    fn what_is_broken_is_refused() {
        assert!(tokens("/* no end").is_err());
        assert!(tokens("0xzz").is_err());
    }
}
