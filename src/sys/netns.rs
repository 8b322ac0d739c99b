// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and state of one's own in each.

/// A network namespace (`struct net`).
#[repr(transparent)]
pub struct Net(Opaque<bindings::net>);
impl Net {
    /// An id unique on this boot (the namespace cookie).
    pub fn cookie(&self) -> u64;
    /// A counted reference that keeps it from being torn down.
    pub fn get_ref(&self) -> NetRef;
    /// Whether the address (v4 or v6) belongs to this host (bindable); scope = device for link-local, 0 = none.
    pub fn is_local(&self, addr: &Addr, scope: u32) -> bool;
}
impl PartialEq for Net;

/// An owned reference to a namespace. Derefs to [`Net`].
pub struct NetRef;

/// State that exists once per network namespace.
pub trait PerNet: Send + Sync + Sized + 'static {
    /// `static SLOT: PerNetSlot<Self> = PerNetSlot::new();` and return it here.
    fn slot() -> &'static PerNetSlot<Self>;
    /// A namespace is being made (or the module loaded). Process context.
    fn init(net: &Net) -> Result<Arc<Self>>;
    /// The namespace goes away (or the module does): no sockets are left in it, and since a grace period nobody finds
    /// the state through the slot any more. Stop timers here; the reference is dropped afterwards. Process context.
    fn exit(this: &Arc<Self>, net: &Net);
}

/// Where the kernel keeps the state of `T`. One static per `T`.
pub struct PerNetSlot<T>;
impl<T: PerNet> PerNetSlot<T> {
    pub const fn new() -> Self;
    /// The state of `net`, for as long as `guard` (kernel::sync::rcu::Guard) lives: costs no atomics.
    pub fn get<'g>(&self, net: &Net, guard: &'g rcu::Guard) -> Option<ArcBorrow<'g, T>>;
    /// The state of `net`, counted.
    pub fn get_arc(&self, net: &Net) -> Option<Arc<T>>;
}

/// Keeps `T` registered; dropping it calls [`PerNet::exit`] in every namespace.
pub struct PerNetRegistration<T: PerNet>;
impl<T: PerNet> PerNetRegistration<T> {
    /// Calls [`PerNet::init`] for all namespaces that exist and that will.
    pub fn new(module: &'static ThisModule) -> Result<Self>;
}
