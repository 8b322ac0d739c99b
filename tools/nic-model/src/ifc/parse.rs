// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The grammar of `mlx5_ifc.h`: enums, and structures whose members are bit fields written as arrays.

use std::collections::HashMap;
use std::sync::Arc;

use super::lex::Token;
use super::{Layout, Member, ParseError};

type Result<T> = std::result::Result<T, ParseError>;

/// The header's nesting is four deep; this is for texts that are not that header.
const MAX_DEPTH: usize = 32;
/// The largest structure has about 2^18 bits.
const MAX_BITS: u64 = 1 << 24;

pub struct Parser<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    pub layouts: HashMap<String, Arc<Layout>>,
    pub constants: HashMap<String, u64>,
}

impl<'a> Parser<'a> {
    /// A header may use what those before it defined.
    pub fn new(layouts: HashMap<String, Arc<Layout>>, constants: HashMap<String, u64>) -> Self {
        Parser { tokens: &[], at: 0, layouts, constants }
    }

    pub fn header(&mut self, tokens: &'a [(Token, usize)]) -> Result<()> {
        self.tokens = tokens;
        self.at = 0;
        self.defines();
        while let Some(token) = self.next() {
            match token {
                Token::Ident(word) => match word.as_str() {
                    "enum" => self.enumeration()?,
                    "struct" | "union" => self.top_level(word == "union")?,
                    "define" => self.skip_statement(),
                    _ => return self.fail(format!("unexpected {word}")),
                },
                Token::Punct(';') => {}
                other => return self.fail(format!("unexpected {other:?}")),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at).map(|(t, _)| t);
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|(t, _)| t)
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T> {
        let line = self
            .tokens
            .get(self.at.saturating_sub(1))
            .or(self.tokens.last())
            .map_or(0, |(_, line)| *line);
        Err(ParseError { line, what: what.into() })
    }

    fn accept(&mut self, punct: char) -> bool {
        let found = self.peek() == Some(&Token::Punct(punct));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, punct: char) -> Result<()> {
        if self.accept(punct) {
            return Ok(());
        }
        self.fail(format!("'{punct}' expected"))
    }

    fn ident(&mut self) -> Result<&'a str> {
        match self.next() {
            Some(Token::Ident(word)) => Ok(word),
            _ => self.fail("a name expected"),
        }
    }

    fn skip_statement(&mut self) {
        while !matches!(self.next(), None | Some(Token::Punct(';'))) {}
    }

    /// The constants that the lexer put at the end. Those made of anything but constants are of no interest.
    fn defines(&mut self) {
        for at in 0..self.tokens.len() {
            let [(Token::Ident(define), _), (Token::Ident(name), _), ..] = &self.tokens[at..]
            else {
                continue;
            };
            if define == "define" {
                self.at = at + 2;
                if let Ok(value) = self.expression() {
                    self.constants.insert(name.clone(), value);
                }
            }
        }
        self.at = 0;
    }

    fn enumeration(&mut self) -> Result<()> {
        if let Some(Token::Ident(_)) = self.peek() {
            self.at += 1;
        }
        self.expect('{')?;
        let mut value = 0u64;
        while !self.accept('}') {
            let name = self.ident()?.to_owned();
            if self.accept('=') {
                value = self.expression()?;
            }
            self.constants.insert(name, value);
            value = value.wrapping_add(1);
            if !self.accept(',') {
                self.expect('}')?;
                break;
            }
        }
        self.expect(';')
    }

    /// Sums, differences, shifts and unions, all of one precedence from left to right: the header has parentheses
    /// where that matters.
    fn expression(&mut self) -> Result<u64> {
        let mut value = self.operand(0)?;
        while let Some(Token::Punct(op @ ('+' | '-' | '|' | '<'))) = self.peek() {
            self.at += 1;
            let right = self.operand(0)?;
            value = Self::apply(*op, value, right);
        }
        Ok(value)
    }

    fn apply(op: char, left: u64, right: u64) -> u64 {
        match op {
            '+' => left.wrapping_add(right),
            '-' => left.wrapping_sub(right),
            '|' => left | right,
            _ => left.checked_shl(u32::try_from(right).unwrap_or(u32::MAX)).unwrap_or(0),
        }
    }

    fn operand(&mut self, depth: usize) -> Result<u64> {
        if depth > MAX_DEPTH {
            return self.fail("an expression too deep");
        }
        match self.next() {
            Some(Token::Number(n)) => Ok(*n),
            Some(Token::Ident(f)) if f == "BIT" || f == "BIT_ULL" => {
                self.expect('(')?;
                let bit = self.operands_until_close(depth + 1)?;
                Ok(Self::apply('<', 1, bit))
            }
            Some(Token::Ident(name)) => match self.constants.get(name) {
                Some(value) => Ok(*value),
                None => self.fail(format!("unknown constant {name}")),
            },
            Some(Token::Punct('(')) => self.operands_until_close(depth + 1),
            _ => self.fail("a value expected"),
        }
    }

