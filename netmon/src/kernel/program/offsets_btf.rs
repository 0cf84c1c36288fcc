//! Reads from BTF where the running kernel keeps the fields that the program reads.

use btf_rs::{Btf, Type};
use netmon_common::{Offsets, UNKNOWN, flag};

use super::btf_types::{LayoutError, Structure, types};

/// The flags of sockets (`enum sock_flags`, include/net/sock.h) that the kernel program reads, with
/// their bits. The numbers of states need no check: they are ABI, and the kernel's build compares
/// the numbers with those of BPF (`BUILD_BUG_ON` in `tcp_set_state`, net/ipv4/tcp.c).
const SOCKET_FLAGS: [(&str, u32); 3] = [
    ("SOCK_DEAD", flag::DEAD.trailing_zeros()),
    ("SOCK_DONE", flag::DONE.trailing_zeros()),
    ("SOCK_LINGER", flag::LINGER.trailing_zeros()),
];

/// Functions of the kernel, with the number of their arguments.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Functions(Vec<(&'static str, usize)>);

impl Functions {
    /// Returns the number of arguments of the function `name`, if this kernel has the function.
    pub(super) fn arguments(&self, name: &str) -> Option<usize> {
        self.0.iter().find(|(function, _)| *function == name).map(|(_, arguments)| *arguments)
    }
}

