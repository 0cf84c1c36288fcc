//! Positions of the fields that the kernel program reads. User space writes them before load.

/// An offset that is not known: no structure is as large.
///
/// The verifier refuses a program that reads there through a typed pointer. Probe reads return zero
/// instead.
pub const UNKNOWN: u32 = 1 << 30;

/// Byte offsets of the fields that the program reads in the running kernel, from its BTF or found
/// by probes.
///
/// User space fills this table before load. In the kernel the table is frozen `.rodata`, so the
/// verifier sees constants. The program has no CO-RE relocations of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[expect(missing_docs, reason = "each field is named after the kernel's own")]
pub struct Offsets {
    pub skc_daddr: u32,
    pub skc_rcv_saddr: u32,
    pub skc_dport: u32,
    pub skc_num: u32,
    pub skc_family: u32,
    pub skc_state: u32,
    pub skc_net: u32,
    pub skc_bound_dev_if: u32,
    pub skc_v6_daddr: u32,
    pub skc_v6_rcv_saddr: u32,
    pub skc_flags: u32,
    pub skc_cookie: u32,
    pub sk_err: u32,
    pub sk_protocol: u32,
    pub inet_sport: u32,
    pub net_inum: u32,
    /// `net_cookie` in `struct net`, a number that is never given twice; 0 where unknown.
    pub net_cookie: u32,
    /// `ipv4.tcp_death_row.tw_refcount` in `struct net`; 0 where the counter is elsewhere.
    pub net_tw_refcount: u32,
    /// `ipv4.tcp_death_row.sysctl_max_tw_buckets` in `struct net`; 0 where unknown.
    pub net_max_tw_buckets: u32,
    pub task_flags: u32,
    pub task_group_leader: u32,
    pub task_comm: u32,
    /// `sk_ino` in `struct sock`, since Linux 6.17; 0 before.
    pub sk_ino: u32,
    pub sk_socket: u32,
    pub socket_sk: u32,
    pub socket_file: u32,
    pub file_inode: u32,
    pub inode_ino: u32,
    /// The cgroup of a socket; 0 in kernels whose socket has a tagged pointer instead.
    pub sk_cgroup: u32,
    pub cgroup_kn: u32,
    pub kn_id: u32,
    pub cgroup_root: u32,
    /// `hierarchy_id` in `struct cgroup_root`: 0 for version 2.
    pub root_hierarchy_id: u32,
    pub sk_ack_backlog: u32,
    pub sk_max_ack_backlog: u32,
    pub sk_rmem_alloc: u32,
    pub sk_wmem_alloc: u32,
    pub sk_timer_expires: u32,
    pub sk_timer_pprev: u32,
    pub icsk_pending: u32,
    pub icsk_retransmits: u32,
    pub icsk_probes_out: u32,
    pub icsk_timeout: u32,
    pub icsk_rto: u32,
    pub copied_seq: u32,
    pub rcv_nxt: u32,
    pub write_seq: u32,
    pub snd_una: u32,
    pub srtt_us: u32,
    pub mdev_us: u32,
    pub snd_cwnd: u32,
    pub snd_ssthresh: u32,
    pub retrans_out: u32,
    pub total_retrans: u32,
    pub mss_cache: u32,
    pub rate_delivered: u32,
    pub rate_interval_us: u32,
    pub packets_out: u32,
    pub bytes_sent: u32,
    pub bytes_acked: u32,
    pub bytes_received: u32,
    pub bytes_retrans: u32,
    pub udp_forward_deficit: u32,
    pub tw_substate: u32,
    pub tw_timer_expires: u32,
    pub rsk_timer_expires: u32,
    /// `num_retrans`, whose next byte has `num_timeout` in the seven high bits.
    pub rsk_num_retrans: u32,
    pub task_tgid: u32,
    pub tsorted_sent_queue: u32,
    /// `icsk_accept_queue.fastopenq.max_qlen` in `struct inet_connection_sock`; 0 where unknown.
    pub fastopen_max_qlen: u32,
    /// `tw_timer` in `struct inet_timewait_sock`.
    pub tw_timer: u32,
    pub task_files: u32,
    pub files_fdt: u32,
    pub fdt_fd: u32,
    pub file_private_data: u32,
    pub sk_shutdown: u32,
    pub sk_uid: u32,
    pub retrans_stamp: u32,
    pub skc_nulls_node: u32,
    pub skc_refcnt: u32,
    pub task_nsproxy: u32,
    pub nsproxy_net_ns: u32,
    /// `list` in `struct net`: the list of all namespaces.
    pub net_list: u32,
    /// `ns.ops` in `struct net`: the same for every network namespace.
    pub net_ops: u32,
    /// The count of references in `struct net`; 0 in a namespace that has ended, which stays in the
    /// list until the kernel has taken it down.
    pub net_count: u32,
    /// `ipv4.tcp_death_row.hashinfo` in `struct net`: the tables of the namespace's sockets.
    pub net_hashinfo: u32,
    pub hashinfo_ehash: u32,
    pub hashinfo_ehash_mask: u32,
    pub hashinfo_lhash2: u32,
    pub hashinfo_lhash2_mask: u32,
    /// `nulls_head` in `struct inet_listen_hashbucket`.
    pub listen_head: u32,
    /// Size of `struct inet_listen_hashbucket`.
    pub listen_size: u32,
    /// `skc_ipv6only` in `struct sock_common`, in bits: the field is one bit of a byte.
    pub skc_ipv6only: u32,
    /// `repair` in `struct tcp_sock`, in bits.
    pub repair: u32,
    pub task_thread_pid: u32,
    /// `level` in `struct pid`: the depth of the pid namespace that the process is in.
    pub pid_level: u32,
    /// `numbers` in `struct pid`: a `struct upid` for each level, the initial namespace's first.
    pub pid_numbers: u32,
    pub upid_nr: u32,
    pub upid_ns: u32,
    /// Size of `struct upid`.
    pub upid_size: u32,
    /// `ns.inum` in `struct pid_namespace`.
    pub pid_namespace_inum: u32,
    pub sk_err_soft: u32,
    pub sk_wmem_queued: u32,
    pub task_start_boottime: u32,
    pub task_self_exec_id: u32,
    /// `loginuid` in `struct task_struct`, of kernels with audit.
    pub task_loginuid: u32,
    pub task_sessionid: u32,
    pub task_cred: u32,
    pub cred_euid: u32,
    pub cred_user_ns: u32,
    /// `ns.inum` in `struct user_namespace`.
    pub user_namespace_inum: u32,
    pub nsproxy_mnt_ns: u32,
    /// `ns.inum` in `struct mnt_namespace`.
    pub mnt_namespace_inum: u32,
    pub task_signal: u32,
    /// `live` in `struct signal_struct`: the threads that have not ended.
    pub signal_live: u32,
    pub task_mm: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    /// `file` in `struct linux_binprm`.
    pub bprm_file: u32,
    pub file_path_mnt: u32,
    pub file_path_dentry: u32,
    pub dentry_parent: u32,
    /// `d_name.name` in `struct dentry`.
    pub dentry_name: u32,
    /// `mnt_root` in `struct vfsmount`.
    pub vfsmount_root: u32,
    /// `mnt` in `struct mount`: the `struct vfsmount` of the mount.
    pub mount_mnt: u32,
    pub mount_parent: u32,
    pub mount_mountpoint: u32,
    pub inode_nlink: u32,
}

