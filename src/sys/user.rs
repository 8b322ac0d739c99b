// SPDX-License-Identifier: GPL-2.0

//! Values in and out of a program's memory.

/// Types of which every bit pattern is a value and no byte is padding.
///
/// Implement it with [`plain!`](crate::plain), which checks that there is no padding:
/// `plain! { pub struct Args { id: u64, len: u32, flags: u32 } }` makes the (repr(C), Copy) struct and the impl.
pub unsafe trait Plain: Copy + 'static { fn zeroed() -> Self; fn as_bytes(&self) -> &[u8]; fn as_bytes_mut(&mut self) -> &mut [u8]; fn read_from(bytes: &[u8]) -> Option<Self>; }
// for u8 u16 u32 u64 i32 i64 usize and arrays of Plain.

/// A range of a program's memory (from an ioctl argument, a control pointer, ...). Nothing is known about it before it is used. Process context.
#[derive(Clone, Copy)]
pub struct UserPtr { /* address */ }
impl UserPtr {
    pub fn new(address: usize) -> Self;
    pub fn address(&self) -> usize;
    pub fn is_null(&self) -> bool;
    pub fn add(&self, bytes: usize) -> Self;
    /// EFAULT
    pub fn read<T: Plain>(&self) -> Result<T>;
    pub fn write<T: Plain>(&self, value: &T) -> Result;
    pub fn read_slice(&self, out: &mut [u8]) -> Result;
    pub fn write_slice(&self, data: &[u8]) -> Result;
}

/// The argument of setsockopt: `len()` bytes in a program's or the kernel's memory.
pub struct OptVal<'a>;
impl OptVal<'_> {
    pub fn len(&self) -> usize;
    /// The value as a `T`: EINVAL if shorter than that (longer is fine), EFAULT.
    pub fn read<T: Plain>(&self) -> Result<T>;
    /// `T` at `offset`.
    pub fn read_at<T: Plain>(&self, offset: usize) -> Result<T>;
    pub fn read_slice_at(&self, offset: usize, out: &mut [u8]) -> Result;
}

/// Where getsockopt puts its answer.
pub struct OptOut<'a>;
impl OptOut<'_> {
    /// Bytes the program has room for.
    pub fn len(&self) -> usize;
    /// Writes the value, cut to the room there is, and its length. Reads back what the program put into the buffer: `read`.
    pub fn write<T: Plain>(&mut self, value: &T) -> Result;
    pub fn write_slice(&mut self, value: &[u8]) -> Result;
    /// What the program had put into the buffer (EINVAL if its buffer is shorter than `T`).
    pub fn read<T: Plain>(&mut self) -> Result<T>;
}
