//! Records of every kind survive their way through bytes.

use super::*;
use proptest::prelude::*;

fn transition(kind: u8) -> impl Strategy<Value = wire::Transition> {
    let states = (1..=12u8, 1..=12u8).prop_filter("a change", |(old, new)| old != new);
    let place = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u32>(), any::<u16>(), any::<u16>());
    let family = prop_oneof![Just(AF_INET), Just(AF_INET6)];
    (states, family, any::<(u8, u8, u16, u64, u64)>(), place).prop_map(
        move |((old_state, new_state), family, (flags, errno, interface, time, cookie), place)| {
            let (local_addr, remote_addr, netns, local_port, remote_port) = place;
            wire::Transition {
                kind,
                old_state,
                new_state,
                family,
                flags,
                errno,
                interface,
                time,
                cookie,
                local_addr,
                remote_addr,
                netns,
                local_port,
                remote_port,
            }
        },
    )
}

proptest! {
    #[test]
    fn transitions_round_trip(t in transition(kind::TRANSITION)) {
        prop_assert_eq!(decode(bytemuck::bytes_of(&t)), Ok(Record::Transition(t)));
    }

    #[test]
    fn opens_round_trip(
        transition in transition(kind::OPEN),
        (cgroup, sock) in any::<(u64, u64)>(),
        (pid, uid, comm, host_pid, real_uid) in any::<(u32, u32, [u8; 16], u32, u32)>(),
    ) {
        let (run, unused) = (0, 0);
        let process =
            wire::Process { cgroup, pid, uid, comm, host_pid, run, real_uid, unused };
        let open = wire::Open { transition, sock, process };
        prop_assert_eq!(decode(bytemuck::bytes_of(&open)), Ok(Record::Open(open)));
    }

    #[test]
    fn children_round_trip(
        transition in transition(kind::CHILD),
        (listener, syn_recv_time) in any::<(u64, u64)>(),
    ) {
        let child = wire::Child { transition, listener, syn_recv_time };
        prop_assert_eq!(decode(bytemuck::bytes_of(&child)), Ok(Record::Child(child)));
    }

    #[test]
    fn notes_round_trip(
        kind in prop_oneof![Just(kind::RESET), Just(kind::MINISOCKET), Just(kind::PORT)],
        state in 1..=12u8, (port, time, cookie) in any::<(u16, u64, u64)>(),
    ) {
        let note = wire::Note { kind, state, port, reserved: [0; 4], time, cookie };
        prop_assert_eq!(decode(bytemuck::bytes_of(&note)), Ok(Record::Note(note)));
    }

    #[test]
    fn accepts_round_trip(
        (time, cookie, cgroup) in any::<(u64, u64, u64)>(),
        (pid, uid, comm, host_pid, real_uid) in any::<(u32, u32, [u8; 16], u32, u32)>(),
    ) {
        let (run, unused) = (0, 0);
        let process =
            wire::Process { cgroup, pid, uid, comm, host_pid, run, real_uid, unused };
        let (kind, reserved) = (kind::ACCEPT, [0; 7]);
        let accept = wire::Accept { kind, reserved, time, cookie, process };
        prop_assert_eq!(decode(bytemuck::bytes_of(&accept)), Ok(Record::Accept(accept)));
    }

    #[test]
    fn cgroups_round_trip((time, id) in any::<(u64, u64)>(), path_length in 0..2_048u16) {
        let (kind, reserved, reserved_end) = (kind::CGROUP_MADE, 0, 0);
        let path = [b'x'; wire::CGROUP_PATH];
        let made = wire::CgroupMade { kind, reserved, path_length, reserved_end, time, id, path };
        let fits = usize::from(path_length) <= wire::CGROUP_PATH;
        let decoded = decode(bytemuck::bytes_of(&made)).ok();
        prop_assert_eq!(decoded, fits.then(|| Record::CgroupMade(Box::new(made))));
        let (kind, reserved) = (kind::CGROUP_REMOVED, [0; 7]);
        let removed = wire::CgroupRemoved { kind, reserved, time, id };
        let decoded = decode(bytemuck::bytes_of(&removed));
        prop_assert_eq!(decoded, Ok(Record::CgroupRemoved(removed)));
    }

    #[test]
    fn processes_round_trip(
        (time, started) in any::<(u64, u64)>(),
        (pid, host_pid, parent_pid, parent_host_pid) in any::<(u32, u32, u32, u32)>(),
        (path_length, arguments_length) in (0..1024u16, 0..1024u16),
    ) {
        let reserved = [0; 7];
        let fork = wire::Fork {
            kind: kind::FORK, execs: 3, reserved: 0, parent_run: 5, time, started, pid,
            host_pid, parent_pid, parent_host_pid, login_uid: 7, login_session: 8,
            namespaces: wire::Namespaces { mnt: 9, pid: 10, user: 11 }, unused: 0,
        };
        prop_assert_eq!(decode(bytemuck::bytes_of(&fork)), Ok(Record::Fork(fork)));
        let exit = wire::Exit { kind: kind::EXIT, reserved, time, started, pid, host_pid };
        prop_assert_eq!(decode(bytemuck::bytes_of(&exit)), Ok(Record::Exit(exit)));
        let exec = wire::Exec {
            kind: kind::EXEC, time, started, pid, host_pid, path_length, arguments_length,
            ..bytemuck::Zeroable::zeroed()
        };
        let fits = usize::from(path_length) <= wire::PATH_ROOM
            && usize::from(arguments_length) <= wire::ARGUMENTS;
        let decoded = decode(bytemuck::bytes_of(&exec)).ok();
        prop_assert_eq!(decoded, fits.then(|| Record::Exec(Box::new(exec))));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_record_cut_short_or_too_long_is_refused(
        t in transition(kind::TRANSITION),
        length in (0..128usize).prop_filter("not whole", |l| *l != 64),
    ) {
        let mut bytes = bytemuck::bytes_of(&t).to_vec();
        bytes.resize(length, 0);
        prop_assert_eq!(
            decode(&bytes),
            Err(MalformedRecord { length, kind: bytes.first().copied() })
        );
    }

    #[test]
    fn unknown_states_and_families_are_refused(
        mut t in transition(kind::TRANSITION), bad in 13..=255u8, which in 0..3,
    ) {
        match which {
            0 => t.old_state = bad,
            1 => t.new_state = bad,
            _ => t.family = bad,
        }
        prop_assert!(decode(bytemuck::bytes_of(&t)).is_err());
    }
}