impl Offsets {
    /// Returns whether programs that follow processes know every field that they cannot do without.
    #[must_use]
    pub fn allow_processes(&self) -> bool {
        let fields = [self.task_start_boottime, self.task_tgid, self.task_signal, self.signal_live];
        !fields.contains(&UNKNOWN)
    }

    /// Returns whether programs that follow cgroups know every field that they read.
    #[must_use]
    pub fn allow_cgroups(&self) -> bool {
        let fields = [self.cgroup_root, self.root_hierarchy_id, self.cgroup_kn, self.kn_id];
        !fields.contains(&UNKNOWN)
    }

    /// Returns whether a walk over the sockets of all namespaces knows every field that it reads.
    #[must_use]
    pub fn allow_walk(&self) -> bool {
        let fields = [
            self.skc_nulls_node,
            self.skc_refcnt,
            self.tw_substate,
            self.task_nsproxy,
            self.nsproxy_net_ns,
            self.net_list,
            self.net_ops,
            self.net_count,
            self.net_hashinfo,
            self.hashinfo_ehash,
            self.hashinfo_ehash_mask,
            self.hashinfo_lhash2,
            self.hashinfo_lhash2_mask,
            self.listen_head,
            self.listen_size,
        ];
        self.net_cookie != 0 && !fields.contains(&UNKNOWN)
    }
}

/// Byte offsets of the fields that the program reads in the classic tracepoints, from their
/// `format` files in tracefs.
///
/// Frozen like [`Offsets`]. The offsets differ between kernels: some distributions add a field that
/// all tracepoints share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[expect(missing_docs, reason = "each field is named after the tracepoint's own")]
pub struct TracepointFormat {
    /// The address of the socket; 0 where the classic tracepoint is not in use and records have
    /// cookies.
    pub skaddr: u32,
    pub oldstate: u32,
    pub newstate: u32,
    pub sport: u32,
    pub dport: u32,
    pub family: u32,
    pub protocol: u32,
    /// Size of `protocol`: one byte before Linux 5.6, two bytes since.
    pub protocol_size: u32,
    pub saddr: u32,
    pub daddr: u32,
    pub saddr_v6: u32,
    pub daddr_v6: u32,
    /// `skaddr` of `tcp:tcp_send_reset`.
    pub reset_sent: u32,
    /// `skaddr` of `tcp:tcp_receive_reset`.
    pub reset_received: u32,
    /// `ret` of `syscalls:sys_exit_accept4`.
    pub accept_ret: u32,
}
