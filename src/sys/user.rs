// SPDX-License-Identifier: GPL-2.0

//! Values in and out of a program's memory. Process context: all of it may sleep.

use ::core::{marker::PhantomData, mem, ptr};
use homa_bindings as bindings;
use kernel::{
    ffi::c_char,
    prelude::*,
    uaccess::{self, UserSlice},
};
use zerocopy::Immutable;

/// Types that are nothing but their bytes: every pattern is a value, no byte is padding.
///
/// Make one with [`plain!`]; integers and arrays of them are.
pub trait Plain: FromBytes + IntoBytes + Immutable + Copy + 'static {
    /// All bytes zero.
    fn zeroed() -> Self {
        Self::new_zeroed()
    }
}

impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Plain for T {}

/// Makes `repr(C)` structs [`Plain`]; padding is a compile error.
///
/// `plain! { /// What it is. pub struct Args { pub id: u64, pub len: u32, pub flags: u32 } }`
/// Gives them `as_bytes()`, `as_mut_bytes()`, `read_from_bytes()` (traits in `kernel::prelude`).
macro_rules! plain {
    ($( $(#[$attr:meta])* $vis:vis struct $name:ident { $($body:tt)* } )*) => { $(
        $(#[$attr])*
        #[derive(Clone, Copy, ::zerocopy_derive::FromBytes, ::zerocopy_derive::IntoBytes, ::zerocopy_derive::Immutable)]
        #[repr(C)]
        $vis struct $name { $($body)* }
    )* };
}
pub(crate) use plain;

/// An address in a program's memory. Nothing is known of it before it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserPtr(usize);

impl UserPtr {
    /// From a number that a program gave.
    pub const fn new(address: usize) -> Self {
        Self(address)
    }

    /// The address `bytes` further on.
    pub const fn add(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    fn slice(self, len: usize) -> UserSlice {
        UserSlice::new(uaccess::UserPtr::from_addr(self.0), len)
    }

    /// Reads a value. EFAULT.
    pub fn read<T: Plain>(self) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read_slice(as_mut_bytes(&mut value))?;
        Ok(value)
    }

    /// Writes a value. EFAULT.
    pub fn write<T: Plain>(self, value: &T) -> Result {
        self.write_slice(value.as_bytes())
    }

    /// Reads as many bytes as `out` has. EFAULT.
    pub fn read_slice(self, out: &mut [u8]) -> Result {
        self.slice(out.len()).reader().read_slice(out)
    }

    /// Writes bytes. EFAULT.
    pub fn write_slice(self, data: &[u8]) -> Result {
        self.slice(data.len()).writer().write_slice(data)
    }
}

/// The bytes of a value.
pub(super) fn as_mut_bytes<T: Plain>(value: &mut T) -> &mut [u8] {
    // SAFETY: a `Plain` is nothing but its bytes, and any bytes are a value of it.
    unsafe { ::core::slice::from_raw_parts_mut(ptr::from_mut(value).cast(), mem::size_of::<T>()) }
}

/// The argument of setsockopt: `len()` bytes, in a program's memory or the kernel's.
///
/// # Invariants
///
/// If `ptr` is a kernel pointer, then it is valid for reads of `len` bytes during `'a`.
#[derive(Clone, Copy)]
pub struct OptVal<'a> {
    ptr: bindings::sockptr_t,
    len: usize,
    _borrow: PhantomData<&'a [u8]>,
}

impl OptVal<'_> {
    /// # Safety
    ///
    /// `ptr` and `len` are what setsockopt was called with, and `'a` ends with that call.
    pub(super) unsafe fn from_raw(ptr: bindings::sockptr_t, len: usize) -> Self {
        // INVARIANT: by the caller's promise.
        Self { ptr, len, _borrow: PhantomData }
    }

    /// How long the value is.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value as a `T`: EINVAL if it is shorter than that (it may be longer), EFAULT.
    pub fn read<T: Plain>(&self) -> Result<T> {
        self.read_at(0)
    }

    /// The `T` at `offset`.
    pub fn read_at<T: Plain>(&self, offset: usize) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read_slice_at(offset, as_mut_bytes(&mut value))?;
        Ok(value)
    }

    /// The bytes at `offset`, as many as `out` has: EINVAL if there are not so many, EFAULT.
    pub fn read_slice_at(&self, offset: usize, out: &mut [u8]) -> Result {
        if offset > self.len || self.len - offset < out.len() {
            return Err(EINVAL);
        }
        if self.ptr.is_kernel() {
            // SAFETY: by the invariant, and the test above.
            unsafe {
                let from = self.ptr.__bindgen_anon_1.kernel.cast::<u8>().add(offset);
                ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len());
            }
            return Ok(());
        }
        // SAFETY: the other variant of the union.
        let base = unsafe { self.ptr.__bindgen_anon_1.user } as usize;
        UserPtr(base.wrapping_add(offset)).read_slice(out)
    }
}

/// Where getsockopt puts its answer.
pub struct OptOut<'a> {
    value: UserPtr,
    len_at: UserPtr,
    len: usize,
    _borrow: PhantomData<&'a mut [u8]>,
}

impl OptOut<'_> {
    /// EFAULT; EINVAL if the program says that it has a negative amount of room.
    pub(super) fn new(value: *mut c_char, len: *mut i32) -> Result<Self> {
        let len_at = UserPtr(len as usize);
        let len = usize::try_from(len_at.read::<i32>()?).map_err(|_| EINVAL)?;
        Ok(Self { value: UserPtr(value as usize), len_at, len, _borrow: PhantomData })
    }

    /// How many bytes the program has room for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Writes the value, cut to the room there is, and how long what was written is.
    pub fn write<T: Plain>(&mut self, value: &T) -> Result {
        self.write_slice(value.as_bytes())
    }

    /// The same for bytes.
    pub fn write_slice(&mut self, value: &[u8]) -> Result {
        let n = value.len().min(self.len);
        self.value.write_slice(&value[..n])?;
        self.len_at.write(&i32::try_from(n).map_err(|_| EINVAL)?)
    }
}
