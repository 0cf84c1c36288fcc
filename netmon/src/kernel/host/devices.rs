//! Names of network devices, each looked up in the network namespace of a socket that is bound to
//! the device.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use rustix::net::{AddressFamily, SocketType, netdevice::index_to_name, socket};

use super::netns::Namespace;
use crate::core::id::{Binding, Tuple};

/// The time for which a name is kept, since devices are renamed, and for which a number without a
/// name is not looked up again.
const KEPT: Duration = Duration::from_secs(10);
/// The most numbers that are kept. Beyond this limit netmon forgets all, and looks each up again.
const MOST: usize = 4_096;

/// The answer to a lookup, and its time.
type KnownName = (Instant, Option<Arc<str>>);

/// The names of devices that were looked up lately.
#[derive(Default)]
pub(in crate::kernel) struct DeviceNames {
    /// By namespace and number.
    known: FxHashMap<(u32, u32), KnownName>,
}

impl DeviceNames {
    /// Adds the name of the device to the facts about a place, if a socket there is bound to one.
    pub(in crate::kernel) fn complete(&mut self, tuple: &Tuple, binding: &mut Binding) {
        if tuple.interface != 0 && binding.device.is_none() {
            binding.device = self.name(tuple.netns, tuple.interface);
        }
    }

    /// Returns the name of a device; none if netmon cannot enter the namespace, or the device is
    /// gone.
    fn name(&mut self, netns: u32, interface: u32) -> Option<Arc<str>> {
        let key = (netns, interface);
        if let Some((since, name)) = self.known.get(&key)
            && since.elapsed() < KEPT
        {
            return name.clone();
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let name = look_up(netns, interface);
        if let Err(error) = &name {
            log::debug!("device {interface} of network namespace {netns}: {error}");
        }
        let name = name.ok().map(Arc::from);
        self.known.insert(key, (Instant::now(), name.clone()));
        name
    }
}

fn look_up(netns: u32, interface: u32) -> io::Result<String> {
    Namespace::with_inum(netns)?.run(|| {
        // A socket of any family answers; the systemd unit permits this family.
        let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
        Ok(index_to_name(socket, interface)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_its_name_and_no_device_has_none() {
        let mut names = DeviceNames::default();
        let netns = Namespace::current().expect("/proc").inum;
        let end = ([127, 0, 0, 1], 80).into();
        let mut name_of = |interface| {
            let mut binding = Binding::default();
            let tuple = Tuple { netns, interface, local: end, remote: end };
            names.complete(&tuple, &mut binding);
            binding.device
        };
        // The loopback device is the first of each namespace.
        assert_eq!(name_of(1).as_deref(), Some("lo"));
        assert_eq!(name_of(0), None);
        assert_eq!(name_of(2_000_000_000), None);
        assert_eq!(names.known.len(), 2, "both answers are kept");
    }
}