    fn operands_until_close(&mut self, depth: usize) -> Result<u64> {
        let mut value = self.operand(depth)?;
        while let Some(Token::Punct(op @ ('+' | '-' | '|' | '<'))) = self.peek() {
            self.at += 1;
            let right = self.operand(depth)?;
            value = Self::apply(*op, value, right);
        }
        self.expect(')')?;
        Ok(value)
    }

    fn top_level(&mut self, union: bool) -> Result<()> {
        let name = self.ident()?.to_owned();
        if self.accept(';') {
            return Ok(());
        }
        self.expect('{')?;
        let layout = self.members(union, 0)?;
        self.expect(';')?;
        self.layouts.insert(short_name(&name).to_owned(), Arc::new(layout));
        Ok(())
    }

    /// The members up to the closing brace.
    fn members(&mut self, union: bool, depth: usize) -> Result<Layout> {
        if depth > MAX_DEPTH {
            return self.fail("nested too deep");
        }
        let mut layout = Layout::default();
        while !self.accept('}') {
            let (name, mut member) = self.member(depth)?;
            let bits = member.total_bits();
            if !union {
                member.offset = layout.bits;
            }
            layout.bits = if union { layout.bits.max(bits) } else { layout.bits + bits };
            if layout.bits > MAX_BITS {
                return self.fail("a structure too large");
            }
            match (name, member.layout.take()) {
                (Some(name), nested) => {
                    member.layout = nested;
                    layout.members.insert(name, member);
                }
                // Anonymous: its members are this structure's.
                (None, Some(nested)) => {
                    for (name, inner) in &nested.members {
                        let inner =
                            Member { offset: member.offset + inner.offset, ..inner.clone() };
                        layout.members.insert(name.clone(), inner);
                    }
                }
                (None, None) => return self.fail("a field without name"),
            }
        }
        Ok(layout)
    }

    /// One declaration; its offset is the caller's to say.
    fn member(&mut self, depth: usize) -> Result<(Option<String>, Member)> {
        let word = self.ident()?;
        if word == "DECLARE_FLEX_ARRAY" {
            self.expect('(')?;
            let kind = self.ident()?;
            let nested = self.nested(kind, depth)?;
            self.expect(',')?;
            let name = self.ident()?.to_owned();
            self.expect(')')?;
            self.expect(';')?;
            let bits = nested.as_ref().map_or(8, |l| l.bits);
            return Ok((Some(name), Member { offset: 0, bits, count: 0, layout: nested }));
        }
        let nested = self.nested(word, depth)?;
        if nested.is_some() && self.accept(';') {
            let bits = nested.as_ref().map_or(0, |l| l.bits);
            return Ok((None, Member { offset: 0, bits, count: 1, layout: nested }));
        }
        let name = self.ident()?.to_owned();
        let mut dims = Vec::new();
        while self.accept('[') {
            // "[]" is an array of as many as there are.
            dims.push(if self.peek() == Some(&Token::Punct(']')) { 0 } else { self.expression()? });
            self.expect(']')?;
        }
        self.expect(';')?;
        let bits = match &nested {
            Some(layout) => layout.bits,
            None if dims.len() == 1 && dims[0] == 0 => {
                // u8 name[]: bytes; u8 reserved[0x0]: nothing.
                return Ok((Some(name), Member { offset: 0, bits: 8, count: 0, layout: None }));
            }
            None => match dims.pop() {
                Some(bits) => bits,
                None => return self.fail(format!("{name} has no width")),
            },
        };
        let count = dims.iter().try_fold(1u64, |product, n| product.checked_mul(*n));
        match count {
            Some(count) if count <= MAX_BITS && bits <= MAX_BITS => {
                Ok((Some(name), Member { offset: 0, bits, count, layout: nested }))
            }
            _ => self.fail(format!("{name} is too large")),
        }
    }

    /// The layout that `u8`, `struct X`, `union X` or `struct [X] { ... }` stands for: none for u8.
    fn nested(&mut self, word: &str, depth: usize) -> Result<Option<Arc<Layout>>> {
        match word {
            "u8" => Ok(None),
            "struct" | "union" => {
                if self.accept('{') {
                    return Ok(Some(Arc::new(self.members(word == "union", depth + 1)?)));
                }
                let tag = self.ident()?;
                if self.accept('{') {
                    return Ok(Some(Arc::new(self.members(word == "union", depth + 1)?)));
                }
                match self.layouts.get(short_name(tag)) {
                    Some(layout) => Ok(Some(layout.clone())),
                    None => self.fail(format!("unknown structure {tag}")),
                }
            }
            _ => self.fail(format!("unknown type {word}")),
        }
    }
}

/// `mlx5_ifc_NAME_bits` is called NAME, as in the driver's macros.
fn short_name(name: &str) -> &str {
    let name = name.strip_prefix("mlx5_ifc_").unwrap_or(name);
    name.strip_suffix("_bits").unwrap_or(name)
}
