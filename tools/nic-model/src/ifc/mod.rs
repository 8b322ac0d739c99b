// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The layouts of commands and contexts, as the kernel's `mlx5_ifc.h` describes them.
//!
//! There a structure is a string of bits: `u8 name[0xN]` is a field of N bits, and bits are numbered from the most
//! significant one of the first byte. The model reads that header when it starts, so that it speaks of fields by the
//! driver's names, and follows the kernel under test.

mod bits;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use bits::{get_bits, set_bits};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct ParseError {
    line: usize,
    what: String,
}

/// What is wrong with an access to a field.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum FieldError {
    /// The header has no such field: the model and the kernel do not fit together.
    #[error("mlx5_ifc.h has no field {0}")]
    Unknown(String),
    /// The field lies behind the end of the data.
    #[error("the data ends before {0}")]
    Outside(String),
    #[error("{0} is wider than 64 bits")]
    Wide(String),
}

/// A structure or union.
#[derive(Debug, Default)]
pub struct Layout {
    bits: u64,
    members: HashMap<String, Member>,
}

#[derive(Debug, Clone)]
struct Member {
    /// In bits from the start of the structure.
    offset: u64,
    /// Of one element.
    bits: u64,
    /// How many elements; 0 for as many as there are.
    count: u64,
    layout: Option<Arc<Layout>>,
}

impl Member {
    fn total_bits(&self) -> u64 {
        self.bits.saturating_mul(self.count)
    }
}

/// Where a field is, in bits from the start of the outermost structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub offset: u64,
    pub bits: u64,
}

impl Field {
    /// The n-th element of an array whose first this is.
    pub fn nth(self, n: u64) -> Field {
        Field { offset: self.offset.saturating_add(self.bits.saturating_mul(n)), ..self }
    }

    pub fn byte_offset(self) -> usize {
        usize::try_from(self.offset / 8).unwrap_or(usize::MAX)
    }

    pub fn byte_len(self) -> usize {
        usize::try_from(self.bits.div_ceil(8)).unwrap_or(usize::MAX)
    }

    pub fn get(self, data: &[u8]) -> Option<u64> {
        get_bits(data, self.offset, self.bits)
    }

    pub fn set(self, data: &mut [u8], value: u64) -> Option<()> {
        set_bits(data, self.offset, self.bits, value)
    }
}

/// The parsed header.
#[derive(Clone, Debug, Default)]
pub struct Ifc {
    layouts: HashMap<String, Arc<Layout>>,
    constants: HashMap<String, u64>,
}

impl Ifc {
    /// Reads `mlx5_ifc.h` and what it includes from a folder of the kernel: include/linux/mlx5.
    pub fn load(folder: &Path) -> anyhow::Result<Ifc> {
        use anyhow::Context;
        let mut texts = Vec::new();
        for name in ["mlx5_ifc_fpga.h", "mlx5_ifc.h"] {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            texts.push((path, text));
        }
        let mut ifc = Ifc::default();
        for (path, text) in &texts {
            ifc.add(text).with_context(|| format!("cannot parse {}", path.display()))?;
        }
        Ok(ifc)
    }

    /// Parses one header.
    pub fn parse(text: &str) -> Result<Ifc, ParseError> {
        let mut ifc = Ifc::default();
        ifc.add(text)?;
        Ok(ifc)
    }

    fn add(&mut self, text: &str) -> Result<(), ParseError> {
        let tokens = lex::tokens(text)?;
        let mut parser = parse::Parser::new(
            std::mem::take(&mut self.layouts),
            std::mem::take(&mut self.constants),
        );
        parser.header(&tokens)?;
        self.layouts = parser.layouts;
        self.constants = parser.constants;
        Ok(())
    }

    /// An enumerator or a #define.
    pub fn constant(&self, name: &str) -> Option<u64> {
        self.constants.get(name).copied()
    }

    /// Enumerators whose names begin so.
    pub fn constants<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.constants
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, *value)))
    }

    /// The size of a structure in bytes.
    pub fn size_of(&self, structure: &str) -> Result<usize, FieldError> {
        let layout =
            self.layouts.get(structure).ok_or_else(|| FieldError::Unknown(structure.into()))?;
        Ok(usize::try_from(layout.bits.div_ceil(8)).unwrap_or(usize::MAX))
    }

    /// A field by its path, such as `create_eq_in.eq_context_entry.intr`. Of an array it is the first element.
    pub fn field(&self, path: &str) -> Result<Field, FieldError> {
        let unknown = || FieldError::Unknown(path.into());
        let (structure, rest) = path.split_once('.').ok_or_else(unknown)?;
        let mut layout = self.layouts.get(structure).ok_or_else(unknown)?;
        let mut offset = 0;
        let mut names = rest.split('.').peekable();
        while let Some(name) = names.next() {
            let member = layout.members.get(name).ok_or_else(unknown)?;
            offset += member.offset;
            if names.peek().is_none() {
                return Ok(Field { offset, bits: member.bits });
            }
            layout = member.layout.as_ref().ok_or_else(unknown)?;
        }
        Err(unknown())
    }

    pub fn get(&self, data: &[u8], path: &str) -> Result<u64, FieldError> {
        let field = self.field(path)?;
        if field.bits > 64 {
            return Err(FieldError::Wide(path.into()));
        }
        field.get(data).ok_or_else(|| FieldError::Outside(path.into()))
    }

    pub fn set(&self, data: &mut [u8], path: &str, value: u64) -> Result<(), FieldError> {
        let field = self.field(path)?;
        if field.bits > 64 {
            return Err(FieldError::Wide(path.into()));
        }
        field.set(data, value).ok_or_else(|| FieldError::Outside(path.into()))
    }

    /// A field of whole bytes, such as a key or an address.
    pub fn bytes<'d>(&self, data: &'d [u8], path: &str) -> Result<&'d [u8], FieldError> {
        let field = self.field(path)?;
        let start = field.byte_offset();
        data.get(start..start.saturating_add(field.byte_len()))
            .ok_or_else(|| FieldError::Outside(path.into()))
    }
}
