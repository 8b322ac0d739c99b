// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The command interface: what the driver asks of the firmware.

mod flow;
mod general;
mod hca;
mod queue;
mod queues;
mod registers;
mod table;
mod transport;
mod vport;

pub use hca::{Hca, State as HcaState};
pub use queue::{CommandQueue, Delivery, Posted, LOG_ENTRIES, LOG_STRIDE};
pub use table::{Commands, When};
pub use vport::Vport;

use crate::ifc::{FieldError, Ifc};
use crate::memory::DmaError;

/// The status byte of a command's output: `MLX5_CMD_STAT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Internal = 0x01,
    BadOperation = 0x02,
    BadParameter = 0x03,
    BadSystemState = 0x04,
    BadResource = 0x05,
    ResourceBusy = 0x06,
    LimitExceeded = 0x08,
    BadResourceState = 0x09,
    BadInputLength = 0x50,
    BadOutputLength = 0x51,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status:?}: {text}")]
pub struct CmdError {
    pub status: Status,
    pub text: String,
}

impl CmdError {
    pub fn new(status: Status, text: impl Into<String>) -> CmdError {
        CmdError { status, text: text.into() }
    }

    /// A parameter that no correct driver would pass.
    pub fn parameter(text: impl Into<String>) -> CmdError {
        CmdError::new(Status::BadParameter, text)
    }

    /// Something that exists, but that the model does not have.
    pub fn unsupported(text: impl Into<String>) -> CmdError {
        CmdError::new(Status::BadOperation, text)
    }

    /// Does this say that the driver is wrong? What it asks for only to find out whether it is there is no error.
    pub fn is_violation(&self) -> bool {
        !matches!(self.status, Status::BadOperation | Status::LimitExceeded)
    }
}

impl From<FieldError> for CmdError {
    fn from(error: FieldError) -> Self {
        let status = match error {
            FieldError::Outside(_) => Status::BadInputLength,
            FieldError::Unknown(_) | FieldError::Wide(_) => Status::Internal,
        };
        CmdError::new(status, error.to_string())
    }
}

impl From<DmaError> for CmdError {
    fn from(error: DmaError) -> Self {
        CmdError::parameter(error.to_string())
    }
}

/// What a command passes, by the names of its structure's fields.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    ifc: &'a Ifc,
    layout: &'a str,
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(ifc: &'a Ifc, layout: &'a str, bytes: &'a [u8]) -> Self {
        Input { ifc, layout, bytes }
    }

    fn path(&self, field: &str) -> String {
        format!("{}.{field}", self.layout)
    }

    pub fn get(&self, field: &str) -> Result<u64, FieldError> {
        self.ifc.get(self.bytes, &self.path(field))
    }

    /// A field of no more than 32 bits, such as an id.
    pub fn get32(&self, field: &str) -> Result<u32, FieldError> {
        Ok(self.get(field)? as u32)
    }

    pub fn flag(&self, field: &str) -> Result<bool, FieldError> {
        Ok(self.get(field)? != 0)
    }

    /// The n-th element of an array.
    pub fn get_nth(&self, field: &str, n: u64) -> Result<u64, FieldError> {
        let path = self.path(field);
        self.ifc.field(&path)?.nth(n).get(self.bytes).ok_or(FieldError::Outside(path))
    }

    pub fn raw(&self, field: &str) -> Result<&'a [u8], FieldError> {
        self.ifc.bytes(self.bytes, &self.path(field))
    }

    /// What begins at a field, as a structure of its own.
    pub fn part(&self, field: &str, layout: &'a str) -> Result<Input<'a>, FieldError> {
        let path = self.path(field);
        let start = self.ifc.field(&path)?.byte_offset();
        let bytes = self.bytes.get(start..).ok_or(FieldError::Outside(path))?;
        Ok(Input { ifc: self.ifc, layout, bytes })
    }
}

/// What a command returns. The driver says how much it takes; what lies beyond is lost.
pub struct Output<'a> {
    ifc: &'a Ifc,
    layout: &'a str,
    pub bytes: Vec<u8>,
}

impl<'a> Output<'a> {
    pub fn new(ifc: &'a Ifc, layout: &'a str, len: usize) -> Self {
        // Fields behind what the driver takes can be set all the same.
        let size = ifc.size_of(layout).unwrap_or(0).max(len).max(16);
        Output { ifc, layout, bytes: vec![0; size] }
    }

    pub fn set(&mut self, field: &str, value: u64) -> Result<(), FieldError> {
        self.ifc.set(&mut self.bytes, &format!("{}.{field}", self.layout), value)
    }

    pub fn set_nth(&mut self, field: &str, n: u64, value: u64) -> Result<(), FieldError> {
        let path = format!("{}.{field}", self.layout);
        self.ifc.field(&path)?.nth(n).set(&mut self.bytes, value).ok_or(FieldError::Outside(path))
    }

    /// Copies bytes to where a field begins, as many as fit.
    pub fn copy(&mut self, field: &str, data: &[u8]) -> Result<(), FieldError> {
        let start = self.ifc.field(&format!("{}.{field}", self.layout))?.byte_offset();
        for (to, from) in self.bytes.iter_mut().skip(start).zip(data) {
            *to = *from;
        }
        Ok(())
    }

    /// The same bytes, seen as another structure that begins at a field.
    pub fn set_in(
        &mut self,
        field: &str,
        layout: &str,
        inner: &str,
        value: u64,
    ) -> Result<(), FieldError> {
        let start = self.ifc.field(&format!("{}.{field}", self.layout))?.byte_offset();
        let path = format!("{layout}.{inner}");
        let target = self.ifc.field(&path)?;
        let rest = self.bytes.get_mut(start..).ok_or_else(|| FieldError::Outside(path.clone()))?;
        target.set(rest, value).ok_or(FieldError::Outside(path))
    }
}
