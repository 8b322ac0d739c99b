// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and state of one's own in each.

use super::addr::Addr;
use ::core::{
    marker::PhantomData,
    mem,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};
use homa_bindings as bindings;
use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::{rcu, Arc, ArcBorrow},
    types::Opaque,
};

/// A network namespace (`struct net`).
#[repr(transparent)]
pub struct Net(Opaque<bindings::net>);

// SAFETY: a `struct net` belongs to no thread, and what we do with it may be done concurrently.
unsafe impl Send for Net {}
// SAFETY: as above.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `net` must be valid during `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(net: *mut bindings::net) -> &'a Self {
        // SAFETY: by the caller's promise; the types have one layout.
        unsafe { &*net.cast() }
    }

    /// The C struct.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// A number that no other namespace has or had on this boot (SO_NETNS_COOKIE).
    pub fn cookie(&self) -> u64 {
        // SAFETY: the cookie never changes.
        unsafe { (*self.as_raw()).net_cookie }
    }

    /// Whether one can bind to the address here: it belongs to this host. `scope`: the device, for link-local ones.
    pub fn is_local(&self, addr: &Addr, scope: u32) -> bool {
        if addr.is_v4() {
            // SAFETY: the namespace is alive.
            return unsafe { bindings::inet_addr_type(self.as_raw(), addr.to_be32()) }
                == bindings::RTN_LOCAL;
        }
        let in6 = addr.to_in6();
        let _rcu = rcu::read_lock();
        let mut dev = ptr::null_mut();
        if addr.is_link_local() {
            // SAFETY: the namespace is alive, and we are in an RCU section.
            dev = unsafe { bindings::dev_get_by_index_rcu(self.as_raw(), scope as c_int) };
            if dev.is_null() {
                return false;
            }
        }
        // SAFETY: as above; `dev` is NULL or valid in this RCU section.
        unsafe { bindings::ipv6_chk_addr(self.as_raw(), &in6, dev, 0) != 0 }
    }
}

/// State that exists once per network namespace.
pub trait PerNet: Send + Sync + Sized + 'static {
    /// `static SLOT: PerNetSlot<Self> = PerNetSlot::new();`, and return it here.
    fn slot() -> &'static PerNetSlot<Self>;

    /// A namespace is being made, or the module is loaded. Process context.
    fn init(net: &Net) -> Result<Arc<Self>>;

    /// The namespace goes away, or the module does: no socket is left in it, and since a grace period nobody finds the
    /// state through the slot. Stop timers here. The slot's reference is dropped afterwards. Process context.
    fn exit(this: &Arc<Self>, net: &Net);
}

/// What the kernel keeps for us in each namespace (zeroed when made).
#[repr(C)]
struct Cell<T> {
    /// What readers see: an `Arc<T>` as a raw pointer, or NULL.
    live: AtomicPtr<T>,
    /// The same reference between `pre_exit` and `exit`.
    leaving: AtomicPtr<T>,
}

/// Where the kernel keeps the state of `T`. One static per `T`.
pub struct PerNetSlot<T> {
    /// The number that net_generic knows it by; 0 while not registered.
    id: AtomicU32,
    _state: PhantomData<fn() -> T>,
}