/// Reads every offset from the running kernel's BTF, and the functions of `names` that exist.
pub(in crate::kernel) fn read(names: &[&'static str]) -> Result<(Offsets, Functions), LayoutError> {
    let btf = types()?;
    check_flags(&btf, &SOCKET_FLAGS)?;
    let functions = names.iter().filter_map(|name| Some((*name, arguments(&btf, name)?)));
    Ok((offsets(&btf)?, Functions(functions.collect())))
}

/// Compares the numbers of flags with those of `enum sock_flags`.
fn check_flags(btf: &Btf, flags: &[(&'static str, u32)]) -> Result<(), LayoutError> {
    let types = btf.resolve_types_by_name("sock_flags")?;
    let members = types.iter().filter_map(|ty| match ty {
        Type::Enum(flags) => Some(&flags.members),
        _ => None,
    });
    let members: Vec<_> = members.flatten().collect();
    let is_there = |(name, bit): &(&str, u32)| {
        let is_it = |name_of: Result<String, _>| name_of.is_ok_and(|name_of| name_of == *name);
        members.iter().any(|member| member.val() == *bit && is_it(btf.resolve_name(*member)))
    };
    match flags.iter().find(|flag| !is_there(flag)) {
        Some((name, bit)) => Err(LayoutError::Flag(name, *bit)),
        None => Ok(()),
    }
}

/// Returns the number of arguments of the function `name`; none if BTF has no such function, or
/// several.
fn arguments(btf: &Btf, name: &str) -> Option<usize> {
    let types = btf.resolve_types_by_name(name).ok()?;
    let mut functions = types.iter().filter_map(|ty| match ty {
        Type::Func(function) => match btf.resolve_chained_type(function).ok()? {
            Type::FuncProto(prototype) => Some(prototype.parameters.len()),
            _ => None,
        },
        _ => None,
    });
    let arguments = functions.next()?;
    functions.next().is_none().then_some(arguments)
}

fn offsets(btf: &Btf) -> Result<Offsets, LayoutError> {
    let common = Structure::find(btf, "sock_common", "skc_family")?;
    let sock = Structure::find(btf, "sock", "sk_protocol")?;
    let inet = Structure::find(btf, "inet_sock", "inet_sport")?;
    let net = Structure::find(btf, "net", "ns.inum")?;
    let task = Structure::find(btf, "task_struct", "group_leader")?;
    let tcp = Structure::find(btf, "tcp_sock", "tsorted_sent_queue")?;
    // A field that only dumps need must not prevent `watch`.
    let dump = |structure: Option<&Structure<'_>>, field| {
        structure.and_then(|structure| structure.offset(field).ok()).unwrap_or_else(|| {
            log::debug!("the kernel's BTF has no {field}: netmon does without");
            UNKNOWN
        })
    };
    // Nor must a counter, which only the end of a connection shows.
    let counter = |field| tcp.offset(field).unwrap_or(UNKNOWN);
    let udp = Structure::find(btf, "udp_sock", "forward_deficit").ok();
    let timewait = Structure::find(btf, "inet_timewait_sock", "tw_substate").ok();
    let request = Structure::find(btf, "request_sock", "rsk_timer").ok();
    let inode = Structure::find(btf, "inode", "i_ino").ok();
    let file = Structure::find(btf, "file", "f_inode").ok();
    let socket = Structure::find(btf, "socket", "file").ok();
    let files = Structure::find(btf, "files_struct", "fdt").ok();
    let table = Structure::find(btf, "fdtable", "fd").ok();
    let cgroup = Structure::find(btf, "cgroup", "kn").ok();
    let node = Structure::find(btf, "kernfs_node", "id").ok();
    let hierarchy = Structure::find(btf, "cgroup_root", "hierarchy_id").ok();
    let connection = Structure::find(btf, "inet_connection_sock", "icsk_pending").ok();
    let proxy = Structure::find(btf, "nsproxy", "net_ns").ok();
    let tables = Structure::find(btf, "inet_hashinfo", "lhash2").ok();
    // Since Linux 5.19; the listeners of kernels before are linked in another way.
    let listeners = Structure::find(btf, "inet_listen_hashbucket", "nulls_head").ok();
    let pid = Structure::find(btf, "pid", "numbers").ok();
    let number = Structure::find(btf, "upid", "nr").ok();
    let pid_namespace = Structure::find(btf, "pid_namespace", "ns.inum").ok();
    let mounts = Structure::find(btf, "mnt_namespace", "ns.inum").ok();
    let users = Structure::find(btf, "user_namespace", "ns.inum").ok();
    let cred = Structure::find(btf, "cred", "euid").ok();
    let signal = Structure::find(btf, "signal_struct", "live").ok();
    let memory = Structure::find(btf, "mm_struct", "arg_start").ok();
    let binary = Structure::find(btf, "linux_binprm", "file").ok();
    let dentry = Structure::find(btf, "dentry", "d_parent").ok();
    let vfsmount = Structure::find(btf, "vfsmount", "mnt_root").ok();
    let mount = Structure::find(btf, "mount", "mnt_mountpoint").ok();
    // Both timers moved in Linux 6.19; the retransmit timer had lost `icsk_timeout`, the copy of
    // its time, before. `sk_timer` still exists as another name of the retransmit timer, so it
    // comes last.
    let first = |fields: &[(Option<&Structure<'_>>, &'static str)]| {
        fields
            .iter()
            .find_map(|(structure, field)| structure.as_ref()?.offset(field).ok())
            .unwrap_or(UNKNOWN)
    };
    Ok(Offsets {
        skc_daddr: common.offset("skc_daddr")?,
        skc_rcv_saddr: common.offset("skc_rcv_saddr")?,
        skc_dport: common.offset("skc_dport")?,
        skc_num: common.offset("skc_num")?,
        skc_family: common.offset("skc_family")?,
        skc_state: common.offset("skc_state")?,
        skc_net: common.offset("skc_net")?,
        skc_bound_dev_if: common.offset("skc_bound_dev_if")?,
        skc_v6_daddr: common.offset("skc_v6_daddr")?,
        skc_v6_rcv_saddr: common.offset("skc_v6_rcv_saddr")?,
        skc_flags: common.offset("skc_flags")?,
        skc_cookie: common.offset("skc_cookie")?,
        sk_err: sock.offset("sk_err")?,
        sk_protocol: sock.offset("sk_protocol")?,
        inet_sport: inet.offset("inet_sport")?,
        net_inum: net.offset("ns.inum")?,
        net_cookie: net.offset("net_cookie").unwrap_or(0),
        // Before Linux 6.1 the field is a pointer, or the counter has another name: the offset
        // stays unknown.
        net_tw_refcount: net.offset("ipv4.tcp_death_row.tw_refcount").unwrap_or(0),
        net_max_tw_buckets: net.offset("ipv4.tcp_death_row.sysctl_max_tw_buckets").unwrap_or(0),
        task_flags: task.offset("flags")?,
        task_group_leader: task.offset("group_leader")?,
        task_comm: task.offset("comm")?,
        sk_ino: sock.offset("sk_ino").unwrap_or(0),
        sk_socket: dump(Some(&sock), "sk_socket"),
        socket_sk: dump(socket.as_ref(), "sk"),
        socket_file: dump(socket.as_ref(), "file"),
        file_inode: dump(file.as_ref(), "f_inode"),
        inode_ino: dump(inode.as_ref(), "i_ino"),
        sk_cgroup: sock.offset("sk_cgrp_data.cgroup").unwrap_or(0),
        cgroup_kn: dump(cgroup.as_ref(), "kn"),
        kn_id: dump(node.as_ref(), "id"),
        cgroup_root: dump(cgroup.as_ref(), "root"),
        root_hierarchy_id: dump(hierarchy.as_ref(), "hierarchy_id"),
        sk_ack_backlog: dump(Some(&sock), "sk_ack_backlog"),
        sk_max_ack_backlog: dump(Some(&sock), "sk_max_ack_backlog"),
        sk_rmem_alloc: dump(Some(&sock), "sk_backlog.rmem_alloc"),
        sk_wmem_alloc: dump(Some(&sock), "sk_wmem_alloc"),
        sk_timer_expires: first(&[
            (connection.as_ref(), "icsk_keepalive_timer.expires"),
            (Some(&sock), "sk_timer.expires"),
        ]),
        sk_timer_pprev: first(&[
            (connection.as_ref(), "icsk_keepalive_timer.entry.pprev"),
            (Some(&sock), "sk_timer.entry.pprev"),
        ]),
        icsk_pending: dump(connection.as_ref(), "icsk_pending"),
        icsk_retransmits: dump(connection.as_ref(), "icsk_retransmits"),
        icsk_probes_out: dump(connection.as_ref(), "icsk_probes_out"),
        icsk_timeout: first(&[
            (connection.as_ref(), "icsk_timeout"),
            (connection.as_ref(), "icsk_retransmit_timer.expires"),
            (Some(&sock), "tcp_retransmit_timer.expires"),
        ]),
        icsk_rto: dump(connection.as_ref(), "icsk_rto"),
        copied_seq: dump(Some(&tcp), "copied_seq"),
        rcv_nxt: dump(Some(&tcp), "rcv_nxt"),
        write_seq: dump(Some(&tcp), "write_seq"),
        snd_una: dump(Some(&tcp), "snd_una"),
        srtt_us: counter("srtt_us"),
        mdev_us: dump(Some(&tcp), "mdev_us"),
        snd_cwnd: dump(Some(&tcp), "snd_cwnd"),
        snd_ssthresh: dump(Some(&tcp), "snd_ssthresh"),
        retrans_out: dump(Some(&tcp), "retrans_out"),
        total_retrans: counter("total_retrans"),
        mss_cache: dump(Some(&tcp), "mss_cache"),
        rate_delivered: dump(Some(&tcp), "rate_delivered"),
        rate_interval_us: dump(Some(&tcp), "rate_interval_us"),
        packets_out: dump(Some(&tcp), "packets_out"),
        bytes_sent: counter("bytes_sent"),
        bytes_acked: dump(Some(&tcp), "bytes_acked"),
        bytes_received: counter("bytes_received"),
        bytes_retrans: dump(Some(&tcp), "bytes_retrans"),
        udp_forward_deficit: dump(udp.as_ref(), "forward_deficit"),
        tw_substate: dump(timewait.as_ref(), "tw_substate"),
        tw_timer_expires: dump(timewait.as_ref(), "tw_timer.expires"),
        rsk_timer_expires: dump(request.as_ref(), "rsk_timer.expires"),
        rsk_num_retrans: dump(request.as_ref(), "num_retrans"),
        tsorted_sent_queue: tcp.offset("tsorted_sent_queue")?,
        fastopen_max_qlen: connection
            .as_ref()
            .and_then(|connection| connection.offset("icsk_accept_queue.fastopenq.max_qlen").ok())
            .unwrap_or(0),
        task_tgid: dump(Some(&task), "tgid"),
        tw_timer: dump(timewait.as_ref(), "tw_timer"),
        task_files: dump(Some(&task), "files"),
        files_fdt: dump(files.as_ref(), "fdt"),
        fdt_fd: dump(table.as_ref(), "fd"),
        file_private_data: dump(file.as_ref(), "private_data"),
        sk_err_soft: sock.offset("sk_err_soft").unwrap_or(UNKNOWN),
        sk_wmem_queued: sock.offset("sk_wmem_queued").unwrap_or(UNKNOWN),
        sk_shutdown: sock.offset("sk_shutdown").unwrap_or(UNKNOWN),
        sk_uid: dump(Some(&sock), "sk_uid"),
        retrans_stamp: dump(Some(&tcp), "retrans_stamp"),
        skc_nulls_node: dump(Some(&common), "skc_nulls_node"),
        skc_refcnt: dump(Some(&common), "skc_refcnt"),
        task_nsproxy: dump(Some(&task), "nsproxy"),
        nsproxy_net_ns: dump(proxy.as_ref(), "net_ns"),
        net_list: dump(Some(&net), "list"),
        net_ops: dump(Some(&net), "ns.ops"),
        // Linux 6.18, 5.11, and before.
        net_count: first(&[
            (Some(&net), "ns.__ns_ref"),
            (Some(&net), "ns.count"),
            (Some(&net), "count"),
        ]),
        net_hashinfo: dump(Some(&net), "ipv4.tcp_death_row.hashinfo"),
        hashinfo_ehash: dump(tables.as_ref(), "ehash"),
        hashinfo_ehash_mask: dump(tables.as_ref(), "ehash_mask"),
        hashinfo_lhash2: dump(tables.as_ref(), "lhash2"),
        hashinfo_lhash2_mask: dump(tables.as_ref(), "lhash2_mask"),
        listen_head: dump(listeners.as_ref(), "nulls_head"),
        listen_size: listeners.as_ref().map_or(UNKNOWN, Structure::size),
        repair: tcp.bit("repair").unwrap_or(UNKNOWN),
        skc_ipv6only: common.bit("skc_ipv6only").unwrap_or(UNKNOWN),
        task_thread_pid: dump(Some(&task), "thread_pid"),
        pid_level: dump(pid.as_ref(), "level"),
        pid_numbers: dump(pid.as_ref(), "numbers"),
        upid_nr: dump(number.as_ref(), "nr"),
        upid_ns: dump(number.as_ref(), "ns"),
        upid_size: number.as_ref().map_or(UNKNOWN, Structure::size),
        pid_namespace_inum: dump(pid_namespace.as_ref(), "ns.inum"),
        task_start_boottime: dump(Some(&task), "start_boottime"),
        task_self_exec_id: dump(Some(&task), "self_exec_id"),
        task_loginuid: dump(Some(&task), "loginuid"),
        task_sessionid: dump(Some(&task), "sessionid"),
        task_cred: dump(Some(&task), "cred"),
        cred_euid: dump(cred.as_ref(), "euid"),
        cred_user_ns: dump(cred.as_ref(), "user_ns"),
        user_namespace_inum: dump(users.as_ref(), "ns.inum"),
        nsproxy_mnt_ns: dump(proxy.as_ref(), "mnt_ns"),
        mnt_namespace_inum: dump(mounts.as_ref(), "ns.inum"),
        task_signal: dump(Some(&task), "signal"),
        signal_live: dump(signal.as_ref(), "live"),
        task_mm: dump(Some(&task), "mm"),
        mm_arg_start: dump(memory.as_ref(), "arg_start"),
        mm_arg_end: dump(memory.as_ref(), "arg_end"),
        bprm_file: dump(binary.as_ref(), "file"),
        file_path_mnt: dump(file.as_ref(), "f_path.mnt"),
        file_path_dentry: dump(file.as_ref(), "f_path.dentry"),
        dentry_parent: dump(dentry.as_ref(), "d_parent"),
        dentry_name: dump(dentry.as_ref(), "d_name.name"),
        vfsmount_root: dump(vfsmount.as_ref(), "mnt_root"),
        mount_mnt: dump(mount.as_ref(), "mnt"),
        mount_parent: dump(mount.as_ref(), "mnt_parent"),
        mount_mountpoint: dump(mount.as_ref(), "mnt_mountpoint"),
        inode_nlink: dump(inode.as_ref(), "i_nlink"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_keeps_them_where_the_abi_says() {
        let (offsets, _) = read(&[]).expect("this kernel has BTF");
        // `ss` and every other reader rely on this beginning of struct sock_common.
        assert_eq!((offsets.skc_daddr, offsets.skc_rcv_saddr), (0, 4));
        assert_eq!((offsets.skc_dport, offsets.skc_num, offsets.skc_family), (12, 14, 16));
        assert_eq!(offsets.skc_state, 18);
        // The bits follow the state: skc_reuse (4), skc_reuseport, skc_ipv6only.
        assert_eq!(offsets.skc_ipv6only, (offsets.skc_state + 1) * 8 + 5);
        assert_eq!(offsets.skc_v6_rcv_saddr, offsets.skc_v6_daddr + 16);
        let beyond = [offsets.sk_err, offsets.sk_protocol, offsets.inet_sport, offsets.task_comm];
        assert!(beyond.iter().all(|offset| *offset > offsets.skc_flags));
    }

    #[test]
    fn a_flag_with_another_number_is_named() {
        let btf = &types().expect("this kernel has BTF");
        check_flags(btf, &SOCKET_FLAGS).expect("the numbers of every kernel so far");
        let error = check_flags(btf, &[("SOCK_DEAD", 0), ("SOCK_DONE", 2)]).expect_err("1 here");
        assert_eq!(error.to_string(), "the kernel's SOCK_DONE is not bit 2 of a socket's flags");
    }

    #[test]
    fn functions_are_found_with_their_arguments() {
        let (_, functions) =
            read(&["tcp_connect", "no_such_function"]).expect("this kernel has BTF");
        assert_eq!(functions.arguments("tcp_connect"), Some(1));
        assert_eq!(functions.arguments("no_such_function"), None);
    }
}
