// SPDX-License-Identifier: GPL-2.0

//! Settings of a network namespace in /proc/sys/net.

use super::netns::Net;
use ::core::{
    ffi::c_void,
    mem,
    ptr::{self, NonNull},
};
use homa_bindings as bindings;
use kernel::{ffi::c_int, prelude::*, sync::Arc};

/// One setting: an integer within limits.
pub struct Setting {
    /// Its file's name.
    pub name: &'static CStr,
    /// The smallest value; a smaller one is EINVAL.
    pub min: i32,
    /// The largest value.
    pub max: i32,
}

/// Who has settings.
pub trait HasSettings: Send + Sync + 'static {
    /// The folder below /proc/sys, such as `net/foo`.
    const PATH: &'static CStr;
    /// The settings; a number below means the place in here.
    const SETTINGS: &'static [Setting];

    /// The value of setting `i`. Process context.
    fn get(&self, i: usize) -> i32;

    /// Changes setting `i` to a value that is within its limits. Process context.
    fn set(&self, i: usize, value: i32) -> Result;
}

/// Keeps the files of `T` in one namespace. Whoever is root of the namespace's owner may write them.
///
/// # Invariants
///
/// `header` is registered with `_table`, whose entries' `extra1` is `_owner` and `extra2` their number.
pub struct Sysctl<T: HasSettings> {
    header: NonNull<bindings::ctl_table_header>,
    _table: KVec<bindings::ctl_table>,
    _owner: Arc<T>,
}

// SAFETY: the header and the table are only used to unregister them, from any thread.
unsafe impl<T: HasSettings> Send for Sysctl<T> {}
// SAFETY: there is nothing to call on a shared one.
unsafe impl<T: HasSettings> Sync for Sysctl<T> {}

impl<T: HasSettings> Sysctl<T> {
    /// Makes the files. ENOMEM (or there are such files already). Process context.
    ///
    /// Drop it in [`PerNet::exit`](super::netns::PerNet::exit) at the latest.
    pub fn new(net: &Net, owner: Arc<T>) -> Result<Self> {
        let mut table = KVec::with_capacity(T::SETTINGS.len(), GFP_KERNEL)?;
        for (i, setting) in T::SETTINGS.iter().enumerate() {
            let entry = bindings::ctl_table {
                procname: setting.name.as_char_ptr(),
                maxlen: mem::size_of::<c_int>() as c_int,
                mode: 0o644,
                proc_handler: Some(handle::<T>),
                extra1: (&raw const *owner).cast_mut().cast(),
                extra2: ptr::without_provenance_mut(i),
                ..pin_init::zeroed()
            };
            table.push(entry, GFP_KERNEL)?;
        }
        // SAFETY: the namespace is alive; path and table stay where they are until they are unregistered, and so does the owner.
        let header = unsafe {
            bindings::register_net_sysctl_sz(
                net.as_raw(),
                T::PATH.as_char_ptr(),
                table.as_ptr(),
                table.len(),
            )
        };
        // INVARIANT: as it was just made.
        Ok(Self { header: NonNull::new(header).ok_or(ENOMEM)?, _table: table, _owner: owner })
    }
}

impl<T: HasSettings> Drop for Sysctl<T> {
    fn drop(&mut self) {
        // Waits until nobody is in `handle`.
        // SAFETY: registered in `new`.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) }
    }
}

/// The proc_handler: reads or writes one setting.
///
/// # Safety
///
/// `table` must be an entry of a [`Sysctl<T>`] that is registered, and the others what proc_dointvec_minmax asks for.
unsafe extern "C" fn handle<T: HasSettings>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: the entry is one of ours; by the type's invariants, `extra1` is its owner, who lives as long as it is registered.
    let (owner, i) = unsafe { (&*(*table).extra1.cast::<T>(), (*table).extra2.addr()) };
    let Some(setting) = T::SETTINGS.get(i) else {
        return EINVAL.to_errno();
    };
    let (mut min, mut max, old) = (setting.min, setting.max, owner.get(i));
    let mut value = old;
    // SAFETY: as the entry says it; the copy and what it points to live as long as the call.
    let ret = unsafe {
        let one = bindings::ctl_table {
            data: (&raw mut value).cast(),
            extra1: (&raw mut min).cast(),
            extra2: (&raw mut max).cast(),
            ..ptr::read(table)
        };
        bindings::proc_dointvec_minmax(&one, write, buffer.cast(), len, pos)
    };
    if ret != 0 || write == 0 || value == old {
        return ret;
    }
    match owner.set(i, value) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
