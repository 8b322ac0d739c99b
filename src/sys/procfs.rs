// SPDX-License-Identifier: GPL-2.0

//! Read-only files in /proc/net: short ones, and lists.

use super::netns::{Net, PerNet};
use ::core::ptr;
use homa_bindings as bindings;
use kernel::{
    ffi::{c_int, c_void},
    prelude::*,
    seq_file::SeqFile,
    sync::Arc,
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

/// A list in /proc/net that may be long: it is read piece by piece, and no lock is held between the pieces.
pub trait ProcNetList<const FILE: u64 = 0>: PerNet {
    /// Its name in /proc/net.
    const NAME: &'static CStr;

    /// The first place from `pos` on at which there is something to show; None at the end. Process context.
    fn seek(this: &Self, pos: u64) -> Option<u64>;

    /// Prints what is at a place. Process context. (May be called twice, when the text did not fit at first.)
    fn show(this: &Self, pos: u64, m: &SeqFile);
}

/// The number by which the reader of a file knows the user `uid` (a user id of the initial namespace).
pub fn uid_for(m: &SeqFile, uid: u32) -> u32 {
    let m: *const bindings::seq_file = ptr::from_ref(m).cast();
    // SAFETY: a seq_file of /proc belongs to an open file, whose credentials and their namespace live as long.
    unsafe {
        let user_ns = (*(*(*m).file).f_cred).user_ns;
        bindings::from_kuid_munged(user_ns, bindings::kuid_t { val: uid })
    }
}

impl ProcFile {
    /// Makes the file of a list. ENOMEM (or there is one of that name).
    ///
    /// As [`Self::new`].
    pub fn list<T: ProcNetList<FILE>, const FILE: u64>(net: &Net) -> Result<Self> {
        // SAFETY: as in `new`.
        let dir = unsafe { (*net.as_raw()).proc_net };
        // SAFETY: the name is a C string, and the operations live as long as the module.
        let entry = unsafe {
            bindings::proc_create_net_data(
                T::NAME.as_char_ptr(),
                0o444,
                dir,
                &List::<T, FILE>::OPS,
                ::core::mem::size_of::<bindings::seq_net_private>() as u32,
                ptr::null_mut(),
            )
        };
        if entry.is_null() {
            return Err(ENOMEM);
        }
        Ok(Self { name: T::NAME, dir })
    }
}

/// seq_file's callbacks for a list. What they hand each other is a place plus one, as if it were a pointer.
struct List<T, const FILE: u64>(::core::marker::PhantomData<T>);

impl<T: ProcNetList<FILE>, const FILE: u64> List<T, FILE> {
    const OPS: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// The state of the file's namespace.
    ///
    /// # Safety
    ///
    /// `m` must be an open file that [`ProcFile::list`] made for `T`.
    unsafe fn state(m: *mut bindings::seq_file) -> Option<Arc<T>> {
        // SAFETY: the private data of files of this kind begins with the namespace, which the open file keeps alive.
        let net = unsafe { Net::from_raw((*(*m).private.cast::<bindings::seq_net_private>()).net) };
        T::slot().get_arc(net)
    }

    /// # Safety
    ///
    /// As for `state`; `pos` must be valid, and both used by nobody else during the call.
    unsafe extern "C" fn start(
        m: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: by the caller's promise.
        let (state, at) = unsafe { (Self::state(m), *pos) };
        let found = state.and_then(|state| T::seek(&state, u64::try_from(at).ok()?));
        let Some(found) = found.and_then(|found| usize::try_from(found).ok()) else {
            return ptr::null_mut();
        };
        // SAFETY: as above.
        unsafe { *pos = found as bindings::loff_t };
        ptr::without_provenance_mut(found.wrapping_add(1))
    }

    /// # Safety
    ///
    /// As for `start`.
    unsafe extern "C" fn next(
        m: *mut bindings::seq_file,
        _: *mut c_void,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: as for `start`.
        unsafe {
            *pos = (*pos).wrapping_add(1);
            Self::start(m, pos)
        }
    }

    /// # Safety
    ///
    /// None: it does nothing.
    unsafe extern "C" fn stop(_: *mut bindings::seq_file, _: *mut c_void) {}

    /// # Safety
    ///
    /// As for `start`; `at` must come from `start` or `next`.
    unsafe extern "C" fn show(m: *mut bindings::seq_file, at: *mut c_void) -> c_int {
        // SAFETY: by the caller's promise.
        if let Some(state) = unsafe { Self::state(m) } {
            // SAFETY: a valid seq_file, which is ours during this call.
            let m = unsafe { SeqFile::from_raw(m.cast()) };
            T::show(&state, at.addr().wrapping_sub(1) as u64, m);
        }
        0
    }
}