impl<T: PerNet> PerNetSlot<T> {
    /// For the static.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { id: AtomicU32::new(0), _state: PhantomData }
    }

    /// The cell of `net`, valid while the namespace is and we are registered.
    ///
    /// # Safety
    ///
    /// Only in an RCU section, or in a callback of `pernet_operations`.
    #[inline]
    unsafe fn cell(&self, net: &Net) -> Option<NonNull<Cell<T>>> {
        let id = self.id.load(Ordering::Acquire);
        // SAFETY: the array of cells is there as long as the namespace, and when it is replaced by a longer one, RCU keeps the old one. The
        // number of its elements is in front; ours may be missing while we are being registered.
        unsafe {
            let array = AtomicPtr::from_ptr(&raw mut (*net.as_raw()).gen).load(Ordering::Acquire);
            if id == 0 || id >= (*array).__bindgen_anon_1.s.as_ref().len {
                return None;
            }
            let cells: *mut *mut kernel::ffi::c_void = array.cast();
            NonNull::new(cells.add(id as usize).read().cast())
        }
    }

    /// The state of `net`, for as long as `guard` lives. Costs no atomics.
    #[inline]
    pub fn get<'g>(&self, net: &Net, _guard: &'g rcu::Guard) -> Option<ArcBorrow<'g, T>> {
        // SAFETY: `guard` is an RCU section. The cell is valid until `exit`, a grace period after `pre_exit`.
        let live = unsafe { self.cell(net)?.as_ref() }.live.load(Ordering::Acquire);
        // SAFETY: a pointer found in `live` is an `Arc` whose reference is not dropped within this RCU section.
        (!live.is_null()).then(|| unsafe { ArcBorrow::from_raw(live) })
    }

    /// The state of `net`, counted.
    pub fn get_arc(&self, net: &Net) -> Option<Arc<T>> {
        let guard = rcu::read_lock();
        self.get(net, &guard).map(Arc::from)
    }

    /// pernet_operations' callback: a namespace comes.
    ///
    /// # Safety
    ///
    /// `net` must be a valid namespace whose cell for `T` was made, and this the first callback for it.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        // SAFETY: called with a valid namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: a callback.
        let Some(cell) = (unsafe { T::slot().cell(net) }) else {
            return EINVAL.to_errno();
        };
        match T::init(net) {
            Ok(state) => {
                // SAFETY: the kernel made the cell before it called us.
                let cell = unsafe { cell.as_ref() };
                cell.live.store(Arc::into_raw(state).cast_mut(), Ordering::Release);
                0
            }
            Err(e) => e.to_errno(),
        }
    }

    /// pernet_operations' callback: a namespace goes; a grace period follows.
    ///
    /// # Safety
    ///
    /// `net` must be a valid namespace; its cell for `T`, if it has one, must not be freed before `exit` returned.
    unsafe extern "C" fn pre_exit(net: *mut bindings::net) {
        // SAFETY: called with a valid namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: a callback.
        if let Some(cell) = unsafe { T::slot().cell(net) } {
            // SAFETY: the kernel frees the cell only after `exit`.
            let cell = unsafe { cell.as_ref() };
            let state = cell.live.swap(ptr::null_mut(), Ordering::AcqRel);
            cell.leaving.store(state, Ordering::Relaxed);
        }
    }

    /// pernet_operations' callback: a grace period after `pre_exit`.
    ///
    /// # Safety
    ///
    /// As for `pre_exit`, which must have been called for `net`, a grace period ago.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        // SAFETY: called with a valid namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: a callback.
        if let Some(cell) = unsafe { T::slot().cell(net) } {
            // SAFETY: the kernel frees the cell only after we return.
            let cell = unsafe { cell.as_ref() };
            // When `init` of a later namespace failed, then `pre_exit` was called all the same.
            let state = cell.leaving.swap(ptr::null_mut(), Ordering::Relaxed);
            if !state.is_null() {
                // SAFETY: the reference that `init` left.
                let state = unsafe { Arc::from_raw(state) };
                T::exit(&state, net);
            }
        }
    }
}

/// Keeps `T` registered; dropping it calls [`PerNet::exit`] in every namespace.
pub struct PerNetRegistration<T: PerNet> {
    ops: Pin<KBox<Opaque<bindings::pernet_operations>>>,
    _state: PhantomData<fn() -> T>,
}

// SAFETY: the box is only touched by register and unregister.
unsafe impl<T: PerNet> Send for PerNetRegistration<T> {}
// SAFETY: there is nothing to call on a shared one.
unsafe impl<T: PerNet> Sync for PerNetRegistration<T> {}

impl<T: PerNet> PerNetRegistration<T> {
    /// Calls [`PerNet::init`] for all namespaces that exist, and will for those to come. EBUSY if that is so already.
    pub fn new(_module: &'static ThisModule) -> Result<Self> {
        let slot = T::slot();
        if slot.id.load(Ordering::Relaxed) != 0 {
            return Err(EBUSY);
        }
        let mut ops: bindings::pernet_operations = pin_init::zeroed();
        ops.init = Some(PerNetSlot::<T>::init);
        ops.pre_exit = Some(PerNetSlot::<T>::pre_exit);
        ops.exit = Some(PerNetSlot::<T>::exit);
        ops.id = slot.id.as_ptr();
        ops.size = mem::size_of::<Cell<T>>();
        let ops = KBox::pin_init(
            Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { ptr::write(slot, ops) }
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: `ops` stays where it is until it is unregistered.
        let ret = to_result(unsafe { bindings::register_pernet_subsys(ops.get()) });
        if let Err(e) = ret {
            slot.id.store(0, Ordering::Release);
            return Err(e);
        }
        Ok(Self { ops, _state: PhantomData })
    }
}

impl<T: PerNet> Drop for PerNetRegistration<T> {
    fn drop(&mut self) {
        // SAFETY: registered in `new`. `exit` still needs the id.
        unsafe { bindings::unregister_pernet_subsys(self.ops.get()) };
        T::slot().id.store(0, Ordering::Release);
    }
}
