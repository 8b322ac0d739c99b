// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A list of /proc/net: a heading, and lines of as many words.

use anyhow::{ensure, Context, Result};
use std::io::{self, Write};

/// The heading and the lines, as words.
pub struct Table {
    heading: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// There is no heading, or a line has another number of words.
    pub fn parse(text: &str) -> Result<Self> {
        let words = |line: &str| line.split_ascii_whitespace().map(str::to_string).collect();
        let mut lines = text.lines();
        let heading: Vec<String> = words(lines.next().context("the list is empty")?);
        let lines: Vec<Vec<String>> = lines.map(words).collect();
        ensure!(lines.iter().all(|l| l.len() == heading.len()), "a line is not like the heading");
        Ok(Self { heading, lines })
    }

    fn column(&self, name: &str) -> Result<usize> {
        let at = self.heading.iter().position(|word| word == name);
        at.with_context(|| format!("there is no column {name}: another version of the module?"))
    }

    /// Keeps the lines for whose cell in a column `wanted` holds.
    ///
    /// # Errors
    ///
    /// There is no such column.
    pub fn keep(&mut self, column: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let at = self.column(column)?;
        self.lines.retain(|line| line.get(at).is_some_and(|cell| wanted(cell)));
        Ok(())
    }

    /// Replaces a column by another one, which is made of it.
    ///
    /// # Errors
    ///
    /// There is no such column.
    pub fn replace(&mut self, column: &str, by: &str, make: impl Fn(&str) -> String) -> Result<()> {
        let at = self.column(column)?;
        self.heading[at] = by.to_string();
        for line in &mut self.lines {
            line[at] = make(&line[at]);
        }
        Ok(())
    }

    /// Prints it with columns below each other: names to the left, numbers to the right.
    ///
    /// # Errors
    ///
    /// As for writing.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let all = || std::iter::once(&self.heading).chain(&self.lines);
        let column = |i: usize| all().map(move |line| line[i].as_str());
        let widths: Vec<usize> = (0..self.heading.len())
            .map(|i| column(i).map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        let is_number = |cell: &str| cell == "-" || cell.bytes().all(|b| b.is_ascii_digit());
        let numbers: Vec<bool> =
            (0..self.heading.len()).map(|i| column(i).skip(1).all(is_number)).collect();
        for line in all() {
            let mut text = String::new();
            for ((cell, &width), &number) in line.iter().zip(&widths).zip(&numbers) {
                text += &match number {
                    true => format!("{cell:>width$}  "),
                    false => format!("{cell:<width$}  "),
                };
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// The port of an address, or what is a port itself.
pub fn port(cell: &str) -> Option<u16> {
    cell.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "local remote rpcs inode\n0.0.0.0:4000 * 12 77\n[fd00::1]:39711 [fd00::2]:99 3 8\n";

    fn printed(table: &Table) -> String {
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_stand_below_each_other() {
        let table = Table::parse(LIST).unwrap();
        assert_eq!(
            printed(&table),
            "local            remote        rpcs  inode\n\
             0.0.0.0:4000     *               12     77\n\
             [fd00::1]:39711  [fd00::2]:99     3      8\n"
        );
    }

    #[test]
    fn lines_are_kept_by_port() {
        let mut table = Table::parse(LIST).unwrap();
        table.keep("local", |cell| port(cell) == Some(4000)).unwrap();
        assert_eq!(printed(&table).lines().count(), 2);
        assert!(table.keep("colour", |_| true).is_err());
    }

    #[test]
    fn a_column_is_replaced() {
        let mut table = Table::parse(LIST).unwrap();
        table.replace("inode", "process", |inode| format!("p{inode}")).unwrap();
        assert!(printed(&table).ends_with("p8\n"));
    }

    #[test]
    fn broken_lists_are_errors() {
        assert!(Table::parse("").is_err());
        assert!(Table::parse("a b\n1\n").is_err());
    }
}
