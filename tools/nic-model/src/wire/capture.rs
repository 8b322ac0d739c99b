// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A pcapng file of what was on the wire: outgoing frames as the wire's misdeeds left them, incoming ones as they came.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Instant, SystemTime};

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::{DataLink, PcapError};

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    In,
    /// It went out.
    Out,
}

/// A file that frames are written to.
pub struct Capture {
    file: PcapNgWriter<Box<dyn Write + Send>>,
    /// Two clocks at the same moment: frames have the one, files the other.
    start: (Instant, SystemTime),
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

impl Capture {
    /// A file, made anew.
    pub fn create(path: &Path) -> io::Result<Self> {
        Capture::new(Box::new(BufWriter::new(File::create(path)?)))
    }

    /// Writes to anything that takes bytes.
    pub fn new(to: Box<dyn Write + Send>) -> io::Result<Self> {
        let mut file = PcapNgWriter::new(to).map_err(io_error)?;
        // Nanoseconds.
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed("nic-model")),
            InterfaceDescriptionOption::IfTsResol(9),
        ];
        let interface =
            InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
        file.write_pcapng_block(interface).map_err(io_error)?;
        Ok(Capture { file, start: (Instant::now(), SystemTime::now()) })
    }

    /// Adds a frame that passed at that time.
    pub fn frame(&mut self, at: Instant, direction: Direction, frame: &[u8]) -> io::Result<()> {
        // In a test's time a frame may be older than its file.
        let time = match at.checked_duration_since(self.start.0) {
            Some(since) => self.start.1 + since,
            None => self
                .start
                .1
                .checked_sub(self.start.0.duration_since(at))
                .unwrap_or(SystemTime::UNIX_EPOCH),
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            original_len: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(frame),
            options: vec![EnhancedPacketOption::Flags(match direction {
                Direction::In => 1,
                Direction::Out => 2,
            })],
        };
        self.file.write_pcapng_block(block).map_err(io_error)?;
        Ok(())
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.get_mut().flush()
    }
}
