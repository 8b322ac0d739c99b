// SPDX-License-Identifier: GPL-2.0

//! Read-only files in /proc/net.

use super::netns::{Net, PerNet};
use ::core::ptr;
use homa_bindings as bindings;
use kernel::{
    ffi::{c_int, c_void},
    prelude::*,
    seq_file::SeqFile,
};

/// What a file shows. `FILE` tells several files of one `Self` apart.
pub trait ProcNet<const FILE: u64 = 0>: PerNet {
    /// Its name in /proc/net.
    const NAME: &'static CStr;

    /// Prints it: `kernel::seq_print!(m, "{}\n", ..)`. Process context. (May be called twice for one reading, when the text
    /// did not fit at first.)
    fn show(this: &Self, m: &SeqFile);
}

/// Keeps /proc/net/NAME in one namespace. Made in [`PerNet::init`], and kept in the state; dropped with it, at the latest.
///
/// # Invariants
///
/// The file is there, and `net` is: a [`PerNet`]'s state does not outlive its namespace by contract of [`Self::new`].
pub struct ProcFile {
    name: &'static CStr,
    dir: *mut bindings::proc_dir_entry,
}

// SAFETY: it is only used to remove the file, from any thread.
unsafe impl Send for ProcFile {}
// SAFETY: there is nothing to call on a shared one.
unsafe impl Sync for ProcFile {}

impl ProcFile {
    /// Makes the file. ENOMEM (or there is one of that name).
    ///
    /// Drop it in [`PerNet::exit`] at the latest: later /proc/net of the namespace is no more.
    pub fn new<T: ProcNet<FILE>, const FILE: u64>(net: &Net) -> Result<Self> {
        // SAFETY: a namespace has its /proc/net from before subsystems are initialised to after they are exited.
        let dir = unsafe { (*net.as_raw()).proc_net };
        // SAFETY: the name is a C string, and the callback lives as long as the module.
        let entry = unsafe {
            bindings::proc_create_net_single(
                T::NAME.as_char_ptr(),
                0o444,
                dir,
                Some(show::<T, FILE>),
                ptr::null_mut(),
            )
        };
        if entry.is_null() {
            return Err(ENOMEM);
        }
        Ok(Self { name: T::NAME, dir })
    }
}

impl Drop for ProcFile {
    fn drop(&mut self) {
        // Waits for readers that are in `show`.
        // SAFETY: made in `new`.
        unsafe { bindings::remove_proc_entry(self.name.as_char_ptr(), self.dir) }
    }
}

/// seq_file's callback.
///
/// # Safety
///
/// `m` must be an open file that [`ProcFile::new`] made for `T`, and used by nobody else during the call.
unsafe extern "C" fn show<T: ProcNet<FILE>, const FILE: u64>(
    m: *mut bindings::seq_file,
    _: *mut c_void,
) -> c_int {
    // SAFETY: called with a valid seq_file, whose private data is the namespace for files of this kind.
    let net = unsafe { Net::from_raw((*m).private.cast()) };
    if let Some(state) = T::slot().get_arc(net) {
        // SAFETY: a valid seq_file, which is ours during this call.
        T::show(&state, unsafe { SeqFile::from_raw(m.cast()) });
    }
    0
}
